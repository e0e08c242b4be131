package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// isa is an instruction set's vectors and the tile heights made for it. The
// tallest keeps its sums, two vectors of b and the broadcast of a in registers.
type isa struct {
	name  string
	lanes int
	rows  []int
	pairs bool // an element is two bf16
}

var (
	avx2      = isa{"AVX2", 8, []int{6, 4, 2, 1}, false}
	avx512    = isa{"AVX512", 16, []int{12, 8, 4, 2, 1}, false}
	bf16Pairs = isa{"BF16", 16, avx512.rows, true}
)

func (s isa) vec() VecVirtual {
	if s.lanes == 16 {
		return ZMM()
	}
	return YMM()
}

func (s isa) zero(v VecVirtual) {
	if s.lanes == 16 {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
}

// rowPointers addresses rows by one pointer for four of them.
type rowPointers struct {
	base         []GPVirtual
	step, triple Register
}

func newRowPointers(p, step GPVirtual, rows int) rowPointers {
	r := rowPointers{base: []GPVirtual{p}, step: step}
	if rows > 3 {
		t := GP64()
		LEAQ(Mem{Base: step, Index: step, Scale: 2}, t)
		r.triple = t
	}
	for i := 4; i < rows; i += 4 {
		q := GP64()
		LEAQ(Mem{Base: r.base[len(r.base)-1], Index: step, Scale: 4}, q)
		r.base = append(r.base, q)
	}
	return r
}

func (r rowPointers) at(row int) Mem {
	m := Mem{Base: r.base[row/4]}
	switch row % 4 {
	case 1, 2:
		m.Index, m.Scale = r.step, uint8(row%4)
	case 3:
		m.Index, m.Scale = r.triple, 1
	}
	return m
}

// tile writes a kernelFunc of rows × vecs vectors.
func tile(s isa, rows, vecs int) {
	TEXT(name("tile%s_%dx%d", s.name, rows, vecs*s.lanes), NOSPLIT,
		"func(tiles, k int, a *float32, as, ak int, b *float32, ldb int, c *float32, ldc int, cols int, bias *float32, add bool, ask uintptr, stride, step int)")
	Pragma("noescape")
	Doc(name("tile%s_%dx%d is a kernelFunc of tiles of %d rows and up to %d columns.", s.name, rows, vecs*s.lanes, rows, vecs*s.lanes))

	bytes := func(param string) GPVirtual {
		r := Load(Param(param), GP64()).(GPVirtual)
		SHLQ(U8(2), r)
		return r
	}
	t := chunks{left: AllocLocal(8), add: AllocLocal(8), stride: param("stride"), ask: Load(Param("ask"), GP64()).(GPVirtual)}
	Label("tile")
	k := Load(Param("k"), GP64())
	MOVQ(k, t.left)
	add := Load(Param("add"), GP64())
	MOVQ(add, t.add)
	a := Load(Param("a"), GP64()).(GPVirtual)
	b := Load(Param("b"), GP64()).(GPVirtual)
	as := bytes("as")
	ap := newRowPointers(a, as, rows)

	Label("chunk")
	n := GP64()
	MOVQ(I32(kc), n)
	CMPQ(t.left, n)
	CMOVQLT(t.left, n)
	SUBQ(n, t.left)
	acc := make([][]VecVirtual, rows)
	for i := range acc {
		for range vecs {
			v := s.vec()
			s.zero(v)
			acc[i] = append(acc[i], v)
		}
	}

	ak, ldb := bytes("ak"), bytes("ldb")
	if rows >= unrollFrom {
		CMPQ(ldb, U32(panelBytes))
		JNE(LabelRef("loop"))
		CMPQ(ak, U8(4))
		if s.pairs {
			JNE(LabelRef("loop"))
			unrolledRows(s, t, n, b, ap, acc)
		} else {
			JNE(LabelRef("columns"))
			unrolledRows(s, t, n, b, ap, acc)
			JMP(LabelRef("loop"))
			Label("columns")
			unrolledColumns(s, t, n, a, as, ak, b, ap, acc)
		}
	}
	Label("loop")
	step(s, Mem{Base: b}, ap.at, acc)
	for _, p := range ap.base {
		ADDQ(ak, p)
	}
	ADDQ(ldb, b)
	DECQ(n)
	JNZ(LabelRef("loop"))
	Label("finish")
	ADDQ(param("step"), t.ask)

	if s.lanes == 16 {
		finishAVX512(t, acc)
	} else {
		finishAVX2(t, acc)
	}
}

// chunks is where a tile is along k: the products left, whether there is a sum
// to add to, and the memory to ask for next.
type chunks struct {
	left, add, stride Mem
	ask               GPVirtual
}

const kc = 64 // KC of package gemm

// step adds one product, or a pair of them, to every sum.
func step(s isa, b Mem, a func(row int) Mem, acc [][]VecVirtual) {
	bv := make([]VecVirtual, len(acc[0]))
	for v := range bv {
		bv[v] = s.vec()
		VMOVUPS(b.Offset(v*s.lanes*4), bv[v])
	}
	for i := range acc {
		x := s.vec()
		VBROADCASTSS(a(i), x)
		for v := range bv {
			if s.pairs {
				VDPBF16PS(bv[v], x, acc[i][v])
			} else {
				VFMADD231PS(bv[v], x, acc[i][v])
			}
		}
	}
}

const (
	unrollFrom = 6 // rows of a tile that is worth further loops
	unroll     = 4
)

// rounds writes a loop over as many whole rounds of unroll products of a packed
// panel as k has, and leaves the others for the label loop. In every round it asks
// for one row of dst, which by then is all in the cache, and as much to the right of
// it, most often the next tile; and for a line of what the caller needs next.
func rounds(s isa, label string, t chunks, k, b GPVirtual, acc [][]VecVirtual, a func(l, row int) Mem, ahead func(l int), advance func()) {
	n := GP64()
	MOVQ(k, n)
	SHRQ(U8(2), n)
	JZ(LabelRef("loop"))
	c := Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())

	Label(label)
	for l := range unroll {
		PREFETCHT0(Mem{Base: c, Disp: 64 * l})
		if l == unroll-1 {
			PREFETCHT1(Mem{Base: t.ask})
			ADDQ(t.stride, t.ask)
		}
		ahead(l)
		step(s, Mem{Base: b, Disp: l * panelBytes}, func(row int) Mem { return a(l, row) }, acc)
	}
	advance()
	LEAQ(Mem{Base: c, Index: ldc, Scale: 4}, c)
	ADDQ(U32(unroll*panelBytes), b)
	DECQ(n)
	JNZ(LabelRef(label))
	ANDQ(U8(unroll-1), k)
	JZ(LabelRef("finish"))
}

