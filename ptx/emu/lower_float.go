package emu

import (
	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/num"
)

func init() {
	register(lowerApprox, "ex2", "lg2", "sin", "cos", "tanh", "rsqrt")
	register(lowerRcpSqrt, "rcp", "sqrt")
	register(lowerCopysign, "copysign")
	register(lowerTestp, "testp")
}

// rounding takes .rn, .rz, .rm, .rp; ok says whether one was there.
func (lw *lowerer) rounding() (r num.Rounding, ok bool) {
	switch lw.mods.one("rn", "rz", "rm", "rp", "rna") {
	case "rn":
		return num.RN, true
	case "rz":
		return num.RZ, true
	case "rm":
		return num.RM, true
	case "rp":
		return num.RP, true
	case "rna":
		return num.RNA, true
	}
	return num.RN, false
}

func lowerFloat(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	rnd, _ := lw.rounding()
	approx, full := m.has("approx"), m.has("full")
	ftz, sat, relu := m.has("ftz"), m.has("sat"), m.has("relu")
	nan, xor, abs := m.has("NaN"), m.has("xorsign"), m.has("abs")
	t := m.lastType()
	if u := m.typ(); u != ptx.NoType {
		lowerMixed(lw, in, t, u, rnd, sat)
		return
	}
	mm := num.MinMax{Max: in.Op == "max", NaN: nan, XorSignAbs: xor && abs, Ftz: ftz}
	if xor != abs {
		lw.fail(".xorsign goes with .abs")
	}
	switch t {
	case ptx.F32:
		switch in.Op {
		case "add", "sub", "mul":
			plain := rnd == num.RN && !ftz && !sat
			switch {
			case plain && in.Op == "add":
				lw.binary(t, runAddF32)
			case plain && in.Op == "sub":
				lw.binary(t, runSubF32)
			case plain:
				lw.binary(t, runMulF32)
			case rnd == num.RN && !sat && in.Op != "sub":
				run := num.WarpAdd32Ftz
				if in.Op == "mul" {
					run = num.WarpMul32Ftz
				}
				lw.binary(t, func(x *exec, in *inst) { run(&x.r32[in.d], &x.r32[in.a], &x.r32[in.b], x.mask) })
			case in.Op == "add":
				lw.binary(t, map2(func(a, b uint32) uint32 { return num.Add32(a, b, rnd, ftz, sat) }))
			case in.Op == "sub":
				lw.binary(t, map2(func(a, b uint32) uint32 { return num.Sub32(a, b, rnd, ftz, sat) }))
			default:
				lw.binary(t, map2(func(a, b uint32) uint32 { return num.Mul32(a, b, rnd, ftz, sat) }))
			}
		case "fma", "mad":
			if rnd == num.RN && !ftz && !sat {
				lw.ternary(t, runFmaF32)
				return
			}
			if rnd == num.RN && !sat {
				lw.ternary(t, func(x *exec, in *inst) {
					num.WarpFma32Ftz(&x.r32[in.d], &x.r32[in.a], &x.r32[in.b], &x.r32[in.c], x.mask)
				})
				return
			}
			lw.ternary(t, map3(func(a, b, c uint32) uint32 { return num.Fma32(a, b, c, rnd, ftz, sat) }))
		case "div":
			switch {
			case approx:
				lw.binary(t, map2(func(a, b uint32) uint32 { return num.DivApprox(a, b, ftz) }))
			case full:
				lw.binary(t, map2(func(a, b uint32) uint32 { return num.DivFull(a, b, ftz) }))
			default:
				lw.binary(t, map2(func(a, b uint32) uint32 { return num.Div32(a, b, rnd, ftz) }))
			}
		case "min", "max":
			if len(in.Args) == 4 {
				lw.ternary(t, map3(func(a, b, c uint32) uint32 { return mm.F32(mm.F32(a, b), c) }))
				return
			}
			lw.binary(t, map2(mm.F32))
		case "abs":
			// .abs was taken as a modifier only where it is one: the mnemonic is no modifier.
			lw.unary(t, map1(func(a uint32) uint32 { return num.Abs32(a, ftz) }))
		case "neg":
			lw.unary(t, map1(func(a uint32) uint32 { return num.Neg32(a, ftz) }))
		default:
			lw.fail("is not known for .%s", t)
		}
	case ptx.F64:
		if ftz || sat || approx || full || relu {
			lw.fail("a modifier is not allowed for .f64")
		}
		switch in.Op {
		case "add", "sub", "mul":
			plain := rnd == num.RN
			switch {
			case in.Op == "add" && plain:
				lw.binary(t, runAddF64)
			case in.Op == "sub" && plain:
				lw.binary(t, runSubF64)
			case plain:
				lw.binary(t, runMulF64)
			case in.Op == "add":
				lw.binary(t, map2w(func(a, b uint64) uint64 { return num.Add64(a, b, rnd) }))
			case in.Op == "sub":
				lw.binary(t, map2w(func(a, b uint64) uint64 { return num.Sub64(a, b, rnd) }))
			default:
				lw.binary(t, map2w(func(a, b uint64) uint64 { return num.Mul64(a, b, rnd) }))
			}
		case "fma", "mad":
			if rnd == num.RN {
				lw.ternary(t, runFmaF64)
				return
			}
			lw.ternary(t, map3w(func(a, b, c uint64) uint64 { return num.Fma64(a, b, c, rnd) }))
		case "div":
			lw.binary(t, map2w(func(a, b uint64) uint64 { return num.Div64(a, b, rnd) }))
		case "min", "max":
			lw.binary(t, map2w(mm.F64))
		case "abs":
			lw.unary(t, map1w(func(a uint64) uint64 { return a &^ (1 << 63) }))
		case "neg":
			lw.unary(t, map1w(func(a uint64) uint64 { return a ^ 1<<63 }))
		default:
			lw.fail("is not known for .%s", t)
		}
	case ptx.F16, ptx.BF16, ptx.F16x2, ptx.BF16x2:
		lowerHalf(lw, in, t, num.Op16{Ftz: ftz, Sat: sat, Relu: relu}, mm)
	case ptx.F32x2:
		each := func(f func(a, b, c uint32) uint32) func(a, b, c uint64) uint64 {
			return func(a, b, c uint64) uint64 {
				return uint64(f(uint32(a), uint32(b), uint32(c))) | uint64(f(uint32(a>>32), uint32(b>>32), uint32(c>>32)))<<32
			}
		}
		two := func(f func(a, b uint32) uint32) runFn {
			g := each(func(a, b, _ uint32) uint32 { return f(a, b) })
			return map2w(func(a, b uint64) uint64 { return g(a, b, 0) })
		}
		switch in.Op {
		case "add":
			lw.binary(t, two(func(a, b uint32) uint32 { return num.Add32(a, b, rnd, ftz, false) }))
		case "sub":
			lw.binary(t, two(func(a, b uint32) uint32 { return num.Sub32(a, b, rnd, ftz, false) }))
		case "mul":
			lw.binary(t, two(func(a, b uint32) uint32 { return num.Mul32(a, b, rnd, ftz, false) }))
		case "fma":
			lw.ternary(t, map3w(each(func(a, b, c uint32) uint32 { return num.Fma32(a, b, c, rnd, ftz, false) })))
		default:
			lw.fail("is not known for .%s", t)
		}
	default:
		lw.fail("type .%s is not known here", t)
	}
}

