package bench

import "github.com/selkie-ml/selkie/internal/peak"

// MeasurePeak measures what some threads of this machine can do, in a few
// seconds: the best of three tries of each. Of a GPU it takes the data sheet's
// figures.
func MeasurePeak(e *Env) Peak {
	if sheet, ok := e.dev.Backend().(interface {
		PeakRates() (f32, bf16 float64, read float64)
	}); ok {
		f32, bf16, read := sheet.PeakRates()
		return Peak{FMA: f32, BF16: bf16, Read: read}
	}
	best := func(f func(int) float64) float64 { return 1e9 * max(f(e.Threads), f(e.Threads), f(e.Threads)) }
	p := Peak{FMA: best(peak.FMA), FMA256: best(peak.FMA256), FMALoads: best(peak.FMALoads), BF16: best(peak.DotBF16), Read: best(peak.Read)}
	p.BF16 = max(p.BF16, p.FMA)
	return p
}
