package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// tilesAll writes the kernels on tile registers, and what brings their operands in order.
func tilesAll() {
	for high := 1; high <= 2; high++ {
		for wide := 1; wide <= 2; wide++ {
			tiles(high, wide)
		}
	}
	packTiles()
	packStrip()
	packStripRows()
	turn(f32)
	turn(bf16)
}

// field is where a tilesCall has a field: all are of 8 bytes, in this order.
func field(call Register, name string) Mem {
	for i, f := range []string{
		"shape", "n", "groups", "a", "lda", "aTile", "aGroup", "aStep", "b", "strip", "bStep", "c", "ldc", "cStep", "add",
		"out", "ldo", "outStep", "bias", "high", "wide", "block", "results", "touch", "touchLd", "touchWidth", "touchStep",
		"touchRows", "keep", "keepTile", "keepStep",
		"at", "lines", "skip", "perGroup", "left",
		"pairs", "from", "fromLd", "to", "toStrip", "pack",
	} {
		if f == name {
			return Mem{Base: call, Disp: 8 * i}
		}
	}
	panic("a tilesCall has no field " + name)
}

// tiles writes a tilesFunc of high × wide tiles of sums.
func tiles(high, wide int) {
	TEXT(name("tiles%dx%d", high, wide), NOSPLIT, "func(call *byte)")
	Pragma("noescape")
	Doc(name("tiles%dx%d is a tilesFunc of %d × %d tiles of sums.", high, wide, high, wide))
	sum := func(i, j int) tileRegister { return tmm(2*i + j) }
	aTile := func(i int) tileRegister { return tmm(4 + i) }
	bTile := func(j int) tileRegister { return tmm(6 + j) }
	call := Load(Param("call"), GP64())
	at := func(name string) Mem { return field(call, name) }
	load := func(name string) GPVirtual {
		r := GP64()
		MOVQ(at(name), r)
		return r
	}

	LDTILECFG(Mem{Base: load("shape")})
	row := GP64() // the distance of rows of a strip of b
	MOVQ(U32(64), row)
	ahead, lines, left := load("at"), load("lines"), load("left")

	Label("block")
	a, b := []GPVirtual{load("a")}, []GPVirtual{load("b")}
	if high == 2 {
		a = append(a, load("aTile"))
		ADDQ(a[0], a[1])
	}
	if wide == 2 {
		b = append(b, load("strip"))
		ADDQ(b[0], b[1])
	}
	groups, results := load("groups"), load("results")
	MOVQ(results, at("touch"))
	sums := func(c, ldc GPVirtual, f func(m Mem, t tileRegister)) {
		for i := range high {
			for j := range wide {
				f(Mem{Base: c, Index: ldc, Scale: 1, Disp: 64 * j}, sum(i, j))
			}
			if i+1 < high {
				next := GP64()
				MOVQ(ldc, next)
				SHLQ(U8(4), next)
				ADDQ(next, c)
			}
		}
	}
	CMPQ(at("add"), U8(0))
	JE(LabelRef("zero"))
	sums(load("c"), load("ldc"), TILELOADD)
	JMP(LabelRef("group"))
	Label("zero")
	for i := range high {
		for j := range wide {
			TILEZERO(sum(i, j))
		}
	}

	Label("group")
	// All loads, then all products: while another thread keeps the core's tile unit
	// busy, loads between products wait for them.
	for j := range wide {
		TILELOADD(Mem{Base: b[j], Index: row, Scale: 1}, bTile(j))
		ADDQ(I32(1024), b[j])
	}
	lda := load("lda")
	for i := range high {
		TILELOADD(Mem{Base: a[i], Index: lda, Scale: 1}, aTile(i))
	}
	for i := range high {
		for j := range wide {
			TDPBF16PS(bTile(j), aTile(i), sum(i, j))
		}
	}
	keep := load("keep")
	TESTQ(keep, keep)
	JZ(LabelRef("kept"))
	for i := range high {
		TILESTORED(aTile(i), Mem{Base: keep, Index: row, Scale: 1})
		if i+1 < high {
			ADDQ(at("keepTile"), keep)
		}
	}
	ADDQ(I32(1024), at("keep"))
	Label("kept")
	for _, p := range a {
		ADDQ(at("aGroup"), p)
	}
	// Some rows of the results each time: all lines at once would hold up the loads.
	width, touch, rows := load("touchWidth"), load("touch"), load("touchRows")
	Label("touch")
	PREFETCHW(Mem{Base: touch})
	PREFETCHW(Mem{Base: touch, Index: width, Scale: 1, Disp: -1})
	ADDQ(at("touchLd"), touch)
	DECQ(rows)
	JNZ(LabelRef("touch"))
	MOVQ(touch, at("touch"))
	n := load("perGroup")
	Label("ask")
	SUBQ(U8(1), left)
	JL(LabelRef("asked"))
	PREFETCHT1(Mem{Base: ahead})
	ADDQ(U8(64), ahead)
	DECQ(lines)
	JNZ(LabelRef("same"))
	ADDQ(at("skip"), ahead)
	MOVQ(at("lines"), lines)
	Label("same")
	DECQ(n)
	JNZ(LabelRef("ask"))
	Label("asked")
	packAside(at)
	DECQ(groups)
	JNZ(LabelRef("group"))

	store := func(m Mem, t tileRegister) { TILESTORED(t, m) }
	out := load("out")
	TESTQ(out, out)
	JNZ(LabelRef("round"))
	sums(load("c"), load("ldc"), store)
	JMP(LabelRef("next"))

	Label("round")
	block, ld := load("block"), GP64()
	MOVQ(U32(128), ld)
	sums(block, ld, store)
	roundBlock(at, out)

	Label("next")
	for _, p := range []string{"a", "b", "c", "out"} {
		step := load(p + "Step")
		ADDQ(step, at(p))
	}
	step := load("touchStep")
	ADDQ(step, at("results"))
	step = load("keepStep")
	ADDQ(step, at("keep"))
	DECQ(at("n"))
	JNZ(LabelRef("block"))
	TILERELEASE()
	VZEROUPPER()
	RET()
}

