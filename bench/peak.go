package bench

import "github.com/selkie-ml/selkie/internal/peak"

// MeasurePeak measures what some threads of this machine can do, in about a
// second: the best of three tries of each.
func MeasurePeak(threads int) Peak {
	best := func(f func(int) float64) float64 { return 1e9 * max(f(threads), f(threads), f(threads)) }
	p := Peak{FMA: best(peak.FMA), FMA256: best(peak.FMA256), BF16: best(peak.DotBF16), Read: best(peak.Read)}
	p.BF16 = max(p.BF16, p.FMA)
	return p
}
