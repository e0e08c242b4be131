package emu

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx/emu/internal/race"
)

// Asynchronous operations: cp.async, bulk and tensor copies. Issuing one notes it
// in its unit; the schedule decides when the bytes move, at the latest when somebody
// waits for them. So a kernel that does not wait sees old bytes under some schedules.

// An asyncOp is one operation, or those of several lanes of an instruction.
type asyncOp struct {
	move  func()      // moves the bytes and completes transactions
	hb    *race.Async // its accesses, or its writes where it also has reads
	reads *race.Async // of a bulk copy's source
	in    *inst
	w     *warp
	lanes uint32
	group int32 // of the lanes: number of commits before it
	moved bool
	slot  bool // in unitAsync.pending
}

// unitAsync is the state of a unit: operations whose bytes have not moved.
type unitAsync struct {
	pending []*asyncOp
}

// groups are the groups of one kind, cp.async or bulk, of a warp.
type groups struct {
	ops     []*asyncOp // that some lane has not waited for
	commits [warpSize]int32
}

// warpAsync is the state of a warp.
type warpAsync struct {
	copies, bulk groups
	wgmma        wgmmaState
	expired      bool // the wait with a time limit that comes next has run out
}

// blockAsync is the state of a block.
type blockAsync struct {
	bars map[uint64]*mbar // by offset in shared memory
	wg   map[int]*wgmmaGroup
}

func (u *unit) asyncs() *unitAsync {
	a, ok := u.async.(*unitAsync)
	if !ok {
		a = &unitAsync{}
		u.async = a
	}
	return a
}

func (b *block) asyncs() *blockAsync {
	a, ok := b.async.(*blockAsync)
	if !ok {
		a = &blockAsync{bars: map[uint64]*mbar{}, wg: map[int]*wgmmaGroup{}}
		b.async = a
	}
	return a
}

func (w *warp) asyncs() *warpAsync {
	a, ok := w.async.(*warpAsync)
	if !ok {
		a = &warpAsync{}
		w.async = a
	}
	return a
}

// issue notes an operation in its unit.
func (u *unit) issue(op *asyncOp) {
	a := u.asyncs()
	op.slot = true
	a.pending = append(a.pending, op)
}

// perform moves the bytes of an operation, once.
func (op *asyncOp) perform() {
	if op.moved {
		return
	}
	op.moved = true
	op.move()
}

// stepAsync lets asynchronous operations of a unit make progress: one step of one
// that the schedule chooses; when idle, no group can run, so the step should be one that
// lets some. It returns false if none is left.
func stepAsync(u *unit, idle bool) bool {
	a, ok := u.async.(*unitAsync)
	if !ok {
		return false
	}
	if !idle && len(a.pending) > 0 && u.sched.kind != RoundRobin {
		// Bytes that come late show a wait that is missing; those that come at once show
		// a buffer that is filled too early.
		late := 3
		if u.sched.kind == Adversarial {
			late = 15
		}
		if u.rng.intn(late+1) != 0 {
			return true
		}
	}
	for len(a.pending) > 0 {
		i := 0
		if u.sched.kind != RoundRobin {
			i = u.rng.intn(len(a.pending))
		}
		op := a.pending[i]
		a.pending = append(a.pending[:i], a.pending[i+1:]...)
		if op.moved {
			continue
		}
		op.perform()
		return true
	}
	return false
}

// add enters an operation into the group that its lanes will commit next. Lanes with different
// counts of commits would be in different groups; they are split by the caller.
func (g *groups) add(op *asyncOp) {
	op.group = g.commits[firstLane(op.lanes)]
	g.ops = append(g.ops, op)
}

// sameGroup takes from rest the lanes that are as many commits ahead as the first.
func (g *groups) sameGroup(rest *uint32) uint32 {
	c := g.commits[firstLane(*rest)]
	var same uint32
	for m := *rest; m != 0; m &= m - 1 {
		if i := firstLane(m); g.commits[i] == c {
			same |= 1 << i
		}
	}
	*rest &^= same
	return same
}

func (g *groups) commit(lanes uint32) {
	for m := lanes; m != 0; m &= m - 1 {
		g.commits[firstLane(m)]++
	}
}

// wait completes the groups of the lanes but for the last n, uncommitted operations
// too if all is set. With reads, only the sources are free again.
func (g *groups) wait(w *warp, lanes uint32, n int32, all, reads bool) {
	kept := g.ops[:0]
	for _, op := range g.ops {
		var done uint32
		for m := op.lanes & lanes; m != 0; m &= m - 1 {
			if i := firstLane(m); all || op.group < g.commits[i]-n {
				done |= 1 << i
			}
		}
		if done == 0 {
			kept = append(kept, op)
			continue
		}
		op.perform()
		if ww, ok := w.san.(*warpWatch); ok {
			if op.reads != nil {
				op.reads.Wait(ww.w, done)
			}
			if !reads && op.hb != nil {
				op.hb.Wait(ww.w, done)
			}
		}
		if reads {
			kept = append(kept, op)
			continue
		}
		if op.lanes &^= done; op.lanes != 0 {
			kept = append(kept, op)
		}
	}
	clear(g.ops[len(kept):])
	g.ops = kept
}

