package emu

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/async"
	"github.com/selkie-ml/selkie/ptx/emu/internal/race"
)

// mbar is what is known of an mbarrier object besides its 64 bits in shared memory.
type mbar struct {
	off   uint64
	valid bool
	init  *inst
	meet  race.Meeting // of the current phase
	clock *race.Clock  // of the last phase that completed
	agent *race.Agent  // what copies complete here
	tx    bool         // copies have completed in the current phase
}

func (m *mbar) state(seg *segment) async.MBarrier {
	return async.MBarrier(le.Uint64(seg.data[m.off:]))
}

func (m *mbar) set(seg *segment, s async.MBarrier) { le.PutUint64(seg.data[m.off:], uint64(s)) }

// settled is called when a phase may have completed.
func (m *mbar) settled(completed bool, checked bool) {
	if !completed || !checked {
		return
	}
	if m.tx {
		m.meet.Add(m.agent.Clock())
		m.tx = false
	}
	m.clock = m.meet.Complete()
}

// completeTx counts bytes that a copy has moved, and makes hb known to who waits.
func (b *block) completeTx(m *mbar, bytes uint32, ops ...*race.Async) error {
	if !m.valid {
		return nil
	}
	for _, hb := range ops {
		if hb != nil {
			hb.CompleteAt(m.agent)
			m.tx = true
		}
	}
	st, done, err := m.state(b.shared).CompleteTx(bytes)
	if err != nil {
		return err
	}
	m.set(b.shared, st)
	m.settled(done, true)
	return nil
}

// mbarOp is the aux of mbarrier instructions.
type mbarOp struct {
	memOp
	what    string
	count   int32 // slot, or -1
	d       int32 // slot of the state, or -1
	token   int32
	parity  bool
	try     bool
	relaxed bool
	noComp  bool
	noinc   bool
}

func init() { register(lowerMBarrier, "mbarrier") }

func lowerMBarrier(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	o := &mbarOp{count: -1, d: -1, token: -1}
	o.what = m.one("init", "inval", "arrive", "arrive_drop", "expect_tx", "complete_tx", "test_wait", "try_wait", "pending_count")
	args := in.Args
	if o.what == "pending_count" {
		lw.need(2)
		m.has("b64")
		a := lw.in64(args[1], ptx.B64)
		d := lw.out32(args[0], ptx.U32)
		lw.emit(inst{d: d, a: a, run: lanes(func(x *exec, in *inst, i int) {
			x.r32[in.d][i] = async.MBarrier(x.r64[in.a][i]).Pending()
		})})
		return
	}
	if o.what == "arrive" || o.what == "arrive_drop" {
		if m.has("expect_tx") {
			o.what += ".expect_tx"
		}
		o.noComp = m.has("noComplete")
	}
	o.parity = m.has("parity")
	o.try = o.what == "try_wait"
	o.relaxed = m.has("relaxed")
	if !o.relaxed {
		m.one("release", "acquire")
	}
	m.one("cta", "cluster")
	space := m.space()
	m.has("b64")
	at := 0
	switch o.what {
	case "arrive", "arrive_drop", "arrive.expect_tx", "arrive_drop.expect_tx", "test_wait", "try_wait":
		at = 1
	}
	if o.what[0] == 'a' && len(args) > 0 { // the state may be left out for remote barriers
		if _, ok := args[0].(ptx.Mem); ok {
			at = 0
		}
	}
	if at >= len(args) {
		lw.fail("the address is missing")
	}
	mem, _ := args[at].(ptx.Mem)
	o.space, o.own = lw.memSpaceOf(space, mem)
	if o.space != spaceShared && o.space != spaceGeneric {
		lw.fail("state space .%s holds no mbarrier", space)
	}
	o.count32(8)
	lw.address(args[at], &o.memOp)
	rest := args[at+1:]
	sink := useSync
	switch o.what {
	case "init", "expect_tx", "complete_tx", "arrive.expect_tx", "arrive_drop.expect_tx":
		if len(rest) != 1 {
			lw.fail("a count is expected behind the address")
		}
		o.count = lw.in32(rest[0], ptx.U32)
	case "arrive", "arrive_drop":
		if len(rest) == 1 {
			o.count = lw.in32(rest[0], ptx.U32)
		}
	case "test_wait", "try_wait":
		if len(rest) < 1 {
			lw.fail("a state or parity is expected behind the address")
		}
		if o.parity {
			o.token = lw.in32(rest[0], ptx.U32)
		} else {
			o.token = lw.in64(rest[0], ptx.B64)
		}
		if len(rest) == 2 {
			lw.in32(rest[1], ptx.U32)
		}
	case "inval":
	default:
		lw.fail("the operation is missing")
	}
	if at == 1 {
		if o.token >= 0 {
			o.d = lw.outP(args[0])
		} else if _, ok := args[0].(ptx.Sink); !ok {
			o.d = lw.out64(args[0], ptx.B64)
		}
	}
	run := runMBarrier
	if o.token >= 0 {
		run = runMBarrierWait
	}
	lw.emit(inst{run: run, aux: o, flags: flagMemory, sink: sink})
}

