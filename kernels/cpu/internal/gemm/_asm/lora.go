package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The streaming tiles differ from the others in two ways. They read no more of
// b than they use, so that b may be the caller's matrix itself; and they ask for
// what comes next, since skinny products pass so quickly over long matrices that
// the hardware's prefetchers come too late.
var streamRows = map[string][]int{
	"AVX2":   {6, 4, 3, 2, 1},
	"AVX512": {12, 8, 6, 4, 3, 2, 1},
}

func streamTiles() {
	for _, set := range []isa{avx2, avx512} {
		for _, rows := range streamRows[set.name] {
			for _, vecs := range []int{2, 1} {
				streamTile(set, rows, vecs)
			}
		}
	}
}

// streamTile writes a streamFunc of rows × vecs vectors.
func streamTile(s isa, rows, vecs int) {
	f := name("stream%s_%dx%d", s.name, rows, vecs*s.lanes)
	TEXT(f, NOSPLIT, "func(k int, a *float32, as, ak int, b *float32, ldb int, c *float32, ldc int, cols int, add bool, nextA, nextB, nextC int)")
	Pragma("noescape")
	Doc(name("%s is a streamFunc of %d rows and up to %d columns.", f, rows, vecs*s.lanes))

	gp := func(param string) GPVirtual { return Load(Param(param), GP64()).(GPVirtual) }
	bytes := func(param string) GPVirtual {
		r := gp(param)
		SHLQ(U8(2), r)
		return r
	}
	line := func(m Mem, bytes int) {
		for at := 0; at < bytes; at += 64 {
			PREFETCHT0(m.Offset(at))
		}
	}

	c, ldc := gp("c"), bytes("ldc")
	ahead := bytes("nextC")
	ADDQ(c, ahead)
	next := newRowPointers(ahead, ldc, rows)
	for i := range rows {
		line(next.at(i), vecs*s.lanes*4)
	}

	k, a, b := gp("k"), gp("a"), gp("b")
	as, ak, ldb := bytes("as"), bytes("ak"), bytes("ldb")
	nextA, nextB := bytes("nextA"), bytes("nextB")
	ap := newRowPointers(a, as, rows)
	cols := gp("cols")

	// rest is the sums and all that follows, with the loads of b as given.
	rest := func(suffix string, masks []Op, loadB func(v int, m Mem, dst VecVirtual)) {
		acc := make([][]VecVirtual, rows)
		for i := range acc {
			for range vecs {
				v := s.vec()
				s.zero(v)
				acc[i] = append(acc[i], v)
			}
		}
		loop := "loop" + suffix
		Label(loop)
		bv := make([]VecVirtual, vecs)
		for v := range bv {
			bv[v] = s.vec()
			loadB(v, Mem{Base: b, Disp: v * s.lanes * 4}, bv[v])
		}
		line(Mem{Base: b, Index: nextB, Scale: 1}, panelBytes) // for ahead: see stream
		PREFETCHT0(Mem{Base: a, Index: nextA, Scale: 1})
		for i := range rows {
			if s.lanes == 16 && vecs == 1 { // a third faster than by a register of its own
				VFMADD231PS_BCST(ap.at(i), bv[0], acc[i][0])
				continue
			}
			x := s.vec()
			VBROADCASTSS(ap.at(i), x)
			for v := range bv {
				VFMADD231PS(bv[v], x, acc[i][v])
			}
		}
		for _, p := range ap.base {
			ADDQ(ak, p)
		}
		ADDQ(ldb, b)
		DECQ(k)
		JNZ(LabelRef(loop))
		if s.lanes == 8 && suffix != "" {
			masks = s.masks(gp("cols"), vecs) // had no room in the loop
		}
		s.addStore(acc, newRowPointers(gp("c"), bytes("ldc"), rows), masks, suffix)
	}
	if s.lanes == 16 {
		masks := s.masks(cols, vecs)
		rest("", masks, func(v int, m Mem, dst VecVirtual) { VMOVUPS_Z(m, masks[v], dst) })
		return
	}
	// AVX2's masked stores are slow, its registers few.
	CMPQ(cols, U8(8*vecs))
	JNE(LabelRef("edge"))
	rest("", nil, func(v int, m Mem, dst VecVirtual) { VMOVUPS(m, dst) })
	Label("edge")
	mask := s.maskTable(cols)
	rest("Edge", nil, func(v int, m Mem, dst VecVirtual) {
		VMOVUPS(mask(v), dst)
		VMASKMOVPS(m, dst, dst)
	})
}

// addStore adds c as asked, stores and returns.
func (s isa) addStore(acc [][]VecVirtual, c rowPointers, masks []Op, suffix string) {
	add := Load(Param("add"), GP8())
	TESTB(add, add)
	JZ(LabelRef("store" + suffix))
	for i, row := range acc {
		for v := range row {
			m := c.at(i).Offset(v * s.lanes * 4)
			switch {
			case s.lanes == 16:
				VADDPS_Z(m, row[v], masks[v], row[v])
			case masks == nil:
				VADDPS(m, row[v], row[v])
			default:
				x := YMM()
				VMASKMOVPS(m, masks[v], x)
				VADDPS(x, row[v], row[v])
			}
		}
	}
	Label("store" + suffix)
	for i, row := range acc {
		for v := range row {
			m := c.at(i).Offset(v * s.lanes * 4)
			switch {
			case s.lanes == 16:
				VMOVUPS(row[v], masks[v], m)
			case masks == nil:
				VMOVUPS(row[v], m)
			default:
				VMASKMOVPS(row[v], masks[v], m)
			}
		}
	}
	VZEROUPPER()
	RET()
}

var streamMask Mem

// masks gives the masks of vecs vectors of which the first cols elements are used.
func (s isa) masks(cols GPVirtual, vecs int) (masks []Op) {
	if s.lanes == 16 {
		bits := GP64()
		MOVQ(I32(-1), bits)
		BZHIQ(cols, bits, bits)
		for v := range vecs {
			if v > 0 {
				SHRQ(U8(16), bits)
			}
			k := K()
			KMOVW(bits.As32(), k)
			masks = append(masks, k)
		}
		return masks
	}
	mask := s.maskTable(cols)
	for v := range vecs {
		m := YMM()
		VMOVUPS(mask(v), m)
		masks = append(masks, m)
	}
	return masks
}

// maskTable gives AVX2's masks in memory. It consumes cols.
func (s isa) maskTable(cols GPVirtual) func(v int) Mem {
	if streamMask.Base == nil {
		streamMask = GLOBL("streamMask", RODATA|NOPTR)
		for i := range 32 {
			DATA(4*i, U32(0xffffffff*uint32(1-i/16)))
		}
	}
	table := GP64()
	LEAQ(streamMask, table)
	NEGQ(cols)
	return func(v int) Mem { return Mem{Base: table, Index: cols, Scale: 4, Disp: 64 + 32*v} }
}
