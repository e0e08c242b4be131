package emu

import (
	"math/bits"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/num"
)

func init() {
	register(lowerLogic, "and", "or", "xor", "not", "cnot")
	register(lowerShift, "shl", "shr")
	register(lowerShf, "shf")
	register(lowerBits, "popc", "clz", "brev", "bfind")
	register(lowerBitField, "bfe", "bfi", "bmsk", "szext", "fns")
	register(lowerLop3, "lop3")
	register(lowerPrmt, "prmt")
	register(lowerDp, "dp4a", "dp2a")
}

func lowerLogic(lw *lowerer, in *ptx.Instr) {
	t := lw.mods.typ()
	if t == ptx.Pred {
		lowerLogicPred(lw, in)
		return
	}
	wide := t.Bits() == 64
	mask := uint32(1)<<t.Bits() - 1 // of 16 bits; all of 32
	if t.Bits() >= 32 {
		mask = fullMask
	}
	choose := func(a, b runFn) runFn {
		if wide {
			return b
		}
		return a
	}
	switch in.Op {
	case "and":
		lw.binary(t, choose(runAnd32, runAnd64))
	case "or":
		lw.binary(t, choose(runOr32, runOr64))
	case "xor":
		lw.binary(t, choose(runXor32, runXor64))
	case "not":
		if mask != fullMask {
			lw.unary(t, map1(func(a uint32) uint32 { return ^a & mask }))
			return
		}
		lw.unary(t, choose(runNot32, runNot64))
	default:
		lw.unary(t, choose(map1(func(a uint32) uint32 {
			if a == 0 {
				return 1
			}
			return 0
		}), map1w(func(a uint64) uint64 {
			if a == 0 {
				return 1
			}
			return 0
		})))
	}
}

func lowerLogicPred(lw *lowerer, in *ptx.Instr) {
	args := in.Args
	if in.Op == "not" {
		lw.need(2)
		a, n := lw.inP(args[1])
		n = ^n
		lw.emit(inst{a: a, d: lw.outP(args[0]), run: func(x *exec, in *inst) { x.setP(in.d, x.p[in.a]^n) }})
		return
	}
	lw.need(3)
	a, na := lw.inP(args[1])
	b, nb := lw.inP(args[2])
	i := inst{a: a, b: b, d: lw.outP(args[0])}
	switch in.Op {
	case "and":
		i.run = func(x *exec, in *inst) { x.setP(in.d, (x.p[in.a]^na)&(x.p[in.b]^nb)) }
	case "or":
		i.run = func(x *exec, in *inst) { x.setP(in.d, x.p[in.a]^na|x.p[in.b]^nb) }
	case "xor":
		i.run = func(x *exec, in *inst) { x.setP(in.d, x.p[in.a]^na^x.p[in.b]^nb) }
	default:
		lw.fail("is not known for predicates")
	}
	lw.emit(i)
}

func lowerShift(lw *lowerer, in *ptx.Instr) {
	lw.need(3)
	t := lw.mods.typ()
	signed := t.Kind() == ptx.KindSigned
	a := lw.in(in.Args[1], t)
	b := lw.in32(in.Args[2], ptx.U32)
	d := lw.out(in.Args[0], t)
	var run runFn
	left := in.Op == "shl"
	switch t.Bits() {
	case 16:
		run = map2(func(a, b uint32) uint32 {
			switch {
			case left:
				return a << b & 0xffff
			case signed:
				return uint32(uint16(int16(a) >> min(b, 15)))
			}
			return a >> b
		})
	case 32:
		run = runShrU32
		if left {
			run = runShl32
		} else if signed {
			run = runShrS32
		}
	default:
		run = runShrU64
		if left {
			run = runShl64
		} else if signed {
			run = runShrS64
		}
	}
	lw.emit(inst{run: run, a: a, b: b, d: d})
}

