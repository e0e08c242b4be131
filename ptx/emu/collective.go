package emu

import "fmt"

// A collective is an instruction that lanes of a warp execute together: shuffles,
// votes, matrix instructions. Lanes that come early wait here until all that are
// named have come, from wherever they come (PTX ISA: "causes the executing thread to
// wait until all non-exited threads corresponding to membermask have executed" it with the
// same qualifiers and the same mask).
type collective struct {
	key    string
	pc     int32 // of .aligned instructions, which must be the same one
	f      *frame
	member uint32
	all    bool // .aligned: all lanes that have not exited
	lanes  uint32
	parts  []part
}

type part struct {
	g  *group
	in *inst
}

// collOp is the aux of a collective instruction.
type collOp struct {
	key    string // qualifiers; "" for .aligned instructions of all lanes
	member int32  // slot of the mask; -1: all lanes of the warp
	inner  func(x *exec, in *inst)
	aux    any
	ins    []slot // registers read and written, for lanes that come from elsewhere
	outs   []slot
}

func (c *collective) want(w *warp) uint32 {
	if c.all {
		return w.live
	}
	return c.member & w.live
}

// emitCollective emits i so that it runs once all lanes are there.
func (lw *lowerer) emitCollective(i inst, c *collOp) *inst {
	c.inner = i.run
	c.aux = i.aux
	i.aux = c
	i.run = runCollective
	if c.member < 0 {
		i.run = runAligned
	}
	return lw.emit(i)
}

// runAligned runs an .aligned instruction.
func runAligned(x *exec, in *inst) {
	c := in.aux.(*collOp)
	if live := x.w.live; x.mask != live {
		x.gather(in, c, fullMask, true)
		return
	}
	c.inner(x, in)
}

// runCollective runs an instruction with a mask of members.
func runCollective(x *exec, in *inst) {
	c := in.aux.(*collOp)
	members := &x.r32[c.member]
	m := x.mask
	first := firstLane(m)
	member := members[first]
	for k := m; k != 0; k &= k - 1 {
		if members[firstLane(k)] != member {
			x.splitMembers(in, c, members)
			return
		}
	}
	if m&^member != 0 {
		if x.san != nil {
			x.san.badMask(x, in, m&^member, member)
		} else {
			x.fail(in, firstLane(m&^member), fmt.Sprintf("mask 0x%x does not name the lane that executes it", member))
			return
		}
		member |= m
	}
	if member&x.w.live&^m != 0 {
		x.gather(in, c, member, false)
		return
	}
	c.inner(x, in)
}

// splitMembers runs the instruction for lanes with equal masks together.
func (x *exec) splitMembers(in *inst, c *collOp, members *vec32) {
	m := x.mask
	// Complete sets run at once; the rest waits in groups of its own.
	for rest := m; rest != 0; {
		v := members[firstLane(rest)]
		var set uint32
		for k := rest; k != 0; k &= k - 1 {
			if i := firstLane(k); members[i] == v {
				set |= 1 << i
			}
		}
		rest &^= set
		if v&x.w.live&^set == 0 && set&^v == 0 {
			x.mask = set
			c.inner(x, in)
			continue
		}
		x.splitOff(set, x.pc-1)
	}
	x.mask = m
	if x.active == 0 {
		x.endGroup()
	}
}

// gather lets the group wait for the lanes of member; where they are all there, it
// executes the instruction for all.
func (x *exec) gather(in *inst, op *collOp, member uint32, all bool) {
	w := x.w
	var c *collective
	at := 0
	for i, o := range w.colls {
		if all && o.all && o.pc == in.pc && o.f == x.f || !all && !o.all && o.key == op.key && o.member == member {
			c, at = o, i
			break
		}
	}
	if c == nil {
		c = &collective{key: op.key, pc: in.pc, f: x.f, member: member, all: all}
		at = len(w.colls)
		w.colls = append(w.colls, c)
	}
	c.lanes |= x.mask
	if c.want(w)&^c.lanes != 0 {
		if x.mask != x.active { // lanes that the guard keeps out go on
			x.splitOffPlain(x.active&^x.mask, x.pc)
			x.active = x.mask
		}
		x.g.state, x.g.in = blocked, in
		x.g.wait = &collWaiter{w, c}
		c.parts = append(c.parts, part{x.g, in})
		x.stop = stopBlocked
		return
	}
	w.colls = append(w.colls[:at], w.colls[at+1:]...)
	x.execute(in, op, c)
}

