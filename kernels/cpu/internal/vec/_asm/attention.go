package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/selkie-ml/selkie/internal/f32math"
)

// attention writes the functions of attention, which take many rows a call.
func attention(s isa) {
	softmax(s)
	softmaxGrad(s)
	scaleRows(s)
	rowDots(s)
	logSumExp.write(s)
	if s == avx2 {
		prefetch()
	}
}

// counter counts elements of a row against how many of them are valid.
type counter struct {
	isa
	first, step Op
	index, n    VecVirtual
}

func (s isa) newCounter() *counter {
	name := "iota" + s.name
	m, ok := tables[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		for i := range s.lanes {
			DATA(4*i, U32(i))
		}
		tables[name] = m
	}
	c := &counter{isa: s, first: m, step: s.bits(uint32(s.lanes)), index: s.vec(), n: s.vec()}
	if s.lanes == 16 {
		c.first = s.load(m, nil)
	}
	return c
}

// row starts a row with *n valid elements.
func (c *counter) row(n Register) { VPBROADCASTD(Mem{Base: n}, c.n) }

// start goes back to the row's first element.
func (c *counter) start() {
	if c.lanes == 16 {
		VMOVDQA32(c.first, c.index)
	} else {
		VMOVDQU(c.first, c.index)
	}
}

// next gives the mask of the valid ones among the next lanes.
func (c *counter) next() Op {
	var m Op = YMM()
	if c.lanes == 16 {
		m = K()
	}
	VPCMPGTD(c.index, c.n, m)
	VPADDD(c.step, c.index, c.index)
	return m
}