// count32 sets the size of the object that the address names.
func (m *memOp) count32(elem int) {
	m.elem, m.count = elem, 1

}

// object finds the mbarrier at the address of a lane of acc; nil, with a message, if none is there.
func (x *exec) object(in *inst, acc *access, lane int, what string) (*block, *mbar) {
	b := x.u.blocks[acc.seg.base>>rankShift]
	m := b.asyncs().bars[acc.off[lane]]
	if m == nil || !m.valid || !m.state(acc.seg).Valid() {
		why := "was never initialised"
		switch {
		case m != nil && m.valid:
			why = "was overwritten"
		case m != nil:
			why = "was invalidated"
		}
		x.notice(in, 1<<lane, KindMBarrier, "%s of the mbarrier at shared address 0x%x, which %s", what, acc.seg.addr(acc.off[lane]), why)
		return b, nil
	}
	return b, m
}

// barrierAccess lets the happens-before engine see the use of an mbarrier: its
// initialisation must be ordered before the others, which are strong.
func (x *exec) barrierAccess(acc *access, kind race.Kind, proxy bool) {
	sh, _ := acc.seg.san.(*segShadow)
	if sh == nil || sh.mem == nil || x.san == nil {
		return
	}
	u := x.u.san.(*unitWatch)
	u.x, u.a = x, acc
	u.op = race.Op{Kind: kind, Mask: acc.mask, Off: &acc.off, Size: 8, Site: siteOf(x, acc.in), Scope: race.Cluster, Proxy: proxy}
	if kind == race.Write {
		u.op.Scope = race.Weak
		o, ok := acc.in.aux.(*mbarOp)
		u.op.Init = ok && o.what == "init"
	}
	sh.mem.Access(watchOf(x.w).w, &u.op, u.report)
}

func runMBarrier(x *exec, in *inst) {
	o := in.aux.(*mbarOp)
	x.addresses(&o.memOp)
	rest := x.mask
	for rest != 0 {
		acc := x.span(in, &o.memOp, 8, 8, &rest)
		if acc == nil {
			continue
		}
		if s, ok := x.san.(*watch); ok {
			if lo, n, _ := acc.extent(); s.allowed != nil && !s.allowed.Has(lo, n) {
				if acc.mask = s.redZones(x, acc); acc.mask == 0 {
					continue
				}
			}
			kind := race.Atomic
			if o.what == "init" || o.what == "inval" {
				kind = race.Write
			}
			x.barrierAccess(acc, kind, false)
			s.visit(x, acc)
		}
		lanes := acc.mask
		for m := lanes; m != 0; {
			// Lanes with the same barrier and the same numbers arrive together.
			i := firstLane(m)
			same := uint32(0)
			for k := m; k != 0; k &= k - 1 {
				if j := firstLane(k); acc.off[j] == acc.off[i] && (o.count < 0 || x.r32[o.count][j] == x.r32[o.count][i]) {
					same |= 1 << j
				}
			}
			m &^= same
			x.mbarrier(in, o, acc, same)
			if x.stop == stopFault {
				return
			}
		}
	}
	x.u.nudges = 0
}

