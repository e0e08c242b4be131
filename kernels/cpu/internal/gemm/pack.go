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

// Packed is a matrix reordered once into the form that the kernels read, in its
// own storage format. Products with it have the bits of the unpacked ones.
type Packed struct {
	n, k int
	kind Kind
	// Chunks of KC in ascending k; within a chunk of kc, panels of kc·panel.
	f32  []float32
	bits []uint16
}

// Pack reorders b: [n,k] in FormNT, [k,n] in FormNN.
func Pack(b Matrix, n, k int, form Form) *Packed {
	rows, cols := n, k
	if form == FormNN {
		rows, cols = k, n
	}
	must("Pack", "b", b.len(), rows, cols, b.Ld)
	w := &Packed{n: n, k: k, kind: b.Kind}
	size := ceil(n, panel) * panel * k
	if b.Kind == KindF32 {
		w.f32 = make([]float32, size)
	} else {
		w.bits = make([]uint16, size)
	}
	for k0 := 0; k0 < k; k0 += KC {
		kc := min(KC, k-k0)
		for n0 := 0; n0 < n; n0 += panel {
			at := w.at(n0, k0, kc)
			nc := min(panel, n-n0)
			if b.Kind == KindF32 {
				packAny(w.f32[at:at+kc*panel], b.F32, b.Ld, form, n0, nc, k0, kc)
			} else {
				packAny(w.bits[at:at+kc*panel], b.Bits, b.Ld, form, n0, nc, k0, kc)
			}
		}
	}
	return w
}

// Bytes is the memory that the packed form takes.
func (w *Packed) Bytes() int { return 4*len(w.f32) + 2*len(w.bits) }

// at is the place of the panel of columns n0… in the chunk of kc rows from k0.
func (w *Packed) at(n0, k0, kc int) int { return k0*ceil(w.n, panel)*panel + n0*kc }

// MulPacked is NT or NN, by the form that w was packed from: dst [m,n] (+)= a [m,k] · w (+ bias [n] or nil).
func MulPacked(p Parallel, dst []float32, ldd int, a []float32, lda int, w *Packed, bias []float32, m int, accumulate bool) {
	must("MulPacked", "a", len(a), m, w.k, lda)
	j := newJob("MulPacked", dst, ldd, bias, m, w.n, accumulate)
	j.a, j.as, j.ak = a, lda, 1
	j.packed = w
	j.whole(w.k)
	j.do(p)
}

// packAny reorders without changing the storage format.
func packAny[T uint16 | float32](dst, b []T, ld int, form Form, n0, nc, k0, kc int) {
	if form == FormNT {
		for j := range nc {
			row := b[(n0+j)*ld+k0:][:kc]
			for l, v := range row {
				dst[l*panel+j] = v
			}
		}
	} else {
		for l := range kc {
			copy(dst[l*panel:l*panel+nc], b[(k0+l)*ld+n0:])
		}
	}
	if nc < panel {
		for l := range kc {
			clear(dst[l*panel+nc : (l+1)*panel])
		}
	}
}

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
		if nc < panel {
			for l := range kc {
				clear(dst[l*panel+nc : (l+1)*panel])
			}
		}
		dst = dst[size:]
	}
}

// packTransposed writes columns n0 … n0+nc of a b in FormNT into a panel: by
// blocks of 8×8 where the processor allows, the edges by elements.
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