func lowerShf(lw *lowerer, in *ptx.Instr) {
	left := lw.mods.one("l", "r") == "l"
	wrap := lw.mods.one("clamp", "wrap") == "wrap"
	lw.mods.has("b32")
	lw.ternary(ptx.B32, map3(func(a, b, c uint32) uint32 {
		if left {
			return num.ShfL(a, b, c, wrap)
		}
		return num.ShfR(a, b, c, wrap)
	}))
}

func lowerBits(lw *lowerer, in *ptx.Instr) {
	lw.need(2)
	shift := lw.mods.has("shiftamt")
	t := lw.mods.typ()
	signed := t.Kind() == ptx.KindSigned
	if t.Bits() == 64 {
		a := lw.in64(in.Args[1], t)
		if in.Op == "brev" {
			lw.emit(inst{a: a, d: lw.out64(in.Args[0], t), run: map1w(bits.Reverse64)})
			return
		}
		d := lw.out32(in.Args[0], ptx.U32)
		var f func(a uint64) uint32
		switch in.Op {
		case "popc":
			f = func(a uint64) uint32 { return uint32(bits.OnesCount64(a)) }
		case "clz":
			f = func(a uint64) uint32 { return uint32(bits.LeadingZeros64(a)) }
		default:
			f = func(a uint64) uint32 { return num.Bfind64(a, signed, shift) }
		}
		lw.emit(inst{a: a, d: d, run: map1n(f)})
		return
	}
	var f func(a uint32) uint32
	switch in.Op {
	case "popc":
		f = func(a uint32) uint32 { return uint32(bits.OnesCount32(a)) }
	case "clz":
		f = func(a uint32) uint32 { return uint32(bits.LeadingZeros32(a)) }
	case "brev":
		f = bits.Reverse32
	default:
		f = func(a uint32) uint32 { return num.Bfind32(a, signed, shift) }
	}
	a := lw.in32(in.Args[1], t)
	lw.emit(inst{a: a, d: lw.out32(in.Args[0], ptx.U32), run: map1(f)})
}

func lowerBitField(lw *lowerer, in *ptx.Instr) {
	args := in.Args
	switch in.Op {
	case "bfe":
		lw.need(4)
		t := lw.mods.typ()
		signed := t.Kind() == ptx.KindSigned
		a, b, c := lw.in(args[1], t), lw.in32(args[2], ptx.U32), lw.in32(args[3], ptx.U32)
		d := lw.out(args[0], t)
		var run runFn
		switch {
		case t.Bits() == 64 && signed:
			run = mapW3(num.BfeS64)
		case t.Bits() == 64:
			run = mapW3(num.BfeU64)
		case signed:
			run = map3(num.BfeS32)
		default:
			run = map3(num.BfeU32)
		}
		lw.emit(inst{run: run, a: a, b: b, c: c, d: d})
	case "bfi":
		lw.need(5)
		t := lw.mods.typ()
		a, b := lw.in(args[1], t), lw.in(args[2], t)
		c, e := lw.in32(args[3], ptx.U32), lw.in32(args[4], ptx.U32)
		d := lw.out(args[0], t)
		run := lanes(func(x *exec, in *inst, i int) {
			x.r32[in.d][i] = num.Bfi32(x.r32[in.a][i], x.r32[in.b][i], x.r32[in.c][i], x.r32[in.e][i])
		})
		if t.Bits() == 64 {
			run = lanes(func(x *exec, in *inst, i int) {
				x.r64[in.d][i] = num.Bfi64(x.r64[in.a][i], x.r64[in.b][i], x.r32[in.c][i], x.r32[in.e][i])
			})
		}
		lw.emit(inst{run: run, a: a, b: b, c: c, e: e, d: d})
	case "bmsk":
		wrap := lw.mods.one("clamp", "wrap") == "wrap"
		t := lw.mods.typ()
		lw.binary(t, map2(func(a, b uint32) uint32 { return num.Bmsk(a, b, wrap) }))
	case "szext":
		wrap := lw.mods.one("clamp", "wrap") == "wrap"
		t := lw.mods.typ()
		signed := t.Kind() == ptx.KindSigned
		lw.binary(t, map2(func(a, b uint32) uint32 { return num.Szext(a, b, signed, wrap) }))
	default:
		lw.mods.typ()
		lw.ternary(ptx.B32, map3(num.Fns))
	}
}

