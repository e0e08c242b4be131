package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// rope takes 32 angles at a time, in registers, through all heads: half of one
// is often no more, and the row is then gone through in its order in memory.
func rope(s isa) {
	s.function("rope", "y, x, cos, sin *float32, h, heads int, sign float32", "Rope; h is half a head, heads is positive.")
	y, x, cos, sin, n, heads := gp("y"), gp("x"), gp("cos"), gp("sin"), gp("h"), gp("heads")
	sign := s.broadcast("sign")
	half, head := GP64(), GP64() // in bytes
	MOVQ(n, half)
	SHLQ(U8(2), half)
	LEAQ(Mem{Base: half, Index: half, Scale: 1}, head)
	step := func(name string, masks []Op) {
		var c, sn []VecVirtual
		for v, mask := range masks {
			c, sn = append(c, s.load(at(cos, v, s.lanes), mask)), append(sn, s.load(at(sin, v, s.lanes), mask))
			VMULPS(sign, sn[v], sn[v])
		}
		px, py, left := GP64(), GP64(), GP64()
		MOVQ(x, px)
		MOVQ(y, py)
		MOVQ(heads, left)
		upper := func(p GPVirtual, v int) Mem {
			m := at(p, v, s.lanes)
			m.Index, m.Scale = half, 1
			return m
		}
		Label(name)
		for v, mask := range masks {
			a, b := s.load(at(px, v, s.lanes), mask), s.load(upper(px, v), mask)
			as, bs := s.vec(), s.vec()
			VMULPS(sn[v], a, as)
			VMULPS(sn[v], b, bs)
			VMULPS(c[v], a, a)
			VMULPS(c[v], b, b)
			VSUBPS(bs, a, a)
			VADDPS(as, b, b)
			s.store(a, at(py, v, s.lanes), mask)
			s.store(b, upper(py, v), mask)
		}
		ADDQ(head, px)
		ADDQ(head, py)
		DECQ(left)
		JNZ(LabelRef(name))
	}
	const wide = 32
	Label("wide")
	CMPQ(n, U8(wide))
	JLT(LabelRef("narrow"))
	step("widehead", none(wide/s.lanes))
	for _, p := range []GPVirtual{y, x, cos, sin} {
		ADDQ(I32(4*wide), p)
	}
	SUBQ(U8(wide), n)
	JMP(LabelRef("wide"))
	Label("narrow")
	loop(n, s.lanes, []GPVirtual{y, x, cos, sin},
		func() { step("head", none(1)) },
		func(left GPVirtual) { step("lasthead", s.masks(left, 1)) })
	VZEROUPPER()
	RET()
}
