package emu

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx"
)

// windows are the bases of generic addresses by state space.
func windowBase(s ptx.Space) (uint64, bool) {
	switch s {
	case ptx.Global:
		return 0, true
	case ptx.Const:
		return constWindow, true
	case ptx.Local:
		return localWindow, true
	case ptx.Shared, ptx.SharedCTA, ptx.SharedCluster:
		return sharedWindow, true
	case ptx.Param, ptx.ParamEntry:
		return paramWindow, true
	}
	return 0, false
}

func lowerCvta(lw *lowerer, in *ptx.Instr) {
	lw.need(2)
	to := lw.mods.has("to")
	space := lw.mods.space()
	t := lw.mods.typ()
	base, ok := windowBase(space)
	if !ok || t != ptx.U64 {
		lw.fail("a state space and .u64 are expected")
	}
	if space == ptx.Param && !lw.fn.src.Entry {
		base = localWindow
	}
	a := lw.in64(in.Args[1], ptx.U64)
	d := lw.out64(in.Args[0], ptx.U64)
	if to {
		base = -base
	}
	if base == 0 {
		lw.emit(inst{run: runMov64, d: d, a: a})
		return
	}
	lw.emit(inst{run: runAdd64, d: d, a: a, b: lw.const64slot(base)})
}

func lowerIsspacep(lw *lowerer, in *ptx.Instr) {
	lw.need(2)
	space := lw.mods.space()
	a := lw.in64(in.Args[1], ptx.U64)
	d := lw.outP(in.Args[0])
	if _, ok := windowBase(space); !ok {
		lw.fail("a state space is expected")
	}
	lw.emit(inst{d: d, a: a, run: func(x *exec, in *inst) {
		var p uint32
		for m := x.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			v := x.r64[in.a][i]
			ok := false
			switch w := windowOf(v); space {
			case ptx.Global:
				ok = w == spaceGlobal
			case ptx.Const:
				ok = w == spaceConst
			case ptx.Local:
				ok = w == spaceLocal
			case ptx.Param, ptx.ParamEntry:
				ok = w == spaceParam
			case ptx.SharedCluster:
				ok = w == spaceShared
			default:
				ok = w == spaceShared && int(v&^windowMask>>rankShift) == x.b.rank
			}
			if ok {
				p |= 1 << i
			}
		}
		x.p[in.d] = x.p[in.d]&^x.mask | p
	}})
}

// lowerMapa lowers mapa and getctarank: addresses in the shared memory of other
// blocks of the cluster.
func lowerMapa(lw *lowerer, in *ptx.Instr) {
	space := lw.mods.space()
	t := lw.mods.typ()
	if space != ptx.NoSpace && space != ptx.SharedCluster {
		lw.fail("state space .%s is not allowed here", space)
	}
	if t != ptx.U32 && t != ptx.U64 {
		lw.fail(".u32 or .u64 is expected")
	}
	if in.Op == "getctarank" {
		lw.need(2)
		d := lw.out32(in.Args[0], ptx.U32)
		if t == ptx.U64 {
			a := lw.in64(in.Args[1], t)
			lw.emit(inst{d: d, a: a, run: lanes(func(x *exec, in *inst, i int) {
				x.r32[in.d][i] = uint32(x.r64[in.a][i]) >> rankShift
			})})
			return
		}
		a := lw.in32(in.Args[1], t)
		lw.emit(inst{d: d, a: a, run: lanes(func(x *exec, in *inst, i int) { x.r32[in.d][i] = x.r32[in.a][i] >> rankShift })})
		return
	}
	lw.need(3)
	b := lw.in32(in.Args[2], ptx.U32)
	bad := func(x *exec, in *inst, i int) bool {
		if r := x.r32[in.b][i]; int(r) >= len(x.u.blocks) {
			x.fail(in, i, fmt.Sprintf("block %d of a cluster of %d", r, len(x.u.blocks)))
			return true
		}
		return false
	}
	if t == ptx.U64 {
		a := lw.in64(in.Args[1], t)
		d := lw.out64(in.Args[0], t)
		generic := space == ptx.NoSpace
		lw.emit(inst{d: d, a: a, b: b, run: lanes(func(x *exec, in *inst, i int) {
			if bad(x, in, i) {
				return
			}
			v := x.r64[in.a][i]
			if generic && windowOf(v) != spaceShared {
				x.fail(in, i, fmt.Sprintf("0x%x is no address of shared memory", v))
				return
			}
			x.r64[in.d][i] = v&^(0xff<<rankShift) | uint64(x.r32[in.b][i])<<rankShift
		})})
		return
	}
	a := lw.in32(in.Args[1], t)
	d := lw.out32(in.Args[0], t)
	lw.emit(inst{d: d, a: a, b: b, run: lanes(func(x *exec, in *inst, i int) {
		if !bad(x, in, i) {
			x.r32[in.d][i] = x.r32[in.a][i]&rankMask | x.r32[in.b][i]<<rankShift
		}
	})})
}

// lanes runs a function for each lane of the mask.
func lanes(f func(x *exec, in *inst, i int)) func(x *exec, in *inst) {
	return func(x *exec, in *inst) {
		for m := x.mask; m != 0; m &= m - 1 {
			f(x, in, firstLane(m))
		}
	}
}

