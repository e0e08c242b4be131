package emu

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx"
)

// A barrier is one of the 16 of a block (PTX ISA, "bar, barrier"). Arrivals count by
// warp: a warp has arrived when all of its lanes that have not exited have.
type barrier struct {
	count   int      // threads expected; 0: all of the block
	lanes   []uint32 // that arrived, by warp, since its last complete arrival
	warps   int      // complete arrivals
	full    []uint32 // lanes of complete arrivals, by warp
	waiting []barWait
	waits   []uint32 // lanes that wait, by warp
	active  bool
	red     string
	and, or bool
	popc    uint32
}

type barWait struct {
	g  *group
	in *inst
}

// barOp is the aux of a barrier instruction.
type barOp struct {
	wait    bool
	arrive  bool
	aligned bool
	red     string // "popc", "and", "or"
	pred    int32
	not     uint32
	id      int32 // slot
	count   int32 // slot or -1
}

func init() {
	register(lowerBar, "bar", "barrier")
}

func lowerBar(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	if m.has("warp") {
		lw.need(1)
		m.has("sync")
		m.has("aligned")
		s := lw.in32(in.Args[0], ptx.B32)
		lw.emitCollective(inst{run: runBarWarpSync, sink: useSync}, &collOp{key: "bar.warp.sync", member: s})
		return
	}
	if m.has("cluster") {
		lowerClusterBar(lw, in)
		return
	}
	m.has("cta")
	op := &barOp{count: -1, aligned: m.has("aligned")}
	if in.Op == "bar" {
		op.aligned = true
	}
	args := in.Args
	switch m.one("sync", "arrive", "red") {
	case "sync":
		op.wait = true
	case "arrive":
		op.arrive = true
		if len(args) != 2 {
			lw.fail("has %d operands; arrive needs the barrier and the number of threads", len(args))
		}
	case "red":
		op.wait = true
		op.red = m.one("popc", "and", "or")
		m.has("u32")
		m.has("pred")
		if op.red == "" || len(args) < 3 {
			lw.fail("popc, and or or is expected, with destination, barrier and predicate")
		}
	default:
		lw.fail("sync, arrive or red is expected")
	}
	i := inst{run: runBar, aux: op, sink: useSync}
	if op.red != "" {
		if op.red == "popc" {
			i.d = lw.out32(args[0], ptx.U32)
		} else {
			i.d = lw.outP(args[0])
		}
		op.pred, op.not = lw.inP(args[len(args)-1])
		args = args[1 : len(args)-1]
	}
	if len(args) < 1 || len(args) > 2 {
		lw.fail("a barrier and at most a number of threads are expected")
	}
	op.id = lw.in32(args[0], ptx.U32)
	if len(args) == 2 {
		op.count = lw.in32(args[1], ptx.U32)
	}
	if op.aligned {
		lw.emitCollective(i, &collOp{member: -1})
		return
	}
	lw.emit(i)
}

