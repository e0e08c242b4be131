package num

import "math"

// f16 and bf16 arithmetic: PTX ISA 9.7.4. One rounding per operation; subnormals
// are kept unless .ftz, which f16 alone has.

const nan16 = 0x7fff // what f16 and bf16 operations give for NaN

// F16ToF32 is cvt.f32.f16, exact; NaN becomes canonical.
func F16ToF32(h uint16) uint32 {
	m := uint32(h&0x7fff) << 13
	s := uint32(h&0x8000) << 16
	if m >= 0x7c00<<13 {
		if m > 0x7c00<<13 {
			return nan32
		}
		return s | inf32
	}
	// The exponent is 112 too small; for subnormals the product normalises too.
	return s | math.Float32bits(f32(m)*0x1p112)
}

// F32ToF16 is cvt.rn.f16.f32.
func F32ToF16(b uint32) uint16 {
	s := uint16(b >> 16 & 0x8000)
	m := b &^ sign32
	switch {
	case m >= 0x47800000: // 65536 and up
		if m > inf32 {
			return nan16
		}
		return s | 0x7c00
	case m >= 0x38800000: // normal: the carry may reach the exponent, and infinity
		return s | uint16((m-(112<<23)+0xfff+m>>13&1)>>13)
	}
	// The unit of 0.5 is the unit of subnormals: the addition rounds.
	return s | uint16(math.Float32bits(f32(m)+0.5)-math.Float32bits(0.5))
}

// BF16ToF32 is cvt.f32.bf16, exact; NaN becomes canonical.
func BF16ToF32(h uint16) uint32 {
	if h&0x7fff > 0x7f80 {
		return nan32
	}
	return uint32(h) << 16
}

