package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// rmsNormSums goes through a row once for both sums of the norm's backward.
func rmsNormSums(s isa) {
	s.function("rmsNormSums", "x, dy, w *float32, n int) (squares float64, dot float32", "RMSNormSums.")
	x, dy, w, n := gp("x"), gp("dy"), gp("w"), gp("n")
	q, dot := newSquares(s), s.zeroBlock()
	step := func(masks []Op) {
		for v := range dot {
			y := s.load(at(x, v, s.lanes), masks[v])
			g := s.load(at(dy, v, s.lanes), masks[v])
			if masks[v] == nil {
				VMULPS(at(w, v, s.lanes), g, g)
			} else {
				VMULPS(s.load(at(w, v, s.lanes), masks[v]), g, g)
			}
			VFMADD231PS(y, g, dot[v])
			q.add(v, y)
		}
	}
	loop(n, sumLanes, []GPVirtual{x, dy, w},
		func() { step(none(len(dot))) },
		func(left GPVirtual) { step(s.masks(left, len(dot))) })
	Store(s.fold(dot, add), ReturnIndex(1))
	returnFloat(q.fold())
}

// rmsNormWeightRows keeps a vector of sums in a register through all rows.
func rmsNormWeightRows(s isa) {
	s.function("rmsNormWeightRows", "sum, x, dy, inv *float32, stride, n, rows int", "RMSNormWeightRows; rows is positive.")
	sum, x, dy, inv, stride, n, rows := gp("sum"), gp("x"), gp("dy"), gp("inv"), gp("stride"), gp("n"), gp("rows")
	SHLQ(U8(2), stride)
	step := func(name string, mask Op) {
		acc := s.load(Mem{Base: sum}, mask)
		px, py, pi, left := GP64(), GP64(), GP64(), GP64()
		MOVQ(x, px)
		MOVQ(dy, py)
		MOVQ(inv, pi)
		MOVQ(rows, left)
		Label(name)
		r := s.vec()
		VBROADCASTSS(Mem{Base: pi}, r)
		if mask == nil {
			VMULPS(Mem{Base: px}, r, r)
			VMULPS(Mem{Base: py}, r, r)
		} else {
			VMULPS(s.load(Mem{Base: px}, mask), r, r)
			VMULPS(s.load(Mem{Base: py}, mask), r, r)
		}
		VADDPS(r, acc, acc)
		ADDQ(stride, px)
		ADDQ(stride, py)
		ADDQ(U8(4), pi)
		DECQ(left)
		JNZ(LabelRef(name))
		s.store(acc, Mem{Base: sum}, mask)
	}
	loop(n, s.lanes, []GPVirtual{sum, x, dy},
		func() { step("row", nil) },
		func(left GPVirtual) { step("lastrow", s.masks(left, 1)[0]) })
	VZEROUPPER()
	RET()
}
