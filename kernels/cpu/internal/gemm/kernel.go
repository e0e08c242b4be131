package gemm

import (
	"unsafe"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// kernelFunc computes a tile of dst: a fixed number of rows, cols columns.
// Leading dimensions and strides count elements.
//
//	for each row i and column j of the tile {
//		s := 0
//		for l := range k { s = fma(a[i*as+l*ak], b[l*ldb+j], s) }
//		if add { s = c[i*ldc+j] + s }
//		if bias != nil { s = s + bias[j] }
//		c[i*ldc+j] = s
//	}
//
// It reads b up to its full width and c and bias up to cols.
type kernelFunc func(k int, a *float32, as, ak int, b *float32, ldb int, c *float32, ldc int, cols int, bias *float32, add bool)

// A kernel holds the forms of one tile height: up to the set's width, and up to half of it.
type kernel struct {
	rows         int
	wide, narrow kernelFunc
}

// kernelSet lists an instruction set's kernels, tallest first, the last of one row.
type kernelSet struct {
	width int
	tall  []kernel
}

func (s *kernelSet) forRows(rows int) *kernel {
	for i := range s.tall {
		if s.tall[i].rows <= rows {
			return &s.tall[i]
		}
	}
	panic("gemm: no kernel for a single row")
}

// kernels chooses the set for cols columns. AVX-512 would compute eight or
// fewer with half a register idle; AVX2's narrowest tiles give the same bits.
func kernels(cols int) *kernelSet {
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
