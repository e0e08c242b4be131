package num

import "math/bits"

// Integer arithmetic: PTX ISA 9.7.1 and 9.7.2, what Go's operators do not give.

// MulHiS32 is mul.hi.s32.
func MulHiS32(a, b uint32) uint32 { return uint32(int64(int32(a)) * int64(int32(b)) >> 32) }

// MulHiU32 is mul.hi.u32.
func MulHiU32(a, b uint32) uint32 { return uint32(uint64(a) * uint64(b) >> 32) }

// MulHiU64 is mul.hi.u64.
func MulHiU64(a, b uint64) uint64 {
	hi, _ := bits.Mul64(a, b)
	return hi
}

// MulHiS64 is mul.hi.s64.
func MulHiS64(a, b uint64) uint64 {
	hi, _ := bits.Mul64(a, b)
	return hi - uint64(int64(a)>>63)&b - uint64(int64(b)>>63)&a
}

// MulHiS16 is mul.hi.s16.
func MulHiS16(a, b uint16) uint16 { return uint16(int32(int16(a)) * int32(int16(b)) >> 16) }

// MulHiU16 is mul.hi.u16.
func MulHiU16(a, b uint16) uint16 { return uint16(uint32(a) * uint32(b) >> 16) }

func sext24(a uint32) int64 { return int64(int32(a<<8) >> 8) }

// Mul24LoU is mul24.lo.u32: the low 32 bits of the product of 24 bits.
func Mul24LoU(a, b uint32) uint32 { return (a & 0xffffff) * (b & 0xffffff) }

// Mul24LoS is mul24.lo.s32.
func Mul24LoS(a, b uint32) uint32 { return uint32(sext24(a) * sext24(b)) }

// Mul24HiU is mul24.hi.u32: bits 47..16 of the product.
func Mul24HiU(a, b uint32) uint32 {
	return uint32(uint64(a&0xffffff) * uint64(b&0xffffff) >> 16)
}

// Mul24HiS is mul24.hi.s32.
func Mul24HiS(a, b uint32) uint32 { return uint32(sext24(a) * sext24(b) >> 16) }

// AddSatS32 is add.sat.s32.
func AddSatS32(a, b uint32) uint32 { return satS32(int64(int32(a)) + int64(int32(b))) }

// SubSatS32 is sub.sat.s32.
func SubSatS32(a, b uint32) uint32 { return satS32(int64(int32(a)) - int64(int32(b))) }

// MadHiSatS32 is mad.hi.sat.s32.
func MadHiSatS32(a, b, c uint32) uint32 {
	return satS32(int64(int32(MulHiS32(a, b))) + int64(int32(c)))
}

// Mad24HiSatS32 is mad24.hi.sat.s32.
func Mad24HiSatS32(a, b, c uint32) uint32 {
	return satS32(int64(int32(Mul24HiS(a, b))) + int64(int32(c)))
}

func satS32(x int64) uint32 { return uint32(min(max(x, -1<<31), 1<<31-1)) }

// Division by zero gives all ones for quotient and remainder, as the division
// routines of GPUs do; the PTX ISA leaves both undefined.

// DivU64 is div.u64 and, on zero-extended operands, of smaller types.
func DivU64(a, b uint64) uint64 {
	if b == 0 {
		return ^uint64(0)
	}
	return a / b
}

// DivS64 is div.s64; the most negative number by −1 gives itself.
func DivS64(a, b uint64) uint64 {
	if b == 0 {
		return ^uint64(0)
	}
	return uint64(int64(a) / int64(b))
}

// RemU64 is rem.u64.
func RemU64(a, b uint64) uint64 {
	if b == 0 {
		return ^uint64(0)
	}
	return a % b
}

// RemS64 is rem.s64, of the sign of a.
func RemS64(a, b uint64) uint64 {
	if b == 0 {
		return ^uint64(0)
	}
	return uint64(int64(a) % int64(b))
}

// DivU32 is div.u32.
func DivU32(a, b uint32) uint32 {
	if b == 0 {
		return ^uint32(0)
	}
	return a / b
}

// DivS32 is div.s32.
func DivS32(a, b uint32) uint32 {
	if b == 0 {
		return ^uint32(0)
	}
	return uint32(int32(a) / int32(b))
}

