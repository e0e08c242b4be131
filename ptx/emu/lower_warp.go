package emu

import (
	"github.com/selkie-ml/selkie/ptx"
)

func init() {
	register(lowerShfl, "shfl")
	register(lowerVote, "vote")
	register(lowerMatch, "match")
	register(lowerRedux, "redux")
	register(lowerElect, "elect")
	register(func(lw *lowerer, in *ptx.Instr) {
		lw.need(1)
		lw.mods.has("b32")
		lw.emit(inst{d: lw.out32(in.Args[0], ptx.B32), run: func(x *exec, in *inst) {
			for m := x.mask; m != 0; m &= m - 1 {
				x.r32[in.d][firstLane(m)] = x.mask
			}
		}})
	}, "activemask")
}

func (lw *lowerer) sync() {
	if !lw.mods.has("sync") {
		lw.fail("only the .sync form exists on sm_70 and later")
	}
}

func runBarWarpSync(x *exec, in *inst) {
	if x.san != nil {
		x.san.sync(x, in, &syncEvent{kind: syncWarp, lanes: x.mask, id: -1})
	}
}

// told tells the sanitiser of a collective that orders no memory.
func (x *exec) told(in *inst) {
	if x.san != nil {
		x.san.sync(x, in, &syncEvent{kind: syncCollective, lanes: x.mask, id: -1})
	}
}

// pairOut gives destination and predicate of d|p; -1 where there is no predicate.
func (lw *lowerer) pairOut(op ptx.Operand, t ptx.Type) (d, p int32) {
	if pair, ok := op.(ptx.Pair); ok {
		return lw.out32(pair.A, t), lw.outP(pair.B)
	}
	return lw.out32(op, t), -1
}

func (c *collOp) in32(s ...int32) *collOp {
	for _, i := range s {
		c.ins = append(c.ins, slot{file32, i})
	}
	return c
}

func (c *collOp) out(f regFile, i int32) *collOp {
	if i >= 0 {
		c.outs = append(c.outs, slot{f, i})
	}
	return c
}

func lowerShfl(lw *lowerer, in *ptx.Instr) {
	lw.sync()
	mode := lw.mods.one("up", "down", "bfly", "idx")
	lw.mods.has("b32")
	lw.need(5)
	args := in.Args
	a := lw.in32(args[1], ptx.B32)
	b, c := lw.in32(args[2], ptx.U32), lw.in32(args[3], ptx.U32)
	member := lw.in32(args[4], ptx.B32)
	d, p := lw.pairOut(args[0], ptx.B32)
	i := inst{a: a, b: b, c: c, d: d, e: p, flags: flagSelfDef}
	if mode == "" {
		lw.fail(".up, .down, .bfly or .idx is expected")
	}
	defA := int32(-1)
	if r, ok := args[1].(ptx.Reg); ok {
		s, _ := lw.regSlot(r)
		defA = shadowOf(s)
	}
	outs := append([]int32(nil), lw.sets...)
	i.run = func(x *exec, in *inst) {
		va, vb, vc := x.r32[in.a], &x.r32[in.b], &x.r32[in.c]
		var from vec32
		var ok uint32
		all := x.mask
		for m := all; m != 0; m &= m - 1 {
			lane := uint32(firstLane(m))
			bv, cv := vb[lane]&31, vc[lane]
			seg, clamp := cv>>8&31, cv&31
			maxLane := lane&seg | clamp&^seg
			minLane := lane & seg
			var j uint32
			valid := false
			switch mode {
			case "up":
				j = lane - bv
				valid = int32(j) >= int32(maxLane)
			case "down":
				j = lane + bv
				valid = j <= maxLane
			case "bfly":
				j = lane ^ bv
				valid = j <= maxLane
			default:
				j = minLane | bv&^seg
				valid = j <= maxLane
			}
			if !valid {
				j = lane
			} else {
				ok |= 1 << lane
			}
			from[lane] = j & 31
		}
		dst := &x.r32[in.d]
		var undef uint32
		for m := all; m != 0; m &= m - 1 {
			lane := firstLane(m)
			j := from[lane]
			if all>>j&1 == 0 { // the lane read does not take part: the value is undefined
				undef |= 1 << lane
				dst[lane] = poison32
				continue
			}
			dst[lane] = va[j]
		}
		if in.e >= 0 {
			x.setP(in.e, ok)
		}
		if x.san != nil {
			def := uint32(fullMask)
			if s := x.f.fn.shadowOf(defA); s >= 0 {
				def = x.def[s]
			}
			var got uint32
			for m := all &^ undef; m != 0; m &= m - 1 {
				lane := firstLane(m)
				got |= def >> from[lane] & 1 << lane
			}
			for k, s := range outs {
				s = x.f.fn.shadowOf(s)
				if k > 0 {
					x.def[s] |= all
					continue
				}
				x.def[s] = x.def[s]&^all | got
			}
		}
		x.told(in)
	}
	co := (&collOp{key: "shfl." + mode, member: member}).in32(a, b, c).out(file32, d).out(fileP, p)
	lw.emitCollective(i, co)
}

