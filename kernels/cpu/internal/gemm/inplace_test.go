package gemm

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestRowsInPlaceHaveTheBitsOfProducts(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(8, 8))
		for _, s := range [][3]int{{1, 1, 1}, {64, 64, 64}, {13, 33, 65}, {5, 8, 200}, {70, 100, 7}, {3, 16, 0}, {0, 4, 4}, {12, 48, 17}} {
			m, n, k := s[0], s[1], s[2]
			lda, ldb := k+3, n+5
			a, at := normals(rng, m*lda+1), make([]float32, k*m+1)
			b := append(normals(rng, k*ldb), make([]float32, PanelFloats(n, 1))...)
			for i := range m {
				for l := range k {
					at[l*m+i] = a[i*lda+l]
				}
			}
			for l := range k { // what lies beside b shows nowhere
				for j := n; j < ldb; j++ {
					b[l*ldb+j] = float32(math.NaN())
				}
			}
			for _, accumulate := range []bool{false, true} {
				start := normals(rng, m*n+1)
				want := append([]float32(nil), start...)
				NN(nil, want, n, a, lda, Matrix{F32: b, Ld: ldb}, nil, m, n, k, accumulate)
				got := append([]float32(nil), start...)
				MulRows(got, n, a, lda, 1, b, ldb, m, n, k, accumulate)
				equalBits(t, "rows", got, want)
				got = append(got[:0], start...)
				MulRows(got, n, at, 1, m, b, ldb, m, n, k, accumulate)
				equalBits(t, "columns", got, want)
			}
		}
	})
}

func BenchmarkBlock(b *testing.B) {
	const n, ld = 64, 80
	rng := rand.New(rand.NewPCG(8, 8))
	x, y, z, p := normals(rng, n*ld+32), normals(rng, n*ld+32), normals(rng, n*ld+32), make([]float32, PanelFloats(n, n))
	PackPanels(p, Matrix{F32: y, Ld: ld}, FormNT, n, n)
	for _, c := range []struct {
		name    string
		m, w, k int
	}{{"whole", 64, 64, 64}, {"60", 60, 64, 64}, {"strip16", 16, 32, 64}, {"short", 16, 64, 32}, {"7", 7, 64, 64}, {"1", 1, 64, 64}} {
		rate := func(name string, f func()) {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				for b.Loop() {
					f()
				}
				b.ReportMetric(2*float64(c.m*c.w*c.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
		rate("panels", func() { MulPanels(z, ld, x, ld, 1, p, c.m, c.w, c.k, true) })
		rate("rows", func() { MulRows(z, ld, x, ld, 1, y, ld, c.m, c.w, c.k, true) })
		rate("columns", func() { MulRows(z, ld, x, 1, ld, y, ld, c.m, c.w, c.k, true) })
		rate("nt", func() { NT(nil, z, ld, x, ld, Matrix{F32: y, Ld: ld}, nil, c.m, c.w, c.k, false) })
	}
	b.Run("pack", func(b *testing.B) {
		for b.Loop() {
			PackPanels(p, Matrix{F32: y, Ld: ld}, FormNT, n, n)
		}
	})
}