// RemU32 is rem.u32.
func RemU32(a, b uint32) uint32 {
	if b == 0 {
		return ^uint32(0)
	}
	return a % b
}

// RemS32 is rem.s32.
func RemS32(a, b uint32) uint32 {
	if b == 0 {
		return ^uint32(0)
	}
	return uint32(int32(a) % int32(b))
}

// SadS32 is sad.s32: c + |a−b|.
func SadS32(a, b, c uint32) uint32 { return c + uint32(AbsDiffS(int64(int32(a)), int64(int32(b)))) }

// SadU32 is sad.u32.
func SadU32(a, b, c uint32) uint32 { return c + uint32(AbsDiffS(int64(a), int64(b))) }

// AbsDiffS is |a−b| modulo 2^64.
func AbsDiffS(a, b int64) uint64 {
	if a < b {
		return uint64(b) - uint64(a)
	}
	return uint64(a) - uint64(b)
}

// AbsDiffU is |a−b| of unsigned numbers.
func AbsDiffU(a, b uint64) uint64 { return max(a, b) - min(a, b) }

// AddCC32 is add{c}{.cc}.32: the sum with a carry, and the carry out (9.7.2).
func AddCC32(a, b, carry uint32) (sum, out uint32) { return bits.Add32(a, b, carry) }

// SubCC32 is sub{c}{.cc}.32 with borrows.
func SubCC32(a, b, borrow uint32) (diff, out uint32) { return bits.Sub32(a, b, borrow) }

// AddCC64 is add{c}{.cc}.64.
func AddCC64(a, b, carry uint64) (sum, out uint64) { return bits.Add64(a, b, carry) }

// SubCC64 is sub{c}{.cc}.64.
func SubCC64(a, b, borrow uint64) (diff, out uint64) { return bits.Sub64(a, b, borrow) }

// Each16 applies f to both halves: add, min, max and neg of u16x2 and s16x2.
func Each16(a, b uint32, f func(a, b uint16) uint16) uint32 {
	return uint32(f(uint16(a), uint16(b))) | uint32(f(uint16(a>>16), uint16(b>>16)))<<16
}

// AddX2 is add.u16x2 and add.s16x2.
func AddX2(a, b uint32) uint32 {
	const h = 0x80008000
	return (a&^h + b&^h) ^ (a^b)&h
}

// MinMaxX2 is min and max of s16x2 (signed) and u16x2, and with relu of s16x2 only.
func MinMaxX2(a, b uint32, isMax, signed, relu bool) uint32 {
	return Each16(a, b, func(x, y uint16) uint16 {
		var r uint16
		switch {
		case signed && isMax:
			r = uint16(max(int16(x), int16(y)))
		case signed:
			r = uint16(min(int16(x), int16(y)))
		case isMax:
			r = max(x, y)
		default:
			r = min(x, y)
		}
		if relu {
			r = Relu16(r)
		}
		return r
	})
}

// MinReluS32 is min.relu.s32.
func MinReluS32(a, b uint32) uint32 { return uint32(max(min(int32(a), int32(b)), 0)) }

// MaxReluS32 is max.relu.s32.
func MaxReluS32(a, b uint32) uint32 { return uint32(max(int32(a), int32(b), 0)) }

// Dp4a is dp4a.atype.btype: c plus the products of four bytes (9.7.1.23).
func Dp4a(a, b, c uint32, signedA, signedB bool) uint32 {
	for i := range 4 {
		c += byteOf(a, i, signedA) * byteOf(b, i, signedB)
	}
	return c
}

// Dp2a is dp2a.mode.atype.btype: c plus the products of a's two halves with two bytes
// of b, the upper two for .hi (9.7.1.24).
func Dp2a(a, b, c uint32, signedA, signedB, hi bool) uint32 {
	if hi {
		b >>= 16
	}
	for i := range 2 {
		h := a >> (16 * i) & 0xffff
		if signedA {
			h = uint32(int32(int16(h)))
		}
		c += h * byteOf(b, i, signedB)
	}
	return c
}

func byteOf(a uint32, i int, signed bool) uint32 {
	x := a >> (8 * i) & 0xff
	if signed {
		return uint32(int32(int8(x)))
	}
	return x
}
