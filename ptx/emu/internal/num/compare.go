package num

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx"
)

// Comparisons, minima and maxima, signs and classes of every float format.

// Cmp is a comparison operator of set, setp and vset (9.7.6). Those ending in U are
// true if an operand is NaN; the plain ones are false then, NE too.
type Cmp uint8

const (
	EQ Cmp = iota
	NE
	LT
	LE
	GT
	GE
	EQU
	NEU
	LTU
	LEU
	GTU
	GEU
	NUM // both are numbers
	NAN // one is not
	LO  // unsigned <
	LS
	HI
	HS
)

var cmpNames = [...]string{"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan", "lo", "ls", "hi", "hs"}

// CmpByName gives the operator that a modifier names.
func CmpByName(name string) (Cmp, bool) {
	for i, n := range cmpNames {
		if n == name {
			return Cmp(i), true
		}
	}
	return 0, false
}

func (c Cmp) String() string { return cmpNames[c] }

// cmpTable[c] has the bit of each outcome that makes c true: less 1, equal 2,
// greater 4, unordered 8.
var cmpTable = [...]uint8{EQ: 2, NE: 5, LT: 1, LE: 3, GT: 4, GE: 6,
	EQU: 10, NEU: 13, LTU: 9, LEU: 11, GTU: 12, GEU: 14, NUM: 7, NAN: 8, LO: 1, LS: 3, HI: 4, HS: 6}

// Outcomes of Order and friends.
const (
	less uint8 = 1 << iota
	equal
	greater
	unordered
)

// Holds tells whether the operator is true of an outcome.
func (c Cmp) Holds(outcome uint8) bool { return cmpTable[c]&outcome != 0 }

func order[T int32 | uint32 | int64 | uint64 | float32 | float64](a, b T) uint8 {
	switch {
	case a < b:
		return less
	case a == b:
		return equal
	case a > b:
		return greater
	}
	return unordered
}

// CompareS32 and its like compare registers. The unsigned operators may be used with
// signed types and the other way round; the type decides (9.7.6.1).
func CompareS32(c Cmp, a, b uint32) bool { return c.Holds(order(int32(a), int32(b))) }

// CompareU32 compares as u32, b32 and, zero-extended, all smaller unsigned types.
func CompareU32(c Cmp, a, b uint32) bool { return c.Holds(order(a, b)) }

// CompareS64 compares as s64.
func CompareS64(c Cmp, a, b uint64) bool { return c.Holds(order(int64(a), int64(b))) }

// CompareU64 compares as u64 and b64.
func CompareU64(c Cmp, a, b uint64) bool { return c.Holds(order(a, b)) }

// CompareF32 compares as f32; pass operands through Ftz32 for .ftz.
func CompareF32(c Cmp, a, b uint32) bool { return c.Holds(order(f32(a), f32(b))) }

// CompareF64 compares as f64.
func CompareF64(c Cmp, a, b uint64) bool { return c.Holds(order(f64(a), f64(b))) }

// CompareF16 compares as f16; pass operands through FtzF16 for .ftz.
func CompareF16(c Cmp, a, b uint16) bool { return c.Holds(order(f32(F16ToF32(a)), f32(F16ToF32(b)))) }

// CompareBF16 compares as bf16.
func CompareBF16(c Cmp, a, b uint16) bool {
	return c.Holds(order(f32(uint32(a)<<16), f32(uint32(b)<<16)))
}

// Compare compiles set's and setp's comparison of two registers of type t, of which
// the low bits are read. Packed types are not among them: compare their halves.
func Compare(c Cmp, t ptx.Type, ftz bool) (func(a, b uint64) bool, error) {
	switch t {
	case ptx.F16:
		if ftz {
			return func(a, b uint64) bool { return CompareF16(c, FtzF16(uint16(a)), FtzF16(uint16(b))) }, nil
		}
		return func(a, b uint64) bool { return CompareF16(c, uint16(a), uint16(b)) }, nil
	case ptx.BF16:
		return func(a, b uint64) bool { return CompareBF16(c, uint16(a), uint16(b)) }, nil
	case ptx.F32:
		if ftz {
			return func(a, b uint64) bool { return CompareF32(c, Ftz32(uint32(a)), Ftz32(uint32(b))) }, nil
		}
		return func(a, b uint64) bool { return CompareF32(c, uint32(a), uint32(b)) }, nil
	case ptx.F64:
		return func(a, b uint64) bool { return CompareF64(c, a, b) }, nil
	case ptx.B16, ptx.U16, ptx.S16, ptx.B32, ptx.U32, ptx.S32, ptx.B64, ptx.U64, ptx.S64:
		if t.Kind() == ptx.KindSigned {
			return func(a, b uint64) bool { return CompareS64(c, extend(t, a), extend(t, b)) }, nil
		}
		return func(a, b uint64) bool { return CompareU64(c, extend(t, a), extend(t, b)) }, nil
	}
	return nil, fmt.Errorf("comparison %v: no operands of type %v", c, t)
}

