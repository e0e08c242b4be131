package gemm

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Whatever is packed together, an element's bits are those of its row and column
// alone: over several parts along k and to the right, the last ones of odd sizes, down
// several blocks of rows, in all forms and storages of dst.
func TestPartsKeepTheirBits(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(41, 41))
		for _, s := range [][3]int{{61, partCols + 37, 2*KB + 70}, {maxTile*group + 1, 2 * partCols, KB}, {16, 2*partCols + 1, KB + 1}, {maxRows(l2) + 30, 40, KB + 9}} {
			m, n, k := s[0], s[1], s[2]
			a, b, bias := normals(rng, m*k), normals(rng, n*k), normals(rng, n)
			for _, accumulate := range []bool{false, true} {
				was := normals(rng, m*n)
				compare := func(form string, whole func(dst []float32), one func(dst []float32, ldd, row, rows, col, cols int)) {
					t.Helper()
					all := append([]float32(nil), was...)
					whole(all)
					for range 4 {
						row, col := rng.IntN(m), rng.IntN(n)
						rows, cols := min(1+rng.IntN(3), m-row), min(1+rng.IntN(40), n-col)
						part := make([]float32, rows*cols)
						for i := range rows {
							copy(part[i*cols:][:cols], was[(row+i)*n+col:])
						}
						one(part, cols, row, rows, col, cols)
						for i := range rows {
							equalBits(t, fmt.Sprintf("%s %v, row %d, column %d", form, s, row+i, col), part[i*cols:][:cols], all[(row+i)*n+col:])
						}
					}
				}
				compare("NT", func(dst []float32) {
					NT(inTurn, dst, n, a, k, Matrix{F32: b, Ld: k}, bias, m, n, k, accumulate)
				}, func(dst []float32, ldd, row, rows, col, cols int) {
					NT(nil, dst, ldd, a[row*k:], k, Matrix{F32: b[col*k:], Ld: k}, bias[col:col+cols], rows, cols, k, accumulate)
				})
				compare("NN", func(dst []float32) {
					NN(nil, dst, n, a, k, Matrix{F32: b, Ld: n}, nil, m, n, k, accumulate)
				}, func(dst []float32, ldd, row, rows, col, cols int) {
					NN(nil, dst, ldd, a[row*k:], k, Matrix{F32: b[col:], Ld: n}, nil, rows, cols, k, accumulate)
				})
				compare("TN", func(dst []float32) {
					TN(nil, dst, n, a, m, b, n, m, n, k, accumulate)
				}, func(dst []float32, ldd, row, rows, col, cols int) {
					TN(nil, dst, ldd, a[row:], m, b[col:], n, rows, cols, k, accumulate)
				})
				// dst in 16 bits: sums grow aside, part by part.
				bits := make([]uint16, m*n)
				for i, v := range was {
					bits[i] = bf16Of(v)
				}
				want := make([]float32, m*n)
				widen(want, bits, KindBF16)
				NN(nil, want, n, a, k, Matrix{F32: b, Ld: n}, bias, m, n, k, accumulate)
				Product(inTurn, FormNN, Matrix{Bits: bits, Kind: KindBF16, Ld: n}, Matrix{F32: a, Ld: k}, Matrix{F32: b, Ld: n}, bias, m, n, k, accumulate)
				rounded := make([]uint16, m*n)
				narrow(rounded, want, KindBF16)
				for i, v := range rounded {
					if bits[i] != v {
						t.Fatalf("%v in 16 bits: element %d is %#x, want %#x", s, i, bits[i], v)
					}
				}
			}
		}
	})
}