func lowerLop3(lw *lowerer, in *ptx.Instr) {
	boolOp := lw.mods.one("or", "and")
	lw.mods.has("b32")
	args := in.Args
	n := 5
	if boolOp != "" {
		n = 6
	}
	lw.need(n)
	lut, ok := args[4].(ptx.Imm)
	if !ok {
		lw.fail("the table must be a constant")
	}
	a, b, c := lw.in32(args[1], ptx.B32), lw.in32(args[2], ptx.B32), lw.in32(args[3], ptx.B32)
	i := inst{a: a, b: b, c: c, imm: lut.Bits, run: runLop3}
	if boolOp == "" {
		i.d = lw.out32(args[0], ptx.B32)
		lw.emit(i)
		return
	}
	q, nq := lw.inP(args[5])
	pair, ok := args[0].(ptx.Pair)
	if !ok {
		lw.fail("d|p is expected")
	}
	i.d = lw.out32(pair.A, ptx.B32)
	p := lw.outP(pair.B)
	i.run = func(x *exec, in *inst) {
		runLop3(x, in)
		var nz uint32
		for k := range x.r32[in.d] {
			if x.r32[in.d][k] != 0 {
				nz |= 1 << k
			}
		}
		if boolOp == "or" {
			x.setP(p, nz|x.p[q]^nq)
		} else {
			x.setP(p, nz&(x.p[q]^nq))
		}
	}
	lw.emit(i)
}

// runLop3 computes the four products of the table once for all lanes.
func runLop3(x *exec, in *inst) {
	lut := uint8(in.imm)
	d, a, b, c := &x.r32[in.d], &x.r32[in.a], &x.r32[in.b], &x.r32[in.c]
	var t [8]uint32
	for k := range t {
		t[k] = -uint32(lut >> k & 1)
	}
	for m := x.mask; m != 0; m &= m - 1 {
		i := firstLane(m)
		va, vb, vc := a[i], b[i], c[i]
		d[i] = va&(vb&(vc&t[7]|^vc&t[6])|^vb&(vc&t[5]|^vc&t[4])) | ^va&(vb&(vc&t[3]|^vc&t[2])|^vb&(vc&t[1]|^vc&t[0]))
	}
}

func lowerPrmt(lw *lowerer, in *ptx.Instr) {
	lw.mods.has("b32")
	mode := num.PrmtIndex
	if s := lw.mods.one("f4e", "b4e", "rc8", "ecl", "ecr", "rc16"); s != "" {
		mode, _ = num.PrmtModeByName(s)
	}
	if mode == num.PrmtIndex {
		lw.ternary(ptx.B32, map3(num.Prmt))
		return
	}
	lw.ternary(ptx.B32, map3(func(a, b, c uint32) uint32 { return num.PrmtOf(a, b, c, mode) }))
}

func lowerDp(lw *lowerer, in *ptx.Instr) {
	half := lw.mods.one("lo", "hi")
	ta, tb := lw.mods.typ(), lw.mods.typ()
	sa, sb := ta == ptx.S32, tb == ptx.S32
	if in.Op == "dp4a" {
		lw.ternary(ptx.B32, map3(func(a, b, c uint32) uint32 { return num.Dp4a(a, b, c, sa, sb) }))
		return
	}
	hi := half == "hi"
	lw.ternary(ptx.B32, map3(func(a, b, c uint32) uint32 { return num.Dp2a(a, b, c, sa, sb, hi) }))
}
