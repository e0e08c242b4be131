package emu

import (
	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/num"
)

func init() {
	register(lowerAtom, "atom", "red")
}

// reduceFn is an operation on 32-bit values that redux and atomics share; nil if
// there is none.
func reduceFn(op string, t ptx.Type, abs, nan bool) func(a, b uint32) uint32 {
	signed := t.Kind() == ptx.KindSigned
	switch t {
	case ptx.F32:
		mm := num.MinMax{Max: op == "max", NaN: nan}
		if op != "min" && op != "max" {
			return nil
		}
		return func(a, b uint32) uint32 {
			if abs {
				a, b = a&^(1<<31), b&^(1<<31)
			}
			return mm.F32(a, b)
		}
	case ptx.B32, ptx.U32, ptx.S32:
	default:
		return nil
	}
	switch op {
	case "add":
		return func(a, b uint32) uint32 { return a + b }
	case "and":
		return func(a, b uint32) uint32 { return a & b }
	case "or":
		return func(a, b uint32) uint32 { return a | b }
	case "xor":
		return func(a, b uint32) uint32 { return a ^ b }
	case "min":
		if signed {
			return func(a, b uint32) uint32 { return uint32(min(int32(a), int32(b))) }
		}
		return func(a, b uint32) uint32 { return min(a, b) }
	case "max":
		if signed {
			return func(a, b uint32) uint32 { return uint32(max(int32(a), int32(b))) }
		}
		return func(a, b uint32) uint32 { return max(a, b) }
	case "inc":
		return func(a, b uint32) uint32 {
			if a >= b {
				return 0
			}
			return a + 1
		}
	case "dec":
		return func(a, b uint32) uint32 {
			if a == 0 || a > b {
				return b
			}
			return a - 1
		}
	}
	return nil
}

// atomicFn is the operation of an atomic on the bits of its type; nil if there is none. Shared memory
// keeps subnormals, global memory flushes them in add.f32 (PTX ISA, "atom").
func atomicFn(op string, t ptx.Type, shared bool) func(a, b uint64) uint64 {
	if f := reduceFn(op, t, false, false); f != nil && t != ptx.F32 {
		return func(a, b uint64) uint64 { return uint64(f(uint32(a), uint32(b))) }
	}
	signed := t.Kind() == ptx.KindSigned
	switch t {
	case ptx.U64, ptx.S64, ptx.B64:
		switch op {
		case "add":
			return func(a, b uint64) uint64 { return a + b }
		case "and":
			return func(a, b uint64) uint64 { return a & b }
		case "or":
			return func(a, b uint64) uint64 { return a | b }
		case "xor":
			return func(a, b uint64) uint64 { return a ^ b }
		case "min":
			if signed {
				return func(a, b uint64) uint64 { return uint64(min(int64(a), int64(b))) }
			}
			return func(a, b uint64) uint64 { return min(a, b) }
		case "max":
			if signed {
				return func(a, b uint64) uint64 { return uint64(max(int64(a), int64(b))) }
			}
			return func(a, b uint64) uint64 { return max(a, b) }
		case "inc":
			return func(a, b uint64) uint64 {
				if a >= b {
					return 0
				}
				return a + 1
			}
		case "dec":
			return func(a, b uint64) uint64 {
				if a == 0 || a > b {
					return b
				}
				return a - 1
			}
		}
	case ptx.F32:
		mm := num.MinMax{Max: op == "max"}
		switch op {
		case "add":
			return func(a, b uint64) uint64 { return uint64(num.Add32(uint32(a), uint32(b), num.RN, !shared, false)) }
		case "min", "max":
			return func(a, b uint64) uint64 { return uint64(mm.F32(uint32(a), uint32(b))) }
		}
	case ptx.F64:
		if op == "add" {
			return func(a, b uint64) uint64 { return num.Add64(a, b, num.RN) }
		}
	case ptx.F16, ptx.F16x2, ptx.BF16, ptx.BF16x2:
		mm := num.MinMax{Max: op == "max"}
		if op != "add" && op != "min" && op != "max" {
			return nil
		}
		var f func(a, b uint16) uint16
		switch bf := t == ptx.BF16 || t == ptx.BF16x2; {
		case op == "add" && bf:
			f = num.AddBF16
		case op == "add":
			f = num.AddF16
		case bf:
			f = mm.BF16
		default:
			f = mm.F16
		}
		if t.Bits() == 32 {
			return func(a, b uint64) uint64 {
				return uint64(f(uint16(a), uint16(b))) | uint64(f(uint16(a>>16), uint16(b>>16)))<<16
			}
		}
		return func(a, b uint64) uint64 { return uint64(f(uint16(a), uint16(b))) }
	}
	return nil
}

// atomOp is the aux of atom and red.
type atomOp struct {
	memOp
	f, fShared func(a, b uint64) uint64
	op         string
	b, c       []slot // operands by element
	d          []slot // destinations by element, none for red
	defB       [][]int32
	kind       accessKind
}

