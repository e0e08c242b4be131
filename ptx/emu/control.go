package emu

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx"
)

// branch is the aux of an instruction that can jump.
type branch struct {
	target int32
	table  []int32 // of brx.idx
	join   int32   // where diverged lanes meet again, -1 for nowhere in the function
	index  int32   // slot of the index
}

type callSite struct {
	fn       *fn
	indirect bool
	args     []callArg
	rets     []callArg
	proto    *ptx.Func
	slot     int32 // of the address
	allowed  []*fn // .calltargets
}

// callArg is a .param variable, or a register, of the caller.
type callArg struct {
	off   int
	size  int
	reg   slot
	isReg bool
}

func init() {
	register(lowerBra, "bra")
	register(lowerBrx, "brx")
	register(lowerCall, "call")
	register(func(lw *lowerer, in *ptx.Instr) {
		lw.need(0)
		lw.mods.has("uni")
		if lw.fn.src.Entry {
			lw.emit(inst{run: runExit})
		} else {
			lw.emit(inst{run: runRet})
		}
	}, "ret")
	register(func(lw *lowerer, in *ptx.Instr) { lw.need(0); lw.emit(inst{run: runExit}) }, "exit")
	register(func(lw *lowerer, in *ptx.Instr) { lw.need(0); lw.emit(inst{run: runTrap}) }, "trap")
	register(func(lw *lowerer, in *ptx.Instr) { lw.need(0); lw.emit(inst{run: runNop}) }, "brkpt")
	register(func(lw *lowerer, in *ptx.Instr) {
		lw.need(1)
		lw.mods.has("u32")
		lw.in32(in.Args[0], ptx.U32)
		lw.emit(inst{run: runYield})
	}, "nanosleep")
	register(func(lw *lowerer, in *ptx.Instr) {
		lw.need(1)
		lw.mods.has("mask")
		lw.emit(inst{run: runNop})
	}, "pmevent")
	register(func(lw *lowerer, in *ptx.Instr) {
		// Launches run one after the other, so that the grids waited for have ended.
		lw.need(0)
		if lw.mods.one("launch_dependents", "wait") == "" {
			lw.fail("launch_dependents or wait is expected")
		}
		lw.emit(inst{run: func(x *exec, in *inst) {
			if x.san != nil {
				x.san.sync(x, in, &syncEvent{kind: syncGridWait, lanes: x.mask})
			}
		}})
	}, "griddepcontrol")
}

func runNop(x *exec, in *inst) {}

func runYield(x *exec, in *inst) {
	x.w.tries++
	x.stop = stopYield
}

func runTrap(x *exec, in *inst) {
	x.fail(in, firstLane(x.mask), "the kernel executed trap")
}

func lowerBra(lw *lowerer, in *ptx.Instr) {
	lw.need(1)
	lw.mods.has("uni")
	sym, ok := in.Args[0].(ptx.Sym)
	if !ok {
		lw.fail("a label is expected")
	}
	l := lw.label(sym.Name)
	b := &branch{join: -1}
	lw.patches = append(lw.patches, func() { b.target = l.pc })
	lw.emit(inst{run: runBra, aux: b})
}

func runBra(x *exec, in *inst) {
	b := in.aux.(*branch)
	if x.mask == x.active {
		x.pc = b.target
		return
	}
	x.diverge(b, x.mask, b.target)
}

// diverge splits the group: taken goes on at target, the rest behind the branch.
// Which of them this exec follows is the schedule's choice.
func (x *exec) diverge(b *branch, taken uint32, target int32) {
	g := x.g
	r := x.recFor(b.join)
	g.rec = r
	other := x.w.newGroup(x.active&^taken, x.pc, x.f, r)
	if x.u.sched.takeFirst(x.u) {
		other.mask, other.pc = taken, target
		x.active &^= taken
	} else {
		x.active, x.pc = taken, target
	}
	x.u.sched.add(other)
	x.divergences++
}

// recFor gives the point of reconvergence that the lanes of a diverging group share.
func (x *exec) recFor(join int32) *rec {
	up := x.g.rec
	if join < 0 || up != nil && up.pc == join && up.f == x.f && !up.call {
		return up
	}
	if !x.u.sched.reconverge(x.u) {
		return up
	}
	r := x.w.newRec()
	r.up, r.f, r.pc, r.want = up, x.f, join, x.active
	return r
}

