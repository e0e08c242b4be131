package num

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/selkie-ml/selkie/ptx"
)

// Cvt names a conversion: cvt{.rnd}{.relu}{.satfinite}{.ftz}{.sat}.dst.src (9.7.9.22).
type Cvt struct {
	Dst, Src  ptx.Type
	Rnd       Rounding
	Int       bool // rounds to an integer: .rni .rzi .rmi .rpi
	Ftz       bool
	Sat       bool
	Relu      bool
	SatFinite bool
}

func layoutOf(t ptx.Type) (layout, bool) {
	switch t {
	case ptx.F16, ptx.F16x2:
		return layF16, true
	case ptx.BF16, ptx.BF16x2:
		return layBF16, true
	case ptx.TF32:
		return layTF32, true
	case ptx.F32:
		return layF32, true
	case ptx.F64:
		return layF64, true
	case ptx.E4M3, ptx.E4M3x2:
		return layE4M3, true
	case ptx.E5M2, ptx.E5M2x2:
		return layE5M2, true
	}
	return layout{}, false
}

func isInt(t ptx.Type) bool {
	k := t.Kind()
	return (k == ptx.KindSigned || k == ptx.KindUnsigned) && t >= ptx.U8 && t <= ptx.S64
}

// packed says how many elements a type of a cvt has.
func packed(t ptx.Type) bool {
	switch t {
	case ptx.F16x2, ptx.BF16x2, ptx.E4M3x2, ptx.E5M2x2:
		return true
	}
	return false
}

// Unary compiles a conversion of one scalar. The function reads the low bits of x
// that Src has and gives those of Dst, sign-extended to 64 bits if Dst is a signed
// integer, zero-extended otherwise. Of packed types it converts one element: see Pair.
func (c Cvt) Unary() (func(x uint64) uint64, error) {
	if f := c.fast(); f != nil {
		return f, nil
	}
	dl, dst := layoutOf(c.Dst)
	sl, src := layoutOf(c.Src)
	switch {
	case src && dst:
		return c.floatToFloat(dl, sl), nil
	case src && isInt(c.Dst):
		return c.floatToInt(sl), nil
	case isInt(c.Src) && dst:
		return c.intToFloat(dl), nil
	case isInt(c.Src) && isInt(c.Dst):
		return c.intToInt(), nil
	}
	return nil, fmt.Errorf("cvt.%v.%v: no such conversion", c.Dst, c.Src)
}

// Pair compiles a conversion to a packed type from two scalars: hi becomes the
// upper half of the result, as in cvt.rn.bf16x2.f32 d, hi, lo.
func (c Cvt) Pair() (func(hi, lo uint64) uint64, error) {
	if !packed(c.Dst) || packed(c.Src) {
		return nil, fmt.Errorf("cvt.%v.%v: no conversion of a pair of scalars", c.Dst, c.Src)
	}
	f, err := c.Unary()
	if err != nil {
		return nil, err
	}
	w := uint(c.Dst.Bits() / 2)
	return func(hi, lo uint64) uint64 { return f(hi)<<w | f(lo) }, nil
}

// Packed compiles a conversion between packed types, element by element.
func (c Cvt) Packed() (func(x uint64) uint64, error) {
	if !packed(c.Dst) || !packed(c.Src) {
		return nil, fmt.Errorf("cvt.%v.%v: no conversion between packed types", c.Dst, c.Src)
	}
	f, err := c.Unary()
	if err != nil {
		return nil, err
	}
	s, d := uint(c.Src.Bits()/2), uint(c.Dst.Bits()/2)
	m := uint64(1)<<s - 1
	return func(x uint64) uint64 { return f(x>>s&m)<<d | f(x&m) }, nil
}

// fast has the conversions that kernels are full of.
func (c Cvt) fast() func(x uint64) uint64 {
	switch {
	case c.Int || c.Ftz || c.Sat || c.Relu || c.SatFinite:
		return nil
	case c.Rnd == RNA && c.Dst == ptx.TF32 && c.Src == ptx.F32:
		return func(x uint64) uint64 { return uint64(F32ToTF32(uint32(x))) }
	case c.Rnd != RN:
		return nil
	}
	switch [2]ptx.Type{c.Dst, c.Src} {
	case [2]ptx.Type{ptx.F32, ptx.F16}:
		return func(x uint64) uint64 { return uint64(F16ToF32(uint16(x))) }
	case [2]ptx.Type{ptx.F32, ptx.BF16}:
		return func(x uint64) uint64 { return uint64(BF16ToF32(uint16(x))) }
	case [2]ptx.Type{ptx.F16, ptx.F32}, [2]ptx.Type{ptx.F16x2, ptx.F32}:
		return func(x uint64) uint64 { return uint64(F32ToF16(uint32(x))) }
	case [2]ptx.Type{ptx.BF16, ptx.F32}, [2]ptx.Type{ptx.BF16x2, ptx.F32}:
		return func(x uint64) uint64 { return uint64(F32ToBF16(uint32(x))) }
	case [2]ptx.Type{ptx.F32, ptx.S32}:
		return func(x uint64) uint64 { return uint64(math.Float32bits(float32(int32(x)))) }
	case [2]ptx.Type{ptx.F32, ptx.U32}:
		return func(x uint64) uint64 { return uint64(math.Float32bits(float32(uint32(x)))) }
	case [2]ptx.Type{ptx.F64, ptx.F32}:
		return func(x uint64) uint64 { return canon64(float64(f32(uint32(x)))) }
	case [2]ptx.Type{ptx.F32, ptx.F64}:
		return func(x uint64) uint64 { return uint64(canon32(float32(math.Float64frombits(x)))) }
	}
	return nil
}

