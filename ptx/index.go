//go:build !ptxbootstrap

package ptx

import mathbits "math/bits"

// Arithmetic of indices, as methods so that formulas read from left to right. Plus,
// Times, DivBy, Mod and the shifts take a number known in Go and emit the cheapest
// instruction for it, or none.

// Add is x + y.
func (x RegU32) Add(y InI32) RegU32 { return x.k.AddU32(x, y) }

// Sub is x - y.
func (x RegU32) Sub(y InI32) RegU32 { return x.k.SubU32(x, y) }

// Mul is the low half of x * y.
func (x RegU32) Mul(y InI32) RegU32 { return x.k.MulLoU32(x, y) }

// And is x & y.
func (x RegU32) And(y InB32) RegU32 { return x.k.AndB32(x, y).AsU32() }

// Or is x | y.
func (x RegU32) Or(y InB32) RegU32 { return x.k.OrB32(x, y).AsU32() }

// Xor is x ^ y.
func (x RegU32) Xor(y InB32) RegU32 { return x.k.XorB32(x, y).AsU32() }

// Plus is x + n.
func (x RegU32) Plus(n int) RegU32 {
	if n == 0 {
		return x
	}
	return x.k.AddU32(x, I(n))
}

// Times is x * n.
func (x RegU32) Times(n int) RegU32 {
	switch {
	case n == 1:
		return x
	case n > 0 && n&(n-1) == 0:
		return x.Shl(mathbits.TrailingZeros(uint(n)))
	}
	return x.k.MulLoU32(x, I(n))
}

// Shl is x << n.
func (x RegU32) Shl(n int) RegU32 {
	if n == 0 {
		return x
	}
	return x.k.ShlB32(x, I(n)).AsU32()
}

// Shr is x >> n.
func (x RegU32) Shr(n int) RegU32 {
	if n == 0 {
		return x
	}
	return x.k.ShrU32(x, I(n))
}

// DivBy is x / n.
func (x RegU32) DivBy(n int) RegU32 {
	if n > 0 && n&(n-1) == 0 {
		return x.Shr(mathbits.TrailingZeros(uint(n)))
	}
	return x.k.DivU32(x, I(n))
}

// Mod is x mod n.
func (x RegU32) Mod(n int) RegU32 {
	if n == 1 {
		return x.k.VarU32(I(0))
	}
	if n > 0 && n&(n-1) == 0 {
		return x.And(I(n - 1))
	}
	return x.k.RemU32(x, I(n))
}

// CeilDivBy is x / n, rounded up.
func (x RegU32) CeilDivBy(n int) RegU32 { return x.Plus(n - 1).DivBy(n) }

// U64 widens with zeros.
func (x RegU32) U64() RegU64 { return x.k.CvtU64U32(x) }

// S64 widens with the sign.
func (x RegS32) S64() RegS64 { return x.k.CvtS64S32(x) }

// Add is x + y.
func (x RegU64) Add(y InI64) RegU64 { return x.k.AddU64(x, y) }

// Mul is the low half of x * y.
func (x RegU64) Mul(y InI64) RegU64 { return x.k.MulLoU64(x, y) }

// Plus is x + n.
func (x RegU64) Plus(n int) RegU64 {
	if n == 0 {
		return x
	}
	return x.k.AddU64(x, I(n))
}

// And is true where both are.
func (p RegPred) And(q RegPred) RegPred { return p.k.both("and.pred", p, q) }

// Or is true where either is.
func (p RegPred) Or(q RegPred) RegPred { return p.k.both("or.pred", p, q) }

// both works on positive predicates only, so negated ones go by De Morgan or a not.
func (k *Builder) both(op string, p, q RegPred) RegPred {
	return k.logic(op, k.positive(p), k.positive(q))
}

func (k *Builder) logic(op string, p, q RegPred) RegPred {
	d := New[RegPred](k)
	k.put(op, Pred, d, p, q)
	return d
}

// positive is p in a register of its own if it is negated.
func (k *Builder) positive(p RegPred) RegPred {
	if !p.not {
		return p
	}
	d := New[RegPred](k)
	k.put("not.pred", Pred, d, p.Not())
	return d
}