// freed drops operations of which nothing more can be learnt.
func (g *groups) freed(lanes uint32) (left *asyncOp) {
	for _, op := range g.ops {
		if op.lanes&lanes != 0 && (op.hb != nil && !op.hb.Done()) && (op.reads == nil || !op.reads.Done()) {
			return op
		}
	}
	return nil
}

// exitAsync looks for operations that threads leave behind.
func (s *watch) exitAsync(x *exec, in *inst, lanes uint32) {
	a, ok := x.w.async.(*warpAsync)
	if !ok || s.checks&CheckAsync == 0 {
		return
	}
	for _, g := range []*groups{&a.copies, &a.bulk} {
		op := g.freed(lanes)
		if op == nil {
			continue
		}
		if f := s.find(x, op.in, op.lanes&lanes, KindAsync, 0); f != nil {
			f.Message = "the thread ends without waiting for this asynchronous operation"
			if op.group == g.commits[firstLane(op.lanes)] {
				f.Message += ", which is in no committed group"
			}
			s.keep(op.in, 0, f)
		}
	}
	if n := len(a.wgmma.ops); n > 0 {
		op := a.wgmma.ops[n-1]
		if f := s.find(x, op.in, lanes, KindWgmma, 0); f != nil {
			f.Message = "the thread ends without wgmma.wait_group for this product"
			s.keep(op.in, 0, f)
		}
	}
}

// endAsync looks for mbarriers that a block leaves unbalanced.
func (s *watch) endAsync(b *block) {
	a, ok := b.async.(*blockAsync)
	if !ok || s.checks&CheckAsync == 0 {
		return
	}
	for off, m := range a.bars {
		st := m.state(b.shared)
		if !m.valid || st.Tx() == 0 {
			continue
		}
		x := b.u.x
		x.b, x.w = b, b.warps[0]
		if f := s.find(x, m.init, 1, KindMBarrier, 1); f != nil {
			f.Address, f.Space = b.shared.addr(off), "shared"
			f.Memory = s.memory(b.shared, off)
			if t := st.Tx(); t < 0 {
				f.Message = fmt.Sprintf("the block ends while copies have completed %d bytes more at this mbarrier than expect_tx announced", -t)
			} else {
				f.Message = fmt.Sprintf("the block ends while this mbarrier waits for %d bytes that expect_tx announced", t)
			}
			s.keep(m.init, 1, f)
		}
	}
}

// notice reports misuse of asynchronous operations; without the sanitiser it fails the launch.
func (x *exec) notice(in *inst, lanes uint32, kind, format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	s, ok := x.san.(*watch)
	if !ok {
		x.fail(in, firstLane(lanes), msg)
		return
	}
	if s.checks&CheckAsync == 0 {
		return
	}
	if f := s.find(x, in, lanes, kind, 0); f != nil {
		f.Message = msg
		s.keep(in, 0, f)
	}
}

// asyncAccess tells the sanitiser of an access of an asynchronous operation, as it is issued; it
// returns the lanes that may go on.
func (x *exec) asyncAccess(acc *access, kind race.Kind, hb *race.Async) uint32 {
	s, ok := x.san.(*watch)
	if !ok {
		return acc.mask
	}
	size := uint64(acc.size())
	if acc.space == spaceShared && s.allowed != nil {
		if lo, n, _ := acc.extent(); !s.allowed.Has(lo, n) {
			if acc.mask = s.redZones(x, acc); acc.mask == 0 {
				return 0
			}
		}
	}
	sh, _ := acc.seg.san.(*segShadow)
	if sh == nil {
		return acc.mask
	}
	if kind == race.Write && sh.init != nil {
		for m := acc.mask; m != 0; m &= m - 1 {
			sh.init.Set(acc.off[firstLane(m)], size)
		}
	}
	if sh.mem == nil {
		return acc.mask
	}
	u := x.u.san.(*unitWatch)
	u.x, u.a = x, acc
	u.op = race.Op{Kind: kind, Mask: acc.mask, Off: &acc.off, Size: int(size), Site: siteOf(x, acc.in), Async: hb, Proxy: hb != nil && hb.Proxy}
	if kind == race.Atomic { // reductions do not race with each other
		u.op.Scope = race.GPU
	}
	w := watchOf(x.w).w
	if size > 16 {
		for m := acc.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			u.op.Mask = 1 << i
			sh.mem.Range(w, &u.op, acc.off[i], size, u.report)
		}
		return acc.mask
	}
	sh.mem.Access(w, &u.op, u.report)
	return acc.mask
}

// copyInit lets the destination of a copy be as initialised as its source.
func (x *exec) copyInit(dst *segment, off uint64, src *segment, from, n uint64) {
	if sh, ok := src.san.(*segShadow); ok && sh.init != nil {
		shadowCopy(dst, int(off), src, int(from), int(n))
	}
}
