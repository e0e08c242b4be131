package gemm

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// eachReading runs f at every level for processors that see streams and for others.
func eachReading(t *testing.T, f func(t *testing.T)) {
	defer func(was bool) { seesStreams = was }(seesStreams)
	for _, seesStreams = range []bool{true, false} {
		t.Run(fmt.Sprintf("sees streams %t", seesStreams), func(t *testing.T) { eachLevel(t, f) })
	}
}

// Whatever rows are computed together, a row has the bits it has alone.
func TestFewRowsAlone(t *testing.T) {
	eachReading(t, func(t *testing.T) {
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

// Columns have the bits that they have in a product of few columns, which no strands
// are made of: with several strands, a last one that is longer, and columns left over.
func TestStrandsAlone(t *testing.T) {
	eachReading(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(23, 23))
		for _, kind := range []Kind{KindF32, KindBF16, KindF16} {
			for _, s := range [][3]int{{1, 16 * 56, 256}, {8, 16*37 + 5, 200}, {19, 16*16 + 3, 161}, {fewRows, 16 * 31, 128}} {
				m, n, k := s[0], s[1], s[2]
				ld := k + k%2 + 2
				a, w, bias := normals(rng, m*k), normals(rng, n*ld), normals(rng, n)
				b := Matrix{F32: w, Ld: ld, Kind: kind}
				if kind != KindF32 {
					b.Bits = make([]uint16, n*ld)
					narrow(b.Bits, w, kind)
				}
				got, want := make([]float32, m*n), make([]float32, m*n)
				NT(nil, got, n, a, k, b, bias, m, n, k, false)
				for c := 0; c < n; c += 16 {
					cols := min(16, n-c)
					part := b
					if kind == KindF32 {
						part.F32 = b.F32[c*ld:]
					} else {
						part.Bits = b.Bits[c*ld:]
					}
					NT(nil, want[c:], n, a, k, part, bias[c:c+cols], m, cols, k, false)
				}
				equalBits(t, "strands", got, want)
			}
		}
	})
}