func runBar(x *exec, in *inst) {
	op := barOpOf(in)
	m := x.mask
	l := firstLane(m)
	id := x.r32[op.id][l]
	for k := m; k != 0; k &= k - 1 {
		i := firstLane(k)
		if x.r32[op.id][i] != id || op.count >= 0 && x.r32[op.count][i] != x.r32[op.count][l] {
			// Lanes that name different barriers go their own ways.
			x.splitBar(in, op, m)
			return
		}
	}
	if id > 15 {
		x.fail(in, l, fmt.Sprintf("barrier %d does not exist; there are 0 to 15", id))
		return
	}
	count := 0
	if op.count >= 0 {
		count = int(x.r32[op.count][l])
		if count%warpSize != 0 || count == 0 {
			x.barrierProblem(in, l, fmt.Sprintf("barrier %d with %d threads: a multiple of %d is expected", id, count, warpSize))
			if x.stop != stopNone {
				return
			}
			count = max(alignUp(count, warpSize), warpSize)
		}
		if count > alignUp(len(x.b.warps)*warpSize, warpSize) {
			x.barrierProblem(in, l, fmt.Sprintf("barrier %d waits for %d threads, the block has %d warps", id, count, len(x.b.warps)))
			if x.stop != stopNone {
				return
			}
		}
	}
	bar := &x.b.bars[id]
	n := len(x.b.warps)
	if !bar.active {
		*bar = barrier{active: true, count: count, lanes: zeroed(bar.lanes, n), full: zeroed(bar.full, n), waits: zeroed(bar.waits, n), waiting: bar.waiting[:0], red: op.red, and: true}
	} else if bar.count != count {
		x.barrierProblem(in, l, fmt.Sprintf("barrier %d is used with %s here, with %s by threads that wait", id, countString(count), countString(bar.count)))
		if x.stop != stopNone {
			return
		}
	} else if bar.red != op.red && len(bar.waiting) > 0 {
		x.barrierProblem(in, l, fmt.Sprintf("barrier %d mixes red with sync or arrive, or different reductions", id))
		if x.stop != stopNone {
			return
		}
	}
	if x.san != nil {
		x.san.sync(x, in, &syncEvent{kind: syncBarArrive, lanes: m, id: int(id)})
	}
	if op.red != "" {
		p := x.p[op.pred] ^ op.not
		bar.popc += uint32(popcount(p & m))
		bar.or = bar.or || p&m != 0
		bar.and = bar.and && p&m == m
	}
	w := x.w.id
	bar.lanes[w] |= m
	if op.wait {
		if m != x.active { // a guard kept some lanes out
			x.splitOffPlain(x.active&^m, x.pc)
			x.active = m
		}
		bar.waits[w] |= m
		x.g.state, x.g.in = blocked, in
		x.g.wait = &barWaiter{b: x.b, id: int(id)}
		bar.waiting = append(bar.waiting, barWait{x.g, in})
		x.stop = stopBlocked
	}
	bar.settle(x, x.b, int(id), x.w)
}

func countString(n int) string {
	if n == 0 {
		return "all threads"
	}
	return fmt.Sprintf("%d threads", n)
}

func zeroed(s []uint32, n int) []uint32 {
	if cap(s) < n {
		return make([]uint32, n)
	}
	s = s[:n]
	clear(s)
	return s
}

func barOpOf(in *inst) *barOp {
	if c, ok := in.aux.(*collOp); ok {
		return c.aux.(*barOp)
	}
	return in.aux.(*barOp)
}

// splitBar makes a group per barrier and count that lanes name; each executes the
// instruction again.
func (x *exec) splitBar(in *inst, op *barOp, m uint32) {
	x.pc--
	l := firstLane(m)
	same := uint32(0)
	for k := m; k != 0; k &= k - 1 {
		i := firstLane(k)
		if x.r32[op.id][i] == x.r32[op.id][l] && (op.count < 0 || x.r32[op.count][i] == x.r32[op.count][l]) {
			same |= 1 << i
		}
	}
	if op.aligned {
		x.fail(in, l, "lanes of a warp name different barriers, which .aligned forbids")
		return
	}
	x.splitOffPlain(x.active&^same, x.pc)
	x.active = same
}

// splitOffPlain makes a group of some lanes without a new point of reconvergence.
func (x *exec) splitOffPlain(m uint32, pc int32) {
	x.active &^= m
	x.u.sched.add(x.w.newGroup(m, pc, x.f, x.g.rec))
}

func (x *exec) barrierProblem(in *inst, lane int, msg string) {
	if x.san != nil {
		x.san.barrier(x, in, msg)
		return
	}
	x.fail(in, lane, msg)
}

type barWaiter struct {
	b  *block
	id int
}

func (w *barWaiter) ready() bool { return false }