// lowerPrefetch lowers what only moves cache lines: the address is checked, nothing
// is done. discard makes memory undefined, which the sanitiser could note.
func lowerPrefetch(lw *lowerer, in *ptx.Instr) {
	m := &memOp{elem: 1, count: 1}
	space := lw.mods.space()
	lw.cacheHints()
	lw.mods.one("L1", "L2")
	lw.mods.prefix("L2::")
	lw.mods.has("tensormap")
	mem, _ := in.Args[0].(ptx.Mem)
	m.space, m.own = lw.memSpaceOf(space, mem)
	lw.address(in.Args[0], m)
	lw.emit(inst{run: runNop, aux: m, sink: useAddress})
}

func lowerCreatePolicy(lw *lowerer, in *ptx.Instr) {
	for lw.mods.left() != "" {
		lw.mods.taken[indexFalse(lw.mods.taken)] = true
	}
	for _, a := range in.Args[1:] {
		if r, ok := a.(ptx.Reg); ok {
			s, _ := lw.regSlot(r)
			lw.note(s)
		}
	}
	d := lw.out64(in.Args[0], ptx.B64)
	lw.emit(inst{run: runMov64, d: d, a: lw.const64slot(0x14f0000000000000)})
}

func indexFalse(b []bool) int {
	for i, v := range b {
		if !v {
			return i
		}
	}
	return -1
}

// lowerFence lowers membar and fence. Execution is sequentially consistent, so that
// they only speak to the sanitiser.
func lowerFence(lw *lowerer, in *ptx.Instr) {
	e := &syncEvent{kind: syncFence, order: orderSeqCst, scope: scopeGPU}
	m := &lw.mods
	if p := m.has("proxy"); p {
		e.order = orderAcqRel
		name := m.prefix("async")
		if name == "" {
			name = m.prefix("alias")
		}
		if name == "" {
			name = m.prefix("tensormap")
		}
		if name == "" {
			lw.fail("the proxy is missing")
		}
		if s := m.space(); s != ptx.NoSpace {
			name += "." + s.String()
		}
		e.proxy = name
		if m.has("sync_restrict::shared::cta") || m.has("sync_restrict::shared::cluster") {
			e.proxy += ".restrict"
		}
	}
	if m.has("mbarrier_init") {
		e.proxy = "mbarrier_init"
	}
	m.prefix("sync_restrict")
	switch m.one("sc", "acq_rel", "acquire", "release") {
	case "acq_rel":
		e.order = orderAcqRel
	case "acquire":
		e.order = orderAcquire
	case "release":
		e.order = orderRelease
	}
	switch m.one("cta", "cluster", "gpu", "sys", "gl") {
	case "cta":
		e.scope = scopeCTA
	case "cluster":
		e.scope = scopeCluster
	case "sys":
		e.scope = scopeSys
	}
	if len(in.Args) == 2 { // fence.proxy.tensormap::generic.acquire [addr], 128
		mo := &memOp{elem: 1, count: 1}
		lw.address(in.Args[0], mo)
	} else {
		lw.need(0)
	}
	lw.emit(inst{run: func(x *exec, in *inst) {
		if x.san != nil {
			ev := *e
			ev.lanes = x.mask
			x.san.sync(x, in, &ev)
		}
	}})
}

// lowerAlloca lowers stack allocation: local memory behind the frame.
func lowerAlloca(lw *lowerer, in *ptx.Instr) {
	t := lw.mods.typ()
	wide := t.Bits() == 64
	set := func(x *exec, in *inst, v uint32) {
		for m := x.mask; m != 0; m &= m - 1 {
			if wide {
				x.r64[in.d][firstLane(m)] = uint64(v)
			} else {
				x.r32[in.d][firstLane(m)] = v
			}
		}
	}
	get := func(x *exec, in *inst) uint32 {
		var v uint32
		for m := x.mask; m != 0; m &= m - 1 {
			if wide {
				v = max(v, uint32(x.r64[in.a][firstLane(m)]))
			} else {
				v = max(v, x.r32[in.a][firstLane(m)])
			}
		}
		return v
	}
	switch in.Op {
	case "stacksave":
		lw.need(1)
		lw.emit(inst{d: lw.out(in.Args[0], t), run: func(x *exec, in *inst) { set(x, in, x.f.top) }})
	case "stackrestore":
		lw.need(1)
		lw.emit(inst{a: lw.in(in.Args[0], t), run: func(x *exec, in *inst) {
			if x.mask == x.f.lanes {
				x.f.top = get(x, in)
			}
		}})
	default:
		align := uint32(16)
		if len(in.Args) == 3 {
			if v, ok := in.Args[2].(ptx.Imm); ok {
				align = uint32(v.Bits)
			}
		} else {
			lw.need(2)
		}
		a := lw.in(in.Args[1], t)
		lw.emit(inst{a: a, d: lw.out(in.Args[0], t), run: func(x *exec, in *inst) {
			at := uint32(alignUp(int(x.f.top), int(max(align, 1))))
			top := at + get(x, in)
			if x.reserve(in, int(top)) {
				x.f.top = top
				set(x, in, at)
			}
		}})
	}
}
