package gemm

import (
	"math/rand/v2"
	"testing"
)

func TestPanelsHaveTheBitsOfProducts(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(7, 7))
		for _, s := range [][3]int{{1, 1, 1}, {64, 64, 64}, {13, 33, 65}, {5, 8, 200}, {70, 100, 7}, {3, 16, 0}, {0, 4, 4}} {
			m, n, k := s[0], s[1], s[2]
			a, at, w, wt := normals(rng, m*k+1), normals(rng, m*k+1), normals(rng, n*k+1), normals(rng, n*k+1)
			for i := range m {
				for l := range k {
					at[l*m+i] = a[i*k+l]
				}
			}
			for j := range n {
				for l := range k {
					wt[l*n+j] = w[j*k+l]
				}
			}
			panels := make([]float32, PanelFloats(n, k)+1)
			for _, accumulate := range []bool{false, true} {
				start := normals(rng, m*n+1)
				want := append([]float32(nil), start...)
				NT(nil, want, n, a, k, Matrix{F32: w, Ld: k}, nil, m, n, k, accumulate)
				for form, b := range map[Form]Matrix{FormNT: {F32: w, Ld: k}, FormNN: {F32: wt, Ld: n}} {
					PackPanels(panels, b, form, n, k)
					got := append([]float32(nil), start...)
					MulPanels(got, n, a, k, 1, panels, m, n, k, accumulate)
					equalBits(t, "rows", got, want)
					got = append(got[:0], start...)
					MulPanels(got, n, at, 1, m, panels, m, n, k, accumulate)
					equalBits(t, "columns", got, want)
				}
			}
		}
	})
}
