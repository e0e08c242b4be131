package emu

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx"
)

func lowerCall(lw *lowerer, in *ptx.Instr) {
	lw.mods.has("uni")
	args := in.Args
	c := &callSite{slot: -1}
	var rets ptx.List
	if len(args) > 0 {
		if l, ok := args[0].(ptx.List); ok {
			rets, args = l, args[1:]
		}
	}
	if len(args) == 0 {
		lw.fail("the function to call is missing")
	}
	target := args[0]
	args = args[1:]
	var list ptx.List
	if len(args) > 0 {
		if l, ok := args[0].(ptx.List); ok {
			list, args = l, args[1:]
		}
	}
	var proto *ptx.Func
	switch t := target.(type) {
	case ptx.Sym:
		f := lw.mod.fns[t.Name]
		if f == nil {
			lw.fail("function %s is not declared", t.Name)
		}
		proto = f.src
		c.fn = f
		lw.fn.calls[f] = true
		if f.src.Body == nil && externs[f.name] == nil {
			lw.fail("function %s is declared but not defined in this module", f.name)
		}
	case ptx.Reg:
		c.indirect = true
		lw.fn.indirect = true
		c.slot = lw.in64(t, ptx.U64)
		if len(args) > 0 {
			sym, _ := args[0].(ptx.Sym)
			for i := len(lw.scopes) - 1; i >= 0; i-- {
				if p := lw.scopes[i].protos[sym.Name]; p != nil {
					proto = p.Proto
				}
				if ct := lw.scopes[i].calls[sym.Name]; ct != nil {
					for _, name := range ct.Funcs {
						f := lw.mod.fns[name]
						if f == nil {
							lw.fail("function %s is not declared", name)
						}
						c.allowed = append(c.allowed, f)
						proto = f.src
					}
				}
			}
			if proto == nil {
				lw.fail("%s is no .callprototype or list of .calltargets", operandString(args[0]))
			}
		}
		if proto == nil {
			lw.fail("an indirect call needs a .callprototype or .calltargets")
		}
		c.proto = proto
	default:
		lw.fail("%s cannot be called", operandString(target))
	}
	if len(list) != len(proto.Params) {
		lw.fail("passes %d arguments, %d are expected", len(list), len(proto.Params))
	}
	if len(rets) > len(proto.Returns) {
		lw.fail("takes %d results, the function returns %d", len(rets), len(proto.Returns))
	}
	for i, a := range list {
		c.args = append(c.args, lw.callArg(a, proto.Params[i], false))
	}
	for i, a := range rets {
		c.rets = append(c.rets, lw.callArg(a, proto.Returns[i], true))
	}
	sink := useNone
	if c.indirect {
		sink = useBranch
	}
	lw.emit(inst{run: runCall, aux: c, sink: sink})
}

func (lw *lowerer) callArg(op ptx.Operand, p *ptx.Var, result bool) callArg {
	switch v := op.(type) {
	case ptx.Sym:
		vr := lw.lookup(v.Name)
		if vr == nil || vr.kind != varLocal {
			lw.fail("argument %s is no .param variable of this function", v.Name)
		}
		return callArg{off: vr.off + int(v.Offset), size: vr.size}
	case ptx.Reg:
		s, t := lw.regSlot(v)
		if result {
			lw.sets = append(lw.sets, shadowOf(s))
		} else {
			lw.note(s)
		}
		return callArg{reg: s, isReg: true, size: max(t.Size(), 1)}
	case ptx.Imm:
		t := p.Type
		if p.Reg != nil {
			t = p.Reg.Type
		}
		s := slot{file: fileOf(t)}
		switch s.file {
		case file32:
			s.i = lw.const32slot(uint32(immBits(v, t)))
		case file64:
			s.i = lw.const64slot(immBits(v, t))
		default:
			s.i = lw.constP(v.Bits != 0)
		}
		return callArg{reg: s, isReg: true, size: max(t.Size(), 1)}
	case ptx.Sink:
		if result {
			return callArg{reg: slot{fileOf(p.Type), lw.temp(fileOf(p.Type))}, isReg: true, size: p.Type.Size()}
		}
	}
	lw.fail("argument %s is not supported", operandString(op))
	return callArg{}
}

// extern is a function that the CUDA runtime gives to device code.
type extern func(x *exec, in *inst, c *callSite)

// externs are filled by init: they reach what refers to them.
var externs map[string]extern

func init() {
	externs = map[string]extern{
		"__assertfail": func(x *exec, in *inst, c *callSite) {
			lane := firstLane(x.mask)
			msg := "assertion failed"
			if len(c.args) >= 3 {
				text := func(i int) string { return x.cString(x.argValue(c.args[i], lane), lane) }
				msg = fmt.Sprintf("assertion failed: %s, at %s:%d", text(0), text(1), uint32(x.argValue(c.args[2], lane)))
			}
			x.fail(in, lane, msg)
		},
		"vprintf": runPrintf,
	}
}

// argValue reads an argument of a call before it is made.
func (x *exec) argValue(a callArg, lane int) uint64 {
	if a.isReg {
		return x.f.lane(a.reg, lane)
	}
	var v uint64
	at := lane*x.w.stride + int(x.f.base) + a.off
	for i := min(a.size, 8) - 1; i >= 0; i-- {
		v = v<<8 | uint64(x.w.local.data[at+i])
	}
	return v
}

