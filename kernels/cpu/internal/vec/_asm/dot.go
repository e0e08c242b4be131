package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func dot(s isa) {
	s.function("dot", "a, b *float32, n int) (r float32", "Dot.")
	a, b, n := gp("a"), gp("b"), gp("n")
	acc := s.zeroBlock()
	step := func(masks []Op) {
		for v := range acc {
			x, y := s.load(at(a, v, s.lanes), masks[v]), s.load(at(b, v, s.lanes), masks[v])
			VFMADD231PS(x, y, acc[v])
		}
	}
	loop(n, sumLanes, []GPVirtual{a, b},
		func() { step(none(len(acc))) },
		func(left GPVirtual) { step(s.masks(left, len(acc))) })
	returnFloat(s.fold(acc, add))
}

// dotRows takes four rows at a time: four independent sums hide the latency of
// one, and their last lanes are folded together.
func dotRows(s isa) {
	s.function("dotRows", "dst, q, k *float32, stride, d, groups int, scale float32", "DotRows on 4*groups rows.")
	dst, k, stride, groups := gp("dst"), gp("k"), gp("stride"), gp("groups")
	SHLQ(U8(2), stride)
	triple := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, triple)

	Label("group")
	q, p, n := gp("q"), GP64(), gp("d")
	MOVQ(k, p)
	var acc [4]block
	for r := range acc {
		acc[r] = s.zeroBlock()
	}
	step := func(masks []Op) {
		for v := range s.perBlock() {
			x := s.load(at(q, v, s.lanes), masks[v])
			for r := range acc {
				m := at(p, v, s.lanes)
				switch r {
				case 1, 2:
					m.Index, m.Scale = stride, uint8(r)
				case 3:
					m.Index, m.Scale = triple, 1
				}
				if masks[v] == nil {
					VFMADD231PS(m, x, acc[r][v])
				} else {
					VFMADD231PS(s.load(m, masks[v]), x, acc[r][v])
				}
			}
		}
	}
	loop(n, sumLanes, []GPVirtual{q, p},
		func() { step(none(s.perBlock())) },
		func(left GPVirtual) { step(s.masks(left, s.perBlock())) })

	// Each row's lanes to four; then lane 0+2 and 1+3 of all rows side by side.
	var four [4]VecVirtual
	for r, b := range acc {
		x := YMM()
		if s.lanes == 16 {
			VEXTRACTF64X4(U8(1), b[0], x)
			VADDPS(x, b[0].AsY(), x)
		} else {
			VADDPS(b[1], b[0], x)
		}
		four[r] = XMM()
		VEXTRACTF128(U8(1), x, four[r])
		VADDPS(four[r], x.AsX(), four[r])
	}
	lo01, lo23, hi01, hi23 := XMM(), XMM(), XMM(), XMM()
	VUNPCKLPS(four[1], four[0], lo01) // lane 0 of rows 0, 1; lane 1 of rows 0, 1
	VUNPCKLPS(four[3], four[2], lo23)
	VUNPCKHPS(four[1], four[0], hi01) // lanes 2 and 3
	VUNPCKHPS(four[3], four[2], hi23)
	VADDPS(hi01, lo01, lo01)
	VADDPS(hi23, lo23, lo23)
	even, odd := XMM(), XMM()
	VUNPCKLPD(lo23, lo01, even)
	VUNPCKHPD(lo23, lo01, odd)
	VADDPS(odd, even, even)
	scale := XMM()
	m, err := Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(m.Addr, scale)
	VMULPS(scale, even, even)
	VMOVUPS(even, Mem{Base: dst})

	ADDQ(U8(16), dst)
	LEAQ(Mem{Base: k, Index: stride, Scale: 4}, k)
	DECQ(groups)
	JNZ(LabelRef("group"))
	VZEROUPPER()
	RET()
}

// axpyRows keeps as much of o in registers as goes through all rows at once:
// 64 elements, then 16, then the rest.
func axpyRows(s isa) {
	s.function("axpyRows", "o, p, v *float32, stride, d, n int", "AxpyRows; n is positive.")
	o, v, stride, d := gp("o"), gp("v"), gp("stride"), gp("d")
	SHLQ(U8(2), stride)
	rows := func(name string, vecs int, masks []Op) {
		acc := make(block, vecs)
		for i := range acc {
			acc[i] = s.load(at(o, i, s.lanes), masks[i])
		}
		p, row, n := gp("p"), GP64(), gp("n")
		MOVQ(v, row)
		Label(name + "row")
		w := s.vec()
		VBROADCASTSS(Mem{Base: p}, w)
		for i := range acc {
			m := at(row, i, s.lanes)
			if masks[i] == nil {
				VFMADD231PS(m, w, acc[i])
			} else {
				VFMADD231PS(s.load(m, masks[i]), w, acc[i])
			}
		}
		ADDQ(U8(4), p)
		ADDQ(stride, row)
		DECQ(n)
		JNZ(LabelRef(name + "row"))
		for i := range acc {
			s.store(acc[i], at(o, i, s.lanes), masks[i])
		}
	}
	advance := func(elements int) {
		ADDQ(I32(4*elements), o)
		ADDQ(I32(4*elements), v)
		SUBQ(U8(elements), d)
	}
	Label("large")
	CMPQ(d, U8(64))
	JLT(LabelRef("small"))
	rows("large", 64/s.lanes, none(64/s.lanes))
	advance(64)
	JMP(LabelRef("large"))
	Label("small")
	CMPQ(d, U8(16))
	JLT(LabelRef("rest"))
	rows("small", s.perBlock(), none(s.perBlock()))
	advance(16)
	JMP(LabelRef("small"))
	Label("rest")
	TESTQ(d, d)
	JZ(LabelRef("done"))
	rows("rest", s.perBlock(), s.masks(d, s.perBlock()))
	Label("done")
	VZEROUPPER()
	RET()
}
