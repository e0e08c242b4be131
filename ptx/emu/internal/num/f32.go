package num

import "math"

// f32 arithmetic: PTX ISA 9.7.3. Registers hold bits.

const (
	nan32  = 0x7fffffff // what every f32 operation gives for NaN
	inf32  = 0x7f800000
	sign32 = 1 << 31
	min32  = 0x00800000 // the smallest normal magnitude
	one32  = 0x3f800000
)

func f32(b uint32) float32 { return math.Float32frombits(b) }

func isNaN32(b uint32) bool { return b&^sign32 > inf32 }

// canon32 gives the bits of x, canonical if NaN.
func canon32(x float32) uint32 {
	if x != x {
		return nan32
	}
	return math.Float32bits(x)
}

// Ftz32 replaces a subnormal by the zero of its sign.
func Ftz32(b uint32) uint32 {
	if b&inf32 == 0 {
		return b & sign32
	}
	return b
}

// Sat32 clamps to [0, 1]; NaN gives +0.
func Sat32(b uint32) uint32 {
	switch {
	case b >= sign32 || b > inf32: // negative, or NaN
		return 0
	case b > one32:
		return one32
	}
	return b
}

// AddRN32 is add.rn.f32.
func AddRN32(a, b uint32) uint32 { return canon32(f32(a) + f32(b)) }

// SubRN32 is sub.rn.f32.
func SubRN32(a, b uint32) uint32 { return canon32(f32(a) - f32(b)) }

// MulRN32 is mul.rn.f32.
func MulRN32(a, b uint32) uint32 { return canon32(f32(a) * f32(b)) }

// FmaRN32 is fma.rn.f32.
func FmaRN32(a, b, c uint32) uint32 {
	x := float64(f32(a)) * float64(f32(b)) // exact
	y := float64(f32(c))
	s := x + y
	// A double rounding differs from one only if the first lands on a halfway
	// point of the second.
	if t := math.Float64bits(s); t&(1<<29-1) != 1<<28 && (t>>52&0x7ff)-(1023-126) < 254 {
		return math.Float32bits(float32(s))
	}
	return canon32(float32(sumOdd(x, y, s)))
}

// sumOdd rounds x+y to odd, given s, the sum to nearest. Whatever has at least two
// bits less is then rounded right, in any mode.
func sumOdd(x, y, s float64) float64 {
	if math.IsInf(s, 0) || s != s {
		return s
	}
	t := s - x
	return toOdd(s, (x-(s-t))+(y-t))
}

// toOdd takes a result to nearest and the sign of what it lacks.
func toOdd(s, rest float64) float64 {
	b := math.Float64bits(s)
	if rest == 0 || b&1 != 0 {
		return s
	}
	if (rest > 0) == (s > 0) {
		return math.Float64frombits(b + 1)
	}
	return math.Float64frombits(b - 1)
}

// round32 rounds to f32 by one of RN, RZ, RM and RP.
func round32(x float64, r Rounding) uint32 {
	f := float32(x)
	b := math.Float32bits(f)
	y := float64(f)
	switch {
	case x != x:
		return nan32
	case r == RN || y == x:
		return b
	case r == RZ && math.Abs(y) > math.Abs(x),
		r == RM && y > x && x > 0,
		r == RP && y < x && x < 0:
		return b - 1 // toward zero
	case r == RM && y > x, r == RP && y < x:
		return b + 1 // away from it
	}
	return b
}

// zeroSum is the sign of an exact zero sum: negative toward −∞ unless both are +0.
func zeroSum(s, x, y float64, r Rounding) float64 {
	if s == 0 && r == RM && (math.Signbit(x) || math.Signbit(y)) {
		return math.Copysign(0, -1)
	}
	return s
}

func finish32(b uint32, ftz, sat bool) uint32 {
	if ftz {
		b = Ftz32(b)
	}
	if sat {
		b = Sat32(b)
	}
	return b
}

// Add32 is add{.rnd}{.ftz}{.sat}.f32 (9.7.3.4).
func Add32(a, b uint32, r Rounding, ftz, sat bool) uint32 {
	if ftz {
		a, b = Ftz32(a), Ftz32(b)
	}
	if r == RN {
		return finish32(AddRN32(a, b), ftz, sat)
	}
	x, y := float64(f32(a)), float64(f32(b))
	s := zeroSum(x+y, x, y, r)
	return finish32(round32(sumOdd(x, y, s), r), ftz, sat)
}

// Sub32 is sub{.rnd}{.ftz}{.sat}.f32 (9.7.3.5).
func Sub32(a, b uint32, r Rounding, ftz, sat bool) uint32 {
	return Add32(a, b^sign32, r, ftz, sat)
}

// Mul32 is mul{.rnd}{.ftz}{.sat}.f32 (9.7.3.6).
func Mul32(a, b uint32, r Rounding, ftz, sat bool) uint32 {
	if ftz {
		a, b = Ftz32(a), Ftz32(b)
	}
	if r == RN {
		return finish32(MulRN32(a, b), ftz, sat)
	}
	return finish32(round32(float64(f32(a))*float64(f32(b)), r), ftz, sat)
}

// Fma32 is fma.rnd{.ftz}{.sat}.f32 (9.7.3.7) and mad.rnd.f32.
func Fma32(a, b, c uint32, r Rounding, ftz, sat bool) uint32 {
	if ftz {
		a, b, c = Ftz32(a), Ftz32(b), Ftz32(c)
	}
	if r == RN {
		return finish32(FmaRN32(a, b, c), ftz, sat)
	}
	x, y := float64(f32(a))*float64(f32(b)), float64(f32(c))
	s := zeroSum(x+y, x, y, r)
	return finish32(round32(sumOdd(x, y, s), r), ftz, sat)
}

// Div32 is div.rnd{.ftz}.f32 (9.7.3.8).
func Div32(a, b uint32, r Rounding, ftz bool) uint32 {
	if ftz {
		a, b = Ftz32(a), Ftz32(b)
	}
	if r == RN {
		return finish32(canon32(f32(a)/f32(b)), ftz, false)
	}
	x, y := float64(f32(a)), float64(f32(b))
	q := x / y
	if !math.IsInf(q, 0) && y != 0 && !math.IsInf(y, 0) {
		rest := math.FMA(-q, y, x)
		if y < 0 {
			rest = -rest
		}
		q = toOdd(q, rest)
	}
	return finish32(round32(q, r), ftz, false)
}

// Rcp32 is rcp.rnd{.ftz}.f32 (9.7.3.13).
func Rcp32(a uint32, r Rounding, ftz bool) uint32 { return Div32(one32, a, r, ftz) }

// Sqrt32 is sqrt.rnd{.ftz}.f32 (9.7.3.15).
func Sqrt32(a uint32, r Rounding, ftz bool) uint32 {
	if ftz {
		a = Ftz32(a)
	}
	x := float64(f32(a))
	q := math.Sqrt(x)
	if r != RN && q > 0 && q < math.Inf(1) {
		q = toOdd(q, math.FMA(-q, q, x))
	}
	return round32(q, r)
}