// MinMax is a modifier set of min and max of floats (9.7.3.11, 9.7.3.12, 9.7.4.7, 9.7.4.8).
type MinMax struct {
	Max        bool
	NaN        bool // .NaN: NaN if an operand is; else the other operand
	XorSignAbs bool // .xorsign.abs: of the magnitudes, with the product's sign
	Ftz        bool // f32, f16
}

// pick works on magnitudes and signs, which order alike in every format: −0 < +0.
func (m MinMax) pick(a, b, sign, inf uint64) uint64 {
	an, bn := a&^sign > inf, b&^sign > inf
	xs := (a ^ b) & sign
	if m.XorSignAbs {
		a, b = a&^sign, b&^sign
	}
	switch {
	case an && bn, m.NaN && (an || bn):
		return sign - 1 // canonical, without the product's sign
	case an:
		a = b
	case bn:
	default:
		// As signed integers, with negative ones in reverse.
		x, y := key(a, sign), key(b, sign)
		if (x < y) == m.Max {
			a = b
		}
	}
	if m.XorSignAbs {
		a |= xs
	}
	return a
}

func key(b, sign uint64) int64 {
	if b&sign != 0 {
		return -int64(b&^sign) - 1
	}
	return int64(b)
}

// F32 is min/max.f32.
func (m MinMax) F32(a, b uint32) uint32 {
	if m.Ftz {
		a, b = Ftz32(a), Ftz32(b)
	}
	return uint32(m.pick(uint64(a), uint64(b), sign32, inf32))
}

// F64 is min/max.f64.
func (m MinMax) F64(a, b uint64) uint64 {
	if r := m.pick(a, b, sign64, inf64); r&^sign64 <= inf64 {
		return r
	}
	return nan64
}

// F16 is min/max.f16.
func (m MinMax) F16(a, b uint16) uint16 {
	if m.Ftz {
		a, b = FtzF16(a), FtzF16(b)
	}
	return uint16(m.pick(uint64(a), uint64(b), 0x8000, 0x7c00))
}

// BF16 is min/max.bf16.
func (m MinMax) BF16(a, b uint16) uint16 {
	return uint16(m.pick(uint64(a), uint64(b), 0x8000, 0x7f80))
}

// F16x2 is min/max.f16x2.
func (m MinMax) F16x2(a, b uint32) uint32 {
	return uint32(m.F16(uint16(a), uint16(b))) | uint32(m.F16(uint16(a>>16), uint16(b>>16)))<<16
}

// BF16x2 is min/max.bf16x2.
func (m MinMax) BF16x2(a, b uint32) uint32 {
	return uint32(m.BF16(uint16(a), uint16(b))) | uint32(m.BF16(uint16(a>>16), uint16(b>>16)))<<16
}

// Abs32 is abs{.ftz}.f32: the sign bit cleared, of NaN too.
func Abs32(a uint32, ftz bool) uint32 {
	if ftz {
		a = Ftz32(a)
	}
	return a &^ sign32
}

// Neg32 is neg{.ftz}.f32.
func Neg32(a uint32, ftz bool) uint32 {
	if ftz {
		a = Ftz32(a)
	}
	return a ^ sign32
}

// Copysign32 is copysign.f32 d, a, b (9.7.3.2): b with the sign of a.
func Copysign32(a, b uint32) uint32 { return b&^sign32 | a&sign32 }

// Copysign64 is copysign.f64 d, a, b.
func Copysign64(a, b uint64) uint64 { return b&^sign64 | a&sign64 }

// Class is a class that testp asks for (9.7.3.1).
type Class uint8

const (
	Finite Class = iota
	Infinite
	Number
	NotANumber
	Normal
	Subnormal
)

var classNames = [...]string{"finite", "infinite", "number", "notanumber", "normal", "subnormal"}

// ClassByName gives the class that a modifier names.
func ClassByName(name string) (Class, bool) {
	for i, n := range classNames {
		if n == name {
			return Class(i), true
		}
	}
	return 0, false
}

func testp(c Class, mag, min, inf uint64) bool {
	switch c {
	case Finite:
		return mag < inf
	case Infinite:
		return mag == inf
	case Number:
		return mag <= inf
	case NotANumber:
		return mag > inf
	case Normal:
		return mag >= min && mag < inf
	}
	return mag < min && mag != 0
}

// Testp32 is testp.f32. Zero is neither normal nor subnormal.
func Testp32(c Class, a uint32) bool { return testp(c, uint64(a&^sign32), min32, inf32) }

// Testp64 is testp.f64.
func Testp64(c Class, a uint64) bool { return testp(c, a&^sign64, 1<<52, inf64) }
