package num

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// The reference: exact rationals, rounded once. It shares nothing with the code
// under test but the description of a format.

var modes = []Rounding{RN, RZ, RM, RP}

// rat is the value of finite bits.
func (l layout) rat(b uint64) *big.Rat {
	m := new(big.Int).SetUint64(b & (1<<l.man - 1))
	e := int(b >> l.man & (1<<l.exp - 1))
	if e > 0 {
		m.SetBit(m, int(l.man), 1)
	} else {
		e = 1
	}
	if b&l.sign() != 0 {
		m.Neg(m)
	}
	return new(big.Rat).Mul(new(big.Rat).SetInt(m), pow2(e-l.bias()-int(l.man)))
}

func pow2(e int) *big.Rat {
	p := new(big.Int).Lsh(big.NewInt(1), uint(max(e, -e)))
	if e < 0 {
		return new(big.Rat).SetFrac(big.NewInt(1), p)
	}
	return new(big.Rat).SetInt(p)
}

// nearestInt rounds a rational to an integer.
func nearestInt(x *big.Rat, r Rounding) *big.Int {
	fl := new(big.Int).Div(x.Num(), x.Denom()) // Euclidean: floor, as the denominator is positive
	rest := new(big.Rat).Sub(x, new(big.Rat).SetInt(fl))
	half := rest.Cmp(big.NewRat(1, 2))
	up := false
	switch r {
	case RN:
		up = half > 0 || half == 0 && fl.Bit(0) == 1
	case RNA:
		up = half > 0 || half == 0 && x.Sign() > 0
	case RZ:
		up = x.Sign() < 0 && rest.Sign() != 0
	case RP:
		up = rest.Sign() != 0
	}
	if up {
		fl.Add(fl, big.NewInt(1))
	}
	return fl
}

// ofRat rounds a nonzero rational to the format.
func (l layout) ofRat(x *big.Rat, r Rounding) uint64 {
	abs := new(big.Rat).Abs(x)
	e := abs.Num().BitLen() - abs.Denom().BitLen()
	if abs.Cmp(pow2(e)) < 0 {
		e--
	}
	q := max(e, 1-l.bias()) - int(l.man)
	n := nearestInt(new(big.Rat).Mul(x, pow2(-q)), r)
	var s uint64
	if x.Sign() < 0 {
		s = l.sign()
	}
	n.Abs(n)
	if n.BitLen() > int(l.man)+1 {
		n.Rsh(n, 1)
		q++
	}
	field := q + int(l.man) + l.bias()
	if n.Bit(int(l.man)) == 0 {
		return s | n.Uint64()
	}
	b := uint64(field)<<l.man | n.Uint64()&(1<<l.man-1)
	if uint64(field) >= 1<<l.exp || b >= l.limit() {
		toward := r == RZ || r == RM && s == 0 || r == RP && s != 0
		b = l.limit()
		if toward {
			b--
		}
	}
	return s | b
}

// ofSum is ofRat with the sign of an exact zero given.
func (l layout) ofSum(x *big.Rat, r Rounding, neg bool) uint64 {
	if x.Sign() == 0 {
		if neg {
			return l.sign()
		}
		return 0
	}
	return l.ofRat(x, r)
}

func (l layout) isNaN(b uint64) bool { return b&(l.sign()-1) > l.infBits() }
func (l layout) isInf(b uint64) bool { return b&(l.sign()-1) == l.infBits() }
func (l layout) neg(b uint64) bool   { return b&l.sign() != 0 }

// fma is the reference of a·b+c with all special cases.
func (l layout) fma(a, b, c uint64, r Rounding) uint64 {
	if l.isNaN(a) || l.isNaN(b) || l.isNaN(c) {
		return l.nan()
	}
	pneg := l.neg(a) != l.neg(b)
	zero := func(x uint64) bool { return x&(l.sign()-1) == 0 }
	if l.isInf(a) || l.isInf(b) {
		if zero(a) || zero(b) || l.isInf(c) && l.neg(c) != pneg {
			return l.nan()
		}
		if pneg {
			return l.infBits() | l.sign()
		}
		return l.infBits()
	}
	if l.isInf(c) {
		return c
	}
	p := new(big.Rat).Mul(l.rat(a), l.rat(b))
	sum := new(big.Rat).Add(p, l.rat(c))
	neg := pneg && l.neg(c) || r == RM && (pneg || l.neg(c))
	return l.ofSum(sum, r, neg)
}

