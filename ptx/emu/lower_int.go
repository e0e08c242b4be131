package emu

import (
	"math/bits"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/num"
)

func init() {
	register(lowerArith, "add", "sub", "mul", "mad", "min", "max", "abs", "neg", "div", "rem", "fma")
	register(lowerCarry, "addc", "subc", "madc")
	register(lower24, "mul24", "mad24")
	register(lowerSad, "sad")
}

// binary notes operands of d = a op b, all of type t.
func (lw *lowerer) binary(t ptx.Type, run runFn) {
	lw.need(3)
	a, b := lw.in(lw.src.Args[1], t), lw.in(lw.src.Args[2], t)
	lw.emit(inst{run: run, a: a, b: b, d: lw.out(lw.src.Args[0], t)})
}

func (lw *lowerer) unary(t ptx.Type, run runFn) {
	lw.need(2)
	a := lw.in(lw.src.Args[1], t)
	lw.emit(inst{run: run, a: a, d: lw.out(lw.src.Args[0], t)})
}

func (lw *lowerer) ternary(t ptx.Type, run runFn) {
	lw.need(4)
	args := lw.src.Args
	a, b, c := lw.in(args[1], t), lw.in(args[2], t), lw.in(args[3], t)
	lw.emit(inst{run: run, a: a, b: b, c: c, d: lw.out(args[0], t)})
}

// lowerArith sends mnemonics that integers and floats share to their lowering.
func lowerArith(lw *lowerer, in *ptx.Instr) {
	for i := len(in.Mods) - 1; i >= 0; i-- {
		t, ok := ptx.TypeByName(in.Mods[i])
		if !ok {
			continue
		}
		if t.Kind() == ptx.KindFloat {
			lowerFloat(lw, in)
			return
		}
		break
	}
	lowerInteger(lw, in)
}

func lowerInteger(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	switch in.Op {
	case "mul", "mad":
		lowerMul(lw, in)
		return
	}
	t := m.lastType()
	signed := t.Kind() == ptx.KindSigned
	w := t.Bits()
	pick := func(r32s, r32u, r64s, r64u runFn) runFn {
		switch {
		case w == 64 && signed:
			return r64s
		case w == 64:
			return r64u
		case signed:
			return r32s
		}
		return r32u
	}
	switch t {
	case ptx.U16, ptx.S16, ptx.U32, ptx.S32, ptx.U64, ptx.S64:
	case ptx.U16x2, ptx.S16x2:
		lowerX2(lw, in, t)
		return
	default:
		lw.fail("type .%s is not known here", t)
	}
	if m.has("cc") {
		lowerCarryOut(lw, in, t)
		return
	}
	switch in.Op {
	case "add":
		if m.has("sat") {
			lw.binary(t, map2(num.AddSatS32))
			return
		}
		if w == 16 {
			lw.binary(t, map16x2(func(a, b uint16) uint16 { return a + b }))
			return
		}
		lw.binary(t, pick(runAdd32, runAdd32, runAdd64, runAdd64))
	case "sub":
		if m.has("sat") {
			lw.binary(t, map2(num.SubSatS32))
			return
		}
		if w == 16 {
			lw.binary(t, map16x2(func(a, b uint16) uint16 { return a - b }))
			return
		}
		lw.binary(t, pick(runSub32, runSub32, runSub64, runSub64))
	case "min":
		if m.has("relu") {
			lw.binary(t, map2(num.MinReluS32))
			return
		}
		if w == 16 && signed {
			lw.binary(t, map16x2(func(a, b uint16) uint16 { return uint16(min(int16(a), int16(b))) }))
			return
		}
		lw.binary(t, pick(runMinS32, runMinU32,
			map2w(func(a, b uint64) uint64 { return uint64(min(int64(a), int64(b))) }),
			map2w(func(a, b uint64) uint64 { return min(a, b) })))
	case "max":
		if m.has("relu") {
			lw.binary(t, map2(num.MaxReluS32))
			return
		}
		if w == 16 && signed {
			lw.binary(t, map16x2(func(a, b uint16) uint16 { return uint16(max(int16(a), int16(b))) }))
			return
		}
		lw.binary(t, pick(runMaxS32, runMaxU32,
			map2w(func(a, b uint64) uint64 { return uint64(max(int64(a), int64(b))) }),
			map2w(func(a, b uint64) uint64 { return max(a, b) })))
	case "abs":
		if w == 16 {
			lw.unary(t, map16(func(a uint16) uint16 { return uint16(max(int16(a), -int16(a))) }))
			return
		}
		lw.unary(t, pick(map1(func(a uint32) uint32 {
			if int32(a) < 0 {
				return -a
			}
			return a
		}), nil, map1w(func(a uint64) uint64 {
			if int64(a) < 0 {
				return -a
			}
			return a
		}), nil))
	case "neg":
		if w == 16 {
			lw.unary(t, map16(func(a uint16) uint16 { return -a }))
			return
		}
		lw.unary(t, pick(runNeg32, runNeg32, map1w(func(a uint64) uint64 { return -a }), map1w(func(a uint64) uint64 { return -a })))
	case "div", "rem":
		div := in.Op == "div"
		if w == 16 {
			// As a GPU divides: through 32 bits; by zero all bits are set.
			lw.binary(t, map16x2(func(a, b uint16) uint16 {
				switch {
				case signed && div:
					return uint16(num.DivS32(uint32(int32(int16(a))), uint32(int32(int16(b)))))
				case signed:
					return uint16(num.RemS32(uint32(int32(int16(a))), uint32(int32(int16(b)))))
				case div:
					return uint16(num.DivU32(uint32(a), uint32(b)))
				}
				return uint16(num.RemU32(uint32(a), uint32(b)))
			}))
			return
		}
		if div {
			lw.binary(t, pick(map2(num.DivS32), map2(num.DivU32), map2w(num.DivS64), map2w(num.DivU64)))
		} else {
			lw.binary(t, pick(map2(num.RemS32), map2(num.RemU32), map2w(num.RemS64), map2w(num.RemU64)))
		}
	default:
		lw.fail("is not known for integers")
	}
}

