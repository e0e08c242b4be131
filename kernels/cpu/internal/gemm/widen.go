package gemm

import (
	"fmt"
	"math"
)

// widen expands 16-bit values to float32, exactly.
func widen(dst []float32, src []uint16, kind Kind) {
	src = src[:len(dst)]
	done := widenFast(dst, src, kind)
	dst, src = dst[done:], src[done:]
	for i, v := range src {
		dst[i] = widen1(v, kind)
	}
}

func widen1(v uint16, kind Kind) float32 {
	switch kind {
	case KindBF16:
		return math.Float32frombits(uint32(v) << 16)
	case KindF16:
		return f16(v)
	}
	panic(fmt.Sprintf("gemm: %v is no 16-bit storage", kind))
}

// f16 is the value of an IEEE 754 binary16. A signalling NaN is made quiet, as
// the hardware's conversion does.
func f16(v uint16) float32 {
	sign := uint32(v&0x8000) << 16
	exp, frac := uint32(v>>10&0x1f), uint32(v&0x3ff)
	switch {
	case exp == 0: // zero or subnormal: frac · 2⁻²⁴
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*0x1p-24))
	case exp < 31:
		return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
	case frac == 0:
		return math.Float32frombits(sign | 0x7f800000)
	}
	return math.Float32frombits(sign | 0x7fc00000 | frac<<13)
}
