package mma

import (
	"math"
	"math/big"

	"github.com/selkie-ml/selkie/ptx"
)

// exact is a finite element: its value and the exponent that hardware gives it.
type exact struct {
	x   *big.Rat
	exp int
}

type shapeOf struct{ man, exp, drop uint }

var floatShapes = map[ptx.Type]shapeOf{
	ptx.F16: {10, 5, 0}, ptx.BF16: {7, 8, 0}, ptx.TF32: {10, 8, 13}, ptx.E4M3: {3, 4, 0}, ptx.E5M2: {2, 5, 0}, ptx.F32: {23, 8, 0},
}

// read gives the value of an element; inf is ±1 or 0, zero values have no exponent.
func read(t ptx.Type, b uint64) (e exact, inf int, nan bool) {
	f := floatShapes[t]
	b >>= f.drop
	frac, field := b&(1<<f.man-1), int(b>>f.man&(1<<f.exp-1))
	sign := 1 - 2*int(b>>(f.man+f.exp)&1)
	if field == 1<<f.exp-1 {
		switch {
		case t == ptx.E4M3:
			if frac == 7 {
				return e, 0, true
			}
		case frac != 0:
			return e, 0, true
		default:
			return e, sign, false
		}
	}
	m := int64(frac)
	if field > 0 {
		m += 1 << f.man
	} else {
		field = 1
	}
	e.exp = field - (1<<(f.exp-1) - 1)
	e.x = new(big.Rat).Mul(big.NewRat(m*int64(sign), 1), pow2(e.exp-int(f.man)))
	return e, 0, false
}

func pow2(e int) *big.Rat {
	p := new(big.Int).Lsh(big.NewInt(1), uint(max(e, -e)))
	if e < 0 {
		return new(big.Rat).SetFrac(big.NewInt(1), p)
	}
	return new(big.Rat).SetInt(p)
}

// trunc is x rounded toward zero to a multiple of 2^q.
func trunc(x *big.Rat, q int) *big.Rat {
	y := new(big.Rat).Mul(x, pow2(-q))
	return y.Mul(new(big.Rat).SetInt(new(big.Int).Quo(y.Num(), y.Denom())), pow2(q))
}

// refDot is the model of the sum, by its definition.
func refDot(su sums, ta, tb, tc, td ptx.Type, a, b []uint64, c uint64) uint64 {
	nanBits, infBits, sign := uint64(0x7fffffff), uint64(0x7f800000), uint64(1<<31)
	if td == ptx.F16 {
		nanBits, infBits, sign = 0x7fff, 0x7c00, 0x8000
	}
	ce, cinf, nan := read(tc, c)
	infs := map[int]bool{cinf: true}
	terms := []exact{ce}
	top := -126 // of a zero accumulator
	if cinf == 0 && !nan && ce.x.Sign() != 0 {
		top = ce.exp
	}
	for i := range a {
		x, xi, xn := read(ta, a[i])
		y, yi, yn := read(tb, b[i])
		nan = nan || xn || yn
		if xn || yn {
			continue
		}
		if xi != 0 || yi != 0 {
			if xi == 0 && x.x.Sign() == 0 || yi == 0 && y.x.Sign() == 0 {
				nan = true
				continue
			}
			sg := func(i int, e exact) int {
				if i != 0 {
					return i
				}
				return e.x.Sign()
			}
			infs[sg(xi, x)*sg(yi, y)] = true
			continue
		}
		p := exact{new(big.Rat).Mul(x.x, y.x), x.exp + y.exp}
		if p.x.Sign() != 0 {
			terms = append(terms, p)
			top = max(top, p.exp)
		}
	}
	switch {
	case nan || infs[1] && infs[-1]:
		return nanBits
	case infs[1]:
		return infBits
	case infs[-1]:
		return infBits | sign
	}
	sum := new(big.Rat)
	for _, t := range terms {
		sum.Add(sum, trunc(t.x, top-su.frac))
	}
	if sum.Sign() == 0 {
		return 0
	}
	abs := new(big.Rat).Abs(sum)
	e := abs.Num().BitLen() - abs.Denom().BitLen()
	if abs.Cmp(pow2(e)) < 0 {
		e--
	}
	var out uint64
	if td == ptx.F16 {
		q := max(e, -14) - 10
		y := new(big.Rat).Mul(abs, pow2(-q))
		n := new(big.Int).Quo(y.Num(), y.Denom())
		rest := new(big.Rat).Sub(y, new(big.Rat).SetInt(n))
		if h := rest.Cmp(big.NewRat(1, 2)); h > 0 || h == 0 && n.Bit(0) == 1 {
			n.Add(n, big.NewInt(1))
		}
		v, _ := new(big.Rat).Mul(new(big.Rat).SetInt(n), pow2(q)).Float64()
		out = infBits
		if v < 65536 {
			f := math.Float32bits(float32(v))
			out = uint64(f>>13) - 112<<10
			if v < 0x1p-14 {
				out = uint64(v * 0x1p24)
			}
		}
	} else {
		frac := 23
		if su.clear != 0 {
			frac = 13
		}
		v, _ := trunc(abs, max(e, -126)-frac).Float64()
		out = infBits
		if v < 0x1p128 {
			out = uint64(math.Float32bits(float32(v)))
		}
	}
	if sum.Sign() < 0 {
		out |= sign
	}
	return out
}