func lowerVote(lw *lowerer, in *ptx.Instr) {
	lw.sync()
	mode := lw.mods.one("all", "any", "uni", "ballot")
	lw.mods.one("pred", "b32")
	lw.need(3)
	args := in.Args
	a, n := lw.inP(args[1])
	member := lw.in32(args[2], ptx.B32)
	i := inst{a: a}
	co := &collOp{key: "vote." + mode, member: member, ins: []slot{{fileP, a}}}
	if mode == "ballot" {
		i.d = lw.out32(args[0], ptx.B32)
		co.out(file32, i.d)
	} else {
		i.d = lw.outP(args[0])
		co.out(fileP, i.d)
	}
	i.run = func(x *exec, in *inst) {
		v := (x.p[in.a] ^ n) & x.mask
		r := false
		switch mode {
		case "ballot":
			d := &x.r32[in.d]
			for m := x.mask; m != 0; m &= m - 1 {
				d[firstLane(m)] = v
			}
			x.told(in)
			return
		case "all":
			r = v == x.mask
		case "any":
			r = v != 0
		default:
			r = v == 0 || v == x.mask
		}
		if r {
			x.p[in.d] |= x.mask
		} else {
			x.p[in.d] &^= x.mask
		}
		x.told(in)
	}
	lw.emitCollective(i, co)
}

func lowerMatch(lw *lowerer, in *ptx.Instr) {
	all := lw.mods.one("any", "all") == "all"
	lw.sync()
	t := lw.mods.typ()
	lw.need(3)
	args := in.Args
	a := slot{fileOf(t), lw.in(args[1], t)}
	member := lw.in32(args[2], ptx.B32)
	d, p := lw.pairOut(args[0], ptx.B32)
	co := &collOp{key: "match." + lw.mods.list[0] + t.String(), member: member, ins: []slot{a}}
	co.out(file32, d).out(fileP, p)
	lw.emitCollective(inst{a: a.i, d: d, e: p, run: func(x *exec, in *inst) {
		var r vec32
		same := uint32(0)
		for m := x.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			v := x.get(slot{a.file, in.a}, i)
			for k := x.mask; k != 0; k &= k - 1 {
				if j := firstLane(k); x.get(slot{a.file, in.a}, j) == v {
					r[i] |= 1 << j
				}
			}
			if r[i] == x.mask {
				same |= 1 << i
			}
		}
		for m := x.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			if all && same != x.mask {
				r[i] = 0
			}
			x.r32[in.d][i] = r[i]
		}
		if in.e >= 0 {
			x.setP(in.e, same)
		}
		x.told(in)
	}}, co)
}

func lowerRedux(lw *lowerer, in *ptx.Instr) {
	lw.sync()
	op := lw.mods.one("add", "min", "max", "and", "or", "xor")
	abs, nan := lw.mods.has("abs"), lw.mods.has("NaN")
	t := lw.mods.typ()
	lw.need(3)
	a := lw.in32(in.Args[1], t)
	member := lw.in32(in.Args[2], ptx.B32)
	d := lw.out32(in.Args[0], t)
	f := reduceFn(op, t, abs, nan)
	if f == nil {
		lw.fail("is not known for .%s", t)
	}
	co := (&collOp{key: "redux." + op + t.String(), member: member}).in32(a).out(file32, d)
	lw.emitCollective(inst{a: a, d: d, run: func(x *exec, in *inst) {
		v := &x.r32[in.a]
		first := firstLane(x.mask)
		r := v[first]
		for m := x.mask &^ (1 << first); m != 0; m &= m - 1 {
			r = f(r, v[firstLane(m)])
		}
		for m := x.mask; m != 0; m &= m - 1 {
			x.r32[in.d][firstLane(m)] = r
		}
		x.told(in)
	}}, co)
}

func lowerElect(lw *lowerer, in *ptx.Instr) {
	lw.sync()
	lw.need(2)
	pair, ok := in.Args[0].(ptx.Pair)
	if !ok {
		lw.fail("d|p is expected")
	}
	member := lw.in32(in.Args[1], ptx.B32)
	d, p := lw.out32(pair.A, ptx.B32), lw.outP(pair.B)
	co := (&collOp{key: "elect", member: member}).out(file32, d).out(fileP, p)
	lw.emitCollective(inst{d: d, e: p, run: func(x *exec, in *inst) {
		leader := firstLane(x.mask)
		for m := x.mask; m != 0; m &= m - 1 {
			x.r32[in.d][firstLane(m)] = uint32(leader)
		}
		x.setP(in.e, 1<<leader)
		x.told(in)
	}}, co)
}
