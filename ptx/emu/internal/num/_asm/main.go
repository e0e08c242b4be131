// Command asm writes the assembly of package num. Run it by go generate.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64")
	for _, s := range []isa{{"AVX2", 8}, {"AVX512", 16}} {
		for _, op := range []string{"add", "sub", "mul", "fma"} {
			s.warp(op, false)
			s.warp(op, true)
		}
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

func (s isa) constant(x uint32) VecVirtual {
	g, v := GP32(), XMM()
	MOVL(U32(x), g)
	VMOVD(g, v)
	r := s.vec()
	VPBROADCASTD(v, r)
	return r
}

// warp writes one operation on 32 lanes. With AVX-512 only the lanes of mask are written.
func (s isa) warp(op string, ftz bool) {
	sig, doc := "d, a, b *[32]uint32", op+".rn.f32"
	if op == "fma" {
		sig = "d, a, b, c *[32]uint32"
	}
	name := op
	if ftz {
		name, doc = op+"Ftz", op+".rn.ftz.f32"
	}
	if s.lanes == 16 {
		sig += ", mask uint32"
		doc += " of the lanes of mask."
	} else {
		doc += " of 32 lanes."
	}
	TEXT(name+s.name, NOSPLIT, "func("+sig+")")
	Pragma("noescape")
	Doc(name + s.name + " is " + doc)
	load := func(p string) GPVirtual { return Load(Param(p), GP64()).(GPVirtual) }
	d, a, b := load("d"), load("a"), load("b")
	var c, mask GPVirtual
	if op == "fma" {
		c = load("c")
	}
	if s.lanes == 16 {
		mask = Load(Param("mask"), GP32()).(GPVirtual)
	}
	nan := s.constant(0x7fffffff)
	var exp, sign VecVirtual
	if ftz {
		exp, sign = s.constant(0x7f800000), s.constant(1<<31)
	}
	flush := func(v VecVirtual) {
		if !ftz {
			return
		}
		if s.lanes == 16 {
			k := K()
			VPTESTNMD(exp, v, k)
			VPANDD(sign, v, k, v)
			return
		}
		t, z := s.vec(), s.vec()
		VPAND(exp, v, t)
		VPXOR(z, z, z)
		VPCMPEQD(z, t, t)
		VPAND(sign, v, z)
		VBLENDVPS(t, z, v, v)
	}
	at := func(p GPVirtual, i int) VecVirtual {
		v := s.vec()
		VMOVUPS(Mem{Base: p, Disp: 4 * s.lanes * i}, v)
		flush(v)
		return v
	}
	for i := range 32 / s.lanes {
		x, y := at(a, i), at(b, i)
		switch op {
		case "add":
			VADDPS(y, x, x)
		case "sub":
			VSUBPS(y, x, x)
		case "mul":
			VMULPS(y, x, x)
		default:
			VFMADD213PS(at(c, i), y, x)
		}
		flush(x)
		m := Mem{Base: d, Disp: 4 * s.lanes * i}
		if s.lanes == 16 {
			k, w := K(), K()
			VCMPPS(U8(3), x, x, k)
			VMOVAPS(nan, k, x)
			KMOVW(mask, w)
			VMOVUPS(x, w, m)
			if i == 0 {
				SHRL(U8(16), mask)
			}
			continue
		}
		t := s.vec()
		VCMPPS(U8(3), x, x, t)
		VBLENDVPS(t, nan, x, x)
		VMOVUPS(x, m)
	}
	VZEROUPPER()
	RET()
}