// lowerX2 lowers the packed 16-bit integers of add, min, max, neg.
func lowerX2(lw *lowerer, in *ptx.Instr, t ptx.Type) {
	signed := t == ptx.S16x2
	relu := lw.mods.has("relu")
	switch in.Op {
	case "add":
		lw.binary(t, map2(num.AddX2))
	case "min", "max":
		isMax := in.Op == "max"
		lw.binary(t, map2(func(a, b uint32) uint32 { return num.MinMaxX2(a, b, isMax, signed, relu) }))
	default:
		lw.fail("type .%s is not known here", t)
	}
}

// widened is the type of twice the width.
func widened(t ptx.Type) ptx.Type {
	switch t {
	case ptx.U16:
		return ptx.U32
	case ptx.S16:
		return ptx.S32
	case ptx.U32:
		return ptx.U64
	case ptx.S32:
		return ptx.S64
	}
	return ptx.NoType
}

func lowerMul(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	part := m.one("lo", "hi", "wide")
	cc := m.has("cc")
	sat := m.has("sat")
	t := m.typ()
	signed := t.Kind() == ptx.KindSigned
	mad := in.Op == "mad"
	n := 3
	if mad {
		n = 4
	}
	lw.need(n)
	args := in.Args
	switch t {
	case ptx.U16, ptx.S16, ptx.U32, ptx.S32, ptx.U64, ptx.S64:
	default:
		lw.fail("type .%s is not known here", t)
	}
	if cc {
		lowerMadCarry(lw, in, t, part, false, true)
		return
	}
	a, b := lw.in(args[1], t), lw.in(args[2], t)
	if part == "wide" {
		wt := widened(t)
		if wt == ptx.NoType {
			lw.fail(".wide needs 16 or 32 bits")
		}
		i := inst{a: a, b: b}
		if mad {
			i.c = lw.in(args[3], wt)
		}
		i.d = lw.out(args[0], wt)
		switch {
		case t.Bits() == 32 && mad && signed:
			i.run = runMadWideS
		case t.Bits() == 32 && mad:
			i.run = runMadWideU
		case t.Bits() == 32 && signed:
			i.run = runMulWideS
		case t.Bits() == 32:
			i.run = runMulWideU
		default:
			mul := func(a, b uint32) uint32 { return a * b }
			if signed {
				mul = func(a, b uint32) uint32 { return uint32(int32(int16(a)) * int32(int16(b))) }
			}
			if mad {
				i.run = map3(func(a, b, c uint32) uint32 { return mul(a, b) + c })
			} else {
				i.run = map2(mul)
			}
		}
		lw.emit(i)
		return
	}
	i := inst{a: a, b: b}
	if mad {
		i.c = lw.in(args[3], t)
	}
	i.d = lw.out(args[0], t)
	hi := part == "hi"
	if part == "" {
		lw.fail(".lo, .hi or .wide is expected")
	}
	switch t.Bits() {
	case 16:
		mul := func(a, b uint16) uint16 { return a * b }
		if hi && signed {
			mul = num.MulHiS16
		} else if hi {
			mul = num.MulHiU16
		}
		if mad {
			i.run = map16x3(func(a, b, c uint16) uint16 { return mul(a, b) + c })
		} else {
			i.run = map16x2(mul)
		}
	case 32:
		switch {
		case mad && sat && hi && signed:
			i.run = map3(num.MadHiSatS32)
		case sat:
			lw.fail(".sat needs mad.hi.s32")
		case !hi && mad:
			i.run = runMad32
		case !hi:
			i.run = runMul32
		case mad && signed:
			i.run = map3(func(a, b, c uint32) uint32 { return num.MulHiS32(a, b) + c })
		case mad:
			i.run = map3(func(a, b, c uint32) uint32 { return num.MulHiU32(a, b) + c })
		case signed:
			i.run = runMulHiS32
		default:
			i.run = runMulHiU32
		}
	default:
		mul := num.MulHiU64
		if signed {
			mul = num.MulHiS64
		}
		switch {
		case !hi && mad:
			i.run = runMad64
		case !hi:
			i.run = runMul64
		case mad:
			i.run = map3w(func(a, b, c uint64) uint64 { return mul(a, b) + c })
		default:
			i.run = map2w(mul)
		}
	}
	lw.emit(i)
}