func lowerAtom(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	if m.peek("async") {
		lowerRemote(lw, in, true)
		return
	}
	o := &atomOp{kind: accAtomic}
	o.order = orderRelaxed
	o.scope = scopeGPU
	before := o.scope
	lw.order(&o.memOp)
	if o.scope == scopeNone {
		o.scope = before
	}
	space := m.space()
	o.op = m.one("cas", "exch", "add", "inc", "dec", "min", "max", "and", "or", "xor")
	m.has("noftz")
	hint := m.has("L2::cache_hint")
	n := lw.vectorWidth()
	t := m.lastType()
	red := in.Op == "red"
	args := in.Args
	if hint && len(args) > 2 {
		lw.in64(args[len(args)-1], ptx.B64)
		args = args[:len(args)-1]
	}
	if red {
		o.kind = accReduction
		args = append([]ptx.Operand{nil}, args...)
	}
	want := 3
	if o.op == "cas" {
		want = 4
	}
	if len(args) != want {
		lw.fail("has %d operands, %d are expected", len(in.Args), want)
	}
	mem, _ := args[1].(ptx.Mem)
	o.space, o.own = lw.memSpaceOf(space, mem)
	if o.space != spaceGeneric && o.space != spaceGlobal && o.space != spaceShared {
		lw.fail("state space .%s is not allowed here", space)
	}
	o.elem, o.count = t.Size(), n
	halves := 1
	et := t
	if t.Bits() == 128 {
		if o.op != "cas" && o.op != "exch" {
			lw.fail("is not known for .%s", t)
		}
		halves, et = 2, ptx.B64
	}
	if o.op != "cas" && o.op != "exch" {
		if o.f, o.fShared = atomicFn(o.op, t, false), atomicFn(o.op, t, true); o.f == nil {
			lw.fail("is not known for .%s", t)
		}
	} else if t.Bits() < 16 {
		lw.fail("is not known for .%s", t)
	}
	read := func(op ptx.Operand) []slot {
		list := ptx.Vec{op}
		if v, ok := op.(ptx.Vec); ok {
			list = v
		}
		if len(list) != n {
			lw.fail("%d registers for %d elements", len(list), n)
		}
		var s []slot
		for _, e := range list {
			k := len(lw.uses)
			if halves == 2 {
				lo, hi := lw.in128(e)
				s = append(s, slot{file64, lo}, slot{file64, hi})
			} else {
				s = append(s, slot{fileOf(et), lw.in(e, et)})
			}
			o.defB = append(o.defB, append([]int32(nil), lw.uses[k:]...))
		}
		return s
	}
	o.b = read(args[2])
	if o.op == "cas" {
		o.c = read(args[3])
	}
	lw.address(args[1], &o.memOp)
	if !red {
		list := ptx.Vec{args[0]}
		if v, ok := args[0].(ptx.Vec); ok {
			list = v
		}
		if len(list) != n {
			lw.fail("%d registers for %d elements", len(list), n)
		}
		for _, e := range list {
			if halves == 2 {
				d := lw.out128(e)
				o.d = append(o.d, slot{file64, d}, slot{file64, d + 1})
			} else {
				o.d = append(o.d, slot{fileOf(et), lw.out(e, et)})
			}
		}
	}
	flags := flagMemory
	if o.space != spaceShared {
		flags |= flagOrdered
	}
	lw.emit(inst{run: runAtom, aux: o, flags: flags, sink: useAddress})
}

func runAtom(x *exec, in *inst) {
	o := in.aux.(*atomOp)
	x.addresses(&o.memOp)
	if x.parallel && x.waitTurn(in, &o.memOp) {
		return
	}
	x.w.tries++
	rest := x.mask
	size := o.elem * o.count
	for rest != 0 {
		acc := x.span(in, &o.memOp, size, size, &rest)
		if acc == nil {
			continue
		}
		mask := acc.mask
		if acc.seg.readOnly {
			mask = x.refuseStore(in, acc)
		}
		if x.san != nil && mask != 0 {
			acc.kind, acc.order, acc.scope, acc.async = o.kind, o.order, o.scope, false
			for e := range o.count {
				acc.def[e] = fullMask
				for k := e; k < len(o.defB); k += o.count {
					for _, s := range o.defB[k] {
						acc.def[e] &= x.def[x.f.fn.shadowOf(s)]
					}
				}
			}
			mask = x.san.access(x, acc)
		}
		f := o.f
		if acc.space == spaceShared {
			f = o.fShared
		}
		data := acc.seg.data
		for k := mask; k != 0; k &= k - 1 {
			i := firstLane(k)
			p := data[acc.off[i] : acc.off[i]+uint64(size)]
			if o.elem == 16 {
				o.wide(x, i, p)
				continue
			}
			for e := range o.count {
				q := p[e*o.elem:]
				var old uint64
				switch o.elem {
				case 2:
					old = uint64(le.Uint16(q))
				case 4:
					old = uint64(le.Uint32(q))
				default:
					old = le.Uint64(q)
				}
				v := x.get(o.b[e], i)
				switch o.op {
				case "cas":
					if old == v {
						v = x.get(o.c[e], i)
					} else {
						v = old
					}
				case "exch":
				default:
					v = f(old, v)
				}
				switch o.elem {
				case 2:
					le.PutUint16(q, uint16(v))
				case 4:
					le.PutUint32(q, uint32(v))
				default:
					le.PutUint64(q, v)
				}
				if o.d != nil {
					x.put(o.d[e], i, old)
				}
			}
		}
		if x.prof != nil {
			x.prof.access(x, in, acc)
		}
		if x.san != nil && mask != 0 {
			x.san.after(x, acc)
		}
	}
}

// wide executes cas and exch of 128 bits.
func (o *atomOp) wide(x *exec, i int, p []byte) {
	lo, hi := le.Uint64(p), le.Uint64(p[8:])
	vlo, vhi := x.get(o.b[0], i), x.get(o.b[1], i)
	if o.op == "cas" {
		if lo == vlo && hi == vhi {
			vlo, vhi = x.get(o.c[0], i), x.get(o.c[1], i)
		} else {
			vlo, vhi = lo, hi
		}
	}
	le.PutUint64(p, vlo)
	le.PutUint64(p[8:], vhi)
	if o.d != nil {
		x.put(o.d[0], i, lo)
		x.put(o.d[1], i, hi)
	}
}