// unrolledRows is for rows of a (ak = 1).
func unrolledRows(s isa, t chunks, k, b GPVirtual, ap rowPointers, acc [][]VecVirtual) {
	// The rows of the tile below.
	next := GP64()
	MOVQ(ap.base[0], next)
	CMPQ(param("tiles"), U8(1))
	JE(LabelRef("last"))
	below := GP64()
	IMUL3Q(U8(len(acc)), ap.step, below)
	ADDQ(below, next)
	Label("last")
	rounds(s, "rows", t, k, b, acc,
		func(l, row int) Mem { return ap.at(row).Offset(4 * l) },
		func(l int) { PREFETCHT0(Mem{Base: next, Disp: 64 * l}) },
		func() {
			for _, p := range ap.base {
				ADDQ(U8(4*unroll), p)
			}
			ADDQ(ap.step, next)
		})
}

// unrolledColumns is for columns of a (as = 1).
func unrolledColumns(s isa, t chunks, k, a, as, ak, b GPVirtual, ap rowPointers, acc [][]VecVirtual) {
	CMPQ(as, U8(4))
	JNE(LabelRef("loop"))
	steps := newRowPointers(a, ak, unroll)
	rounds(s, "steps", t, k, b, acc,
		func(l, row int) Mem { return steps.at(l).Offset(4 * row) },
		func(l int) {},
		func() {
			for _, p := range ap.base {
				LEAQ(Mem{Base: p, Index: ak, Scale: 4}, p)
			}
		})
}

