package num

import "math/bits"

// Rounding is a rounding modifier (PTX ISA, "Rounding Modifiers"). Whether a cvt
// rounds to an integer is said apart: .rni is RN to an integer.
type Rounding uint8

const (
	RN  Rounding = iota // to nearest, ties to even
	RZ                  // toward zero
	RM                  // toward negative infinity
	RP                  // toward positive infinity
	RNA                 // to nearest, ties away from zero
)

var roundingNames = [...]string{"rn", "rz", "rm", "rp", "rna"}

func (r Rounding) String() string { return roundingNames[r] }

// layout is a binary floating-point format of up to 64 bits.
type layout struct {
	exp, man uint // bits of exponent and fraction
	finite   bool // no infinities: the topmost code alone is NaN, as in e4m3
}

var (
	layF16  = layout{exp: 5, man: 10}
	layBF16 = layout{exp: 8, man: 7}
	layTF32 = layout{exp: 8, man: 10}
	layF32  = layout{exp: 8, man: 23}
	layF64  = layout{exp: 11, man: 52}
	layE4M3 = layout{exp: 4, man: 3, finite: true}
	layE5M2 = layout{exp: 5, man: 2}
)

func (l layout) bias() int       { return 1<<(l.exp-1) - 1 }
func (l layout) sign() uint64    { return 1 << (l.exp + l.man) }
func (l layout) infBits() uint64 { return (1<<l.exp - 1) << l.man }

// nan is the canonical NaN: every bit but the sign set; of f64 the IEEE default one
// (CUDA C++ Programming Guide, "Floating-Point Standard").
func (l layout) nan() uint64 {
	if l == layF64 {
		return nan64
	}
	return l.sign() - 1
}

// limit is the first magnitude that is no finite number: infinity, or e4m3's NaN.
func (l layout) limit() uint64 {
	if l.finite {
		return l.sign() - 1
	}
	return l.infBits()
}

// class of a decoded value.
type class uint8

const (
	clsZero class = iota
	clsFinite
	clsInf
	clsNaN
)

// value is a decoded number: mant·2^exp, mant > 0 if finite.
type value struct {
	neg  bool
	cls  class
	mant uint64
	exp  int
}

// decode takes bits apart.
func (l layout) decode(b uint64) value {
	v := value{neg: b&l.sign() != 0}
	mag := b & (l.sign() - 1)
	switch {
	case mag == 0:
		return v
	case mag >= l.limit():
		v.cls = clsInf
		if mag > l.limit() || l.finite {
			v.cls = clsNaN
		}
		return v
	}
	v.cls = clsFinite
	v.mant = mag & (1<<l.man - 1)
	e := int(mag >> l.man)
	if e == 0 {
		e = 1
	} else {
		v.mant |= 1 << l.man
	}
	v.exp = e - l.bias() - int(l.man)
	return v
}

// roundsUp decides whether the magnitude kept grows by one unit: half is the first
// bit dropped, rest whether anything follows it.
func (r Rounding) roundsUp(neg, odd, half, rest bool) bool {
	switch r {
	case RN:
		return half && (rest || odd)
	case RNA:
		return half
	case RM:
		return neg && (half || rest)
	case RP:
		return !neg && (half || rest)
	}
	return false
}

// encode rounds (mant+δ)·2^exp to the format, where 0 < δ < 1 if sticky, else δ = 0.
// mant is not zero; with sticky it must have its top bit set unless bits are dropped anyway.
func (l layout) encode(neg bool, mant uint64, exp int, sticky bool, r Rounding) uint64 {
	q := exp + bits.Len64(mant) - 1 // the exponent of the leading bit
	q = max(q, 1-l.bias()) - int(l.man)
	kept, half, rest := mant, false, sticky
	switch s := q - exp; {
	case s > 64:
		kept, rest = 0, true
	case s == 64:
		kept, half, rest = 0, mant>>63 != 0, sticky || mant<<1 != 0
	case s > 0:
		kept = mant >> s
		half = mant>>(s-1)&1 != 0
		rest = sticky || mant&(1<<(s-1)-1) != 0
	default:
		kept = mant << -s
	}
	b := uint64(q+l.bias()+int(l.man))<<l.man + kept - 1<<l.man
	if r.roundsUp(neg, kept&1 != 0, half, rest) {
		b++
	}
	if b >= l.limit() {
		b = l.overflow(neg, r)
	}
	if neg {
		b |= l.sign()
	}
	return b
}

// overflow is the magnitude of what is too large: infinity or the largest number.
func (l layout) overflow(neg bool, r Rounding) uint64 {
	if r == RZ || r == RM && !neg || r == RP && neg {
		return l.limit() - 1
	}
	return l.limit()
}