// edges are the bits where rounding, overflow and underflow turn.
func (l layout) edges() []uint64 {
	one := uint64(l.bias()) << l.man
	mags := []uint64{0, 1, 2, 3, 1<<l.man - 1, 1 << l.man, 1<<l.man + 1, one - 1, one, one + 1, one + 1<<(l.man-1),
		one + 1<<l.man, l.limit() - 1, l.limit() - 2, l.limit(), l.sign() - 1, l.sign() - 2,
		(one + 1<<l.man*uint64(l.man)) + 1, one - 1<<l.man*uint64(l.man), one - 1<<l.man*uint64(l.man+1) + 1}
	if !l.finite {
		mags = append(mags, l.infBits()|1)
	}
	var all []uint64
	for _, m := range mags {
		all = append(all, m&(l.sign()-1), m&(l.sign()-1)|l.sign())
	}
	return all
}

// random draws bits so that exponents of related size are common.
func (l layout) random(r *rand.Rand, near int) uint64 {
	b := r.Uint64() & (l.sign()<<1 - 1)
	switch r.IntN(8) {
	case 0:
		return b
	case 1: // few bits set: halfway cases
		b &= r.Uint64() & r.Uint64() & r.Uint64()
	case 2:
		b |= (r.Uint64() | r.Uint64() | r.Uint64()) & (1<<l.man - 1)
	}
	e := min(max(near+r.IntN(2*int(l.man)+6)-int(l.man)-3, 0), 1<<l.exp-2)
	return b&(l.sign()|(1<<l.man-1)) | uint64(e)<<l.man
}

// triples calls f with edge cases in all combinations and n random triples.
func (l layout) triples(n int, f func(a, b, c uint64)) {
	e := l.edges()
	for _, a := range e {
		for _, b := range e {
			for _, c := range e {
				f(a, b, c)
			}
		}
	}
	r := rand.New(rand.NewPCG(1, uint64(l.man)))
	for range n {
		x, y := r.IntN(1<<l.exp), r.IntN(1<<l.exp)
		a, b := l.random(r, x), l.random(r, y)
		f(a, b, l.random(r, x+y-l.bias()))
	}
}

func (l layout) pairs(n int, f func(a, b uint64)) {
	e := l.edges()
	for _, a := range e {
		for _, b := range e {
			f(a, b)
		}
	}
	r := rand.New(rand.NewPCG(2, uint64(l.man)))
	for range n {
		x := r.IntN(1 << l.exp)
		f(l.random(r, x), l.random(r, x))
	}
}

func (l layout) one() uint64 { return uint64(l.bias()) << l.man }

// ops is a format's arithmetic under test, over bits.
type ops struct {
	name               string
	l                  layout
	modes              []Rounding
	add, sub, mul, div func(a, b uint64, r Rounding) uint64
	fma                func(a, b, c uint64, r Rounding) uint64
	sqrt               func(a uint64, r Rounding) uint64
}

var arithmetic = []ops{
	{
		name: "f32", l: layF32, modes: modes,
		add:  func(a, b uint64, r Rounding) uint64 { return uint64(Add32(uint32(a), uint32(b), r, false, false)) },
		sub:  func(a, b uint64, r Rounding) uint64 { return uint64(Sub32(uint32(a), uint32(b), r, false, false)) },
		mul:  func(a, b uint64, r Rounding) uint64 { return uint64(Mul32(uint32(a), uint32(b), r, false, false)) },
		div:  func(a, b uint64, r Rounding) uint64 { return uint64(Div32(uint32(a), uint32(b), r, false)) },
		sqrt: func(a uint64, r Rounding) uint64 { return uint64(Sqrt32(uint32(a), r, false)) },
		fma: func(a, b, c uint64, r Rounding) uint64 {
			return uint64(Fma32(uint32(a), uint32(b), uint32(c), r, false, false))
		},
	},
	{
		name: "f64", l: layF64, modes: modes,
		add: Add64, sub: Sub64, mul: Mul64, div: Div64, fma: Fma64, sqrt: Sqrt64,
	},
	{
		name: "f16", l: layF16, modes: []Rounding{RN},
		add: func(a, b uint64, _ Rounding) uint64 { return uint64(AddF16(uint16(a), uint16(b))) },
		sub: func(a, b uint64, _ Rounding) uint64 { return uint64(SubF16(uint16(a), uint16(b))) },
		mul: func(a, b uint64, _ Rounding) uint64 { return uint64(MulF16(uint16(a), uint16(b))) },
		fma: func(a, b, c uint64, _ Rounding) uint64 { return uint64(FmaF16(uint16(a), uint16(b), uint16(c))) },
	},
	{
		name: "bf16", l: layBF16, modes: []Rounding{RN},
		add: func(a, b uint64, _ Rounding) uint64 { return uint64(AddBF16(uint16(a), uint16(b))) },
		sub: func(a, b uint64, _ Rounding) uint64 { return uint64(SubBF16(uint16(a), uint16(b))) },
		mul: func(a, b uint64, _ Rounding) uint64 { return uint64(MulBF16(uint16(a), uint16(b))) },
		fma: func(a, b, c uint64, _ Rounding) uint64 { return uint64(FmaBF16(uint16(a), uint16(b), uint16(c))) },
	},
}