// epilogue adds dst and the bias as asked, and stores: with load and store
// touching cols columns only.
func epilogue(t chunks, acc [][]VecVirtual, suffix string, addMem func(m Mem, v int, acc VecVirtual), store func(acc VecVirtual, m Mem, v int)) {
	lanes := int(acc[0][0].Size()) / 4
	c := Load(Param("c"), GP64()).(GPVirtual)
	ldc := Load(Param("ldc"), GP64()).(GPVirtual)
	SHLQ(U8(2), ldc)
	cp := newRowPointers(c, ldc, len(acc))
	CMPB(t.add, U8(0))
	JE(LabelRef("bias" + suffix))
	for i, row := range acc {
		for v := range row {
			addMem(cp.at(i).Offset(v*lanes*4), v, row[v])
		}
	}
	Label("bias" + suffix)
	MOVB(U8(1), t.add)
	CMPQ(t.left, U8(0))
	JNE(LabelRef("store" + suffix))
	bias := Load(Param("bias"), GP64())
	TESTQ(bias, bias)
	JZ(LabelRef("store" + suffix))
	for _, row := range acc {
		for v := range row {
			addMem(Mem{Base: bias, Disp: v * lanes * 4}, v, row[v])
		}
	}
	Label("store" + suffix)
	for i, row := range acc {
		for v := range row {
			store(row[v], cp.at(i).Offset(v*lanes*4), v)
		}
	}
	CMPQ(t.left, U8(0))
	JNE(LabelRef("chunk"))
	nextTile(len(acc), c, ldc)
	VZEROUPPER()
	RET()
}

// nextTile goes on with the rows below while there are tiles.
func nextTile(rows int, c, ldc GPVirtual) {
	tiles, a, as := GP64(), GP64(), GP64()
	IMUL3Q(U8(rows), ldc, ldc)
	ADDQ(ldc, c)
	MOVQ(c, param("c"))
	MOVQ(param("as"), as)
	IMUL3Q(U8(4*rows), as, as)
	MOVQ(param("a"), a)
	ADDQ(as, a)
	MOVQ(a, param("a"))
	MOVQ(param("tiles"), tiles)
	DECQ(tiles)
	MOVQ(tiles, param("tiles"))
	JNZ(LabelRef("tile"))
}

func finishAVX512(t chunks, acc [][]VecVirtual) {
	bits := GP64()
	MOVQ(I32(-1), bits)
	cols := Load(Param("cols"), GP64())
	BZHIQ(cols, bits, bits)
	var masks []OpmaskVirtual
	for v := range acc[0] {
		if v > 0 {
			SHRQ(U8(16), bits)
		}
		m := K()
		KMOVW(bits.As32(), m)
		masks = append(masks, m)
	}
	epilogue(t, acc, "",
		func(m Mem, v int, acc VecVirtual) { VADDPS_Z(m, acc, masks[v], acc) },
		func(acc VecVirtual, m Mem, v int) { VMOVUPS(acc, masks[v], m) })
}

var edgeMask Mem

func finishAVX2(t chunks, acc [][]VecVirtual) {
	vecs := len(acc[0])
	cols := Load(Param("cols"), GP64())
	CMPQ(cols, U8(8*vecs))
	JNE(LabelRef("edge"))
	epilogue(t, acc, "",
		func(m Mem, _ int, acc VecVirtual) { VADDPS(m, acc, acc) },
		func(acc VecVirtual, m Mem, _ int) { VMOVUPS(acc, m) })

	Label("edge")
	if edgeMask.Base == nil {
		edgeMask = GLOBL("edgeMask", RODATA|NOPTR)
		for i := range 32 {
			DATA(4*i, U32(0xffffffff*uint32(1-i/16)))
		}
	}
	table := GP64()
	LEAQ(edgeMask, table)
	NEGQ(cols)
	var masks []VecVirtual
	for v := range vecs {
		m := YMM()
		VMOVUPS(Mem{Base: table, Index: cols, Scale: 4, Disp: 64 + 32*v}, m)
		masks = append(masks, m)
	}
	epilogue(t, acc, "Edge",
		func(m Mem, v int, acc VecVirtual) {
			x := YMM()
			VMASKMOVPS(m, masks[v], x)
			VADDPS(x, acc, acc)
		},
		func(acc VecVirtual, m Mem, v int) { VMASKMOVPS(acc, masks[v], m) })
}
