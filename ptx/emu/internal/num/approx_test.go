package num

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// sweep calls f with f32 bits spread evenly over [lo, hi], both signs if negative is set.
func sweep(lo, hi uint32, n int, negative bool, f func(b uint32)) {
	step := max((hi-lo)/uint32(n), 1)
	for b := lo; b <= hi && b >= lo; b += step {
		f(b)
		if negative {
			f(b | sign32)
		}
	}
	f(hi)
}

// ulps is the distance of a result from the truth in units of its last place.
func ulps(got uint32, want float64) float64 {
	g := float64(f32(got))
	e := math.Ilogb(want)
	return math.Abs(g-want) / math.Ldexp(1, max(e, -126)-23)
}

func TestApproximations(t *testing.T) {
	const samples = 200000
	worst := func(name string, bound float64, each func(report func(b uint32, err float64))) {
		m := 0.0
		each(func(b uint32, err float64) {
			if !(err <= bound) {
				t.Fatalf("%s of %#x: error %g, bound %g", name, b, err, bound)
			}
			m = max(m, err)
		})
		t.Logf("%s: %.3g of %.3g", name, m, bound)
	}
	rel := func(got uint32, want float64) float64 { return math.Abs(float64(f32(got))-want) / math.Abs(want) }
	worst("ex2.approx.f32, ulp", 2, func(report func(uint32, float64)) {
		sweep(0, math.Float32bits(127.9999), samples, true, func(b uint32) {
			if x := float64(f32(b)); x >= -149 {
				report(b, ulps(Ex2(b, false), math.Exp2(x)))
			}
		})
	})
	worst("lg2.approx.f32, relative", 0x1p-22, func(report func(uint32, float64)) {
		sweep(1, inf32-1, samples, false, func(b uint32) {
			if b != one32 {
				report(b, rel(Lg2(b, false), math.Log2(float64(f32(b)))))
			}
		})
		sweep(0x3f700000, 0x3f900000, samples, false, func(b uint32) { // beside 1, the logarithm is small
			if b != one32 {
				report(b, rel(Lg2(b, false), math.Log1p(float64(f32(b))-1)/math.Ln2))
			}
		})
	})
	worst("rcp.approx.f32, ulp", 1, func(report func(uint32, float64)) {
		sweep(min32, inf32-1, samples, true, func(b uint32) { report(b, ulps(RcpApprox(b, false), 1/float64(f32(b)))) })
	})
	worst("rsqrt.approx.f32, relative", math.Exp2(-22.9), func(report func(uint32, float64)) {
		sweep(1, inf32-1, samples, false, func(b uint32) { report(b, rel(Rsqrt(b, false), 1/math.Sqrt(float64(f32(b))))) })
	})
	worst("sqrt.approx.f32, relative", 0x1p-23, func(report func(uint32, float64)) {
		sweep(1, inf32-1, samples, false, func(b uint32) { report(b, rel(SqrtApprox(b, false), math.Sqrt(float64(f32(b))))) })
	})
	for _, f := range []struct {
		name string
		got  func(uint32, bool) uint32
		want func(float64) float64
	}{{"sin", Sin, math.Sin}, {"cos", Cos, math.Cos}} {
		worst(f.name+".approx.f32 in [-2π, 2π], absolute", math.Exp2(-20.5), func(report func(uint32, float64)) {
			sweep(0, math.Float32bits(2*math.Pi), samples, true, func(b uint32) {
				report(b, math.Abs(float64(f32(f.got(b, false)))-f.want(float64(f32(b)))))
			})
		})
		worst(f.name+".approx.f32 in [-100π, 100π], absolute", math.Exp2(-14.7), func(report func(uint32, float64)) {
			sweep(0, math.Float32bits(100*math.Pi), samples, true, func(b uint32) {
				report(b, math.Abs(float64(f32(f.got(b, false)))-f.want(float64(f32(b)))))
			})
		})
		sweep(0, inf32-1, 1000, true, func(b uint32) {
			if y := f32(f.got(b, false)); !(y >= -1 && y <= 1) {
				t.Fatalf("%s of %#x: %v", f.name, b, y)
			}
		})
	}
	worst("tanh.approx.f32, relative", 0x1p-11, func(report func(uint32, float64)) {
		sweep(1, inf32-1, samples, true, func(b uint32) { report(b, rel(Tanh(b), math.Tanh(float64(f32(b))))) })
	})
	r := rand.New(rand.NewPCG(41, 1))
	for name, div := range map[string]func(a, b uint32, ftz bool) uint32{"div.approx.f32, ulp": DivApprox, "div.full.f32, ulp": DivFull} {
		worst(name, 2, func(report func(uint32, float64)) {
			for range samples {
				a, b := uint32(layF32.random(r, 127)), uint32(layF32.random(r, r.IntN(252)+1))
				q := float64(f32(a)) / float64(f32(b))
				if m := b &^ sign32; isNaN32(a) || a<<1 == 0 || m < min32 || m > 0x7e800000 || math.Abs(q) > math.MaxFloat32 {
					continue
				}
				report(b, ulps(div(a, b, false), q))
			}
		})
	}
	worst("rcp.approx.ftz.f64, relative to the upper word's", 0x1p-20, func(report func(uint32, float64)) {
		for range samples {
			a := layF64.random(r, 1+r.IntN(2044)) & (inf64 - 1)
			got := RcpApprox64(a)
			if got<<32 != 0 {
				t.Fatalf("rcp.approx.ftz.f64 of %#x: %#x has low bits", a, got)
			}
			x := f64(a &^ (1<<32 - 1))
			if y := 1 / x; a >= 1<<52 && y >= 0x1p-1022 {
				report(uint32(a>>32), math.Abs(f64(got)*x-1))
			}
		}
	})
	worst("rsqrt.approx.ftz.f64, relative", 0x1p-20, func(report func(uint32, float64)) {
		for range samples {
			a := layF64.random(r, 1+r.IntN(2044)) & (inf64 - 1)
			if a >= 1<<52 {
				report(uint32(a>>32), math.Abs(f64(RsqrtApproxFtz64(a))*math.Sqrt(f64(a&^(1<<32-1)))-1))
			}
		}
	})
	worst("rsqrt.approx.f64, relative", 0x1p-51, func(report func(uint32, float64)) {
		for range 20000 {
			a := layF64.random(r, 1+r.IntN(2044)) & (inf64 - 1)
			if a == 0 || a >= inf64 {
				continue
			}
			y := new(big.Float).SetPrec(200).SetFloat64(f64(RsqrtApprox64(a)))
			y.Mul(y, y).Mul(y, new(big.Float).SetFloat64(f64(a))).Sub(y, big.NewFloat(1))
			e, _ := y.Float64()
			report(uint32(a>>32), math.Abs(e)/2)
		}
	})
}

