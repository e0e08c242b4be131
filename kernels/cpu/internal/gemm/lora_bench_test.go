package gemm

import (
	"fmt"
	"testing"
)

// BenchmarkStream measures the products of an adapter with everything in cache.
func BenchmarkStream(b *testing.B) {
	for _, r := range []int{16, 32, 64} {
		for _, c := range []struct {
			name             string
			m, n, k, as, ak  int
			ldb, ldd, panels int
		}{
			{"h", 60, r, 256, 896, 1, 0, r, 1},
			{"y", 60, 256, r, r, 1, 0, 896, 1},
			{"g", 60, r, 256, 896, 1, r, r, 0},
			{"dx", 60, 256, r, r, 1, 896, 896, 0},
			{"da", r, 256, 64, 1, r, 896, 896, 0},
			{"db", 252, r, 64, 1, 896, r, r, 0},
		} {
			dst, a, x := make([]float32, 400*1000), make([]float32, 400*1000), make([]float32, 400*1000)
			b.Run(fmt.Sprintf("%s/rank=%d", c.name, r), func(b *testing.B) {
				for b.Loop() {
					if c.panels > 0 {
						StreamPanels(dst, c.ldd, a, c.as, c.ak, x[:PanelFloats(c.n, c.k)], c.m, c.n, c.k, true, nil)
					} else {
						StreamInPlace(dst, c.ldd, a, c.as, c.ak, x, c.ldb, c.m, c.n, c.k, true)
					}
				}
				b.ReportMetric(2*float64(c.m*c.n*c.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
