package num

import (
	"math"
	"math/bits"
)

// f64 arithmetic: PTX ISA 9.7.3. The direct roundings go through integers: they
// are rare, and error terms of floating point fail where results are tiny.

const (
	nan64  = 0xfff8000000000000 // what f64 operations give for NaN
	inf64  = 0x7ff0000000000000
	sign64 = 1 << 63
)

func f64(b uint64) float64 { return math.Float64frombits(b) }

// canon64 gives the bits of x, canonical if NaN.
func canon64(x float64) uint64 {
	if x != x {
		return nan64
	}
	return math.Float64bits(x)
}

// wide is an exact number: (hi·2^64 + lo)·2^exp, with a remainder below its unit if sticky.
type wide struct {
	neg    bool
	hi, lo uint64
	exp    int
	sticky bool
}

func (w wide) isZero() bool { return w.hi|w.lo == 0 }

// norm moves the leading bit to the top. w is not zero and not sticky.
func (w wide) norm() wide {
	if w.hi == 0 {
		w.hi, w.lo = w.lo, 0
		w.exp -= 64
	}
	if s := bits.LeadingZeros64(w.hi); s > 0 {
		w.hi = w.hi<<s | w.lo>>(64-s)
		w.lo <<= s
		w.exp -= s
	}
	return w
}

// shr drops s bits into sticky.
func (w wide) shr(s int) wide {
	w.exp += s
	switch {
	case s == 0:
	case s >= 128:
		w.sticky = w.sticky || !w.isZero()
		w.hi, w.lo = 0, 0
	case s >= 64:
		w.sticky = w.sticky || w.lo != 0 || s > 64 && w.hi<<(128-s) != 0
		w.hi, w.lo = 0, w.hi>>(s-64)
	default:
		w.sticky = w.sticky || w.lo<<(64-s) != 0
		w.hi, w.lo = w.hi>>s, w.lo>>s|w.hi<<(64-s)
	}
	return w
}

// plus adds. Both are normalised, or zero with any exponent.
func (w wide) plus(v wide) wide {
	if w.isZero() {
		return v
	}
	if v.isZero() {
		return w
	}
	if w.exp < v.exp || w.exp == v.exp && (w.hi < v.hi || w.hi == v.hi && w.lo < v.lo) {
		w, v = v, w
	}
	// One bit of room for the carry: both have at most 106 significant bits.
	d := w.exp - v.exp
	w, v = w.shr(1), v.shr(1+d)
	var c uint64
	if w.neg == v.neg {
		w.lo, c = bits.Add64(w.lo, v.lo, 0)
		w.hi, _ = bits.Add64(w.hi, v.hi, c)
	} else {
		// What v lost is borrowed from the unit: the true rest is between 0 and 1.
		var b uint64
		if v.sticky {
			b = 1
		}
		w.lo, c = bits.Sub64(w.lo, v.lo, b)
		w.hi, _ = bits.Sub64(w.hi, v.hi, c)
	}
	w.sticky = v.sticky
	return w
}

func wide64(b uint64) wide {
	v := layF64.decode(b)
	w := wide{neg: v.neg, lo: v.mant, exp: v.exp}
	if v.mant == 0 {
		return w
	}
	return w.norm()
}

// encode rounds to f64.
func (w wide) encode(r Rounding) uint64 {
	if w.isZero() { // only ever exact
		if w.neg {
			return sign64
		}
		return 0
	}
	sticky := w.sticky
	w.sticky = false
	// With a sticky rest the number has more than 64 bits left of it.
	w = w.norm()
	return layF64.encode(w.neg, w.hi, w.exp+64, sticky || w.lo != 0, r)
}

func special64(xs ...uint64) bool {
	for _, x := range xs {
		if x&inf64 == inf64 {
			return true
		}
	}
	return false
}

// Add64 is add{.rnd}.f64 (9.7.3.4).
func Add64(a, b uint64, r Rounding) uint64 {
	if r == RN || special64(a, b) {
		return canon64(f64(a) + f64(b))
	}
	return addWide(wide64(a), wide64(b), r)
}

func addWide(x, y wide, r Rounding) uint64 {
	s := x.plus(y)
	if s.isZero() {
		s.neg = x.neg && y.neg || r == RM && (x.neg || y.neg)
	}
	return s.encode(r)
}

// Sub64 is sub{.rnd}.f64 (9.7.3.5).
func Sub64(a, b uint64, r Rounding) uint64 { return Add64(a, b^sign64, r) }

func mulWide(a, b uint64) wide {
	x, y := layF64.decode(a), layF64.decode(b)
	w := wide{neg: x.neg != y.neg, exp: x.exp + y.exp}
	w.hi, w.lo = bits.Mul64(x.mant, y.mant)
	if w.isZero() {
		return w
	}
	return w.norm()
}

// Mul64 is mul{.rnd}.f64 (9.7.3.6).
func Mul64(a, b uint64, r Rounding) uint64 {
	if r == RN || special64(a, b) {
		return canon64(f64(a) * f64(b))
	}
	return mulWide(a, b).encode(r)
}

// Fma64 is fma.rnd.f64 (9.7.3.7) and mad.rnd.f64.
func Fma64(a, b, c uint64, r Rounding) uint64 {
	if r == RN || special64(a, b, c) {
		return canon64(math.FMA(f64(a), f64(b), f64(c)))
	}
	return addWide(mulWide(a, b), wide64(c), r)
}

// Div64 is div.rnd.f64 (9.7.3.8).
func Div64(a, b uint64, r Rounding) uint64 {
	if r == RN || special64(a, b) || a<<1 == 0 || b<<1 == 0 {
		return canon64(f64(a) / f64(b))
	}
	x, y := wide64(a), wide64(b)
	// Both leading bits are at the top: the quotient of x/2 by y has 63 or 64 bits.
	q, rest := bits.Div64(x.hi>>1, x.hi<<63, y.hi)
	exp := x.exp - y.exp - 63
	return layF64.encode(x.neg != y.neg, q, exp, rest != 0, r)
}

// Rcp64 is rcp.rnd.f64 (9.7.3.13).
func Rcp64(a uint64, r Rounding) uint64 { return Div64(math.Float64bits(1), a, r) }

// Sqrt64 is sqrt.rnd.f64 (9.7.3.15).
func Sqrt64(a uint64, r Rounding) uint64 {
	s := math.Sqrt(f64(a))
	if r == RN || s == 0 || math.IsInf(s, 0) || s != s {
		return canon64(s)
	}
	// s² against a, exactly; s is normal whatever a is.
	sq := mulWide(math.Float64bits(s), math.Float64bits(s))
	sq.neg = true
	rest := wide64(a).plus(sq)
	b := math.Float64bits(s)
	switch {
	case rest.isZero():
	case rest.neg && (r == RZ || r == RM): // s is above the root
		b--
	case !rest.neg && r == RP:
		b++
	}
	return b
}

// NaN64 is the bits of an f64 result that is NaN.
const NaN64 uint64 = nan64