// lowerMixed lowers add, sub and fma with f32 accumulators and 16-bit operands.
func lowerMixed(lw *lowerer, in *ptx.Instr, src, dst ptx.Type, rnd num.Rounding, sat bool) {
	widen := num.F16ToF32
	if src == ptx.BF16 {
		widen = num.BF16ToF32
	}
	if dst != ptx.F32 || src != ptx.F16 && src != ptx.BF16 {
		lw.fail("types .%s.%s are not known here", dst, src)
	}
	args := in.Args
	if in.Op == "fma" {
		lw.need(4)
		a, b, c := lw.in32(args[1], src), lw.in32(args[2], src), lw.in32(args[3], dst)
		lw.emit(inst{a: a, b: b, c: c, d: lw.out32(args[0], dst), run: map3(func(a, b, c uint32) uint32 {
			return num.Fma32(widen(uint16(a)), widen(uint16(b)), c, rnd, false, sat)
		})})
		return
	}
	lw.need(3)
	sub := in.Op == "sub"
	a, b := lw.in32(args[1], src), lw.in32(args[2], dst)
	lw.emit(inst{a: a, b: b, d: lw.out32(args[0], dst), run: map2(func(a, b uint32) uint32 {
		if sub {
			return num.Sub32(widen(uint16(a)), b, rnd, false, sat)
		}
		return num.Add32(widen(uint16(a)), b, rnd, false, sat)
	})})
}