// The condition-code register CC.CF is a predicate that no register names.
func (lw *lowerer) carry() int32 {
	s, ok := lw.symSlot["CC.CF"]
	if !ok {
		s = lw.newSlot(fileP, 1, "CC.CF", false)
		lw.symSlot["CC.CF"] = s
	}
	return s
}

func (lw *lowerer) carryIn() int32 {
	s := lw.carry()
	lw.note(slot{fileP, s})
	return s
}

func (lw *lowerer) carryOut() int32 {
	s := lw.carry()
	lw.sets = append(lw.sets, shadowOf(slot{fileP, s}))
	return s
}

func lowerCarryOut(lw *lowerer, in *ptx.Instr, t ptx.Type) {
	lw.addSub(in, t, in.Op == "sub", false, true)
}

func lowerCarry(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	part := ""
	if in.Op == "madc" {
		part = m.one("lo", "hi")
	}
	cc := m.has("cc")
	t := m.typ()
	if t.Kind() != ptx.KindSigned && t.Kind() != ptx.KindUnsigned || t.Bits() < 32 {
		lw.fail("type .%s is not known here", t)
	}
	if in.Op == "madc" {
		lowerMadCarry(lw, in, t, part, true, cc)
		return
	}
	lw.addSub(in, t, in.Op == "subc", true, cc)
}

// addSub lowers addition and subtraction with carry in, out or both. The carry of
// a subtraction is a borrow.
func (lw *lowerer) addSub(in *ptx.Instr, t ptx.Type, sub, cin, cout bool) {
	lw.need(3)
	a, b := lw.in(in.Args[1], t), lw.in(in.Args[2], t)
	cf := int32(-1)
	if cin {
		cf = lw.carryIn()
	}
	co := int32(-1)
	if cout {
		co = lw.carryOut()
	}
	s := slot{fileOf(t), 0}
	i := inst{a: a, b: b, d: lw.out(in.Args[0], t)}
	i.run = func(x *exec, in *inst) {
		var carry, out uint32
		if cf >= 0 {
			carry = x.p[cf]
		}
		for m := x.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			c := uint64(carry >> i & 1)
			if s.file == file64 {
				va, vb := x.r64[in.a][i], x.r64[in.b][i]
				if sub {
					x.r64[in.d][i], c = bits.Sub64(va, vb, c)
				} else {
					x.r64[in.d][i], c = bits.Add64(va, vb, c)
				}
			} else {
				va, vb := x.r32[in.a][i], x.r32[in.b][i]
				c32 := uint32(c)
				if sub {
					x.r32[in.d][i], c32 = bits.Sub32(va, vb, c32)
				} else {
					x.r32[in.d][i], c32 = bits.Add32(va, vb, c32)
				}
				c = uint64(c32)
			}
			out |= uint32(c) << i
		}
		if co >= 0 {
			x.setP(co, out)
		}
	}
	lw.emit(i)
}

