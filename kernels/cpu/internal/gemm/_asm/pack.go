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
	if s.size == 4 {
		SHLQ(U8(2), ld)
	} else {
		SHLQ(U8(1), ld)
	}
	rows := newRowPointers(src, ld, 8)

	Label("block")
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
	for _, p := range rows.base {
		ADDQ(U8(8*s.size), p)
	}
	ADDQ(U32(8*panelBytes), dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// widen writes the expansion of consecutive 16-bit elements.
func widen(s storage) {
	TEXT("widen"+s.name, NOSPLIT, name("func(dst *float32, src *%s, blocks int)", s.goType))
	Pragma("noescape")
	Doc(name("widen%s widens 16*blocks elements of src.", s.name))
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	blocks := Load(Param("blocks"), GP64())
	Label("block")
	for i := range 2 {
		v := YMM()
		s.load(Mem{Base: src, Disp: 16 * i}, v)
		VMOVUPS(v, Mem{Base: dst, Disp: 32 * i})
	}
	ADDQ(U8(32), src)
	ADDQ(U8(64), dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}
