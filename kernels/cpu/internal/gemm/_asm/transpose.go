package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// packColumns16 writes the transposition of sixteen rows of b, block by block of
// sixteen words, into half the columns of a panel. A word is one f32 or, to be
// widened on the way out, two bf16.
func packColumns16(s storage) {
	f := "packColumns16" + s.name
	TEXT(f, NOSPLIT, "func(dst, src *float32, ldb int, blocks int)")
	Pragma("noescape")
	if s == bf16 {
		Doc(f + " sets dst[l*panel+j] = src[j][l] for j < 16 and l < 32*blocks, of bf16 in rows ldb bytes apart.")
	} else {
		Doc(f + " sets dst[l*panel+j] = src[j][l] for j < 16 and l < 16*blocks, rows ldb bytes apart.")
	}
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64()).(GPVirtual)
	ld := Load(Param("ldb"), GP64()).(GPVirtual)
	blocks := Load(Param("blocks"), GP64())
	rows := newRowPointers(src, ld, 16)
	ahead := GP64()
	MOVQ(ld, ahead)
	SHLQ(U8(4), ahead)
	ADDQ(src, ahead)
	next := newRowPointers(ahead, ld, 16)
	var lane [4]OpmaskVirtual // the second, third and fourth 128 bits
	bits := GP32()
	for i := 1; i < 4; i++ {
		lane[i] = K()
		MOVL(U32(15<<(4*i)), bits)
		KMOVW(bits, lane[i])
	}
	var high VecVirtual
	if s == bf16 {
		high = ZMM()
		MOVL(U32(0xffff0000), bits)
		VPBROADCASTD(bits, high)
	}

	Label("block")
	for q := range 4 {
		// Lane L of t[g] holds four words of row 4L+g: transposing lanes makes
		// columns of sixteen rows.
		var t [4]VecVirtual
		for g := range t {
			t[g] = ZMM()
			VMOVUPS(rows.at(g).Offset(16*q), t[g].AsX())
			for i := 1; i < 4; i++ {
				VBROADCASTF32X4(rows.at(4*i+g).Offset(16*q), lane[i], t[g])
			}
			// The next rows, and these rows' next KC products: a row's piece in
			// a chunk is too short for the hardware's prefetchers.
			PREFETCHT0(next.at(4*q + g))
			PREFETCHT1(rows.at(4*q + g).Offset(s.size * 64))
		}
		var u [4]VecVirtual
		for i := range u {
			u[i] = ZMM()
		}
		VUNPCKLPS(t[1], t[0], u[0])
		VUNPCKHPS(t[1], t[0], u[1])
		VUNPCKLPS(t[3], t[2], u[2])
		VUNPCKHPS(t[3], t[2], u[3])
		for c := range 4 {
			o := ZMM()
			if c%2 == 0 {
				VUNPCKLPD(u[2+c/2], u[c/2], o)
			} else {
				VUNPCKHPD(u[2+c/2], u[c/2], o)
			}
			word := 4*q + c
			if s == bf16 {
				even := ZMM()
				VPSLLD(U8(16), o, even)
				VPANDD(high, o, o)
				VMOVUPS(even, Mem{Base: dst, Disp: 2 * word * panelBytes})
				VMOVUPS(o, Mem{Base: dst, Disp: (2*word + 1) * panelBytes})
			} else {
				VMOVUPS(o, Mem{Base: dst, Disp: word * panelBytes})
			}
		}
	}
	for _, p := range append(rows.base, next.base...) {
		ADDQ(U8(64), p)
	}
	ADDQ(U32(uint32(16*panelBytes*4/s.size)), dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}
