package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// stream stores past the caches.
func stream(s isa) {
	s.function("stream", "dst, src *float32, n int", "Stream; dst is aligned to 64 bytes, n a positive multiple of 16.")
	dst, src, n := gp("dst"), gp("src"), gp("n")
	wholes(n, 16, func() {
		for v := range s.perBlock() {
			VMOVNTPS(s.load(at(src, v, s.lanes), nil), at(dst, v, s.lanes))
		}
	}, pointer{dst, 4}, pointer{src, 4})
}

func fence() {
	TEXT("storeFence", NOSPLIT, "func()")
	Doc("storeFence orders the stores of Stream before those that follow.")
	SFENCE()
	RET()
}

// groupMax has one vector of maxima per sixteen vectors.
func groupMax(s isa) {
	s.function("groupMax", "dst, x *float32, groups int) (nan int", "GroupMax; x has 256*groups elements, groups is positive.")
	dst, x, n := gp("dst"), gp("x"), gp("groups")
	nan := GP64()
	XORQ(nan, nan)
	Label("group")
	for v := range s.perBlock() {
		acc := s.load(s.bits(0xff800000), nil)
		bad := s.zero()
		for i := 0; i < 16; i += 2 {
			a := s.load(at(x, i*s.perBlock()+v, s.lanes), nil)
			b := s.load(at(x, (i+1)*s.perBlock()+v, s.lanes), nil)
			if s.lanes == 16 {
				k, bits := K(), GP64()
				VCMPPS(unordered, a, b, k)
				KMOVQ(k, bits)
				ORQ(bits, nan)
			} else {
				m := YMM()
				VCMPPS(unordered, a, b, m)
				VORPS(m, bad, bad)
			}
			VMAXPS(acc, a, acc)
			VMAXPS(acc, b, acc)
		}
		if s.lanes == 8 {
			bits := GP64()
			VMOVMSKPS(bad, bits.As32())
			ORQ(bits, nan)
		}
		s.store(acc, at(dst, v, s.lanes), nil)
	}
	ADDQ(I32(4*256), x)
	ADDQ(U8(4*16), dst)
	DECQ(n)
	JNZ(LabelRef("group"))
	Store(nan, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// sumAtLeast widens integers to 64 bits and compares them there.
func sumAtLeast(s isa) {
	s.function("sumAtLeast", "x *uint32, n int, t uint64) (sum uint64", "SumAtLeast; n is a positive multiple of 16.")
	x, n := gp("x"), gp("n")
	t := s.vec()
	m, err := Param("t").Resolve()
	if err != nil {
		panic(err)
	}
	VPBROADCASTQ(m.Addr, t)
	acc := block{s.zero(), s.zero()}
	Label("next")
	for v := range 2 * s.perBlock() {
		w := s.vec()
		VPMOVZXDQ(Mem{Base: x, Disp: 2 * v * s.lanes}, w)
		a := acc[v%2]
		if s.lanes == 16 {
			k := K()
			VPCMPUQ(U8(5), t, w, k)
			VPADDQ(w, a, k, a)
		} else {
			less := YMM()
			VPCMPGTQ(w, t, less)
			VPANDN(w, less, w)
			VPADDQ(w, a, a)
		}
	}
	ADDQ(U8(64), x)
	SUBQ(U8(16), n)
	JNZ(LabelRef("next"))
	VPADDQ(acc[1], acc[0], t)
	y, z, w := YMM(), XMM(), XMM()
	if s.lanes == 16 {
		VEXTRACTI64X4(U8(1), t, y)
		VPADDQ(t.AsY(), y, y)
	} else {
		VMOVDQU(t, y)
	}
	VEXTRACTI128(U8(1), y, z)
	VPADDQ(y.AsX(), z, z)
	VPSRLDQ(U8(8), z, w)
	VPADDQ(w, z, z)
	r := GP64()
	VMOVQ(z, r)
	Store(r, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