func runCall(x *exec, in *inst) {
	c := in.aux.(*callSite)
	if !c.indirect {
		x.call(in, c, c.fn, x.mask, x.mask != x.active)
		return
	}
	addr := &x.r64[c.slot]
	rest := x.mask
	split := x.mask != x.active
	first := x.mask
	var firstFn *fn
	for rest != 0 {
		l := firstLane(rest)
		var m uint32
		for k := rest; k != 0; k &= k - 1 {
			if i := firstLane(k); addr[i] == addr[l] {
				m |= 1 << i
			}
		}
		rest &^= m
		f := x.l.kernel.mod.functionAt(addr[l])
		if f == nil || f.src.Entry || f.src.Body == nil && externs[f.name] == nil {
			x.fail(in, l, fmt.Sprintf("indirect call of 0x%x, where no function is", addr[l]))
			return
		}
		if len(f.src.Params) != len(c.args) {
			x.fail(in, l, fmt.Sprintf("indirect call of %s with %d arguments, it takes %d", f.name, len(c.args), len(f.src.Params)))
			return
		}
		if firstFn == nil {
			firstFn, first = f, m
			if rest != 0 {
				split = true
			}
			continue
		}
		// The other functions are called by groups of their own, which execute the
		// call again.
		x.splitOff(m, x.pc-1)
	}
	x.call(in, c, firstFn, first, split)
}

// splitOff makes a group of some lanes that goes on at pc, and meets the others
// behind the instruction being executed.
func (x *exec) splitOff(m uint32, pc int32) {
	r := x.meetHere()
	x.active &^= m
	x.u.sched.add(x.w.newGroup(m, pc, x.f, r))
}

// meetHere gives the group a point of reconvergence behind the instruction.
func (x *exec) meetHere() *rec {
	if r := x.g.rec; r != nil && r.f == x.f && r.pc == x.pc && !r.call {
		return r
	}
	r := x.w.newRec()
	r.up, r.f, r.pc, r.want = x.g.rec, x.f, x.pc, x.active
	x.g.rec = r
	return r
}

// call enters f with the lanes m of the group; the others stay behind the call.
func (x *exec) call(in *inst, c *callSite, f *fn, m uint32, split bool) {
	if e := externs[f.name]; e != nil && f.src.Body == nil {
		if rest := x.mask &^ m; rest == 0 || !split {
			e(x, in, c)
			return
		}
		x.mask = m
		e(x, in, c)
		if rest := x.active &^ m; rest != 0 && x.stop == stopNone {
			x.splitOff(m, x.pc)
		}
		return
	}
	if rest := x.active &^ m; rest != 0 {
		r := x.meetHere()
		x.u.sched.add(x.w.newGroup(rest, x.pc, x.f, r))
		x.active = m
	}
	top := x.f.top
	if !x.reserve(in, int(top)+f.local) {
		return
	}
	nf := x.newFrame(f, top, m)
	nf.up, nf.ret, nf.call = x.f, x.pc, c
	for i, a := range c.args {
		x.copyParam(nf, f.params[i].arg(), x.f, a, m)
	}
	r := x.w.newRec()
	r.up, r.f, r.pc, r.want, r.call = x.g.rec, x.f, x.pc, m, true
	x.g.rec = r
	x.setFrame(nf)
	x.pc = 0
}

// reserve grows the local memory of the warp to n bytes a lane.
func (x *exec) reserve(in *inst, n int) bool {
	w := x.w
	if n <= w.stride {
		return true
	}
	if n > x.l.dev.cfg.StackLimit {
		x.fail(in, firstLane(x.mask), fmt.Sprintf("the stack of a thread needs %d bytes, Config.StackLimit is %d: recursion without end?", n, x.l.dev.cfg.StackLimit))
		return false
	}
	stride := alignUp(max(n, 2*w.stride), 16)
	data := make([]byte, stride*warpSize)
	fillPattern(data)
	for l := range warpSize {
		copy(data[l*stride:], w.local.data[l*w.stride:(l+1)*w.stride])
	}
	if x.san != nil {
		growShadow(x.w, w.stride, stride)
	}
	w.local.data, w.stride = data, stride
	return true
}

// newFrame makes the registers of an activation.
func (x *exec) newFrame(f *fn, base uint32, lanes uint32) *frame {
	var nf *frame
	if n := len(x.frames[f.index]); n > 0 {
		nf = x.frames[f.index][n-1]
		x.frames[f.index] = x.frames[f.index][:n-1]
		copy(nf.r32, f.tmpl32)
		copy(nf.r64, f.tmpl64)
		copy(nf.p, f.tmplP)
	} else {
		nf = &frame{fn: f, r32: append([]vec32(nil), f.tmpl32...), r64: append([]vec64(nil), f.tmpl64...), p: append([]uint32(nil), f.tmplP...)}
		if x.san != nil {
			nf.def = make([]uint32, len(f.tmplD))
		}
	}
	if x.san != nil {
		copy(nf.def, f.tmplD)
	}
	nf.lanes, nf.base, nf.top = lanes, base, base+uint32(f.local)
	for _, fx := range f.fixes {
		v := uint64(fx.off)
		if fx.local {
			v += uint64(base)
		} else {
			v += uint64(x.l.layout.off[fx.shared]) + uint64(x.b.rank)<<rankShift
		}
		if fx.wide {
			for l := range warpSize {
				nf.r64[fx.slot][l] = v
			}
		} else {
			for l := range warpSize {
				nf.r32[fx.slot][l] = uint32(v)
			}
		}
	}
	return nf
}

func (x *exec) freeFrame(f *frame) {
	f.up, f.call = nil, nil
	x.frames[f.fn.index] = append(x.frames[f.fn.index], f)
}