// packAside packs pairs of rows across two strips, for the time when these come
// next: the tile unit leaves most of the core idle.
func packAside(at func(name string) Mem) {
	load := func(name string) GPVirtual {
		r := GP64()
		MOVQ(at(name), r)
		return r
	}
	pairs := load("pairs")
	TESTQ(pairs, pairs)
	JZ(LabelRef("packed"))
	from, ld, to, strip := load("from"), load("fromLd"), load("to"), load("toStrip")
	Label("pair")
	SUBQ(U8(1), at("pack"))
	JL(LabelRef("enough"))
	for half := range 2 {
		low, high := ZMM(), ZMM()
		VPMOVZXWD(Mem{Base: from, Disp: 32 * half}, low)
		VPMOVZXWD(Mem{Base: from, Index: ld, Scale: 1, Disp: 32 * half}, high)
		VPSLLD(U8(16), high, high)
		VPORD(low, high, high)
		m := Mem{Base: to}
		if half == 1 {
			m.Index, m.Scale = strip, 1
		}
		VMOVUPS(high, m)
	}
	LEAQ(Mem{Base: from, Index: ld, Scale: 2}, from)
	ADDQ(U8(64), to)
	DECQ(pairs)
	JNZ(LabelRef("pair"))
	MOVQ(from, at("from"))
	MOVQ(to, at("to"))
	JMP(LabelRef("packed"))
	Label("enough")
	MOVQ(U32(0), pairs)
	MOVQ(pairs, at("pairs"))
	Label("packed")
}

// roundBlock adds the bias to a block of sums and rounds it to bf16.
func roundBlock(at func(name string) Mem, out GPVirtual) {
	load := func(name string) GPVirtual {
		r := GP64()
		MOVQ(at(name), r)
		return r
	}
	wide, bits := load("wide"), GP64()
	MOVQ(I32(-1), bits)
	BZHIQ(wide, bits, bits)
	mask, low, high := K(), K(), K()
	KMOVD(bits.As32(), mask)
	KMOVW(bits.As32(), low)
	SHRQ(U8(16), bits)
	KMOVW(bits.As32(), high)
	from, rows, ldo, bias := load("block"), load("high"), load("ldo"), load("bias")
	x, y := ZMM(), ZMM()
	finish := func(label string, add func()) {
		Label(label)
		VMOVUPS(Mem{Base: from}, x)
		VMOVUPS(Mem{Base: from, Disp: 64}, y)
		add()
		VCVTNE2PS2BF16(x, y, x)
		VMOVDQU16(x, mask, Mem{Base: out})
		SUBQ(I32(-128), from)
		ADDQ(ldo, out)
		DECQ(rows)
		JNZ(LabelRef(label))
	}
	TESTQ(bias, bias)
	JZ(LabelRef("plain"))
	b0, b1 := ZMM(), ZMM()
	VMOVUPS_Z(Mem{Base: bias}, low, b0)
	VMOVUPS_Z(Mem{Base: bias, Disp: 64}, high, b1)
	finish("biased", func() {
		VADDPS(b0, x, x)
		VADDPS(b1, y, y)
	})
	JMP(LabelRef("next"))
	finish("plain", func() {})
}

