package peak

import "testing"

// Any processor in use does more than these, and none does as much.
func TestInReason(t *testing.T) {
	for _, threads := range []int{1, 2} {
		for name, f := range map[string]func(int) float64{"FMA": FMA, "Read": Read, "FMA256": FMA256, "FMALoads": FMALoads, "DotBF16": DotBF16} {
			got := f(threads)
			t.Logf("%s of %d threads: %.1f", name, threads, got)
			if name == "DotBF16" && dot.run == nil || name == "FMA256" && half.run == nil || name == "FMALoads" && loads.run == nil {
				if got != 0 {
					t.Errorf("%s is %v without the instruction", name, got)
				}
			} else if got < 0.05 || got > 1e5 {
				t.Errorf("%s of %d threads is %v", name, threads, got)
			}
		}
	}
}

func BenchmarkPeak(b *testing.B) {
	for _, c := range []struct {
		name, unit string
		f          func(int) float64
	}{{"fma", "GFLOP/s", FMA}, {"fma256", "GFLOP/s", FMA256}, {"fmaloads", "GFLOP/s", FMALoads}, {"dotbf16", "GFLOP/s", DotBF16}, {"read", "GB/s", Read}} {
		for threads, name := range []string{1: "1", 2: "2"} {
			if name != "" {
				b.Run(c.name+"/threads="+name, func(b *testing.B) {
					best := 0.0
					for b.Loop() {
						best = max(best, c.f(threads))
					}
					b.ReportMetric(best, c.unit)
				})
			}
		}
	}
}
