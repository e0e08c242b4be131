package num

import "math/bits"

// Bit fields, shifts, logic and permutes: PTX ISA 9.7.1, 9.7.8 and 9.7.9.

// Bfind32 is bfind{.shiftamt}.u32 (or .s32, of which leading sign bits are skipped):
// the position of the leading bit, or its distance from the top; all ones for none.
func Bfind32(a uint32, signed, shiftamt bool) uint32 {
	if signed && int32(a) < 0 {
		a = ^a
	}
	if a == 0 {
		return ^uint32(0)
	}
	n := uint32(bits.Len32(a) - 1)
	if shiftamt {
		return 31 - n
	}
	return n
}

// Bfind64 is bfind of 64 bits.
func Bfind64(a uint64, signed, shiftamt bool) uint32 {
	if signed && int64(a) < 0 {
		a = ^a
	}
	if a == 0 {
		return ^uint32(0)
	}
	n := uint32(bits.Len64(a) - 1)
	if shiftamt {
		return 63 - n
	}
	return n
}

// BfeU32 is bfe.u32: length bits from pos on; both are read modulo 256 (9.7.1.19).
func BfeU32(a, pos, length uint32) uint32 {
	pos, length = pos&255, length&255
	if pos > 31 {
		return 0
	}
	return a >> pos & uint32(1<<min(length, 32)-1)
}

// BfeS32 is bfe.s32: the field sign-extended; bits beyond the top are the sign of a.
func BfeS32(a, pos, length uint32) uint32 {
	return uint32(bfeS(int64(int32(a)), pos&255, length&255, 31))
}

// BfeU64 is bfe.u64.
func BfeU64(a uint64, pos, length uint32) uint64 {
	pos, length = pos&255, length&255
	if pos > 63 {
		return 0
	}
	return a >> pos & (1<<min(length, 64) - 1)
}

// BfeS64 is bfe.s64.
func BfeS64(a uint64, pos, length uint32) uint64 {
	return uint64(bfeS(int64(a), pos&255, length&255, 63))
}

func bfeS(a int64, pos, length, msb uint32) int64 {
	if length == 0 {
		return 0
	}
	// The field's last bit is its sign, or the top bit of a if the field passes it.
	top := min(pos+length-1, msb)
	if pos > top {
		return a >> 63
	}
	return a << (63 - top) >> (63 - top) >> pos
}

// Bfi32 is bfi.b32: b with length bits of a put in at pos (9.7.1.20).
func Bfi32(a, b, pos, length uint32) uint32 {
	pos, length = pos&255, length&255
	if pos > 31 {
		return b
	}
	m := uint32(1<<min(length, 32)-1) << pos
	return b&^m | a<<pos&m
}

// Bfi64 is bfi.b64.
func Bfi64(a, b uint64, pos, length uint32) uint64 {
	pos, length = pos&255, length&255
	if pos > 63 {
		return b
	}
	m := uint64(1<<min(length, 64)-1) << pos
	return b&^m | a<<pos&m
}

// Bmsk is bmsk{.clamp,.wrap}.b32: a mask of b bits from a on (9.7.1.22).
func Bmsk(a, b uint32, wrap bool) uint32 {
	if wrap {
		a, b = a&31, b&31
	}
	if a > 31 || b == 0 {
		return 0
	}
	return uint32(1<<min(b, 32)-1) << a
}

// Szext is szext{.clamp,.wrap}: the low b bits of a, sign- or zero-extended (9.7.1.21).
func Szext(a, b uint32, signed, wrap bool) uint32 {
	if wrap {
		b &= 31
	}
	switch {
	case b >= 32:
		return a
	case b == 0:
		return 0
	case signed:
		return uint32(int32(a<<(32-b)) >> (32 - b))
	}
	return a & (1<<b - 1)
}

// Fns is fns.b32: the position of the n-th set bit of mask, counted from base: upward
// for n > 0, downward for n < 0, base itself for n = 0; all ones for none (9.7.1.17).
func Fns(mask, base, n uint32) uint32 {
	base &= 31
	if n == 0 {
		if mask>>base&1 != 0 {
			return base
		}
		return ^uint32(0)
	}
	step, left := 1, int64(int32(n))
	if left < 0 {
		step, left = -1, -left
	}
	for i := int(base); i >= 0 && i < 32; i += step {
		if mask>>i&1 != 0 {
			if left--; left == 0 {
				return uint32(i)
			}
		}
	}
	return ^uint32(0)
}

// Shl32 is shl.b32: amounts above 31 give 0.
func Shl32(a, n uint32) uint32 { return a << n }

// ShrU32 is shr.u32 and shr.b32.
func ShrU32(a, n uint32) uint32 { return a >> n }