// transpose16 transposes 16×16 words in registers.
func transpose16(r *[16]VecVirtual) {
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
	var out [16]VecVirtual
	for c := range 4 {
		both(lanes(0x88), lanes(0xdd), c, 4+c) // columns c and 8+c, 4+c and 12+c
		both(lanes(0x88), lanes(0xdd), 8+c, 12+c)
		both(lanes(0x88), lanes(0xdd), c, 8+c)
		both(lanes(0x88), lanes(0xdd), 4+c, 12+c)
		for i, o := range []VecVirtual{r[c], r[4+c], r[8+c], r[12+c]} {
			out[4*i+c] = o
		}
	}
	*r = out
}

// packTiles writes the copy of rows into tiles.
func packTiles() {
	TEXT("packTiles", NOSPLIT, "func(dst *float32, src *uint16, ld, rows, groups, rest int)")
	Pragma("noescape")
	Doc("packTiles sets row i of the tiles of 16 rows, one for each group, that begin at dst to row i of src, for i < rows.",
		"Rows of src are ld bytes apart. Where rest is not 0, the last group has only so many elements, and ends with zeros.")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	ld := Load(Param("ld"), GP64())
	rows := Load(Param("rows"), GP64())
	rest := Load(Param("rest"), GP64())
	bits := GP64()
	MOVQ(I32(-1), bits)
	BZHIQ(rest, bits, bits)
	mask := K()
	KMOVD(bits.As32(), mask)

	Label("row")
	from, to := GP64(), GP64()
	MOVQ(src, from)
	MOVQ(dst, to)
	groups := Load(Param("groups"), GP64())
	TESTQ(rest, rest)
	JZ(LabelRef("group"))
	DECQ(groups)
	JZ(LabelRef("rest"))
	Label("group")
	v := ZMM()
	VMOVDQU16(Mem{Base: from}, v)
	VMOVDQU16(v, Mem{Base: to})
	ADDQ(U8(64), from)
	ADDQ(I32(1024), to)
	DECQ(groups)
	JNZ(LabelRef("group"))
	TESTQ(rest, rest)
	JZ(LabelRef("next"))
	Label("rest")
	v = ZMM()
	VMOVDQU16_Z(Mem{Base: from}, mask, v)
	VMOVDQU16(v, Mem{Base: to})
	Label("next")
	ADDQ(ld, src)
	ADDQ(U8(64), dst)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// packStrip writes the transposition of sixteen rows of pairs.
func packStrip() {
	TEXT("packStrip", NOSPLIT, "func(dst *float32, src *uint16, ld, groups int)")
	Pragma("noescape")
	Doc("packStrip sets dst[l*16+j] to pair l of row j of src, for j < 16 and l < 16*groups, rows ld bytes apart.")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64()).(GPVirtual)
	ld := Load(Param("ld"), GP64()).(GPVirtual)
	groups := Load(Param("groups"), GP64())
	rows := newRowPointers(src, ld, 16)
	Label("group")
	var r [16]VecVirtual
	for i := range r {
		r[i] = ZMM()
		VMOVUPS(rows.at(i), r[i])
		PREFETCHT0(rows.at(i).Offset(512))
	}
	transpose16(&r)
	for i, v := range r {
		VMOVUPS(v, Mem{Base: dst, Disp: 64 * i})
	}
	for _, p := range rows.base {
		ADDQ(U8(64), p)
	}
	ADDQ(I32(1024), dst)
	DECQ(groups)
	JNZ(LabelRef("group"))
	VZEROUPPER()
	RET()
}

