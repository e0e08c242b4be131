package gemm

import (
	"math/rand/v2"
	"testing"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// Whatever rows are computed together, a row has the bits it has alone.
func TestFewRowsAlone(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(22, 22))
		const most, n, k = fewRows + 8, 48, 160
		a, w := normals(rng, most*k), normals(rng, n*k)
		alone := make([]float32, most*n)
		for i := range most {
			NT(nil, alone[i*n:], n, a[i*k:], k, Matrix{F32: w, Ld: k}, nil, 1, n, k, false)
		}
		for m := 1; m <= most; m++ {
			got := make([]float32, m*n)
			NT(nil, got, n, a, k, Matrix{F32: w, Ld: k}, nil, m, n, k, false)
			equalBits(t, "rows together", got, alone[:m*n])
		}
	})
}

// The kernels that the tests mean to reach are the ones that run.
func TestFewIsChosen(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for m := 1; m <= fewRows+1; m++ {
			for _, kind := range []Kind{KindF32, KindBF16, KindF16} {
				const n, k = 32, 128
				a, b := Matrix{F32: make([]float32, m*k), Ld: k}, Matrix{F32: make([]float32, n*k), Bits: make([]uint16, n*k), Kind: kind, Ld: k}
				if HasBF16() && !hasTiles() && kind == KindBF16 {
					a = Matrix{Bits: make([]uint16, m*k), Kind: kind, Ld: k}
				}
				j := newJob("test", Matrix{F32: make([]float32, m*n), Ld: n}, nil, m, n, false)
				j.left(a)
				j.right(b, FormNT, k)
				if got, want := j.few(nil, j.k()), m <= fewRows && vec.Active() != vec.Generic; got != want {
					t.Errorf("%d rows of %v at level %s: few is %v, want %v", m, kind, vec.Level(), got, want)
				}
			}
		}
	})
}
