package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// pointer is one to elements of a size.
type pointer struct {
	GPVirtual
	size int
}

// wholes runs body n/size times and returns; the pointers advance by size elements. n is a
// positive multiple of size.
func wholes(n GPVirtual, size int, body func(), pointers ...pointer) {
	Label("next")
	body()
	for _, p := range pointers {
		ADDQ(U8(size*p.size), p.GPVirtual)
	}
	SUBQ(U8(size), n)
	JNZ(LabelRef("next"))
	VZEROUPPER()
	RET()
}

// half16 is a 16-bit storage.
type half16 struct {
	name string
	// widen reads a vector from memory.
	widen func(s isa, m Mem) VecVirtual
	// narrow prepares constants; its result rounds vectors to elements in the
	// lower halves of a vector of half the size.
	narrow func(s isa) func(x VecVirtual) VecVirtual
}

func (s isa) halfVec() VecVirtual {
	if s.lanes == 16 {
		return YMM()
	}
	return XMM()
}

var halves = []half16{bf16, f16}

var (
	bf16 = half16{"BF16", func(s isa, m Mem) VecVirtual {
		v := s.vec()
		VPMOVZXWD(m, v)
		VPSLLD(U8(16), v, v)
		return v
	}, func(s isa) func(VecVirtual) VecVirtual {
		one, below, quiet := s.bits(1), s.bits(0x7fff), s.bits(0x400000)
		return func(x VecVirtual) VecVirtual {
			odd, r := s.vec(), s.vec()
			VPSRLD(U8(16), x, odd)
			if s.lanes == 16 {
				VPANDD(one, odd, odd)
				VPADDD(below, x, r)
				VPADDD(odd, r, r)
				k := K()
				VCMPPS(unordered, x, x, k)
				VPORD(quiet, x, k, r)
				VPSRLD(U8(16), r, r)
				h := YMM()
				VPMOVDW(r, h)
				return h
			}
			VPAND(one, odd, odd)
			VPADDD(below, x, r)
			VPADDD(odd, r, r)
			nan, q := s.vec(), s.vec()
			VCMPPS(unordered, x, x, nan)
			VPOR(quiet, x, q)
			VBLENDVPS(nan, q, r, r)
			VPSRLD(U8(16), r, r)
			upper := XMM()
			VEXTRACTI128(U8(1), r, upper)
			h := XMM()
			VPACKUSDW(upper, r.AsX(), h)
			return h
		}
	}}
	f16 = half16{"F16", func(s isa, m Mem) VecVirtual {
		v := s.vec()
		VCVTPH2PS(m, v)
		return v
	}, func(s isa) func(VecVirtual) VecVirtual {
		return func(x VecVirtual) VecVirtual {
			h := s.halfVec()
			VCVTPS2PH(U8(0), x, h)
			return h
		}
	}}
)

func (h half16) write(s isa) {
	s.function("widen"+h.name, "dst *float32, src *uint16, n int", "Widen"+h.name+"; n is a positive multiple of 16.")
	dst, src, n := gp("dst"), gp("src"), gp("n")
	wholes(n, 16, func() {
		for v := range s.perBlock() {
			VMOVUPS(h.widen(s, Mem{Base: src, Disp: 2 * v * s.lanes}), at(dst, v, s.lanes))
		}
	}, pointer{dst, 4}, pointer{src, 2})

	s.function("narrow"+h.name, "dst *uint16, src *float32, n int", "Narrow"+h.name+"; n is a positive multiple of 16.")
	dst, src, n = gp("dst"), gp("src"), gp("n")
	narrow := h.narrow(s)
	wholes(n, 16, func() {
		for v := range s.perBlock() {
			VMOVUPS(narrow(s.load(at(src, v, s.lanes), nil)), Mem{Base: dst, Disp: 2 * v * s.lanes})
		}
	}, pointer{dst, 2}, pointer{src, 4})
}