func runAddF32(x *exec, in *inst) {
	num.WarpAdd32(&x.r32[in.d], &x.r32[in.a], &x.r32[in.b], x.mask)
}

func runSubF32(x *exec, in *inst) {
	num.WarpSub32(&x.r32[in.d], &x.r32[in.a], &x.r32[in.b], x.mask)
}

func runMulF32(x *exec, in *inst) {
	num.WarpMul32(&x.r32[in.d], &x.r32[in.a], &x.r32[in.b], x.mask)
}

func runFmaF32(x *exec, in *inst) {
	num.WarpFma32(&x.r32[in.d], &x.r32[in.a], &x.r32[in.b], &x.r32[in.c], x.mask)
}

func lowerHalf(lw *lowerer, in *ptx.Instr, t ptx.Type, o num.Op16, mm num.MinMax) {
	bf := t == ptx.BF16 || t == ptx.BF16x2
	x2 := t == ptx.F16x2 || t == ptx.BF16x2
	ftz := o.Ftz
	switch in.Op {
	case "add", "sub", "mul":
		type two = func(a, b uint32) uint32
		type one = func(a, b uint16) uint16
		var f2 two
		var f1 one
		k := in.Op
		switch {
		case bf && x2:
			f2 = map[string]two{"add": num.AddBF16x2, "sub": num.SubBF16x2, "mul": num.MulBF16x2}[k]
		case x2:
			f2 = map[string]two{"add": o.AddF16x2, "sub": o.SubF16x2, "mul": o.MulF16x2}[k]
		case bf:
			f1 = map[string]one{"add": num.AddBF16, "sub": num.SubBF16, "mul": num.MulBF16}[k]
		default:
			f1 = map[string]one{"add": o.AddF16, "sub": o.SubF16, "mul": o.MulF16}[k]
		}
		if x2 {
			lw.binary(t, map2(f2))
		} else {
			lw.binary(t, map16x2(f1))
		}
	case "fma":
		switch {
		case bf && x2:
			lw.ternary(t, map3(o.FmaBF16x2))
		case x2:
			lw.ternary(t, map3(o.FmaF16x2))
		case bf:
			lw.ternary(t, map16x3(o.FmaBF16))
		default:
			lw.ternary(t, map16x3(o.FmaF16))
		}
	case "min", "max":
		switch {
		case bf && x2:
			lw.binary(t, map2(mm.BF16x2))
		case x2:
			lw.binary(t, map2(mm.F16x2))
		case bf:
			lw.binary(t, map16x2(mm.BF16))
		default:
			lw.binary(t, map16x2(mm.F16))
		}
	case "abs", "neg":
		neg := in.Op == "neg"
		f := func(h uint16) uint16 {
			if ftz && !bf {
				h = num.FtzF16(h)
			}
			if neg {
				return h ^ 0x8000
			}
			return h &^ 0x8000
		}
		if x2 {
			lw.unary(t, map1(func(a uint32) uint32 { return num.Halves(a, f) }))
		} else {
			lw.unary(t, map16(f))
		}
	default:
		lw.fail("is not known for .%s", t)
	}
}