func (c Cvt) floatToFloat(dl, sl layout) func(x uint64) uint64 {
	ones := sl.sign()<<1 - 1
	one := uint64(dl.bias()) << dl.man
	half := c.Ftz && sl == layF32
	return func(x uint64) uint64 {
		x &= ones
		if half {
			x = uint64(Ftz32(uint32(x)))
		}
		v := sl.decode(x)
		if c.Int {
			v = v.round(c.Rnd)
		}
		b := c.finite(dl, v)
		if c.Ftz && dl == layF32 {
			b = uint64(Ftz32(uint32(b)))
		}
		switch {
		case c.Sat && (v.cls == clsNaN || b >= dl.sign()), c.Relu && v.cls != clsNaN && b >= dl.sign():
			b = 0
		case c.Sat && b > one:
			b = one
		case dl == layTF32 && v.cls == clsNaN:
			return nan32
		}
		if dl == layTF32 {
			return b << 13
		}
		return b
	}
}

// finite encodes v, heeding satfinite. The fp8 formats of NVIDIA always saturate.
func (c Cvt) finite(l layout, v value) uint64 {
	var s uint64
	if v.neg {
		s = l.sign()
	}
	var b uint64
	switch v.cls {
	case clsNaN:
		return l.nan()
	case clsZero:
		return s
	case clsInf:
		b = l.limit() | s
	default:
		b = l.encode(v.neg, v.mant, v.exp, false, c.Rnd)
	}
	if c.SatFinite && b&^s >= l.limit() {
		b = l.limit() - 1 | s
	}
	return b
}

// round rounds to an integer; what becomes zero keeps its sign.
func (v value) round(r Rounding) value {
	if v.cls != clsFinite || v.exp >= 0 {
		return v
	}
	s := uint(-v.exp)
	var kept uint64
	half, rest := false, true
	if s <= 63 {
		kept = v.mant >> s
		half = v.mant>>(s-1)&1 != 0
		rest = v.mant&(1<<(s-1)-1) != 0
	}
	if r.roundsUp(v.neg, kept&1 != 0, half, rest) {
		kept++
	}
	v.mant, v.exp = kept, 0
	if kept == 0 {
		v.cls = clsZero
	}
	return v
}

// limits of an integer type, as magnitudes of the most negative and the largest value.
func limits(t ptx.Type) (low, high uint64) {
	w := uint(t.Bits())
	if t.Kind() == ptx.KindSigned {
		return 1 << (w - 1), 1<<(w-1) - 1
	}
	return 0, ^uint64(0) >> (64 - w)
}

// floatToInt clamps to the range of the destination. NaN gives zero, but the top bit
// alone where f64 or a 64-bit integer takes part (9.7.9.22, ".sat modifier").
func (c Cvt) floatToInt(sl layout) func(x uint64) uint64 {
	ones := sl.sign()<<1 - 1
	low, high := limits(c.Dst)
	var nan uint64
	if c.Src == ptx.F64 || c.Dst.Bits() == 64 {
		nan = 1 << (c.Dst.Bits() - 1)
		if c.Dst.Kind() == ptx.KindSigned {
			nan = -low
		}
	}
	return func(x uint64) uint64 {
		x &= ones
		if c.Ftz && sl == layF32 {
			x = uint64(Ftz32(uint32(x)))
		}
		v := sl.decode(x)
		if v.cls == clsNaN {
			return nan
		}
		v = v.round(c.Rnd)
		m := v.mant
		if v.cls == clsInf || v.exp > 0 && bits.Len64(m)+v.exp > 64 {
			m = ^uint64(0)
		} else if v.exp > 0 {
			m <<= v.exp
		}
		if v.cls == clsZero {
			m = 0
		}
		if v.neg {
			return -min(m, low)
		}
		return min(m, high)
	}
}

// extend reads an integer of type t from the low bits.
func extend(t ptx.Type, x uint64) uint64 {
	s := 64 - uint(t.Bits())
	if t.Kind() == ptx.KindSigned {
		return uint64(int64(x<<s) >> s)
	}
	return x << s >> s
}

func (c Cvt) intToFloat(dl layout) func(x uint64) uint64 {
	signed := c.Src.Kind() == ptx.KindSigned
	one := uint64(dl.bias()) << dl.man
	return func(x uint64) uint64 {
		x = extend(c.Src, x)
		if x == 0 {
			return 0
		}
		neg := signed && int64(x) < 0
		if neg {
			x = -x
		}
		if c.Sat {
			if neg {
				return 0
			}
			return one
		}
		return dl.encode(neg, x, 0, false, c.Rnd)
	}
}

func (c Cvt) intToInt() func(x uint64) uint64 {
	low, high := limits(c.Dst)
	signed := c.Src.Kind() == ptx.KindSigned
	return func(x uint64) uint64 {
		x = extend(c.Src, x)
		if !c.Sat {
			return extend(c.Dst, x)
		}
		if signed && int64(x) < 0 {
			return -min(-x, low)
		}
		return min(x, high)
	}
}

// CvtPack is cvt.pack.sat.dst.s32{.b32} (9.7.9.23): a and b saturate to the type dst
// and become the two lowest elements of the result, b the lowest. c's low bits
// follow above them; for 16-bit types pass 0.
func CvtPack(dst ptx.Type, width uint, a, b, c uint32) uint32 {
	clamp := func(x uint32) uint32 {
		lo, hi := int64(0), int64(1)<<width-1
		if dst.Kind() == ptx.KindSigned {
			lo, hi = -1<<(width-1), 1<<(width-1)-1
		}
		return uint32(min(max(int64(int32(x)), lo), hi)) & (1<<width - 1)
	}
	r := clamp(a)<<width | clamp(b)
	if 2*width < 32 {
		r |= c << (2 * width)
	}
	return r
}