func lowerBrx(lw *lowerer, in *ptx.Instr) {
	lw.need(2)
	if !lw.mods.has("idx") {
		lw.fail("brx.idx is expected")
	}
	lw.mods.has("uni")
	a := lw.in32(in.Args[0], ptx.U32)
	sym, _ := in.Args[1].(ptx.Sym)
	var t *ptx.BranchTargets
	for i := len(lw.scopes) - 1; i >= 0 && t == nil; i-- {
		t = lw.scopes[i].targets[sym.Name]
	}
	if t == nil {
		lw.fail("%s is no list of .branchtargets", operandString(in.Args[1]))
	}
	b := &branch{join: -1, index: a}
	for _, name := range t.Labels {
		l := lw.label(name)
		lw.patches = append(lw.patches, func() { b.table = append(b.table, l.pc) })
	}
	lw.emit(inst{run: runBrx, aux: b, a: a, sink: useBranch})
}

func runBrx(x *exec, in *inst) {
	b := in.aux.(*branch)
	idx := &x.r32[in.a]
	first := idx[firstLane(x.mask)]
	same := uint32(0)
	for m := x.mask; m != 0; m &= m - 1 {
		l := firstLane(m)
		if idx[l] == first {
			same |= 1 << l
		}
		if int(idx[l]) >= len(b.table) {
			x.fail(in, l, fmt.Sprintf("index %d is not below %d, the number of targets", idx[l], len(b.table)))
			return
		}
	}
	if same == x.active {
		x.pc = b.table[first]
		return
	}
	r := x.recFor(b.join)
	x.g.rec = r
	x.divergences++
	rest := x.active
	if x.mask != x.active { // lanes whose guard is false fall through
		rest = x.mask
		x.u.sched.add(x.w.newGroup(x.active&^x.mask, x.pc, x.f, r))
	}
	for rest != same {
		l := firstLane(rest &^ same)
		var m uint32
		for k := rest &^ same; k != 0; k &= k - 1 {
			if i := firstLane(k); b.table[idx[i]] == b.table[idx[l]] {
				m |= 1 << i
			}
		}
		rest &^= m
		if b.table[idx[l]] == b.table[first] {
			same |= m
			rest |= m
			continue
		}
		x.u.sched.add(x.w.newGroup(m, b.table[idx[l]], x.f, r))
	}
	x.active, x.pc = same, b.table[first]
}

// arrive lets the lanes of the group wait at their point of reconvergence, if they
// are there; true if the group has to.
func (x *exec) arrive() bool {
	for {
		r := x.g.rec
		if r == nil || r.pc != x.pc || r.f != x.f {
			return false
		}
		if x.wait(r) {
			return true
		}
	}
}

// wait enters the group's lanes at r. It returns false where all are there: the
// group then has them all.
func (x *exec) wait(r *rec) bool {
	r.arrived |= x.active
	if r.arrived == r.want {
		x.active = r.arrived
		x.g.rec = r.up
		x.w.dropRec(r)
		return false
	}
	if !r.listed {
		r.listed = true
		x.w.recs = append(x.w.recs, r)
	}
	r.since, r.tries = x.w.steps, x.w.tries
	x.endGroup()
	return true
}

// endGroup ends the group that x executes.
func (x *exec) endGroup() {
	x.w.removeGroup(x.g)
	x.stop = stopGone
}

// letGo makes a group of the lanes that wait at r, without those still expected.
func (w *warp) letGo(r *rec) *group {
	lanes := r.arrived
	r.want &^= lanes
	r.arrived = 0
	g := w.newGroup(lanes, r.pc, r.f, r.up)
	w.unlist(r)
	return g
}

// forget removes lanes that will not come from a chain of points of reconvergence,
// up to stop. Groups complete by that become ready.
func (w *warp) forget(r, stop *rec, lanes uint32) {
	for r != stop && r != nil {
		up := r.up
		r.want &^= lanes
		if r.arrived != 0 && r.arrived == r.want {
			w.b.u.sched.add(w.newGroup(r.arrived, r.pc, r.f, r.up))
			r.arrived = 0
			w.unlist(r)
		}
		r = up
	}
}

func (w *warp) unlist(r *rec) {
	if !r.listed {
		return
	}
	r.listed = false
	for i, o := range w.recs {
		if o == r {
			w.recs = append(w.recs[:i], w.recs[i+1:]...)
			return
		}
	}
}

func (w *warp) dropRec(r *rec) {
	w.unlist(r)
	*r = rec{}
	w.freeRecs = append(w.freeRecs, r)
}

func (w *warp) newRec() *rec {
	if n := len(w.freeRecs); n > 0 {
		r := w.freeRecs[n-1]
		w.freeRecs = w.freeRecs[:n-1]
		return r
	}
	return &rec{}
}

func (w *warp) newGroup(mask uint32, pc int32, f *frame, r *rec) *group {
	var g *group
	if n := len(w.freeGroups); n > 0 {
		g = w.freeGroups[n-1]
		w.freeGroups = w.freeGroups[:n-1]
	} else {
		g = new(group)
	}
	*g = group{w: w, mask: mask, pc: pc, f: f, rec: r}
	w.groups = append(w.groups, g)
	return g
}