func lowerApprox(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	m.has("approx")
	ftz := m.has("ftz")
	t := m.typ()
	switch t {
	case ptx.F32:
		var f func(a uint32, ftz bool) uint32
		switch in.Op {
		case "ex2":
			f = num.Ex2
		case "lg2":
			f = num.Lg2
		case "sin":
			f = num.Sin
		case "cos":
			f = num.Cos
		case "rsqrt":
			f = num.Rsqrt
		default:
			lw.unary(t, map1(num.Tanh))
			return
		}
		lw.unary(t, map1(func(a uint32) uint32 { return f(a, ftz) }))
	case ptx.F64:
		switch {
		case in.Op != "rsqrt":
			lw.fail("is not known for .f64")
		case ftz:
			lw.unary(t, map1w(num.RsqrtApproxFtz64))
		default:
			lw.unary(t, map1w(num.RsqrtApprox64))
		}
	case ptx.F16, ptx.F16x2, ptx.BF16, ptx.BF16x2:
		var f func(uint16) uint16
		switch bf := t == ptx.BF16 || t == ptx.BF16x2; {
		case in.Op == "ex2" && bf:
			f = num.Ex2BF16
		case in.Op == "ex2":
			f = num.Ex2F16
		case in.Op == "tanh" && bf:
			f = num.TanhBF16
		case in.Op == "tanh":
			f = num.TanhF16
		default:
			lw.fail("is not known for .%s", t)
		}
		if t.Bits() == 32 {
			lw.unary(t, map1(func(a uint32) uint32 { return num.Halves(a, f) }))
		} else {
			lw.unary(t, map16(f))
		}
	default:
		lw.fail("type .%s is not known here", t)
	}
}

func lowerRcpSqrt(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	rnd, _ := lw.rounding()
	approx, ftz := m.has("approx"), m.has("ftz")
	t := m.typ()
	rcp := in.Op == "rcp"
	switch {
	case t == ptx.F32 && approx && rcp:
		lw.unary(t, map1(func(a uint32) uint32 { return num.RcpApprox(a, ftz) }))
	case t == ptx.F32 && approx:
		lw.unary(t, map1(func(a uint32) uint32 { return num.SqrtApprox(a, ftz) }))
	case t == ptx.F32 && rcp:
		lw.unary(t, map1(func(a uint32) uint32 { return num.Rcp32(a, rnd, ftz) }))
	case t == ptx.F32:
		lw.unary(t, map1(func(a uint32) uint32 { return num.Sqrt32(a, rnd, ftz) }))
	case t == ptx.F64 && approx && rcp:
		lw.unary(t, map1w(num.RcpApprox64))
	case t == ptx.F64 && rcp:
		lw.unary(t, map1w(func(a uint64) uint64 { return num.Rcp64(a, rnd) }))
	case t == ptx.F64 && !approx:
		lw.unary(t, map1w(func(a uint64) uint64 { return num.Sqrt64(a, rnd) }))
	default:
		lw.fail("type .%s is not known here", t)
	}
}

func lowerCopysign(lw *lowerer, in *ptx.Instr) {
	if t := lw.mods.typ(); t == ptx.F64 {
		lw.binary(t, map2w(num.Copysign64))
	} else {
		lw.binary(ptx.F32, map2(num.Copysign32))
	}
}

func lowerTestp(lw *lowerer, in *ptx.Instr) {
	lw.need(2)
	name := lw.mods.one("finite", "infinite", "number", "notanumber", "normal", "subnormal")
	c, ok := num.ClassByName(name)
	if !ok {
		lw.fail("a class of numbers is expected")
	}
	t := lw.mods.typ()
	a := lw.in(in.Args[1], t)
	wide := t == ptx.F64
	lw.emit(inst{a: a, d: lw.outP(in.Args[0]), run: func(x *exec, in *inst) {
		var p uint32
		for i := range warpSize {
			if wide && num.Testp64(c, x.r64[in.a][i]) || !wide && num.Testp32(c, x.r32[in.a][i]) {
				p |= 1 << i
			}
		}
		x.setP(in.d, p)
	}})
}
