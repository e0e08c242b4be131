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
	var high VecVirtual
	if s == bf16 {
		bits := GP32()
		high = ZMM()
		MOVL(U32(0xffff0000), bits)
		VPBROADCASTD(bits, high)
	}

	Label("block")
	// Each line is read once: rows a power of two apart push one another out of
	// the cache.
	var r [16]VecVirtual
	for i := range r {
		r[i] = ZMM()
		VMOVUPS(rows.at(i), r[i])
	}
	both := func(low, high func(...Op), a, b int) {
		t := ZMM()
		low(r[b], r[a], t)
		high(r[b], r[a], r[b])
		r[a] = t
	}
	// Four rows at a time: 4×4 within every 128 bits. Then r[4g+c] holds, of rows
	// 4g to 4g+3, columns c, 4+c, 8+c and 12+c.
	for g := 0; g < 16; g += 4 {
		both(VUNPCKLPS, VUNPCKHPS, g, g+1)
		both(VUNPCKLPS, VUNPCKHPS, g+2, g+3)
		both(VUNPCKLPD, VUNPCKHPD, g, g+2)
		both(VUNPCKLPD, VUNPCKHPD, g+1, g+3)
		r[g+1], r[g+2] = r[g+2], r[g+1]
	}
	// Then 4×4 of those 128 bits.
	lanes := func(order uint8) func(...Op) {
		return func(ops ...Op) { VSHUFF32X4(append([]Op{U8(order)}, ops...)...) }
	}
	for c := range 4 {
		both(lanes(0x88), lanes(0xdd), c, 4+c) // columns c and 8+c, 4+c and 12+c
		both(lanes(0x88), lanes(0xdd), 8+c, 12+c)
		both(lanes(0x88), lanes(0xdd), c, 8+c)
		both(lanes(0x88), lanes(0xdd), 4+c, 12+c)
		for i, o := range []VecVirtual{r[c], r[4+c], r[8+c], r[12+c]} {
			word := 4*i + c
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
	for _, p := range rows.base {
		ADDQ(U8(64), p)
	}
	ADDQ(U32(uint32(16*panelBytes*4/s.size)), dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}
