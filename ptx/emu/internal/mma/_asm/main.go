// Command asm writes the assembly of package mma. Run it by go generate.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const columnStride = 4 * 32 // bytes of a column of B: maxK, and maxPairs, words

func main() {
	ConstraintExpr("amd64")
	decode()
	for _, s := range []isa{{"AVX2", 8}, {"AVX512", 16}} {
		columns(s)
		products(s)
	}
	Generate()
}

type isa struct {
	name  string
	lanes int
}

func (s isa) vec() VecVirtual {
	if s.lanes == 16 {
		return ZMM()
	}
	return YMM()
}

func (s isa) zero() VecVirtual {
	v := s.vec()
	s.xor(v, v, v)
	return v
}

func (s isa) load(m Mem) VecVirtual {
	v := s.vec()
	if s.lanes == 16 {
		VMOVDQU32(m, v)
	} else {
		VMOVDQU(m, v)
	}
	return v
}

func (s isa) store(v VecVirtual, m Mem) {
	if s.lanes == 16 {
		VMOVDQU32(v, m)
	} else {
		VMOVDQU(v, m)
	}
}

func (s isa) and(a, b Op, d VecVirtual) {
	if s.lanes == 16 {
		VPANDD(a, b, d)
	} else {
		VPAND(a, b, d)
	}
}

func (s isa) or(a, b Op, d VecVirtual) {
	if s.lanes == 16 {
		VPORD(a, b, d)
	} else {
		VPOR(a, b, d)
	}
}

func (s isa) xor(a, b Op, d VecVirtual) {
	if s.lanes == 16 {
		VPXORD(a, b, d)
	} else {
		VPXOR(a, b, d)
	}
}

// andNot is d = b &^ a.
func (s isa) andNot(a, b Op, d VecVirtual) {
	if s.lanes == 16 {
		VPANDND(b, a, d)
	} else {
		VPANDN(b, a, d)
	}
}

func (s isa) broadcast(m Mem) VecVirtual {
	v := s.vec()
	VPBROADCASTD(m, v)
	return v
}

// constant fills a register.
func (s isa) constant(x uint32) VecVirtual {
	g, v := GP32(), XMM()
	MOVL(U32(x), g)
	VMOVD(g, v)
	r := s.vec()
	VPBROADCASTD(v, r)
	return r
}

func (s isa) param(name string) VecVirtual {
	m, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	v := s.vec()
	VBROADCASTSS(m.Addr, v)
	return v
}

func count(name string) VecVirtual {
	v := XMM()
	VMOVD(Load(Param(name), GP32()), v)
	return v
}

func gp(name string) GPVirtual { return Load(Param(name), GP64()).(GPVirtual) }

// decode takes elements apart, eight at a time; see format.decode.
func decode() {
	s := isa{"AVX2", 8}
	TEXT("decodeAVX2", NOSPLIT, "func(sig, exp *int32, raw *uint32, n int, drop, man, left, manMask, expMask, special, tiny uint32) (found uint32)")
	Pragma("noescape")
	Doc("decodeAVX2 is format.decode of n elements, a positive multiple of 8; left moves the sign to the top.")
	sig, exp, raw, n := gp("sig"), gp("exp"), gp("raw"), gp("n")
	drop, man, left := count("drop"), count("man"), count("left")
	manMask, expMask, special, tiny := s.param("manMask"), s.param("expMask"), s.param("special"), s.param("tiny")
	one := s.constant(1)
	low := s.constant(0xffff)
	found := s.zero()
	bias := s.vec()
	VPSRLD(U8(1), expMask, bias)
	Label("next")
	x := s.load(Mem{Base: raw})
	m, e, e1, t := s.vec(), s.vec(), s.vec(), s.vec()
	VPSRLD(drop, x, x)
	VPAND(special, x, t)
	VPCMPEQD(special, t, t)
	VPOR(t, found, found)
	VPAND(manMask, x, m)
	VPSRLD(man, x, e)
	VPAND(expMask, e, e)
	VPMAXSD(one, e, e1)
	VPSUBD(e1, e, t)
	VPADDD(one, t, t)
	VPSLLD(man, t, t)
	VPOR(t, m, m)
	VPSUBD(bias, e1, e1)
	VPXOR(t, t, t)
	VPCMPEQD(t, m, t)
	VPBLENDVB(t, tiny, e1, e1)
	VMOVDQU(e1, Mem{Base: exp})
	VPSLLD(left, x, x)
	VPSRAD(U8(31), x, x)
	VPXOR(x, m, m)
	VPSUBD(x, m, m)
	VPAND(low, m, m)
	VMOVDQU(m, Mem{Base: sig})
	ADDQ(U8(32), raw)
	ADDQ(U8(32), exp)
	ADDQ(U8(32), sig)
	SUBQ(U8(8), n)
	JNE(LabelRef("next"))
	r := GP32()
	VMOVMSKPS(found, r)
	VZEROUPPER()
	Store(r, ReturnIndex(0))
	RET()
}