func (w *barWaiter) describe() string {
	bar := &w.b.bars[w.id]
	s := fmt.Sprintf("barrier %d", w.id)
	if bar.count > 0 {
		return s + fmt.Sprintf(", at which %d of %d threads have arrived", bar.warps*warpSize, bar.count)
	}
	missing := ""
	n := 0
	for i, o := range w.b.warps {
		if m := o.live &^ (bar.lanes[i] | bar.full[i]); m != 0 {
			n += popcount(m)
			if missing == "" {
				t := o.thread(firstLane(m))
				missing = fmt.Sprintf("thread (%d,%d,%d)", t[0], t[1], t[2])
			}
		}
	}
	if n > 1 {
		missing += fmt.Sprintf(" and %d others", n-1)
	}
	return s + ", which waits for " + missing
}

// settle completes the arrival of a warp, and the barrier.
func (bar *barrier) settle(x *exec, b *block, id int, w *warp) {
	if !bar.active {
		return
	}
	if m := bar.lanes[w.id]; m != 0 && m&w.live == w.live {
		bar.warps++
		bar.full[w.id] |= m
		bar.lanes[w.id] = 0
	}
	if bar.count > 0 {
		if bar.warps*warpSize < bar.count {
			return
		}
	} else {
		for _, o := range b.warps {
			if o.live&^bar.full[o.id] != 0 {
				return
			}
		}
	}
	bar.complete(x, b, id)
}

func (bar *barrier) complete(x *exec, b *block, id int) {
	if x.san != nil {
		for i := range bar.full {
			bar.full[i] |= bar.lanes[i]
		}
		x.san.sync(x, nil, &syncEvent{kind: syncBarDone, id: id, block: b, unit: b.u, arrived: bar.full, waiting: bar.waits})
	}
	bar.active = false
	for _, wt := range bar.waiting {
		g := wt.g
		op := barOpOf(wt.in)
		if op.red != "" {
			v := false
			switch op.red {
			case "popc":
				for m := g.mask; m != 0; m &= m - 1 {
					g.f.r32[wt.in.d][firstLane(m)] = bar.popc
				}
			case "and":
				v = bar.and
			case "or":
				v = bar.or
			}
			if op.red != "popc" {
				g.f.p[wt.in.d] &^= g.mask
				if v {
					g.f.p[wt.in.d] |= g.mask
				}
			}
		}
		g.wait, g.in = nil, nil
		if g == x.g && x.stop == stopBlocked { // the last to arrive goes on
			g.state = ready
			x.stop = stopNone
			continue
		}
		x.u.sched.add(g)
	}
	bar.waiting = bar.waiting[:0]
	x.u.nudges = 0
}

// partial counts warps of which only some lanes have arrived, when nothing else can
// happen: hardware counts warps.
func (bar *barrier) partial(x *exec, b *block, id int) bool {
	if !bar.active || len(bar.waiting) == 0 {
		return false
	}
	x.b = b
	before := bar.warps
	for i, m := range bar.lanes {
		if m != 0 {
			g := bar.waiting[0].g
			x.w, x.g, x.f = b.warps[i], g, g.f
			if x.san != nil {
				x.san.barrier(x, bar.waiting[0].in, fmt.Sprintf("only some lanes of warp %d arrive at barrier %d; the hardware counts the whole warp", i, id))
			}
			bar.warps++
			bar.full[i] |= m
			bar.lanes[i] = 0
		}
	}
	if bar.warps == before {
		return false
	}
	if bar.count > 0 && bar.warps*warpSize >= bar.count {
		x.g = nil
		x.stop = stopNone
		bar.complete(x, b, id)
		return true
	}
	return false
}

// laneExited lets what waited for lanes that have exited go on.
func (w *warp) laneExited(x *exec) {
	b := w.b
	for i := range b.bars {
		if bar := &b.bars[i]; bar.active && (bar.count == 0 || bar.lanes[w.id] != 0) {
			bar.settle(x, b, i, w)
		}
	}
	for i := 0; i < len(w.colls); i++ {
		c := w.colls[i]
		if c.want(w)&^c.lanes == 0 {
			w.colls = append(w.colls[:i], w.colls[i+1:]...)
			i--
			for _, p := range c.parts {
				p.g.pc = p.in.pc
				p.g.wait = nil
				x.u.sched.add(p.g)
			}
		}
	}
}