func (w *warp) removeGroup(g *group) {
	g.state = gone
	for i, o := range w.groups {
		if o == g {
			w.groups[i] = w.groups[len(w.groups)-1]
			w.groups = w.groups[:len(w.groups)-1]
			break
		}
	}
	w.freeGroups = append(w.freeGroups, g)
}

func runExit(x *exec, in *inst) {
	m := x.mask
	if x.san != nil {
		x.san.exit(x, in, m)
	}
	x.w.live &^= m
	x.b.live -= popcount(m)
	x.w.forget(x.g.rec, nil, m)
	x.active &^= m
	if x.active == 0 {
		x.endGroup()
	}
	x.w.laneExited(x)
	if x.b.live == 0 {
		x.u.alive--
		x.stop = stopGone
		if x.san != nil {
			x.san.end(x.b)
		}
	}
	if x.l.kernel.mod.dev.gpu.SM >= 90 {
		x.u.clusterBar.check(x)
	}
}

func runRet(x *exec, in *inst) {
	f := x.f
	m := x.mask
	if m != x.active { // the others stay
		x.u.sched.add(x.w.newGroup(x.active&^m, x.pc, f, x.g.rec))
		x.active = m
	}
	// Points of reconvergence inside of the function are left behind.
	r := x.g.rec
	for r != nil && r.f == f {
		r = r.up
	}
	x.w.forget(x.g.rec, r, m)
	x.g.rec = r
	x.copyBack(f, m)
	f.lanes &^= m
	x.setFrame(f.up)
	x.pc = f.ret
	if f.lanes == 0 {
		x.freeFrame(f)
	}
	if r != nil && r.pc == x.pc && r.f == x.f {
		x.wait(r)
	}
}

// copyBack moves return values to the caller.
func (x *exec) copyBack(f *frame, m uint32) {
	for i, a := range f.call.rets {
		if i >= len(f.fn.rets) {
			break
		}
		x.copyParam(f.up, a, f, f.fn.rets[i].arg(), m)
	}
}

func (p paramVar) arg() callArg {
	if p.v.Reg != nil {
		return callArg{reg: p.slot, isReg: true, size: p.size}
	}
	return callArg{off: p.off, size: p.size}
}

// copyParam copies a parameter between frames of a warp.
func (x *exec) copyParam(df *frame, d callArg, sf *frame, s callArg, m uint32) {
	mem := x.w.local.data
	for k := m; k != 0; k &= k - 1 {
		l := firstLane(k)
		base := l * x.w.stride
		switch {
		case !d.isReg && !s.isReg:
			n := min(d.size, s.size)
			db, sb := base+int(df.base)+d.off, base+int(sf.base)+s.off
			copy(mem[db:db+n], mem[sb:sb+n])
		case d.isReg && s.isReg:
			df.setLane(d.reg, l, sf.lane(s.reg, l))
		case d.isReg:
			var v uint64
			sb := base + int(sf.base) + s.off
			for i := min(s.size, d.size, 8) - 1; i >= 0; i-- {
				v = v<<8 | uint64(mem[sb+i])
			}
			df.setLane(d.reg, l, v)
		default:
			db := base + int(df.base) + d.off
			putBits(mem[db:db+min(d.size, 8)], sf.lane(s.reg, l))
		}
	}
	if x.san != nil {
		if d.isReg && s.isReg {
			a := df.shadow(d.reg)
			df.def[a] = df.def[a]&^m | sf.def[sf.shadow(s.reg)]&m
		} else if d.isReg {
			df.def[df.shadow(d.reg)] |= m
		}
		if !d.isReg {
			copyParamShadow(x, int(df.base)+d.off, int(sf.base)+s.off, min(d.size, s.size), s.isReg)
		}
	}
}

func (f *frame) shadow(s slot) int32 {
	switch s.file {
	case file32:
		return s.i
	case file64:
		return int32(f.fn.n32) + s.i
	}
	return f.fn.shadowP + s.i
}

func (f *frame) lane(s slot, l int) uint64 {
	switch s.file {
	case file32:
		return uint64(f.r32[s.i][l])
	case file64:
		return f.r64[s.i][l]
	}
	return uint64(f.p[s.i] >> l & 1)
}

func (f *frame) setLane(s slot, l int, v uint64) {
	switch s.file {
	case file32:
		f.r32[s.i][l] = uint32(v)
	case file64:
		f.r64[s.i][l] = v
	default:
		f.p[s.i] = f.p[s.i]&^(1<<l) | uint32(v&1)<<l
	}
}