// mbarrier executes an instruction for lanes of one barrier.
func (x *exec) mbarrier(in *inst, o *mbarOp, acc *access, lanes uint32) {
	i := firstLane(lanes)
	n := uint32(1)
	if o.count >= 0 {
		n = x.r32[o.count][i]
	}
	off := acc.off[i]
	switch o.what {
	case "init":
		b := x.u.blocks[acc.seg.base>>rankShift]
		a := b.asyncs()
		m := a.bars[off]
		if m != nil && m.valid {
			line := ""
			if l := m.init.src.Pos.Line; l > 0 && m.init != in {
				line = fmt.Sprintf(", which line %d initialised", l)
			}
			x.notice(in, lanes, KindMBarrier, "mbarrier.init of the valid mbarrier at shared address 0x%x%s; mbarrier.inval must come first", acc.seg.addr(off), line)
		}
		st, err := async.InitMBarrier(n)
		if err != nil {
			x.notice(in, lanes, KindMBarrier, "%v", err)
			return
		}
		m = &mbar{off: off, valid: true, init: in, agent: race.NewAgent()}
		a.bars[off] = m
		m.set(acc.seg, st)
		x.u.asyncs()
		return
	case "inval":
		if _, m := x.object(in, acc, i, "mbarrier.inval"); m != nil {
			if st := m.state(acc.seg); st.Tx() != 0 {
				x.notice(in, lanes, KindMBarrier, "mbarrier.inval while the barrier waits for %d bytes", st.Tx())
			}
			m.valid = false
			m.set(acc.seg, 0)
		}
		return
	}
	_, m := x.object(in, acc, i, "mbarrier."+o.what)
	if m == nil {
		return
	}
	checked := x.san != nil
	arrive := func(lanes uint32) {
		if checked && o.what[0] == 'a' && !o.relaxed && lanes != 0 {
			w := watchOf(x.w).w
			w.AcquireSeen(lanes)
			m.meet.Arrive(w, lanes, false)
		}
	}
	arrive(lanes)
	for k := lanes; k != 0; k &= k - 1 {
		l := firstLane(k)
		before := m.state(acc.seg)
		st := before
		var err error
		done := false
		switch o.what {
		case "expect_tx":
			st, err = st.ExpectTx(n)
		case "complete_tx":
			st, done, err = st.CompleteTx(n)
		case "arrive":
			st, done, err = st.Arrive(n)
		case "arrive_drop":
			st, done, err = st.ArriveDrop(n)
		case "arrive.expect_tx":
			if st, err = st.ExpectTx(n); err == nil {
				st, done, err = st.Arrive(1)
			}
		case "arrive_drop.expect_tx":
			if st, err = st.ExpectTx(n); err == nil {
				st, done, err = st.ArriveDrop(1)
			}
		}
		if err == nil && o.noComp && done {
			err = fmt.Errorf("mbarrier.%s.noComplete completes the phase", o.what)
		}
		if err != nil {
			x.notice(in, 1<<l, KindMBarrier, "%v", err)
			return
		}
		m.set(acc.seg, st)
		if m.settled(done, checked); done {
			arrive(k &^ (1 << l)) // the others belong to the next phase
		}
		if o.d >= 0 {
			x.r64[o.d][l] = uint64(before)
		}
	}
}