// Every f16 and bf16.
func TestHalfApproximations(t *testing.T) {
	for h := range uint32(1 << 16) {
		a := uint16(h)
		if x := f16(a); x == x {
			y, want := f16(Ex2F16(a)), math.Exp2(x)
			if want < 65504 && math.Abs(y-want) > max(want*math.Exp2(-9.9), 0x1p-25) {
				t.Fatalf("ex2.f16 of %v: %v, want %v", x, y, want)
			}
			if y, want := f16(TanhF16(a)), math.Tanh(x); math.Abs(y-want) > math.Exp2(-10.987) {
				t.Fatalf("tanh.f16 of %v: %v, want %v", x, y, want)
			}
		}
		if x := bf16(a); x == x {
			y, want := bf16(Ex2BF16(a)), math.Exp2(x)
			if want < 0x1p127 && want >= 0x1p-126 && math.Abs(y-want) > want*0x1p-7 {
				t.Fatalf("ex2.bf16 of %v: %v, want %v", x, y, want)
			}
			if y, want := bf16(TanhBF16(a)), math.Tanh(x); math.Abs(y-want) > 0x1p-8 {
				t.Fatalf("tanh.bf16 of %v: %v, want %v", x, y, want)
			}
		}
	}
}

// The tables of special values of the PTX ISA.
func TestSpecialValues(t *testing.T) {
	const negInf, negZero, sub = inf32 | sign32, sign32, 0x00000001
	const nan = nan32
	for _, c := range []struct {
		name      string
		f         func(uint32, bool) uint32
		in        uint32
		plain, fz uint32
	}{
		{"ex2", Ex2, negInf, 0, 0}, {"ex2", Ex2, negZero, one32, one32}, {"ex2", Ex2, sub, one32, one32}, {"ex2", Ex2, inf32, inf32, inf32},
		{"ex2", Ex2, 0xffc00000, nan, nan}, {"ex2", Ex2, math.Float32bits(-127), 1 << 22, 0},
		{"lg2", Lg2, 0, negInf, negInf}, {"lg2", Lg2, negZero, negInf, negInf}, {"lg2", Lg2, sub, math.Float32bits(-149), negInf},
		{"lg2", Lg2, sub | sign32, nan, negInf}, {"lg2", Lg2, inf32, inf32, inf32}, {"lg2", Lg2, negInf, nan, nan}, {"lg2", Lg2, one32, 0, 0},
		{"rcp", RcpApprox, 0, inf32, inf32}, {"rcp", RcpApprox, negZero, negInf, negInf}, {"rcp", RcpApprox, inf32, 0, 0}, {"rcp", RcpApprox, negInf, negZero, negZero},
		{"rcp", RcpApprox, sub, inf32, inf32}, {"rcp", RcpApprox, 0x7f000000, 0x00400000, 0},
		{"rsqrt", Rsqrt, 0, inf32, inf32}, {"rsqrt", Rsqrt, negZero, negInf, negInf}, {"rsqrt", Rsqrt, inf32, 0, 0}, {"rsqrt", Rsqrt, negInf, nan, nan}, {"rsqrt", Rsqrt, sub, 0x64b504f3, inf32},
		{"sqrt", SqrtApprox, negZero, negZero, negZero}, {"sqrt", SqrtApprox, 0xbf800000, nan, nan}, {"sqrt", SqrtApprox, inf32, inf32, inf32}, {"sqrt", SqrtApprox, sub | sign32, nan, negZero},
		{"sin", Sin, negZero, negZero, negZero}, {"sin", Sin, sub, sub, 0}, {"sin", Sin, inf32, nan, nan}, {"sin", Sin, negInf, nan, nan},
		{"cos", Cos, negZero, one32, one32}, {"cos", Cos, sub, one32, one32}, {"cos", Cos, inf32, nan, nan},
		{"tanh", func(a uint32, _ bool) uint32 { return Tanh(a) }, inf32, one32, one32},
		{"tanh", func(a uint32, _ bool) uint32 { return Tanh(a) }, negInf, one32 | sign32, one32 | sign32},
		{"tanh", func(a uint32, _ bool) uint32 { return Tanh(a) }, negZero, negZero, negZero},
		{"div by 2^127", func(a uint32, z bool) uint32 { return DivApprox(a, 0x7f000000, z) }, one32, 0, 0},
		{"div by 2^127", func(a uint32, z bool) uint32 { return DivApprox(a, 0x7f000000, z) }, inf32, nan, nan},
		{"div by inf", func(a uint32, z bool) uint32 { return DivApprox(a, inf32, z) }, one32, 0, 0},
		{"div by 0", func(a uint32, z bool) uint32 { return DivApprox(a, 0, z) }, one32, inf32, inf32},
	} {
		if got := c.f(c.in, false); got != c.plain {
			t.Errorf("%s of %#x: %#x, want %#x", c.name, c.in, got, c.plain)
		}
		if got := c.f(c.in, true); got != c.fz {
			t.Errorf("%s.ftz of %#x: %#x, want %#x", c.name, c.in, got, c.fz)
		}
	}
	for _, c := range [][2]uint64{
		{RcpApprox64(0), inf64}, {RcpApprox64(sign64), inf64 | sign64}, {RcpApprox64(inf64), 0}, {RcpApprox64(1), inf64}, {RcpApprox64(math.Float64bits(2)), math.Float64bits(.5)},
		{RsqrtApproxFtz64(0), inf64}, {RsqrtApproxFtz64(inf64), 0}, {RsqrtApproxFtz64(math.Float64bits(-1)), nan64},
		{RsqrtApprox64(0), inf64}, {RsqrtApprox64(sign64), inf64 | sign64}, {RsqrtApprox64(inf64), 0}, {RsqrtApprox64(math.Float64bits(-4)), nan64}, {RsqrtApprox64(1), math.Float64bits(0x1p537)},
	} {
		if c[0] != c[1] {
			t.Errorf("f64: %#x, want %#x", c[0], c[1])
		}
	}
}

