package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/selkie-ml/selkie/internal/f32math"
)

// exponential holds the constants of f32math.Exp32.
type exponential struct {
	isa
	hi, lo, log2e, shift, ln2hi, ln2lo Op
	c                                  []Op
	top, inf, nan, zero                Op
}

func newExponential(s isa) *exponential {
	e := &exponential{isa: s,
		hi: s.constant(f32math.ExpHi), lo: s.constant(f32math.ExpLo),
		log2e: s.constant(f32math.ExpLog2E), shift: s.constant(f32math.ExpShift),
		ln2hi: s.constant(-f32math.ExpLn2Hi), ln2lo: s.constant(-f32math.ExpLn2Lo),
	}
	if s.lanes == 16 {
		e.top = s.constant(89)
	} else {
		e.inf, e.nan, e.zero = s.bits(0x7f800000), s.bits(0x7fc00000), s.bits(0)
	}
	for _, c := range []float32{f32math.ExpC6, f32math.ExpC5, f32math.ExpC4, f32math.ExpC3, f32math.ExpC2, 1, 1} {
		e.c = append(e.c, s.constant(c))
	}
	return e
}

// of gives the exponential of x, of a NaN some NaN.
//
// AVX-512 scales by an instruction that overflows to infinity by itself: from
// ExpHi's successor to 89 the polynomial's error is too small to prevent it.
func (e *exponential) of(x VecVirtual) VecVirtual {
	var normal Op
	if e.lanes == 16 {
		normal = K()
		VCMPPS(notLess, e.lo, x, normal)
		y := e.vec()
		VMINPS(x, e.top, y) // x where it is NaN
		x = y
	}
	t, n, r := e.load(e.shift, nil), e.vec(), e.load(x, nil)
	VFMADD231PS(e.log2e, x, t)
	VSUBPS(e.shift, t, n)
	VFMADD231PS(e.ln2hi, n, r)
	VFMADD231PS(e.ln2lo, n, r)
	p := e.load(e.c[0], nil)
	for _, c := range e.c[1:] {
		VFMADD213PS(c, r, p)
	}
	if e.lanes == 16 {
		VSCALEFPS_Z(n, p, normal, p)
		return p
	}
	VPSLLD(U8(23), t, t)
	VPADDD(t, p, p)
	e.choose(greater, x, e.hi, e.inf, p)
	e.choose(less, x, e.lo, e.zero, p)
	e.choose(unordered, x, x, e.nan, p)
	return p
}

func expSub(s isa) {
	s.function("expSub", "dst, x *float32, n int, m float32) (sum float32", "ExpSub.")
	dst, x, n := gp("dst"), gp("x"), gp("n")
	m := s.broadcast("m")
	e := newExponential(s)
	acc := s.zeroBlock()
	step := func(masks []Op) {
		for v := range acc {
			y := s.load(at(x, v, s.lanes), masks[v])
			VSUBPS(m, y, y)
			y = e.of(y)
			s.store(y, at(dst, v, s.lanes), masks[v])
			s.keep(y, masks[v])
			VADDPS(y, acc[v], acc[v])
		}
	}
	loop(n, sumLanes, []GPVirtual{dst, x},
		func() { step(none(len(acc))) },
		func(left GPVirtual) { step(s.masks(left, len(acc))) })
	returnFloat(s.fold(acc, add))
}
