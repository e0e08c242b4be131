package gemm

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// TestStream: products in place and from panels have the bits of NN and TN.
func TestStream(t *testing.T) {
	for _, level := range vec.Levels() {
		t.Run(level, func(t *testing.T) {
			defer vec.ForceLevel(level)()
			rng := rand.New(rand.NewPCG(1, 2))
			fill := func(n int) []float32 {
				x := make([]float32, n)
				for i := range x {
					x[i] = rng.Float32() - 0.5
				}
				return x
			}
			for trial := range 300 {
				m, n, k := 1+rng.IntN(40), 1+rng.IntN(70), rng.IntN(200)
				lda, ldb, ldd := k+rng.IntN(3), n+rng.IntN(3), n+rng.IntN(3)
				if trial%8 == 0 {
					lda = 1024 // rows that share sets of the cache
				}
				transposed := trial%3 == 0
				a, as, ak := fill(max(1, m*lda)), lda, 1
				if transposed {
					lda = m + rng.IntN(3)
					a, as, ak = fill(max(1, k*lda)), 1, lda
				}
				b, accumulate := fill(max(0, k-1)*ldb+n), trial%2 == 0
				want, got, packed := fill(m*ldd), make([]float32, m*ldd), make([]float32, m*ldd)
				copy(got, want)
				copy(packed, want)
				if transposed {
					TN(nil, want, ldd, a, lda, b, ldb, m, n, k, accumulate)
				} else {
					NN(nil, want, ldd, a, lda, Matrix{F32: b, Ld: ldb}, nil, m, n, k, accumulate)
				}
				StreamInPlace(got, ldd, a, as, ak, b, ldb, m, n, k, accumulate)
				if !slices.Equal(got, want) {
					t.Fatalf("in place, %d×%d×%d, transposed %v, accumulate %v: other bits", m, n, k, transposed, accumulate)
				}
				panels := make([]float32, PanelFloats(n, k))
				bt := make([]float32, n*k)
				for l := range k {
					for j := range n {
						bt[j*k+l] = b[l*ldb+j]
					}
				}
				StreamPack(panels, bt, k, n, k)
				StreamPanels(packed, ldd, a, as, ak, panels, m, n, k, accumulate, b)
				if !slices.Equal(packed, want) {
					t.Fatalf("panels, %d×%d×%d, transposed %v, accumulate %v: other bits", m, n, k, transposed, accumulate)
				}
			}
		})
	}
}
