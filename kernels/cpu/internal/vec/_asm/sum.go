package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// block is the lanes of a sum: one vector or two.
type block []VecVirtual

func (s isa) zeroBlock() block {
	b := make(block, s.perBlock())
	for v := range b {
		b[v] = s.zero()
	}
	return b
}

func none(vecs int) []Op { return make([]Op, vecs) }

func at(p Register, vector, lanes int) Mem { return Mem{Base: p, Disp: 4 * vector * lanes} }

// fold combines a block's upper half with its lower until one lane is left. It
// leaves the result in the lowest lane.
func (s isa) fold(b block, op func(upper, lower, dst Op)) VecVirtual {
	x := YMM()
	if s.lanes == 16 {
		VEXTRACTF64X4(U8(1), b[0], x)
		op(x, b[0].AsY(), x)
	} else {
		op(b[1], b[0], x)
	}
	return foldEight(x, op)
}

func foldEight(x VecVirtual, op func(upper, lower, dst Op)) VecVirtual {
	y := XMM()
	VEXTRACTF128(U8(1), x, y)
	op(y, x.AsX(), y)
	z := XMM()
	VPERMILPS(U8(0b1110), y, z)
	op(z, y, y)
	VPERMILPS(U8(0b01), y, z)
	op(z, y, y)
	return y
}

func add(upper, lower, dst Op) { VADDPS(upper, lower, dst) }

func returnFloat(v VecVirtual) {
	Store(v, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// reduction writes the loop of a sum over blocks of x.
func reduction(s isa, name, doc string, acc func() block, step func(acc block, x GPVirtual, masks []Op), op func(upper, lower, dst Op)) {
	s.function(name, "x *float32, n int) (r float32", doc)
	x, n := gp("x"), gp("n")
	b := acc()
	loop(n, sumLanes, []GPVirtual{x},
		func() { step(b, x, none(s.perBlock())) },
		func(left GPVirtual) { step(b, x, s.masks(left, s.perBlock())) })
	returnFloat(s.fold(b, op))
}

func sum(s isa) {
	reduction(s, "sum", "Sum.", s.zeroBlock, func(acc block, x GPVirtual, masks []Op) {
		for v := range acc {
			VADDPS(s.load(at(x, v, s.lanes), masks[v]), acc[v], acc[v])
		}
	}, add)
}

// maximum keeps the instruction's second source where the first is NaN or
// equals it: the larger so far. Four vectors at a time hide its latency.
func maximum(s isa) {
	const wide = 4
	s.function("max", "x *float32, n int) (r float32", "Max.")
	x, n := gp("x"), gp("n")
	lowest := s.bits(0xff800000)
	acc := make(block, wide*s.perBlock())
	for v := range acc {
		acc[v] = s.load(lowest, nil)
	}
	Label("wide")
	SUBQ(U8(wide*sumLanes), n)
	JB(LabelRef("narrow"))
	for v := range acc {
		VMAXPS(acc[v], s.load(at(x, v, s.lanes), nil), acc[v])
	}
	ADDQ(I32(4*wide*sumLanes), x)
	JMP(LabelRef("wide"))
	Label("narrow")
	ADDQ(U8(wide*sumLanes), n)
	first := acc[:s.perBlock()]
	for v, a := range acc[s.perBlock():] {
		VMAXPS(first[v%len(first)], a, first[v%len(first)])
	}
	step := func(masks []Op) {
		for v := range first {
			y := s.load(at(x, v, s.lanes), masks[v])
			switch {
			case masks[v] == nil:
				VMAXPS(first[v], y, first[v])
			case s.lanes == 16:
				VMAXPS(first[v], y, masks[v], first[v])
			default:
				VMAXPS(first[v], y, y)
				VBLENDVPS(masks[v], y, first[v], first[v])
			}
		}
	}
	loop(n, sumLanes, []GPVirtual{x},
		func() { step(none(s.perBlock())) },
		func(left GPVirtual) { step(s.masks(left, s.perBlock())) })
	returnFloat(s.fold(first, func(upper, lower, dst Op) { VMAXPS(lower, upper, dst) }))
}

// squares is a sum of squares in float64.
type squares struct {
	isa
	acc block
}

func newSquares(s isa) squares {
	q := squares{s, make(block, 2*s.perBlock())}
	for v := range q.acc {
		q.acc[v] = s.zero()
	}
	return q
}

// add takes vector v of a block.
func (q squares) add(v int, y VecVirtual) {
	square := func(half Op, acc VecVirtual) {
		w := q.vec()
		VCVTPS2PD(half, w)
		VFMADD231PD(w, w, acc)
	}
	if q.lanes == 16 {
		upper := YMM()
		VEXTRACTF64X4(U8(1), y, upper)
		square(y.AsY(), q.acc[0])
		square(upper, q.acc[1])
	} else {
		upper := XMM()
		VEXTRACTF128(U8(1), y, upper)
		square(y.AsX(), q.acc[2*v])
		square(upper, q.acc[2*v+1])
	}
}

// fold leaves the sum in the lowest lane: sixteen lanes to eight to four to one.
func (q squares) fold() VecVirtual {
	acc, y := q.acc, YMM()
	if q.lanes == 16 {
		VADDPD(acc[1], acc[0], acc[0])
		VEXTRACTF64X4(U8(1), acc[0], y)
		VADDPD(y, acc[0].AsY(), y)
	} else {
		VADDPD(acc[2], acc[0], acc[0])
		VADDPD(acc[3], acc[1], acc[1])
		VADDPD(acc[1], acc[0], y)
	}
	z := XMM()
	VEXTRACTF128(U8(1), y, z)
	VADDPD(z, y.AsX(), z)
	w := XMM()
	VPERMILPD(U8(1), z, w)
	VADDPD(w, z, z)
	return z
}

func sumSquares(s isa) {
	s.function("sumSquares", "x *float32, n int) (r float64", "SumSquares.")
	x, n := gp("x"), gp("n")
	q := newSquares(s)
	step := func(masks []Op) {
		for v := range s.perBlock() {
			q.add(v, s.load(at(x, v, s.lanes), masks[v]))
		}
	}
	loop(n, sumLanes, []GPVirtual{x},
		func() { step(none(s.perBlock())) },
		func(left GPVirtual) { step(s.masks(left, s.perBlock())) })
	returnFloat(q.fold())
}