func TestArithmetic(t *testing.T) {
	for _, o := range arithmetic {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			l, n := o.l, 0
			check := func(op string, got, want uint64, r Rounding, in ...uint64) {
				n++
				if got != want {
					t.Fatalf("%s.%v of %#x: %#x, want %#x", op, r, in, got, want)
				}
			}
			negzero := l.sign()
			l.pairs(5000, func(a, b uint64) {
				for _, r := range o.modes {
					check("add", o.add(a, b, r), l.fma(a, l.one(), b, r), r, a, b)
					nb := b ^ l.sign()
					if l.isNaN(b) {
						nb = b
					}
					check("sub", o.sub(a, b, r), l.fma(a, l.one(), nb, r), r, a, b)
					zero := uint64(0) // a·b plus a zero of its sign
					if l.neg(a) != l.neg(b) {
						zero = negzero
					}
					check("mul", o.mul(a, b, r), l.fma(a, b, zero, r), r, a, b)
				}
			})
			i := 0
			l.triples(12000, func(a, b, c uint64) {
				i++
				for k, r := range o.modes {
					if !oneIn(len(o.modes), i+k) {
						continue
					}
					check("fma", o.fma(a, b, c, r), l.fma(a, b, c, r), r, a, b, c)
				}
			})
			t.Logf("%d results", n)
		})
	}
}

func TestDivide(t *testing.T) {
	for _, o := range arithmetic {
		if o.div == nil {
			continue
		}
		l := o.l
		l.pairs(6000, func(a, b uint64) {
			if l.isNaN(a) || l.isNaN(b) || l.isInf(a) || l.isInf(b) || b<<1&(l.sign()<<1-1) == 0 {
				want := f64(layToF64(l, a)) / f64(layToF64(l, b)) // the special cases are exact in any format
				got := o.div(a, b, RP)
				if math.IsNaN(want) != l.isNaN(got) || !math.IsNaN(want) && f64(layToF64(l, got)) != want || l.isNaN(got) && got != l.nan() {
					t.Fatalf("%s %#x / %#x: %#x, want %v", o.name, a, b, got, want)
				}
				return
			}
			for _, r := range modes {
				want := l.ofSum(new(big.Rat).Quo(l.rat(a), l.rat(b)), r, l.neg(a) != l.neg(b))
				if got := o.div(a, b, r); got != want {
					t.Fatalf("%s div.%v %#x / %#x: %#x, want %#x", o.name, r, a, b, got, want)
				}
			}
		})
	}
}

// layToF64 is exact for every format.
func layToF64(l layout, b uint64) uint64 {
	switch {
	case l.isNaN(b):
		return nan64
	case l.isInf(b):
		if l.neg(b) {
			return inf64 | sign64
		}
		return inf64
	}
	x, _ := l.rat(b).Float64()
	if l.neg(b) {
		x = math.Copysign(x, -1)
	}
	return math.Float64bits(x)
}

func TestSqrt(t *testing.T) {
	for _, o := range arithmetic {
		if o.sqrt == nil {
			continue
		}
		l := o.l
		l.pairs(6000, func(a, _ uint64) {
			for _, r := range modes {
				got := o.sqrt(a, r)
				switch {
				case l.isNaN(a) || l.neg(a) && a != l.sign():
					if got != l.nan() {
						t.Fatalf("%s sqrt %#x: %#x, want NaN", o.name, a, got)
					}
					continue
				case a&(l.sign()-1) == 0 || l.isInf(a):
					if got != a {
						t.Fatalf("%s sqrt %#x: %#x", o.name, a, got)
					}
					continue
				}
				// got is right if a lies between the squares of its bounds.
				x := l.rat(a)
				sq := func(b uint64) int { return new(big.Rat).Mul(l.rat(b), l.rat(b)).Cmp(x) }
				mid := func(b uint64) int {
					m := new(big.Rat).Add(l.rat(b), l.rat(b+1))
					m.Quo(m, big.NewRat(2, 1))
					return m.Mul(m, m).Cmp(x)
				}
				ok := false
				switch r {
				case RZ, RM:
					ok = sq(got) <= 0 && sq(got+1) > 0
				case RP:
					ok = sq(got) >= 0 && sq(got-1) < 0
				case RN:
					ok = mid(got) > 0 && mid(got-1) < 0
				}
				if !ok {
					t.Fatalf("%s sqrt.%v %#x: %#x", o.name, r, a, got)
				}
			}
		})
	}
}