// execute runs a collective for the lanes of x.mask and of all groups that wait for it.
func (x *exec) execute(in *inst, op *collOp, c *collective) {
	mine := x.mask
	same := true
	for _, p := range c.parts {
		same = same && p.in == in && p.g.f == x.f
	}
	if same {
		// One frame holds the registers of all.
		x.mask = mine
		for _, p := range c.parts {
			x.mask |= p.g.mask
		}
		union := x.mask
		absorbed := x.active
		for _, p := range c.parts {
			g := p.g
			g.wait, g.in = nil, nil
			if g.rec == x.g.rec {
				absorbed |= g.mask
				x.w.removeGroup(g)
			} else if in.aux != nil && x.mustBlock(op) {
				// A barrier lets one group wait for all.
				g.rec.dropLanes(x.g.rec, g.mask)
				absorbed |= g.mask
				x.w.removeGroup(g)
			} else {
				x.u.sched.add(g)
			}
		}
		x.active = absorbed
		x.mask = union
		op.inner(x, in)
		return
	}
	// Lanes come from different instructions or calls: a frame of its own holds
	// the operands of all.
	tmp := &frame{fn: x.f.fn, r32: append([]vec32(nil), x.f.r32...), r64: append([]vec64(nil), x.f.r64...), p: append([]uint32(nil), x.f.p...),
		def: append([]uint32(nil), x.f.def...), base: x.f.base, up: x.f.up}
	mineFrame := x.f
	union := mine
	for _, p := range c.parts {
		po := p.in.aux.(*collOp)
		for k, s := range op.ins {
			if k < len(po.ins) {
				moveLanes(tmp, s, p.g.f, po.ins[k], p.g.mask)
			}
		}
		union |= p.g.mask
	}
	x.setFrame(tmp)
	x.mask = union
	op.inner(x, in)
	x.mask = mine
	for _, s := range op.outs {
		moveLanes(mineFrame, s, tmp, s, mine)
	}
	for _, p := range c.parts {
		po := p.in.aux.(*collOp)
		for k, s := range op.outs {
			if k < len(po.outs) {
				moveLanes(p.g.f, po.outs[k], tmp, s, p.g.mask)
			}
		}
		p.g.wait, p.g.in = nil, nil
		x.u.sched.add(p.g)
	}
	x.setFrame(mineFrame)
}

// mustBlock says whether the instruction blocks the group that executes it, which
// then has to hold all lanes.
func (x *exec) mustBlock(op *collOp) bool {
	b, ok := op.aux.(*barOp)
	return ok && b.wait
}

// dropLanes takes lanes out of the chain of points of reconvergence up to one that
// the other chain has too.
func (r *rec) dropLanes(other *rec, lanes uint32) {
	in := map[*rec]bool{}
	for o := other; o != nil; o = o.up {
		in[o] = true
	}
	for ; r != nil && !in[r]; r = r.up {
		r.want &^= lanes
	}
}

func moveLanes(df *frame, d slot, sf *frame, s slot, lanes uint32) {
	switch d.file {
	case file32:
		for m := lanes; m != 0; m &= m - 1 {
			l := firstLane(m)
			df.r32[d.i][l] = sf.r32[s.i][l]
		}
	case file64:
		for m := lanes; m != 0; m &= m - 1 {
			l := firstLane(m)
			df.r64[d.i][l] = sf.r64[s.i][l]
		}
	default:
		df.p[d.i] = df.p[d.i]&^lanes | sf.p[s.i]&lanes
	}
	if len(df.def) > 0 && len(sf.def) > 0 {
		a, b := df.shadow(d), sf.shadow(s)
		df.def[a] = df.def[a]&^lanes | sf.def[b]&lanes
	}
}

type collWaiter struct {
	w *warp
	c *collective
}

func (c *collWaiter) ready() bool { return false }

func (c *collWaiter) describe() string {
	missing := c.c.want(c.w) &^ c.c.lanes
	t := c.w.thread(firstLane(missing))
	s := fmt.Sprintf("thread (%d,%d,%d)", t[0], t[1], t[2])
	if n := popcount(missing); n > 1 {
		s += fmt.Sprintf(" and %d others of the warp", n-1)
	}
	return s + " to execute the same instruction"
}

// force runs the first incomplete collective of a warp without the lanes that are
// missing: they wait for something else, so they can never come.
func (x *exec) force(w *warp) {
	c := w.colls[0]
	w.colls = w.colls[1:]
	p := c.parts[len(c.parts)-1]
	c.parts = c.parts[:len(c.parts)-1]
	x.enter(p.g)
	in := p.in
	x.mask = p.g.mask
	want := c.want(w)
	if x.san != nil {
		x.san.diverged(x, in, c.lanes, want)
	} else if !c.all {
		x.fail(in, firstLane(x.mask), fmt.Sprintf("waits for lanes 0x%x of its mask, which wait for something else", want&^c.lanes))
		x.u.err = x.err
		return
	}
	g := p.g
	g.wait, g.in = nil, nil
	g.state = ready
	op := in.aux.(*collOp)
	x.execute(in, op, c)
	switch x.stop {
	case stopNone, stopYield:
		x.leave()
		x.u.sched.again(x.u, g)
	case stopBlocked:
		x.leave()
	}
}