// columns computes sums by the model of package mma for finite operands.
func columns(s isa) {
	TEXT("columns"+s.name, NOSPLIT, "func(d, c *[16]uint32, asig, aexp *[16]int32, bsig, bexp *int32, n, k int, shift, cleft, cright, frac, keep uint32) (done int)")
	Pragma("noescape")
	Doc("columns"+s.name+" is model.column of n columns with f32 accumulators. It stops before the first column that",
		"has an accumulator, a sum or a result out of the ordinary, and returns how many it did. k is even.")
	d, c := gp("d"), gp("c")
	bsig, bexp, n := gp("bsig"), gp("bexp"), gp("n")
	k4 := gp("k")
	SHLQ(U8(2), k4)
	asig, aexp := gp("asig"), gp("aexp")
	shift, cleft := count("shift"), count("cleft")
	done := GP64()
	XORQ(done, done)

	Label("column")
	halves := 16 / s.lanes
	results := make([]VecVirtual, halves)
	flags := make([]VecVirtual, halves)
	for h := range halves {
		results[h], flags[h] = column(s, h, c, asig, aexp, bsig, bexp, k4, shift, cleft)
	}
	flag := flags[0]
	bits := GP32()
	if s.lanes == 16 {
		k := K()
		VPMOVD2M(flag, k)
		KMOVW(k, bits)
	} else {
		VPOR(flags[1], flag, flag)
		VMOVMSKPS(flag, bits)
	}
	TESTL(bits, bits)
	JNE(LabelRef("out"))
	for h, r := range results {
		s.store(r, Mem{Base: d, Disp: 32 * h})
	}
	INCQ(done)
	ADDQ(U8(64), d)
	ADDQ(U8(64), c)
	ADDQ(I32(columnStride), bsig)
	ADDQ(I32(columnStride), bexp)
	DECQ(n)
	JNE(LabelRef("column"))
	Label("out")
	VZEROUPPER()
	Store(done, ReturnIndex(0))
	RET()
}