// rows runs body for each row; pointers advance by their steps.
func rows(n GPVirtual, body func(), advance map[GPVirtual]Op, order ...GPVirtual) {
	Label("row")
	body()
	for _, p := range order {
		ADDQ(advance[p], p)
	}
	DECQ(n)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// blocks runs body for each block of a sum's lanes in a row.
func blocks(name string, n GPVirtual, pointers []GPVirtual, body func()) {
	left := GP64()
	MOVQ(n, left)
	Label(name)
	body()
	for _, p := range pointers {
		ADDQ(U8(4*sumLanes), p)
	}
	DECQ(left)
	JNZ(LabelRef(name))
}

// from copies a pointer.
func from(p GPVirtual) GPVirtual {
	q := GP64()
	MOVQ(p, q)
	return q
}

// foldAnywhere is fold where registers above 15 may be in use.
func (s isa) foldAnywhere(b block, op func(upper, lower, dst Op)) VecVirtual {
	if s.lanes == 8 {
		return s.fold(b, op)
	}
	half := YMM()
	VEXTRACTF64X4(U8(1), b[0], half)
	op(half, b[0].AsY(), half)
	x := XMM()
	VEXTRACTF32X4(U8(1), half, x)
	op(x, half.AsX(), x)
	y := XMM()
	VPERMILPS(U8(0b1110), x, y)
	op(y, x, x)
	VPERMILPS(U8(0b01), x, y)
	op(y, x, x)
	return x
}

func softmax(s isa) {
	s.function("softmax", "x *float32, ld, rows, blocks int, n *int32, m, shift, sum *float32, scale float32",
		"Softmax of rows of 16*blocks elements; rows and blocks are positive.")
	x, ld, count, width := gp("x"), gp("ld"), gp("rows"), gp("blocks")
	n, m, shift, sum := gp("n"), gp("m"), gp("shift"), gp("sum")
	SHLQ(U8(2), ld)
	scale, lowest := s.broadcast("scale"), s.bits(0xff800000)
	e, c := newExponential(s), s.newCounter()
	rows(count, func() {
		c.row(n)
		c.start()
		top := make(block, s.perBlock())
		for v := range top {
			top[v] = s.load(lowest, nil)
		}
		p := from(x)
		blocks("largest", width, []GPVirtual{p}, func() {
			for v := range top {
				y := s.load(at(p, v, s.lanes), nil)
				VMULPS(scale, y, y)
				s.store(y, at(p, v, s.lanes), nil)
				if mask := c.next(); s.lanes == 16 {
					VMAXPS(top[v], y, mask, top[v])
				} else {
					z := s.load(lowest, nil)
					VBLENDVPS(mask, y, z, z)
					VMAXPS(top[v], z, top[v])
				}
			}
		})
		largest := s.foldAnywhere(top, func(upper, lower, dst Op) { VMAXPS(lower, upper, dst) }).AsX()
		old, diff := XMM(), XMM()
		VMOVSS(Mem{Base: m}, old)
		VMAXSS(old, largest, largest)
		VSUBSS(largest, old, diff)
		VMOVSS(largest, Mem{Base: m})
		VMOVSS(diff, Mem{Base: shift})
		less := s.vec()
		VBROADCASTSS(largest, less)

		c.start()
		acc := s.zeroBlock()
		p = from(x)
		blocks("weights", width, []GPVirtual{p}, func() {
			for v := range acc {
				y := s.load(at(p, v, s.lanes), nil)
				VSUBPS(less, y, y)
				y = e.of(y)
				s.keep(y, c.next())
				s.store(y, at(p, v, s.lanes), nil)
				VADDPS(y, acc[v], acc[v])
			}
		})
		VMOVSS(s.foldAnywhere(acc, add).AsX(), Mem{Base: sum})
	}, map[GPVirtual]Op{x: ld, n: U8(4), m: U8(4), shift: U8(4), sum: U8(4)}, x, n, m, shift, sum)
}

func softmaxGrad(s isa) {
	s.function("softmaxGrad", "p, dp *float32, ld, rows, blocks int, n *int32, lse, delta *float32, scale float32",
		"SoftmaxGrad of rows of 16*blocks elements; rows and blocks are positive.")
	p, dp, ld, count, width := gp("p"), gp("dp"), gp("ld"), gp("rows"), gp("blocks")
	n, lse, delta := gp("n"), gp("lse"), gp("delta")
	SHLQ(U8(2), ld)
	scale := s.broadcast("scale")
	e, c := newExponential(s), s.newCounter()
	rows(count, func() {
		c.row(n)
		c.start()
		less, mean := s.vec(), s.vec()
		VBROADCASTSS(Mem{Base: lse}, less)
		VBROADCASTSS(Mem{Base: delta}, mean)
		a, b := from(p), from(dp)
		blocks("block", width, []GPVirtual{a, b}, func() {
			for v := range s.perBlock() {
				y, mask := s.load(at(a, v, s.lanes), nil), c.next()
				VMULPS(scale, y, y)
				VSUBPS(less, y, y)
				y = e.of(y)
				s.keep(y, mask)
				s.store(y, at(a, v, s.lanes), nil)
				d := s.load(at(b, v, s.lanes), nil)
				VSUBPS(mean, d, d)
				VMULPS(y, d, d)
				VMULPS(scale, d, d)
				s.keep(d, mask)
				s.store(d, at(b, v, s.lanes), nil)
			}
		})
	}, map[GPVirtual]Op{p: ld, dp: ld, n: U8(4), lse: U8(4), delta: U8(4)}, p, dp, n, lse, delta)
}

func scaleRows(s isa) {
	s.function("scaleRows", "x *float32, ld, rows, d int, c *float32", "ScaleRows; rows and d are positive.")
	x, ld, count, d, c := gp("x"), gp("ld"), gp("rows"), gp("d"), gp("c")
	SHLQ(U8(2), ld)
	zero := s.zero()
	rows(count, func() {
		by := s.vec()
		VBROADCASTSS(Mem{Base: c}, by)
		p, left := from(x), from(d)
		step := func(masks []Op) {
			for v := range s.perBlock() {
				y := s.load(at(p, v, s.lanes), masks[v])
				VMULPS(by, y, y)
				VADDPS(zero, y, y)
				s.store(y, at(p, v, s.lanes), masks[v])
			}
		}
		loop(left, sumLanes, []GPVirtual{p}, func() { step(none(s.perBlock())) },
			func(left GPVirtual) { step(s.masks(left, s.perBlock())) })
	}, map[GPVirtual]Op{x: ld, c: U8(4)}, x, c)
}

func rowDots(s isa) {
	s.function("rowDots", "dst, a, b *float32, ld, rows, d int", "RowDots; rows and d are positive.")
	dst, a, b, ld, count, d := gp("dst"), gp("a"), gp("b"), gp("ld"), gp("rows"), gp("d")
	SHLQ(U8(2), ld)
	rows(count, func() {
		acc := s.zeroBlock()
		p, q, left := from(a), from(b), from(d)
		step := func(masks []Op) {
			for v := range acc {
				x := s.load(at(p, v, s.lanes), masks[v])
				if masks[v] == nil {
					VFMADD231PS(at(q, v, s.lanes), x, acc[v])
				} else {
					VFMADD231PS(s.load(at(q, v, s.lanes), masks[v]), x, acc[v])
				}
			}
		}
		loop(left, sumLanes, []GPVirtual{p, q}, func() { step(none(s.perBlock())) },
			func(left GPVirtual) { step(s.masks(left, s.perBlock())) })
		VMOVSS(s.foldAnywhere(acc, add).AsX(), Mem{Base: dst})
	}, map[GPVirtual]Op{a: ld, b: ld, dst: U8(4)}, a, b, dst)
}

func prefetch() {
	TEXT("prefetch", NOSPLIT, "func(x *byte, lines int)")
	Pragma("noescape")
	Doc("prefetch asks for cache lines from x on; lines is positive.")
	x, lines := gp("x"), gp("lines")
	Label("line")
	PREFETCHT0(Mem{Base: x})
	ADDQ(U8(64), x)
	DECQ(lines)
	JNZ(LabelRef("line"))
	RET()
}

var logSumExp = element{name: "logSumExp", doc: "LogSumExp.", slices: []string{"dst", "m", "l"}, reads: 1,
	prepare: func(s isa) func([]VecVirtual) []VecVirtual {
		root, one, half := s.bits(f32math.LogRootBits), s.constant(1), s.constant(-0.5)
		hi, lo := s.constant(f32math.LogLn2Hi), s.constant(f32math.LogLn2Lo)
		zero, inf, lowest := s.bits(0), s.bits(0x7f800000), s.bits(0xff800000)
		e := exponential{isa: s}
		var c []Op
		for _, x := range f32math.LogC {
			c = append(c, s.constant(x))
		}
		return func(in []VecVirtual) []VecVirtual {
			m, l := in[0], in[1]
			n, f, z, p := s.vec(), s.vec(), s.vec(), s.load(c[0], nil)
			VPSUBD(root, l, n)
			VPSRAD(U8(23), n, n)
			VPSLLD(U8(23), n, f)
			VPSUBD(f, l, f)
			VSUBPS(one, f, f)
			VCVTDQ2PS(n, n)
			for _, x := range c[1:] {
				VFMADD213PS(x, f, p)
			}
			VMULPS(f, f, z)
			VMULPS(f, p, p)
			VMULPS(z, p, p)
			VFMADD231PS(lo, n, p)
			VFMADD231PS(half, z, p)
			VADDPS(p, f, f)
			VFMADD231PS(hi, n, f)
			e.choose(equal, l, zero, lowest, f)
			e.choose(equal, l, inf, inf, f)
			e.choose(unordered, l, l, l, f)
			VADDPS(m, f, f)
			return []VecVirtual{f}
		}
	}}

const equal = U8(0x00)
