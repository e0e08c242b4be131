package gemm

// Form says which way round b is stored.
type Form uint8

const (
	FormNT Form = iota // b [n,k]: a linear layer's weight, forward
	FormNN             // b [k,n]: the same weight in the backward product
)

// panel is the width of a packed panel, at every level: element (l, j) of a
// panel is at l·panel + j. Columns beyond n are zeros.
const panel = 32

// packBlock writes columns col0 … col1 of rows k0 … k0+kc of b, widened, as
// panels one after the other.
func packBlock(dst []float32, b *Matrix, form Form, col0, col1, k0, kc int) {
	size := kc * panel
	if form == FormNN {
		done := packRowsFast(dst, b, col0, col1, k0, kc)
		dst, col0 = dst[done*size:], col0+done*panel
	}
	for n0 := col0; n0 < col1; n0 += panel {
		nc := min(panel, col1-n0)
		if form == FormNT {
			packTransposed(dst[:size], b, n0, nc, k0, kc)
		} else {
			for l := range kc {
				at, row := (k0+l)*b.Ld+n0, dst[l*panel:][:nc]
				if b.Kind == KindF32 {
					copy(row, b.F32[at:])
				} else {
					widen(row, b.Bits[at:], b.Kind)
				}
			}
		}
		clearBeyond(dst, nc, kc)
		dst = dst[size:]
	}
}

// clearBeyond zeroes a panel's columns from nc on.
func clearBeyond(dst []float32, nc, kc int) {
	if nc < panel {
		for l := range kc {
			clear(dst[l*panel+nc : (l+1)*panel])
		}
	}
}

// packTransposed writes columns n0 … n0+nc of a b in FormNT into a panel: by
// square blocks where the processor allows, the edges by elements.
func packTransposed(dst []float32, b *Matrix, n0, nc, k0, kc int) {
	j0, l0 := packColumnsFast(dst, b, n0, nc, k0, kc)
	for j := range nc {
		l := 0
		if j < j0 {
			l = l0
		}
		at := (n0+j)*b.Ld + k0
		if b.Kind == KindF32 {
			for x, v := range b.F32[at+l : at+kc] {
				dst[(l+x)*panel+j] = v
			}
		} else {
			for x, v := range b.Bits[at+l : at+kc] {
				dst[(l+x)*panel+j] = widen1(v, b.Kind)
			}
		}
	}
}

// ceil is x/y, rounded up.
func ceil(x, y int) int { return (x + y - 1) / y }
