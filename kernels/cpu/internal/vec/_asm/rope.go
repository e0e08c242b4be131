package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// rope takes a vector of angles through all heads.
func rope(s isa) {
	s.function("rope", "y, x, cos, sin *float32, h, heads int, sign float32", "Rope; h is half a head, heads is positive.")
	y, x, cos, sin, n, heads := gp("y"), gp("x"), gp("cos"), gp("sin"), gp("h"), gp("heads")
	sign := s.broadcast("sign")
	half, head := GP64(), GP64() // in bytes
	MOVQ(n, half)
	SHLQ(U8(2), half)
	LEAQ(Mem{Base: half, Index: half, Scale: 1}, head)
	step := func(name string, mask Op) {
		c, sn := s.load(Mem{Base: cos}, mask), s.load(Mem{Base: sin}, mask)
		VMULPS(sign, sn, sn)
		px, py, left := GP64(), GP64(), GP64()
		MOVQ(x, px)
		MOVQ(y, py)
		MOVQ(heads, left)
		Label(name)
		a, b := s.load(Mem{Base: px}, mask), s.load(Mem{Base: px, Index: half, Scale: 1}, mask)
		as, bs := s.vec(), s.vec()
		VMULPS(sn, a, as)
		VMULPS(sn, b, bs)
		VMULPS(c, a, a)
		VMULPS(c, b, b)
		VSUBPS(bs, a, a)
		VADDPS(as, b, b)
		s.store(a, Mem{Base: py}, mask)
		s.store(b, Mem{Base: py, Index: half, Scale: 1}, mask)
		ADDQ(head, px)
		ADDQ(head, py)
		DECQ(left)
		JNZ(LabelRef(name))
	}
	loop(n, s.lanes, []GPVirtual{y, x, cos, sin},
		func() { step("head", nil) },
		func(left GPVirtual) { step("lasthead", s.masks(left, 1)[0]) })
	VZEROUPPER()
	RET()
}