// F32ToBF16 is cvt.rn.bf16.f32.
func F32ToBF16(b uint32) uint16 {
	if isNaN32(b) {
		return nan16
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// F32ToTF32 is cvt.rna.tf32.f32 (9.7.9.22): ties away from zero, low 13 bits zero.
func F32ToTF32(b uint32) uint32 {
	if isNaN32(b) {
		return nan32
	}
	if b&^sign32 == inf32 {
		return b
	}
	return (b + 1<<12) &^ (1<<13 - 1)
}

func f16(h uint16) float64  { return float64(f32(F16ToF32(h))) }
func bf16(h uint16) float64 { return float64(f32(uint32(h) << 16)) }

// odd32 rounds to f32, to odd: what has at most 22 bits rounds right from there.
func odd32(x float64) uint32 {
	f := float32(x)
	b := math.Float32bits(f)
	if y := float64(f); y != x && b&1 == 0 && x == x {
		if math.Abs(y) > math.Abs(x) {
			return b - 1
		}
		return b + 1
	}
	return b
}

// RoundF16 rounds an f64 to f16 to nearest even; NaN becomes canonical.
func RoundF16(x float64) uint16 { return toF16(x) }

// toF16 rounds an f64 to f16 to nearest.
func toF16(x float64) uint16 { return F32ToF16(odd32(x)) }

// toBF16 rounds an f64 that is exact or rounded to odd to bf16 to nearest.
func toBF16(x float64) uint16 { return F32ToBF16(odd32(x)) }

// FtzF16 replaces a subnormal by the zero of its sign.
func FtzF16(h uint16) uint16 {
	if h&0x7c00 == 0 {
		return h & 0x8000
	}
	return h
}

// SatF16 clamps to [0, 1]; NaN gives +0.
func SatF16(h uint16) uint16 {
	switch {
	case h >= 0x8000 || h > 0x7c00:
		return 0
	case h > 0x3c00:
		return 0x3c00
	}
	return h
}

// SatBF16 clamps to [0, 1]; NaN gives +0.
func SatBF16(h uint16) uint16 {
	switch {
	case h >= 0x8000 || h > 0x7f80:
		return 0
	case h > 0x3f80:
		return 0x3f80
	}
	return h
}

// Relu16 is .relu of f16 and bf16 alike: negatives become +0, NaN stays canonical.
func Relu16(h uint16) uint16 {
	if h >= 0x8000 {
		return 0
	}
	return h
}

// AddF16 is add.rn.f16 (9.7.4.1).
func AddF16(a, b uint16) uint16 { return F32ToF16(AddRN32(F16ToF32(a), F16ToF32(b))) }

// SubF16 is sub.rn.f16 (9.7.4.2).
func SubF16(a, b uint16) uint16 { return F32ToF16(SubRN32(F16ToF32(a), F16ToF32(b))) }

// MulF16 is mul.rn.f16 (9.7.4.3).
func MulF16(a, b uint16) uint16 { return F32ToF16(MulRN32(F16ToF32(a), F16ToF32(b))) }

// FmaF16 is fma.rn.f16 (9.7.4.4).
func FmaF16(a, b, c uint16) uint16 {
	// The product has 22 bits. If the sum has more than 53, the product is far below
	// half a unit of c, and c is the result either way.
	return toF16(f16(a)*f16(b) + f16(c))
}

// AddBF16 is add.rn.bf16.
func AddBF16(a, b uint16) uint16 {
	x, y := bf16(a), bf16(b)
	return toBF16(sumOdd(x, y, x+y))
}

// SubBF16 is sub.rn.bf16.
func SubBF16(a, b uint16) uint16 { return AddBF16(a, b^0x8000) }

// MulBF16 is mul.rn.bf16.
func MulBF16(a, b uint16) uint16 { return toBF16(bf16(a) * bf16(b)) }

// FmaBF16 is fma.rn.bf16.
func FmaBF16(a, b, c uint16) uint16 {
	x, y := bf16(a)*bf16(b), bf16(c)
	return toBF16(sumOdd(x, y, x+y))
}

// Op16 is a modifier set of f16 and bf16 arithmetic.
type Op16 struct{ Ftz, Sat, Relu bool }

func (o Op16) in(h uint16) uint16 {
	if o.Ftz {
		return FtzF16(h)
	}
	return h
}

func (o Op16) outF16(h uint16) uint16 {
	if o.Ftz {
		h = FtzF16(h)
	}
	if o.Sat {
		h = SatF16(h)
	}
	if o.Relu {
		h = Relu16(h)
	}
	return h
}

func (o Op16) outBF16(h uint16) uint16 {
	if o.Relu {
		h = Relu16(h)
	}
	return h
}

// AddF16 is add{.rnd}{.ftz}{.sat}.f16.
func (o Op16) AddF16(a, b uint16) uint16 { return o.outF16(AddF16(o.in(a), o.in(b))) }

// SubF16 is sub{.rnd}{.ftz}{.sat}.f16.
func (o Op16) SubF16(a, b uint16) uint16 { return o.outF16(SubF16(o.in(a), o.in(b))) }

// MulF16 is mul{.rnd}{.ftz}{.sat}.f16.
func (o Op16) MulF16(a, b uint16) uint16 { return o.outF16(MulF16(o.in(a), o.in(b))) }

// FmaF16 is fma.rn{.ftz}{.sat}{.relu}.f16.
func (o Op16) FmaF16(a, b, c uint16) uint16 {
	return o.outF16(FmaF16(o.in(a), o.in(b), o.in(c)))
}

// FmaBF16 is fma.rn{.relu}.bf16.
func (o Op16) FmaBF16(a, b, c uint16) uint16 { return o.outBF16(FmaBF16(a, b, c)) }

// AddF16x2 is add{.rnd}{.ftz}{.sat}.f16x2.
func (o Op16) AddF16x2(a, b uint32) uint32 {
	return uint32(o.AddF16(uint16(a), uint16(b))) | uint32(o.AddF16(uint16(a>>16), uint16(b>>16)))<<16
}

// SubF16x2 is sub{.rnd}{.ftz}{.sat}.f16x2.
func (o Op16) SubF16x2(a, b uint32) uint32 {
	return uint32(o.SubF16(uint16(a), uint16(b))) | uint32(o.SubF16(uint16(a>>16), uint16(b>>16)))<<16
}

// MulF16x2 is mul{.rnd}{.ftz}{.sat}.f16x2.
func (o Op16) MulF16x2(a, b uint32) uint32 {
	return uint32(o.MulF16(uint16(a), uint16(b))) | uint32(o.MulF16(uint16(a>>16), uint16(b>>16)))<<16
}

// FmaF16x2 is fma.rn{.ftz}{.sat}{.relu}.f16x2.
func (o Op16) FmaF16x2(a, b, c uint32) uint32 {
	return uint32(o.FmaF16(uint16(a), uint16(b), uint16(c))) |
		uint32(o.FmaF16(uint16(a>>16), uint16(b>>16), uint16(c>>16)))<<16
}

// AddBF16x2 is add.rn.bf16x2.
func AddBF16x2(a, b uint32) uint32 {
	return uint32(AddBF16(uint16(a), uint16(b))) | uint32(AddBF16(uint16(a>>16), uint16(b>>16)))<<16
}

// SubBF16x2 is sub.rn.bf16x2.
func SubBF16x2(a, b uint32) uint32 { return AddBF16x2(a, b^0x80008000) }

// MulBF16x2 is mul.rn.bf16x2.
func MulBF16x2(a, b uint32) uint32 {
	return uint32(MulBF16(uint16(a), uint16(b))) | uint32(MulBF16(uint16(a>>16), uint16(b>>16)))<<16
}

// FmaBF16x2 is fma.rn{.relu}.bf16x2.
func (o Op16) FmaBF16x2(a, b, c uint32) uint32 {
	return uint32(o.FmaBF16(uint16(a), uint16(b), uint16(c))) |
		uint32(o.FmaBF16(uint16(a>>16), uint16(b>>16), uint16(c>>16)))<<16
}