// column gives the results of the lanes of part h of a column, and a sign bit where plain
// Go must do it.
func column(s isa, h int, c, asig, aexp, bsig, bexp, k4 GPVirtual, shift, cleft VecVirtual) (result, flag VecVirtual) {
	name := func(l string) string { return l + string(rune('0'+h)) }
	flag = s.vec()
	x := s.load(Mem{Base: c, Disp: 32 * h})
	e, ec, t, sig := s.vec(), s.vec(), s.vec(), s.vec()
	one := s.constant(1)
	VPSRLD(U8(23), x, e)
	s.and(s.constant(255), e, e)
	// 255+1 has bit 8: to the top.
	VPADDD(one, e, flag)
	VPSLLD(U8(23), flag, flag)
	VPMAXSD(one, e, ec)
	VPSUBD(ec, e, t)
	VPADDD(one, t, t)
	VPSLLD(U8(23), t, t)
	s.and(s.constant(1<<23-1), x, sig)
	s.or(t, sig, sig)
	VPSUBD(s.constant(127), ec, ec)

	// The largest exponent.
	top := s.vec()
	if s.lanes == 16 {
		VMOVDQA32(ec, top)
	} else {
		VMOVDQA(ec, top)
	}
	i, i16 := GP64(), GP64()
	XORQ(i, i)
	XORQ(i16, i16)
	Label(name("max"))
	for range 2 {
		y := s.broadcast(Mem{Base: bexp, Index: i, Scale: 1})
		VPADDD(Mem{Base: aexp, Index: i16, Scale: 1, Disp: 32 * h}, y, y)
		VPMAXSD(y, top, top)
		ADDQ(U8(4), i)
		ADDQ(U8(64), i16)
	}
	CMPQ(i, k4)
	JNE(LabelRef(name("max")))

	// The accumulator, aligned.
	acc := [2]VecVirtual{s.vec(), s.zero()}
	VPSUBD(ec, top, t)
	VPADDD(s.param("cright"), t, t)
	VPSLLD(cleft, sig, sig)
	VPSRLVD(t, sig, sig)
	VPSRAD(U8(31), x, t)
	s.xor(t, sig, sig)
	VPSUBD(t, sig, acc[0])

	XORQ(i, i)
	XORQ(i16, i16)
	Label(name("sum"))
	for j := range 2 {
		y := s.broadcast(Mem{Base: bexp, Index: i, Scale: 1})
		VPADDD(Mem{Base: aexp, Index: i16, Scale: 1, Disp: 32 * h}, y, y)
		VPSUBD(y, top, y)
		p, m := s.broadcast(Mem{Base: bsig, Index: i, Scale: 1}), s.vec()
		VPMADDWD(Mem{Base: asig, Index: i16, Scale: 1, Disp: 32 * h}, p, p)
		VPABSD(p, m)
		VPSLLD(shift, m, m)
		VPSRLVD(y, m, m)
		if s.lanes == 16 {
			k, zero := K(), s.zero()
			VPMOVD2M(p, k)
			VPSUBD(m, zero, k, m)
		} else {
			VPSIGND(p, m, m)
		}
		VPADDD(m, acc[j], acc[j])
		ADDQ(U8(4), i)
		ADDQ(U8(64), i16)
	}
	CMPQ(i, k4)
	JNE(LabelRef(name("sum")))

	// Two sums of half the terms fit in 32 bits; their sum may not.
	sum, u := s.vec(), s.vec()
	VPADDD(acc[0], acc[1], sum)
	s.xor(acc[0], sum, t)
	s.xor(acc[1], sum, u)
	s.and(u, t, t)
	s.or(t, flag, flag)

	// To 24 bits, toward zero: as many low bits go as the sum has above bit 23.
	abs, low := s.vec(), s.vec()
	VPABSD(sum, abs)
	VPSRLD(U8(24), abs, low)
	for _, n := range []uint8{1, 2, 4} {
		VPSRLD(U8(n), low, u)
		s.or(u, low, low)
	}
	s.andNot(low, abs, abs)
	result = s.vec()
	VCVTDQ2PS(abs, result)

	// Times 2^(top-frac), which is exact while the exponent stays in [-126, 96].
	VPSUBD(s.param("frac"), top, t)
	VPSUBD(t, s.constant(96), u) // negative beyond 96
	VPADDD(s.constant(126), t, low)
	s.or(u, low, u)
	nonzero := s.vec() // all ones where the sum is not zero
	VPSUBD(abs, s.zero(), nonzero)
	VPSRAD(U8(31), nonzero, nonzero)
	s.and(nonzero, u, u)
	s.or(u, flag, flag)
	VPADDD(s.constant(127), t, t)
	VPSLLD(U8(23), t, t)
	VMULPS(t, result, result)
	s.and(nonzero, result, result)
	s.and(s.constant(1<<31), sum, sum)
	s.or(sum, result, result)
	s.and(s.param("keep"), result, result)
	return result, flag
}

// products computes sums of products of pairs of 16-bit numbers.
func products(s isa) {
	TEXT("intProducts"+s.name, NOSPLIT, "func(p *[16]uint32, a *[16]uint32, b *uint32, n, pairs int)")
	Pragma("noescape")
	Doc("intProducts" + s.name + " is intProductsGeneric of n columns; n and pairs are positive, pairs even.")
	p, a, b, n, pairs := gp("p"), gp("a"), gp("b"), gp("n"), gp("pairs")
	SHLQ(U8(2), pairs)
	i, i16 := GP64(), GP64()
	Label("column")
	XORQ(i, i)
	XORQ(i16, i16)
	var acc []VecVirtual
	for range 16 / s.lanes {
		acc = append(acc, s.zero())
	}
	Label("pair")
	y := s.broadcast(Mem{Base: b, Index: i, Scale: 1})
	for h := range acc {
		t := s.vec()
		VPMADDWD(Mem{Base: a, Index: i16, Scale: 1, Disp: 32 * h}, y, t)
		VPADDD(t, acc[h], acc[h])
	}
	ADDQ(U8(4), i)
	ADDQ(U8(64), i16)
	CMPQ(i, pairs)
	JNE(LabelRef("pair"))
	for h := range acc {
		s.store(acc[h], Mem{Base: p, Disp: 32 * h})
	}
	ADDQ(U8(64), p)
	ADDQ(I32(columnStride), b)
	DECQ(n)
	JNE(LabelRef("column"))
	VZEROUPPER()
	RET()
}
