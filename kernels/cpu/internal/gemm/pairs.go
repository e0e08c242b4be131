package gemm

import (
	"math"
	"unsafe"
)

// packPairs is packBlock for a bfloat16 b in pairs: k0 and kc count pairs, and
// an odd tail is a last pair without second half.
func packPairs(dst []float32, b *Matrix, form Form, tail bool, col0, col1, k0, kc int) {
	whole := kc
	if tail {
		whole--
	}
	done := 0
	if form == FormNN {
		done = packPairRowsFast(dst, b, col0, col1, k0, whole, kc)
	}
	for n0 := col0; n0 < col1; n0 += panel {
		nc, l0, j0 := min(panel, col1-n0), 0, 0
		switch {
		case form == FormNT:
			j0, l0 = packPairColumnsFast(dst, b, n0, nc, k0, whole)
		case done > 0:
			done--
			j0, l0 = panel, whole
		}
		for j := range nc {
			l := 0
			if j < j0 {
				l = l0
			}
			for ; l < kc; l++ {
				first, step := (n0+j)*b.Ld+2*(k0+l), 1
				if form == FormNN {
					first, step = 2*(k0+l)*b.Ld+n0+j, b.Ld
				}
				pair := uint32(b.Bits[first])
				if l < whole {
					pair |= uint32(b.Bits[first+step]) << 16
				}
				dst[l*panel+j] = math.Float32frombits(pair)
			}
		}
		clearBeyond(dst, nc, kc)
		dst = dst[kc*panel:]
	}
}

// bits16 is the memory of s in halves of elements.
func bits16(s []float32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(s))), 2*len(s))
}
