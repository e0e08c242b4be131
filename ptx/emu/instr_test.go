package emu_test

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// instrCase is an instruction with two 64-bit inputs a and b per thread (%d1, %d2; their low
// halves %r1, %r2; low 16 bits %h1, %h2; as floats %f1, %f2, %e1, %e2), a third c as the sum of
// both, and the 64-bit result in %d0 as Go computes it.
type instrCase struct {
	body string
	want func(a, b uint64) uint64
}

func f32(x uint64) float32  { return math.Float32frombits(uint32(x)) }
func f64(x uint64) float64  { return math.Float64frombits(x) }
func of32(x float32) uint64 { return uint64(canon32(math.Float32bits(x))) }
func b2u(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
func lo(x uint64) uint32 { return uint32(x) }

func canon32(b uint32) uint32 {
	if b&0x7fffffff > 0x7f800000 {
		return 0x7fffffff
	}
	return b
}

// r0 widens the 32-bit result in %r0.
const r0 = " cvt.u64.u32 %d0, %r0;"

var instrCases = map[string]instrCase{
	"add.s32": {"add.s32 %r0, %r1, %r2;" + r0, func(a, b uint64) uint64 { return uint64(lo(a) + lo(b)) }},
	"sub.u16": {"sub.u16 %h0, %h1, %h2; cvt.u64.u16 %d0, %h0;", func(a, b uint64) uint64 { return uint64(uint16(a) - uint16(b)) }},
	"add.sat.s32": {"add.sat.s32 %r0, %r1, %r2;" + r0, func(a, b uint64) uint64 {
		return uint64(uint32(min(max(int64(int32(a))+int64(int32(b)), math.MinInt32), math.MaxInt32)))
	}},
	"mul.lo.s64": {"mul.lo.s64 %d0, %d1, %d2;", func(a, b uint64) uint64 { return a * b }},
	"mul.hi.u64": {"mul.hi.u64 %d0, %d1, %d2;", func(a, b uint64) uint64 { h, _ := bits.Mul64(a, b); return h }},
	"mul.hi.s64": {"mul.hi.s64 %d0, %d1, %d2;", func(a, b uint64) uint64 {
		p := new(big.Int).Mul(big.NewInt(int64(a)), big.NewInt(int64(b)))
		return uint64(p.Rsh(p, 64).Int64())
	}},
	"mul.wide.s16": {"mul.wide.s16 %r0, %h1, %h2;" + r0, func(a, b uint64) uint64 { return uint64(uint32(int32(int16(a)) * int32(int16(b)))) }},
	"mul.wide.u32": {"mul.wide.u32 %d0, %r1, %r2;", func(a, b uint64) uint64 { return uint64(lo(a)) * uint64(lo(b)) }},
	"mad.wide.s32": {"mad.wide.s32 %d0, %r1, %r2, %d1;", func(a, b uint64) uint64 { return uint64(int64(int32(a))*int64(int32(b))) + a }},
	"mad.hi.u32":   {"mad.hi.u32 %r0, %r1, %r2, %r1;" + r0, func(a, b uint64) uint64 { return uint64(uint32(uint64(lo(a))*uint64(lo(b))>>32) + lo(a)) }},
	"carry chain": {"add.cc.u64 %d3, %d1, %d2; addc.u64 %d0, 0, 0; sub.cc.u32 %r3, %r1, %r2; subc.u32 %r4, 5, 1; cvt.u64.u32 %d4, %r4; shl.b64 %d4, %d4, 8; add.u64 %d0, %d0, %d4;",
		func(a, b uint64) uint64 {
			_, c := bits.Add64(a, b, 0)
			_, w := bits.Sub32(lo(a), lo(b), 0)
			return c + uint64(4-w)<<8
		}},
	"madc": {"mad.lo.cc.u64 %d3, %d1, %d2, %d1; madc.hi.u64 %d0, %d1, %d2, %d2;", func(a, b uint64) uint64 {
		h, l := bits.Mul64(a, b)
		_, c := bits.Add64(l, a, 0)
		return h + b + c
	}},
	"div.s32":     {"or.b32 %r3, %r2, 1; div.s32 %r0, %r1, %r3;" + r0, func(a, b uint64) uint64 { return uint64(uint32(int64(int32(a)) / int64(int32(b|1)))) }},
	"rem.u64":     {"or.b64 %d3, %d2, 1; rem.u64 %d0, %d1, %d3;", func(a, b uint64) uint64 { return a % (b | 1) }},
	"abs.s64":     {"abs.s64 %d0, %d1;", func(a, b uint64) uint64 { return uint64(max(int64(a), -int64(a))) }},
	"abs.s16":     {"abs.s16 %h0, %h1; cvt.u64.u16 %d0, %h0;", func(a, b uint64) uint64 { return uint64(uint16(max(int16(a), -int16(a)))) }},
	"min.s16":     {"min.s16 %h0, %h1, %h2; cvt.u64.u16 %d0, %h0;", func(a, b uint64) uint64 { return uint64(uint16(min(int16(a), int16(b)))) }},
	"max.u64":     {"max.u64 %d0, %d1, %d2;", func(a, b uint64) uint64 { return max(a, b) }},
	"shl.b32":     {"and.b32 %r3, %r2, 63; shl.b32 %r0, %r1, %r3;" + r0, func(a, b uint64) uint64 { return uint64(lo(a) << (b & 63)) }},
	"shr.s64":     {"and.b32 %r3, %r2, 127; shr.s64 %d0, %d1, %r3;", func(a, b uint64) uint64 { return uint64(int64(a) >> (b & 127)) }},
	"shr.s16":     {"and.b32 %r3, %r2, 31; shr.s16 %h0, %h1, %r3; cvt.u64.u16 %d0, %h0;", func(a, b uint64) uint64 { return uint64(uint16(int16(a) >> (b & 31))) }},
	"shf.l.wrap":  {"shf.l.wrap.b32 %r0, %r1, %r2, %r1;" + r0, func(a, b uint64) uint64 { return uint64(uint32((uint64(lo(b))<<32 | uint64(lo(a))) << (a & 31) >> 32)) }},
	"shf.r.clamp": {"and.b32 %r3, %r1, 63; shf.r.clamp.b32 %r0, %r1, %r2, %r3;" + r0, func(a, b uint64) uint64 { return uint64(uint32((uint64(lo(b))<<32 | uint64(lo(a))) >> min(a&63, 32))) }},
	"lop3":        {"lop3.b32 %r0, %r1, %r2, 0x0f0f0f0f, 0xe8;" + r0, func(a, b uint64) uint64 { c := uint32(0x0f0f0f0f); return uint64(lo(a)&lo(b) | lo(a)&c | lo(b)&c) }},
	"popc.b64":    {"popc.b64 %r0, %d1;" + r0, func(a, b uint64) uint64 { return uint64(bits.OnesCount64(a)) }},
	"clz, brev":   {"clz.b64 %r3, %d1; brev.b32 %r4, %r2; add.u32 %r0, %r3, %r4;" + r0, func(a, b uint64) uint64 { return uint64(uint32(bits.LeadingZeros64(a)) + bits.Reverse32(lo(b))) }},
	"bfe.s32":     {"bfe.s32 %r0, %r1, 5, 9;" + r0, func(a, b uint64) uint64 { return uint64(uint32(int32(lo(a)<<18) >> 23)) }},
	"bfi.b64":     {"bfi.b64 %d0, %d1, %d2, 7, 20;", func(a, b uint64) uint64 { m := uint64(1<<20-1) << 7; return b&^m | a<<7&m }},
	"prmt": {"prmt.b32 %r0, %r1, %r2, 0x7531;" + r0, func(a, b uint64) uint64 {
		return uint64(lo(a)>>8&0xff | lo(a)>>24<<8 | lo(b)>>8&0xff<<16 | lo(b)>>24<<24)
	}},
	"dp4a": {"dp4a.s32.s32 %r0, %r1, %r2, %r1;" + r0, func(a, b uint64) uint64 {
		s := int32(a)
		for i := range 4 {
			s += int32(int8(a>>(8*i))) * int32(int8(b>>(8*i)))
		}
		return uint64(uint32(s))
	}},
	"selp": {"setp.lt.s32 %p1, %r1, %r2; selp.b64 %d0, %d1, %d2, %p1;", func(a, b uint64) uint64 {
		if int32(a) < int32(b) {
			return a
		}
		return b
	}},
	"setp and": {"setp.gt.u64 %p1, %d1, %d2; setp.ne.s32.and %p2|%p3, %r1, %r2, !%p1; selp.u64 %d0, 1, 0, %p2; selp.u64 %d3, 2, 0, %p3; or.b64 %d0, %d0, %d3;",
		func(a, b uint64) uint64 { p := a > b; ne := lo(a) != lo(b); return b2u(ne && !p) | b2u(!ne && !p)<<1 }},
	"set": {"set.lt.u32.s32 %r0, %r1, %r2;" + r0, func(a, b uint64) uint64 { return uint64(uint32(-int32(b2u(int32(a) < int32(b))))) }},
	"predicates": {"setp.lt.s32 %p1, %r1, 0; setp.lt.s32 %p2, %r2, 0; xor.pred %p3, %p1, %p2; not.pred %p4, %p3; and.pred %p5, %p4, %p1; selp.u64 %d0, 1, 0, %p5;",
		func(a, b uint64) uint64 { return b2u(int32(a) < 0 && int32(b) < 0) }},
	"mov pack": {"mov.b32 {%h3, %h4}, %r1; mov.b32 %r0, {%h4, %h3}; mov.b64 %d0, {%r0, %r2};", func(a, b uint64) uint64 { return uint64(bits.RotateLeft32(lo(a), 16)) | uint64(lo(b))<<32 }},
	"mov.v2, crosswise": {"mov.b64 {%r3, %r4}, %d1; mov.v2.b32 {%r3, %r4}, {%r4, %r3}; mov.b64 %d0, {%r3, %r4};",
		func(a, b uint64) uint64 { return bits.RotateLeft64(a, 32) }},
	"mov.v4": {"mov.b64 {%h1, %h2, %h3, %h4}, %d1; mov.v4.b16 {%h1, %h2, %h3, %h4}, {%h2, %h3, %h4, %h1}; mov.b64 %d0, {%h1, %h2, %h3, %h4};",
		func(a, b uint64) uint64 { return bits.RotateLeft64(a, -16) }},
	"mov.v2.f64": {"mov.v2.f64 {%e3, %e4}, {%e2, %e1}; mov.b64 %d0, %e4;", func(a, b uint64) uint64 { return a }},
	"cvt.pack.sat.s2": {"cvt.pack.sat.s2.s32.b32 %r0, %r1, %r2, %r2;" + r0, func(a, b uint64) uint64 {
		clamp := func(x uint64) uint32 { return uint32(min(max(int32(lo(x)), -2), 1)) & 3 }
		return uint64(lo(b)<<4 | clamp(a)<<2 | clamp(b))
	}},
	"cvt.pack.sat.u2": {"and.b32 %r3, %r1, 7; sub.u32 %r3, %r3, 2; cvt.pack.sat.u2.s32.b32 %r0, %r3, %r2, 5;" + r0, func(a, b uint64) uint64 {
		clamp := func(x int32) uint32 { return uint32(min(max(x, 0), 3)) }
		return uint64(5<<4 | clamp(int32(lo(a)&7)-2)<<2 | clamp(int32(lo(b))))
	}},
	"b128":         {"mov.b128 %q1, {%d1, %d2}; mov.b128 {%d3, %d4}, %q1; xor.b64 %d0, %d3, %d4;", func(a, b uint64) uint64 { return a ^ b }},
	"cvt sign":     {"cvt.s64.s8 %d0, %r1;", func(a, b uint64) uint64 { return uint64(int64(int8(a))) }},
	"cvt sat":      {"cvt.sat.u8.s32 %r0, %r1;" + r0, func(a, b uint64) uint64 { return uint64(min(max(int32(a), 0), 255)) }},
	"cvt to f32":   {"cvt.rn.f32.s64 %f0, %d1; mov.b32 %r0, %f0;" + r0, func(a, b uint64) uint64 { return of32(float32(int64(a))) }},
	"cvt to f64":   {"cvt.rn.f64.u64 %e0, %d1; mov.b64 %d0, %e0;", func(a, b uint64) uint64 { return math.Float64bits(float64(a)) }},
	"cvt from f64": {"and.b64 %d3, %d1, 0x3fffffffffffffff; mov.b64 %e3, %d3; cvt.rzi.s32.f64 %r0, %e3;" + r0, func(a, b uint64) uint64 { return uint64(uint32(int32(f64(a & 0x3fffffffffffffff)))) }},
	"add.f32":      {"add.f32 %f0, %f1, %f2; mov.b32 %r0, %f0;" + r0, func(a, b uint64) uint64 { return of32(f32(a) + f32(b)) }},
	"mul.f32":      {"mul.rn.f32 %f0, %f1, %f2; mov.b32 %r0, %f0;" + r0, func(a, b uint64) uint64 { return of32(f32(a) * f32(b)) }},
	"div.rn.f32":   {"div.rn.f32 %f0, %f1, %f2; mov.b32 %r0, %f0;" + r0, func(a, b uint64) uint64 { return of32(f32(a) / f32(b)) }},
	"neg, abs":     {"neg.f32 %f3, %f1; abs.f32 %f4, %f3; mov.b32 %r0, %f4;" + r0, func(a, b uint64) uint64 { return uint64(lo(a) &^ (1 << 31)) }},
	"fma.rn.f64": {"fma.rn.f64 %e0, %e1, %e2, %e1; mov.b64 %d0, %e0;", func(a, b uint64) uint64 {
		r := math.FMA(f64(a), f64(b), f64(a))
		if r != r {
			return nan64
		}
		return math.Float64bits(r)
	}},
	"max.f32": {"max.f32 %f0, %f1, %f2; mov.b32 %r0, %f0;" + r0, func(a, b uint64) uint64 {
		x, y := f32(a), f32(b)
		switch {
		case x != x && y != y:
			return 0x7fffffff
		case x != x:
			return uint64(lo(b))
		case y != y:
			return uint64(lo(a))
		}
		return of32(max(x, y))
	}},
	"setp.f32": {"setp.leu.f32 %p1, %f1, %f2; setp.num.f32 %p2, %f1, %f2; selp.u64 %d0, 1, 0, %p1; selp.u64 %d3, 2, 0, %p2; or.b64 %d0, %d0, %d3;", func(a, b uint64) uint64 {
		x, y := f32(a), f32(b)
		return b2u(!(x > y)) | b2u(x == x && y == y)<<1
	}},
	"vadd": {"vadd.s32.s32.s32 %r0, %r1.b0, %r2.h1;" + r0, func(a, b uint64) uint64 { return uint64(uint32(int32(int8(a)) + int32(int16(b>>16)))) }},
	"vabsdiff4": {"vabsdiff4.u32.u32.u32.add %r0, %r1, %r2, 1;" + r0, func(a, b uint64) uint64 {
		s := uint64(1)
		for i := range 4 {
			x, y := a>>(8*i)&255, b>>(8*i)&255
			s += max(x, y) - min(x, y)
		}
		return s
	}},
	"sad": {"sad.u32 %r0, %r1, %r2, 7;" + r0, func(a, b uint64) uint64 { return uint64(max(lo(a), lo(b)) - min(lo(a), lo(b)) + 7) }},
	"slct": {"slct.u32.s32 %r0, %r1, %r2, %r2;" + r0, func(a, b uint64) uint64 {
		if int32(b) >= 0 {
			return uint64(lo(a))
		}
		return uint64(lo(b))
	}},
	"local memory": {".local .align 8 .b8 m[16]; mov.u32 %r3, m; st.local.u64 [%r3+8], %d1; st.local.u8 [m+9], %r2; ld.local.u64 %d0, [%r3+8];", func(a, b uint64) uint64 { return a&^0xff00 | b&0xff<<8 }},
	"ld.s8 wide":   {".local .b8 m[4]; st.local.u8 [m+1], %r1; ld.local.s8 %d0, [m+1];", func(a, b uint64) uint64 { return uint64(int64(int8(a))) }},
	"guard": {"setp.lt.s32 %p1, %r1, %r2; mov.u64 %d0, 1; @%p1 mov.u64 %d0, 2; @!%p1 add.u64 %d0, %d0, 10;", func(a, b uint64) uint64 {
		if int32(a) < int32(b) {
			return 2
		}
		return 11
	}},
}

const nan64 = 0xfff8000000000000 // as CUDA's default

func TestInstructions(t *testing.T) {
	edges := []uint64{0, 1, ^uint64(0), 1 << 63, 1<<63 - 1, 1 << 31, 1<<31 - 1, 0x7f800000, 0xff800000, 0x7fc00000, 0x3f800000, 0x80000001,
		0x7ff0000000000000, 0xfff0000000000000, 0x3ff0000000000000, 0x8000, 0x7fff, 0xff, 0x80}
	r := rand.New(rand.NewPCG(11, 12))
	var pairs [][2]uint64
	for _, a := range edges {
		for _, b := range edges {
			pairs = append(pairs, [2]uint64{a, b})
		}
	}
	for len(pairs)%64 != 0 || len(pairs) < 768 {
		a, b := r.Uint64(), r.Uint64()
		if len(pairs)%2 == 0 { // floats of like size
			b = a&0xffc00000_ff800000 | b&^0xffc00000_ff800000
		}
		pairs = append(pairs, [2]uint64{a, b})
	}
	in := make([]byte, 0, 16*len(pairs))
	for _, p := range pairs {
		in = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(in, p[0]), p[1])
	}
	for name, c := range instrCases {
		t.Run(name, func(t *testing.T) {
			text := kernel(`
	mov.u32 %r10, %ctaid.x; mad.lo.u32 %t, %r10, 64, %t;
	mul.wide.u32 %d10, %t, 16; add.u64 %d10, %in, %d10;
	ld.global.v2.u64 {%d1, %d2}, [%d10];
	cvt.u32.u64 %r1, %d1; cvt.u32.u64 %r2, %d2; cvt.u16.u64 %h1, %d1; cvt.u16.u64 %h2, %d2;
	mov.b32 %f1, %r1; mov.b32 %f2, %r2; mov.b64 %e1, %d1; mov.b64 %e2, %d2;
	` + c.body + `
	mul.wide.u32 %d10, %t, 8; add.u64 %d10, %out, %d10; st.global.u64 [%d10], %d0;`)
			ok(t, text, len(pairs)/64, 64, 8*len(pairs), in, func(t *testing.T, r result) {
				for i, p := range pairs {
					if got, want := r.u64(i), c.want(p[0], p[1]); got != want {
						t.Errorf("%s of %#x, %#x is %#x, want %#x", name, p[0], p[1], got, want)
						return
					}
				}
			})
		})
	}
}