func lowerMadCarry(lw *lowerer, in *ptx.Instr, t ptx.Type, part string, cin, cout bool) {
	lw.need(4)
	if part != "lo" && part != "hi" {
		lw.fail(".lo or .hi is expected")
	}
	hi, signed := part == "hi", t.Kind() == ptx.KindSigned
	a, b, c := lw.in(in.Args[1], t), lw.in(in.Args[2], t), lw.in(in.Args[3], t)
	cf, co := int32(-1), int32(-1)
	if cin {
		cf = lw.carryIn()
	}
	if cout {
		co = lw.carryOut()
	}
	wide := t.Bits() == 64
	i := inst{a: a, b: b, c: c, d: lw.out(in.Args[0], t)}
	i.run = func(x *exec, in *inst) {
		var carry, out uint32
		if cf >= 0 {
			carry = x.p[cf]
		}
		for m := x.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			k := carry >> i & 1
			if wide {
				va, vb := x.r64[in.a][i], x.r64[in.b][i]
				p := va * vb
				if hi && signed {
					p = num.MulHiS64(va, vb)
				} else if hi {
					p = num.MulHiU64(va, vb)
				}
				var o uint64
				x.r64[in.d][i], o = bits.Add64(p, x.r64[in.c][i], uint64(k))
				out |= uint32(o) << i
				continue
			}
			va, vb := x.r32[in.a][i], x.r32[in.b][i]
			p := va * vb
			if hi && signed {
				p = num.MulHiS32(va, vb)
			} else if hi {
				p = num.MulHiU32(va, vb)
			}
			x.r32[in.d][i], k = bits.Add32(p, x.r32[in.c][i], k)
			out |= k << i
		}
		if co >= 0 {
			x.setP(co, out)
		}
	}
	lw.emit(i)
}

func lower24(lw *lowerer, in *ptx.Instr) {
	part := lw.mods.one("lo", "hi")
	sat := lw.mods.has("sat")
	t := lw.mods.typ()
	signed := t == ptx.S32
	var mul func(a, b uint32) uint32
	switch {
	case part == "lo" && signed:
		mul = num.Mul24LoS
	case part == "lo":
		mul = num.Mul24LoU
	case signed:
		mul = num.Mul24HiS
	default:
		mul = num.Mul24HiU
	}
	if in.Op == "mul24" {
		lw.binary(t, map2(mul))
		return
	}
	if sat {
		lw.ternary(t, map3(num.Mad24HiSatS32))
		return
	}
	lw.ternary(t, map3(func(a, b, c uint32) uint32 { return mul(a, b) + c }))
}

func lowerSad(lw *lowerer, in *ptx.Instr) {
	t := lw.mods.typ()
	signed := t.Kind() == ptx.KindSigned
	switch t.Bits() {
	case 16:
		lw.ternary(t, map16x3(func(a, b, c uint16) uint16 {
			if signed {
				return c + uint16(num.AbsDiffS(int64(int16(a)), int64(int16(b))))
			}
			return c + uint16(num.AbsDiffU(uint64(a), uint64(b)))
		}))
	case 32:
		f := num.SadU32
		if signed {
			f = num.SadS32
		}
		lw.ternary(t, map3(f))
	default:
		lw.ternary(t, map3w(func(a, b, c uint64) uint64 {
			if signed {
				return c + num.AbsDiffS(int64(a), int64(b))
			}
			return c + num.AbsDiffU(a, b)
		}))
	}
}
