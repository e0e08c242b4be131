package gemm

import (
	"unsafe"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// kernelFunc computes tiles of dst, one below the other: each a fixed number of
// rows, cols columns. Leading dimensions and strides count elements.
//
//	for each row i of the tiles, and column j {
//		s := 0
//		for l := range k { s = fma(a[i*as+l*ak], b[l*ldb+j], s) }
//		if add { s = c[i*ldc+j] + s }
//		if bias != nil { s = s + bias[j] }
//		c[i*ldc+j] = s
//	}
//
// It reads b up to its full width and c and bias up to cols. Of pairs, a and b
// are words of two bfloat16 each.
type kernelFunc func(tiles, k int, a *float32, as, ak int, b *float32, ldb int, c *float32, ldc int, cols int, bias *float32, add bool, ask uintptr, stride, step int)

// ask is memory that a kernel asks for while it multiplies: a line for every four
// products, stride bytes apart, and step bytes further after each chunk.
type ask struct {
	p            uintptr
	stride, step int
}

// A kernel holds the forms of one tile height: up to the set's width, and up to half of it.
type kernel struct {
	rows         int
	wide, narrow kernelFunc
}

// maxTile is the number of rows of the tallest tile of any set.
const maxTile = 12

// kernelSet lists an instruction set's kernels, tallest first, the last of one row.
type kernelSet struct {
	width int
	tall  []kernel
}

// mul computes rows × cols of dst, cols up to the width, by the tallest tiles that fit.
func (s *kernelSet) mul(rows, k int, a *float32, as, ak int, b *float32, ldb int, c *float32, ldc int, cols int, bias *float32, add bool, ask ask) {
	for i := range s.tall {
		kern := &s.tall[i]
		if rows < kern.rows {
			continue
		}
		f := kern.wide
		if cols <= s.width/2 {
			f = kern.narrow
		}
		tiles := rows / kern.rows
		f(tiles, k, a, as, ak, b, ldb, c, ldc, cols, bias, add, ask.p, ask.stride, ask.step)
		if rows -= tiles * kern.rows; rows == 0 {
			return
		}
		a, c = add32(a, tiles*kern.rows*as), add32(c, tiles*kern.rows*ldc)
	}
}

// kernels chooses the set for cols columns, of pairs or of f32. AVX-512 would
// compute eight or fewer of f32 with half a register idle; AVX2's narrowest tiles
// give the same bits.
func kernels(cols int, pairs bool) *kernelSet {
	if pairs {
		return pairKernels
	}
	isa := min(vec.Active(), vec.AVX512)
	if isa == vec.AVX512 && cols <= 8 {
		isa = vec.AVX2
	}
	return kernelSets[isa]
}

// add32 is &p[n].
func add32(p *float32, n int) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(p), 4*n))
}

func slice32(p *float32, n int) []float32 { return unsafe.Slice(p, n) }
