package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// storage is a format of weights in memory.
type storage struct {
	name, goType string
	size         int
}

var (
	f32  = storage{"F32", "float32", 4}
	bf16 = storage{"BF16", "uint16", 2}
	f16  = storage{"F16", "uint16", 2}
)

// load widens as many elements as dst holds.
func (s storage) load(m Mem, dst VecVirtual) {
	switch s {
	case f32:
		VMOVUPS(m, dst)
	case bf16:
		VPMOVZXWD(m, dst)
		VPSLLD(U8(16), dst, dst)
	case f16:
		VCVTPH2PS(m, dst)
	}
}

func (s storage) toBytes(n GPVirtual) {
	if s.size == 4 {
		SHLQ(U8(2), n)
	} else {
		SHLQ(U8(1), n)
	}
}

const panelBytes = 32 * 4

// packColumns8 writes the transposition of eight rows of b into eight columns of a panel.
func packColumns8(s storage) {
	TEXT("packColumns8"+s.name, NOSPLIT, name("func(dst *float32, src *%s, ld int, blocks int)", s.goType))
	Pragma("noescape")
	Doc(name("packColumns8%s sets dst[l*panel+j] = src[j*ld+l] for j < 8 and l < 8*blocks.", s.name))
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64()).(GPVirtual)
	ld := Load(Param("ld"), GP64()).(GPVirtual)
	blocks := Load(Param("blocks"), GP64())
	s.toBytes(ld)
	ahead := GP64()
	LEAQ(Mem{Base: src, Index: ld, Scale: 8}, ahead)
	rows := newRowPointers(src, ld, 8)
	next := newRowPointers(ahead, ld, 8)

	// A row's piece in a chunk is too short for the hardware's prefetcher: ask
	// for the next eight rows while these are packed.
	Label("block")
	for i := range 8 {
		PREFETCHT0(next.at(i))
	}
	for half := range 2 {
		// Rows r and r+4 share a register: then the two 4×4 transpositions of
		// its halves give whole rows of the panel.
		var r [4]VecVirtual
		for i := range r {
			lo, hi := XMM(), XMM()
			s.load(rows.at(i).Offset(4*half*s.size), lo)
			s.load(rows.at(i+4).Offset(4*half*s.size), hi)
			r[i] = YMM()
			VINSERTF128(U8(1), hi, lo.AsY(), r[i])
		}
		var t [4]VecVirtual
		for i := range t {
			t[i] = YMM()
		}
		VUNPCKLPS(r[1], r[0], t[0]) // r0k0 r1k0 r0k1 r1k1
		VUNPCKHPS(r[1], r[0], t[1]) // r0k2 r1k2 r0k3 r1k3
		VUNPCKLPS(r[3], r[2], t[2])
		VUNPCKHPS(r[3], r[2], t[3])
		for l := range 4 {
			o := YMM()
			if l%2 == 0 {
				VUNPCKLPD(t[2+l/2], t[l/2], o)
			} else {
				VUNPCKHPD(t[2+l/2], t[l/2], o)
			}
			VMOVUPS(o, Mem{Base: dst, Disp: (4*half + l) * panelBytes})
		}
	}
	for _, p := range append(rows.base, next.base...) {
		ADDQ(U8(8*s.size), p)
	}
	ADDQ(U32(8*panelBytes), dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// packRows writes the copy of pieces of rows of b into a panel.
func packRows(s storage, set isa) {
	f := name("packRows%d%s", set.lanes, s.name)
	TEXT(f, NOSPLIT, name("func(dst *float32, src *%s, ld, rows int)", s.goType))
	Pragma("noescape")
	Doc(name("%s sets dst[l*panel+j] = src[l*ld+j] for l < rows and j < panel.", f))
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	ld := Load(Param("ld"), GP64()).(GPVirtual)
	rows := Load(Param("rows"), GP64())
	s.toBytes(ld)
	Label("row")
	for at := 0; at < panelBytes/4; at += set.lanes {
		v := set.vec()
		s.load(Mem{Base: src, Disp: s.size * at}, v)
		VMOVUPS(v, Mem{Base: dst, Disp: 4 * at})
	}
	ADDQ(ld, src)
	SUBQ(I32(-panelBytes), dst)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// packRowPairs writes the copy of pairs of rows of b, interleaved, into panels
// side by side.
func packRowPairs() {
	TEXT("packRowPairs", NOSPLIT, "func(dst *float32, src *uint16, ld int, pairs, kc, panels int)")
	Pragma("noescape")
	Doc("packRowPairs sets the halves of dst[(x*kc+l)*panel+j] to src[2*l*ld+x*panel+j] and src[(2*l+1)*ld+x*panel+j]",
		"for x < panels, l < pairs and j < panel.")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	ld := Load(Param("ld"), GP64())
	pairs := Load(Param("pairs"), GP64())
	size := Load(Param("kc"), GP64())
	SHLQ(U8(1), ld)
	SHLQ(U8(7), size)

	Label("row")
	from, to := GP64(), GP64()
	panels := Load(Param("panels"), GP64())
	MOVQ(src, from)
	MOVQ(dst, to)
	Label("panel")
	PREFETCHT0(Mem{Base: from, Index: ld, Scale: 8})
	for half := range 2 {
		low, high := ZMM(), ZMM()
		VPMOVZXWD(Mem{Base: from, Disp: 32 * half}, low)
		VPMOVZXWD(Mem{Base: from, Index: ld, Scale: 1, Disp: 32 * half}, high)
		VPSLLD(U8(16), high, high)
		VPORD(low, high, high)
		VMOVUPS(high, Mem{Base: to, Disp: 64 * half})
	}
	ADDQ(U8(64), from)
	ADDQ(size, to)
	DECQ(panels)
	JNZ(LabelRef("panel"))
	LEAQ(Mem{Base: src, Index: ld, Scale: 2}, src)
	SUBQ(I32(-panelBytes), dst)
	DECQ(pairs)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// packSteps writes the copy of pieces of rows, as many elements each as the tallest
// tile has rows, one below the other for each of the tiles.
func packSteps() {
	TEXT("packSteps12", NOSPLIT, "func(dst, src *float32, ld, rows, tiles int)")
	Pragma("noescape")
	Doc("packSteps12 sets dst[(t*KB+l)*12+i] = src[l*ld+12*t+i] for t < tiles, l < rows and i < 12.")
	const piece = 12 * 4
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	ld := Load(Param("ld"), GP64())
	rows := Load(Param("rows"), GP64())
	tiles := Load(Param("tiles"), GP64())
	SHLQ(U8(2), ld)
	Label("row")
	from, to, left := GP64(), GP64(), GP64()
	MOVQ(src, from)
	MOVQ(dst, to)
	MOVQ(tiles, left)
	Label("tile")
	v, x := YMM(), XMM()
	VMOVUPS(Mem{Base: from}, v)
	VMOVUPS(Mem{Base: from, Disp: 32}, x)
	VMOVUPS(v, Mem{Base: to})
	VMOVUPS(x, Mem{Base: to, Disp: 32})
	ADDQ(U8(piece), from)
	ADDQ(U32(4*kc*piece), to)
	DECQ(left)
	JNZ(LabelRef("tile"))
	ADDQ(ld, src)
	ADDQ(U8(piece), dst)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}
