// Package half converts single numbers between float32 and the two 16-bit
// floats of weight files: bfloat16 (8 exponent bits, 7 of fraction) and IEEE
// binary16 (5 and 10). Widening is exact; narrowing rounds to nearest, ties to
// even, as PyTorch and the GPU's cvt.rn do. It imports nothing of the project.
package half

import "math"

// BF16ToFloat32 widens the bfloat16 with bits h. It is exact, NaN payloads
// included.
func BF16ToFloat32(h uint16) float32 {
	return math.Float32frombits(uint32(h) << 16)
}

// BF16FromFloat32 rounds f to the nearest bfloat16, ties to even. Values beyond
// the largest finite bfloat16 by half a unit or more become infinite; a NaN
// keeps its sign and upper payload and becomes quiet.
func BF16FromFloat32(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// RoundBF16 is f rounded to bfloat16 and widened again.
func RoundBF16(f float32) float32 { return BF16ToFloat32(BF16FromFloat32(f)) }

// F16ToFloat32 widens the binary16 with bits h. It is exact, subnormals and NaN
// payloads included, but that a signalling NaN becomes quiet, as in hardware.
func F16ToFloat32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h >> 10 & 0x1f)
	frac := uint32(h & 0x3ff)
	switch exp {
	case 0: // zero or subnormal: frac·2⁻²⁴
		f := float32(frac) * 0x1p-24
		return math.Float32frombits(sign | math.Float32bits(f))
	case 0x1f:
		if frac != 0 {
			frac |= 0x200
		}
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

// F16FromFloat32 rounds f to the nearest binary16, ties to even. Magnitudes from
// 65520 up become infinite, those up to 2⁻²⁵ zero; a NaN keeps its sign and
// upper payload and becomes quiet.
func F16FromFloat32(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	abs := b & 0x7fffffff
	switch {
	case abs > 0x7f800000:
		return sign | 0x7e00 | uint16(abs>>13&0x3ff)
	case abs >= 0x477ff000: // 65520: rounds past the largest finite value
		return sign | 0x7c00
	case abs < 0x38800000: // below 2⁻¹⁴: adding 0.5 lets the FPU round at 2⁻²⁴
		r := math.Float32frombits(abs) + 0.5
		return sign | uint16(math.Float32bits(r)-0x3f000000)
	}
	abs -= (127 - 15) << 23
	return sign | uint16((abs+0xfff+abs>>13&1)>>13)
}

// RoundF16 is f rounded to binary16 and widened again.
func RoundF16(f float32) float32 { return F16ToFloat32(F16FromFloat32(f)) }