func TestFtzSat(t *testing.T) {
	flush := func(b uint32) uint32 {
		if b&inf32 == 0 {
			return b & sign32
		}
		return b
	}
	sat := func(b uint32) uint32 {
		switch x := f32(b); {
		case x > 1:
			return one32
		case x > 0:
			return b
		}
		return 0
	}
	layF32.triples(5000, func(x, y, z uint64) {
		a, b, c := uint32(x), uint32(y), uint32(z)
		for _, r := range modes {
			fa, fb, fc := flush(a), flush(b), flush(c)
			for _, k := range []struct {
				got, want uint32
				op        string
			}{
				{Add32(a, b, r, true, false), flush(Add32(fa, fb, r, false, false)), "add.ftz"},
				{Sub32(a, b, r, true, true), sat(flush(Sub32(fa, fb, r, false, false))), "sub.ftz.sat"},
				{Mul32(a, b, r, true, false), flush(Mul32(fa, fb, r, false, false)), "mul.ftz"},
				{Fma32(a, b, c, r, true, false), flush(Fma32(fa, fb, fc, r, false, false)), "fma.ftz"},
				{Fma32(a, b, c, r, false, true), sat(Fma32(a, b, c, r, false, false)), "fma.sat"},
				{Add32(a, b, r, false, true), sat(Add32(a, b, r, false, false)), "add.sat"},
				{Mul32(a, b, r, true, true), sat(flush(Mul32(fa, fb, r, false, false))), "mul.ftz.sat"},
				{Div32(a, b, r, true), flush(Div32(fa, fb, r, false)), "div.ftz"},
				{Rcp32(a, r, true), flush(Div32(one32, fa, r, false)), "rcp.ftz"},
				{Sqrt32(a, r, true), Sqrt32(fa, r, false), "sqrt.ftz"},
			} {
				if k.got != k.want {
					t.Fatalf("%s.%v of %#x, %#x, %#x: %#x, want %#x", k.op, r, a, b, c, k.got, k.want)
				}
			}
		}
	})
	layF16.triples(5000, func(x, y, z uint64) {
		a, b, c := uint16(x), uint16(y), uint16(z)
		fl := func(h uint16) uint16 {
			if h&0x7c00 == 0 {
				return h & 0x8000
			}
			return h
		}
		fz, st, re := Op16{Ftz: true}, Op16{Sat: true}, Op16{Relu: true}
		clamp := func(h uint16) uint16 {
			switch x := f16(h); {
			case x > 1:
				return 0x3c00
			case x > 0:
				return h
			}
			return 0
		}
		relu := func(h uint16) uint16 {
			if f16(h) < 0 || h == 0x8000 {
				return 0
			}
			return h
		}
		pair := uint32(a)<<16 | uint32(b)
		for _, k := range [][2]uint16{
			{fz.AddF16(a, b), fl(AddF16(fl(a), fl(b)))}, {fz.SubF16(a, b), fl(SubF16(fl(a), fl(b)))}, {fz.MulF16(a, b), fl(MulF16(fl(a), fl(b)))},
			{fz.FmaF16(a, b, c), fl(FmaF16(fl(a), fl(b), fl(c)))}, {st.FmaF16(a, b, c), clamp(FmaF16(a, b, c))}, {st.AddF16(a, b), clamp(AddF16(a, b))},
			{re.FmaF16(a, b, c), relu(FmaF16(a, b, c))},
			{uint16(Op16{}.AddF16x2(pair, pair) >> 16), AddF16(a, a)}, {uint16(Op16{}.MulF16x2(pair, pair)), MulF16(b, b)},
			{uint16(Op16{}.FmaF16x2(pair, pair, pair) >> 16), FmaF16(a, a, a)}, {uint16(Op16{}.SubF16x2(pair, pair>>16)), SubF16(b, a)},
			{uint16(AddBF16x2(pair, pair>>16)), AddBF16(b, a)}, {uint16(SubBF16x2(pair, pair>>16)), SubBF16(b, a)}, {uint16(MulBF16x2(pair, pair) >> 16), MulBF16(a, a)},
			{uint16(Op16{}.FmaBF16x2(pair, pair, pair) >> 16), FmaBF16(a, a, a)},
		} {
			if k[0] != k[1] {
				t.Fatalf("f16 modifiers of %#x, %#x, %#x: %#x, want %#x", a, b, c, k[0], k[1])
			}
		}
	})
}