// ShrS32 is shr.s32.
func ShrS32(a, n uint32) uint32 { return uint32(int32(a) >> n) }

// Shl64 is shl.b64.
func Shl64(a uint64, n uint32) uint64 { return a << n }

// ShrU64 is shr.u64 and shr.b64.
func ShrU64(a uint64, n uint32) uint64 { return a >> n }

// ShrS64 is shr.s64.
func ShrS64(a uint64, n uint32) uint64 { return uint64(int64(a) >> n) }

func shfAmount(n uint32, wrap bool) uint32 {
	if wrap {
		return n & 31
	}
	return min(n, 32)
}

// ShfL is shf.l.{clamp,wrap}.b32 d, a, b, c: the upper half of b:a shifted left (9.7.8.6).
func ShfL(a, b, c uint32, wrap bool) uint32 {
	n := shfAmount(c, wrap)
	return b<<n | a>>(32-n)
}

// ShfR is shf.r: the lower half of b:a shifted right.
func ShfR(a, b, c uint32, wrap bool) uint32 {
	n := shfAmount(c, wrap)
	return b<<(32-n) | a>>n
}

// Lop3 is lop3.b32: bit i of lut is the result where a, b, c have the bits of i (9.7.8.5).
func Lop3(a, b, c uint32, lut uint8) uint32 {
	switch lut { // the forms that compilers emit most
	case 0x96:
		return a ^ b ^ c
	case 0xe8:
		return a&b | (a|b)&c
	case 0xca:
		return a&b | ^a&c
	case 0xf8:
		return a | b&c
	case 0xea:
		return a&b | c
	case 0xfe:
		return a | b | c
	case 0x80:
		return a & b & c
	case 0x78:
		return a ^ b&c
	case 0xc0:
		return a & b
	case 0xfc:
		return a | b
	case 0x3c:
		return a ^ b
	}
	var r uint32
	if lut&0x01 != 0 {
		r |= ^(a | b | c)
	}
	if lut&0x02 != 0 {
		r |= ^(a | b) & c
	}
	if lut&0x04 != 0 {
		r |= ^a & b &^ c
	}
	if lut&0x08 != 0 {
		r |= ^a & b & c
	}
	if lut&0x10 != 0 {
		r |= a &^ (b | c)
	}
	if lut&0x20 != 0 {
		r |= a &^ b & c
	}
	if lut&0x40 != 0 {
		r |= a & b &^ c
	}
	if lut&0x80 != 0 {
		r |= a & b & c
	}
	return r
}

// PrmtMode is a mode of prmt (9.7.9.8).
type PrmtMode uint8

const (
	PrmtIndex PrmtMode = iota
	PrmtF4E
	PrmtB4E
	PrmtRC8
	PrmtECL
	PrmtECR
	PrmtRC16
)

var prmtNames = [...]string{"", "f4e", "b4e", "rc8", "ecl", "ecr", "rc16"}

// PrmtModeByName gives the mode that a modifier names.
func PrmtModeByName(name string) (PrmtMode, bool) {
	for i, n := range prmtNames[1:] {
		if n == name {
			return PrmtMode(i + 1), true
		}
	}
	return PrmtIndex, false
}

// prmtSelectors has the selectors of each special mode by the two low bits of c.
var prmtSelectors = [...][4]uint32{
	PrmtF4E:  {0x3210, 0x4321, 0x5432, 0x6543},
	PrmtB4E:  {0x5670, 0x6701, 0x7012, 0x0123},
	PrmtRC8:  {0x0000, 0x1111, 0x2222, 0x3333},
	PrmtECL:  {0x3210, 0x3211, 0x3222, 0x3333},
	PrmtECR:  {0x0000, 0x1110, 0x2210, 0x3210},
	PrmtRC16: {0x1010, 0x3232, 0x1010, 0x3232},
}

// Prmt is prmt.b32: bytes of b:a picked by the nibbles of c. Bit 3 of a nibble spreads
// the sign of its byte.
func Prmt(a, b, c uint32) uint32 {
	x := uint64(b)<<32 | uint64(a)
	var r uint32
	for i := uint(0); i < 32; i += 8 {
		s := c >> (i / 2)
		y := uint32(x>>(s&7*8)) & 0xff
		if s&8 != 0 {
			y = uint32(int32(y<<24)>>31) & 0xff
		}
		r |= y << i
	}
	return r
}

// PrmtOf is prmt with any mode.
func PrmtOf(a, b, c uint32, m PrmtMode) uint32 {
	if m != PrmtIndex {
		c = prmtSelectors[m][c&3]
	}
	return Prmt(a, b, c)
}
