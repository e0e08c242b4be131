package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// rope goes through a row in its order in memory.
func rope(s isa) {
	s.function("rope", "y, x, cos, sin *float32, h, heads int, sign float32", "Rope; h is half a head, heads is positive.")
	y, x, heads := gp("y"), gp("x"), gp("heads")
	sign := s.broadcast("sign")
	half := gp("h") // in bytes
	SHLQ(U8(2), half)
	step := func(cos, sin GPVirtual, mask Op) {
		upper := func(p GPVirtual) Mem { return Mem{Base: p, Index: half, Scale: 1} }
		c, sn := s.load(Mem{Base: cos}, mask), s.load(Mem{Base: sin}, mask)
		VMULPS(sign, sn, sn)
		a, b := s.load(Mem{Base: x}, mask), s.load(upper(x), mask)
		as, bs := s.vec(), s.vec()
		VMULPS(sn, a, as)
		VMULPS(sn, b, bs)
		VMULPS(c, a, a)
		VMULPS(c, b, b)
		VSUBPS(bs, a, a)
		VADDPS(as, b, b)
		s.store(a, Mem{Base: y}, mask)
		s.store(b, upper(y), mask)
	}
	Label("head")
	cos, sin, n := gp("cos"), gp("sin"), gp("h")
	loop(n, s.lanes, []GPVirtual{y, x, cos, sin},
		func() { step(cos, sin, nil) },
		func(left GPVirtual) {
			step(cos, sin, s.masks(left, 1)[0])
			LEAQ(Mem{Base: y, Index: left, Scale: 4}, y)
			LEAQ(Mem{Base: x, Index: left, Scale: 4}, x)
		})
	ADDQ(half, y)
	ADDQ(half, x)
	DECQ(heads)
	JNZ(LabelRef("head"))
	VZEROUPPER()
	RET()
}