// packStripRows writes the interleaving of pairs of rows.
func packStripRows() {
	TEXT("packStripRows", NOSPLIT, "func(dst *float32, src *uint16, ld, pairs, strip, cols int)")
	Pragma("noescape")
	Doc("packStripRows sets the halves of dst[x*strip/4+l*16+j] to column 16x+j of rows 2l and 2l+1 of src, rows ld bytes",
		"and strips strip bytes apart, for l < pairs and all columns. The last strip ends with zeros.")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	ld := Load(Param("ld"), GP64())
	pairs := Load(Param("pairs"), GP64())
	strip := Load(Param("strip"), GP64())
	cols := Load(Param("cols"), GP64())
	bits, rest := GP64(), GP64()
	MOVQ(cols, rest)
	ANDQ(U8(15), rest)
	MOVQ(I32(-1), bits)
	BZHIQ(rest, bits, bits)
	mask := K()
	KMOVW(bits.As32(), mask)
	SHRQ(U8(4), cols)

	Label("row")
	from, to, n := GP64(), GP64(), GP64()
	MOVQ(src, from)
	MOVQ(dst, to)
	MOVQ(cols, n)
	ask := GP64()
	LEAQ(Mem{Base: src, Index: ld, Scale: 8}, ask)
	both := func(low, high VecVirtual) {
		VPSLLD(U8(16), high, high)
		VPORD(low, high, high)
		VMOVUPS(high, Mem{Base: to})
	}
	TESTQ(n, n)
	JZ(LabelRef("edge"))
	Label("strip")
	low, high := ZMM(), ZMM()
	VPMOVZXWD(Mem{Base: from}, low)
	VPMOVZXWD(Mem{Base: from, Index: ld, Scale: 1}, high)
	both(low, high)
	PREFETCHT0(Mem{Base: ask})
	PREFETCHT0(Mem{Base: ask, Index: ld, Scale: 1})
	ADDQ(U8(32), ask)
	ADDQ(U8(32), from)
	ADDQ(strip, to)
	DECQ(n)
	JNZ(LabelRef("strip"))
	Label("edge")
	TESTQ(rest, rest)
	JZ(LabelRef("next"))
	low, high = ZMM(), ZMM()
	VPMOVZXWD_Z(Mem{Base: from}, mask, low)
	VPMOVZXWD_Z(Mem{Base: from, Index: ld, Scale: 1}, mask, high)
	both(low, high)
	Label("next")
	LEAQ(Mem{Base: src, Index: ld, Scale: 2}, src)
	ADDQ(U8(64), dst)
	DECQ(pairs)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// turn writes the way of sums that came out transposed to dst.
func turn(to storage) {
	f := "turn" + to.name
	TEXT(f, NOSPLIT, name("func(dst *%s, ldd int, src *float32, lds, rows, cols int, bias *float32)", to.goType))
	Pragma("noescape")
	Doc(f+" sets dst[i][j] = src[j][i] (+ bias[j]) for i < rows, 16 at most, and j < cols. Rows are ldd and lds bytes",
		"apart. It reads 16 of each of src's rows, and as many rows that cols fills whole sixteens.")
	dst := Load(Param("dst"), GP64()).(GPVirtual)
	ldd := Load(Param("ldd"), GP64()).(GPVirtual)
	src := Load(Param("src"), GP64()).(GPVirtual)
	lds := Load(Param("lds"), GP64()).(GPVirtual)
	rows := Load(Param("rows"), GP64())
	bias := Load(Param("bias"), GP64())
	rowOf := newRowPointers(dst, ldd, 16)

	Label("block")
	from, next := GP64(), GP64()
	MOVQ(src, from)
	var r [16]VecVirtual
	for i := range r {
		r[i] = ZMM()
		VMOVUPS(Mem{Base: from}, r[i])
		ADDQ(lds, from)
	}
	MOVQ(from, next)
	transpose16(&r)
	cols := Load(Param("cols"), GP64())
	bits, few := GP64(), GP64()
	MOVQ(U32(16), few)
	CMPQ(cols, few)
	CMOVQLT(cols, few)
	MOVQ(I32(-1), bits)
	BZHIQ(few, bits, bits)
	mask := K()
	KMOVW(bits.As32(), mask)
	TESTQ(bias, bias)
	JZ(LabelRef("store"))
	add := ZMM()
	VMOVUPS_Z(Mem{Base: bias}, mask, add)
	for i := range r {
		VADDPS(add, r[i], r[i])
	}
	ADDQ(U8(64), bias)
	Label("store")
	for i := range r {
		if to == bf16 {
			h := ZMM()
			VCVTNE2PS2BF16(r[i], r[i], h)
			VMOVDQU16(h.AsY(), mask, rowOf.at(i))
		} else {
			VMOVUPS(r[i], mask, rowOf.at(i))
		}
		if i < 15 {
			CMPQ(rows, U8(i+1))
			JE(LabelRef("stored"))
		}
	}
	Label("stored")
	for _, p := range rowOf.base {
		ADDQ(U8(uint8(16*to.size)), p)
	}
	MOVQ(next, src)
	SUBQ(U8(16), cols)
	p, err := Param("cols").Resolve()
	if err != nil {
		panic(err)
	}
	MOVQ(cols, p.Addr)
	JG(LabelRef("block"))
	VZEROUPPER()
	RET()
}
