package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// prefetchRows asks for the first bytes of rows, up to 256 each, into the L2 cache.
func prefetchRows() {
	TEXT("prefetchRows", NOSPLIT, "func(src *float32, ld, rows, lines int)")
	Pragma("noescape")
	Doc("prefetchRows asks for lines·64 bytes, 4 lines at most, of each of rows that are ld bytes apart.")
	src := Load(Param("src"), GP64())
	ld := Load(Param("ld"), GP64())
	rows := Load(Param("rows"), GP64())
	lines := Load(Param("lines"), GP64())
	CMPQ(lines, U8(2))
	JA(LabelRef("four"))
	JE(LabelRef("two"))
	body := func(label string, n int) {
		Label(label)
		for i := range n {
			PREFETCHT1(Mem{Base: src, Disp: 64 * i})
		}
		ADDQ(ld, src)
		DECQ(rows)
		JNZ(LabelRef(label))
		RET()
	}
	body("one", 1)
	body("two", 2)
	body("four", 4)
}