func runMBarrierWait(x *exec, in *inst) {
	o := in.aux.(*mbarOp)
	x.addresses(&o.memOp)
	var passed, known uint32
	rest := x.mask
	var bars [warpSize]*mbar
	for rest != 0 {
		acc := x.span(in, &o.memOp, 8, 8, &rest)
		if acc == nil {
			continue
		}
		for k := acc.mask; k != 0; k &= k - 1 {
			i := firstLane(k)
			var m *mbar
			if first := firstLane(acc.mask); i != first && acc.off[i] == acc.off[first] {
				m = bars[first]
			} else {
				_, m = x.object(in, acc, i, "mbarrier."+o.what)
			}
			if x.stop == stopFault {
				return
			}
			if m == nil { // reported; do not hang on it
				passed |= 1 << i
				continue
			}
			bars[i] = m
			known |= 1 << i
			st := m.state(acc.seg)
			if o.parity && st.PassedParity(x.r32[o.token][i]) || !o.parity && st.Passed(async.MBarrier(x.r64[o.token][i])) {
				passed |= 1 << i
			}
		}
		if x.san != nil && acc.mask&known != 0 {
			acc.mask &= known
			x.barrierAccess(acc, race.Read, false)
		}
	}
	a := x.w.asyncs()
	if passed == 0 && o.try && !a.expired {
		if x.mask != x.active {
			x.splitOffPlain(x.active&^x.mask, x.pc)
			x.active = x.mask
		}
		i := firstLane(x.mask)
		w := &mbarWaiter{x: x.u, w: x.w, m: bars[i], parity: o.parity}
		if m := bars[i]; m != nil {
			w.seg = x.segmentOf(x.addr[i])
			if o.parity {
				w.token = uint64(x.r32[o.token][i])
			} else {
				w.token = x.r64[o.token][i]
			}
			x.block(in, w, true)
			return
		}
	}
	a.expired = false
	if x.san != nil {
		w := watchOf(x.w).w
		for k := passed & known; k != 0; {
			i := firstLane(k)
			var same uint32
			for j := k; j != 0; j &= j - 1 {
				if l := firstLane(j); bars[l] == bars[i] {
					same |= 1 << l
				}
			}
			k &^= same
			if o.relaxed {
				x.b.san.(*blockWatch).learn(bars[i].clock)
				continue
			}
			w.Acquire(same, bars[i].clock)
		}
	}
	x.setP(o.d, passed)
	if passed == 0 {
		x.stop = stopYield // let others act before the next look
	} else {
		x.u.nudges = 0
	}
}

func (x *exec) segmentOf(addr uint64) *segment {
	rank := int(addr &^ windowMask >> rankShift)
	if rank < len(x.u.blocks) {
		return x.u.blocks[rank].shared
	}
	return x.b.shared
}

// An mbarWaiter is a try_wait that has not succeeded.
type mbarWaiter struct {
	x      *unit
	w      *warp
	m      *mbar
	seg    *segment
	token  uint64
	parity bool
}

func (w *mbarWaiter) ready() bool {
	if !w.m.valid {
		return true
	}
	st := w.m.state(w.seg)
	if w.parity {
		return st.PassedParity(uint32(w.token))
	}
	return st.Passed(async.MBarrier(w.token))
}

// timeout lets the wait run out: the instruction then gives false.
func (w *mbarWaiter) timeout() bool {
	w.w.asyncs().expired = true
	return true
}

// unbalanced says that all have arrived, but expect_tx announced other than what copies
// completed.
func (w *mbarWaiter) unbalanced() bool {
	st := w.m.state(w.seg)
	return w.m.valid && st.Pending() == 0 && st.Tx() != 0
}

func (w *mbarWaiter) describe() string {
	st := w.m.state(w.seg)
	s := fmt.Sprintf("the mbarrier at shared address 0x%x, whose phase of parity %d misses %d of %d arrivals", w.seg.addr(w.m.off), st.Parity(), st.Pending(), st.Expected())
	if t := st.Tx(); t != 0 {
		s += fmt.Sprintf(" and %d bytes", t)
	}
	return s
}
