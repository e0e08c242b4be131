package emu

import (
	"fmt"
	"strings"
)

// A scheduler orders the groups of a unit that can run.
type scheduler struct {
	kind  Schedule
	ready []*group // round robin: a queue
	head  int
	polls []*group // groups whose waiter is asked
}

// Lengths of a turn in instructions. Random draws up to randomTurn; a group that an
// adversarial schedule prefers is put last after adversarialTurn, since it may spin.
const (
	roundRobinTurn  = 48
	randomTurn      = 24
	adversarialTurn = 3000
	joinPatience    = 1 << 16 // instructions of its warp that lanes wait at a point of reconvergence,
	tryPatience     = 16      // fewer where others may be waiting for them
)

func (s *scheduler) add(g *group) {
	g.state = ready
	if s.kind == Adversarial {
		g.prio = uint32(s.draw(g.w.b.u))
	}
	s.ready = append(s.ready, g)
}

func (s *scheduler) draw(u *unit) uint64 { return u.rng.next() >> 33 }

// takeFirst says which side of a divergent branch runs first: true for the taken side later.
func (s *scheduler) takeFirst(u *unit) bool {
	if s.kind == RoundRobin {
		return true
	}
	return u.rng.next()&1 == 0
}

// reconverge says whether lanes that diverge shall meet again at the post-dominator.
func (s *scheduler) reconverge(u *unit) bool {
	return s.kind != Adversarial || u.rng.next()&7 != 0
}

// next takes the group that runs next and the length of its turn; nil if none can.
func (s *scheduler) next(u *unit) (*group, int) {
	if len(s.polls) > 0 {
		s.poll(u)
	}
	n := len(s.ready) - s.head
	if n == 0 {
		return nil, 0
	}
	var g *group
	turn := roundRobinTurn
	switch s.kind {
	case RoundRobin:
		g = s.ready[s.head]
		s.ready[s.head] = nil
		s.head++
		if s.head >= 64 && s.head*2 >= len(s.ready) {
			s.ready = s.ready[:copy(s.ready, s.ready[s.head:])]
			s.head = 0
		}
		return g, turn
	case Random:
		i := u.rng.intn(n)
		g = s.ready[i]
		s.ready[i] = s.ready[n-1]
		turn = 1 + u.rng.intn(randomTurn)
	case Adversarial:
		best := 0
		for i, o := range s.ready {
			if o.prio > s.ready[best].prio {
				best = i
			}
		}
		g = s.ready[best]
		s.ready[best] = s.ready[n-1]
		turn = adversarialTurn
		// Now and then an order of priorities changes in the middle.
		if u.rng.intn(8) == 0 {
			turn = 1 + u.rng.intn(40)
		}
	}
	s.ready = s.ready[:n-1]
	return g, turn
}

// again puts a group back whose turn is over.
func (s *scheduler) again(u *unit, g *group) {
	if s.kind == Adversarial {
		// Those that could go on come after all others.
		g.prio = uint32(s.draw(u)) >> 16
	}
	s.ready = append(s.ready, g)
}

func (s *scheduler) poll(u *unit) {
	k := 0
	for _, g := range s.polls {
		if g.state == gone {
			continue
		}
		if g.wait.ready() {
			g.wait = nil
			s.add(g)
			u.nudges = 0
			continue
		}
		s.polls[k] = g
		k++
	}
	clear(s.polls[k:])
	s.polls = s.polls[:k]
}

// block makes the group that x executes wait until w is ready; it then executes the
// current instruction again if again is set, else goes on behind it.
func (x *exec) block(in *inst, w waiter, again bool) {
	if again {
		x.pc--
	}
	x.g.state, x.g.wait, x.g.in = polling, w, in
	x.u.sched.polls = append(x.u.sched.polls, x.g)
	x.stop = stopBlocked
}

// run executes the unit until it ends, fails, needs its turn among units, or has
// executed about n warp-instructions.
func (u *unit) run(n int64) stopReason {
	x := u.x
	end := x.warpInsts + n
	slow := x.san != nil || x.prof != nil
	for u.alive > 0 {
		if u.async != nil {
			stepAsync(u, false)
		}
		g, turn := u.sched.next(u)
		if g == nil {
			if !u.unstick() || u.err != nil {
				return stopFault
			}
			continue
		}
		x.enter(g)
		x.turnStart = x.warpInsts
		before := x.warpInsts
		if slow {
			x.loopChecked(turn)
		} else {
			x.loop(turn)
		}
		done := x.warpInsts - before
		x.warpTotal.Store(x.warpInsts)
		u.steps += done
		g.w.steps += done
		switch x.stop {
		case stopYield:
			x.leave()
			u.sched.again(u, g)
		case stopBlocked:
			x.leave()
		case stopOrdered:
			x.leave()
			u.parked = g
			g.w.impatient()
			return stopOrdered
		case stopFault:
			u.err = x.err
			return stopFault
		}
		if g.w.recs != nil {
			g.w.impatient()
		}
		if x.warpInsts >= end {
			return stopYield
		}
	}
	if !u.done {
		u.done = true
		u.finish()
	}
	return stopGone
}

// impatient lets lanes go on that have waited long at a point of reconvergence:
// others of their warp may spin until they act.
func (w *warp) impatient() {
	for i := 0; i < len(w.recs); i++ {
		if r := w.recs[i]; w.steps-r.since > joinPatience || w.tries-r.tries > tryPatience {
			w.b.u.sched.add(w.letGo(r))
			i--
		}
	}
}

// unstick is called when no group can run. It ends waiting that is soft, in the
// order of harmlessness, and returns false for a deadlock.
func (u *unit) unstick() bool {
	if u.async != nil && stepAsync(u, true) {
		return true
	}
	found := false
	for _, b := range u.blocks {
		for _, w := range b.warps {
			for len(w.recs) > 0 {
				u.sched.add(w.letGo(w.recs[0]))
				found = true
			}
		}
	}
	if found {
		return true
	}
	// Lanes that wait for others of their warp which wait elsewhere, or never come.
	for _, b := range u.blocks {
		for _, w := range b.warps {
			if len(w.colls) > 0 {
				u.x.force(w)
				return true
			}
		}
	}
	for _, b := range u.blocks {
		for i := range b.bars {
			if b.bars[i].partial(u.x, b, i) {
				return true
			}
		}
	}
	// Waits with a time limit run out, while that leads anywhere.
	if u.nudges < 64 {
		for i, g := range u.sched.polls {
			t, ok := g.wait.(interface{ timeout() bool })
			if ok && t.timeout() {
				u.sched.polls = append(u.sched.polls[:i:i], u.sched.polls[i+1:]...)
				g.wait = nil
				u.sched.add(g)
				u.nudges++
				return true
			}
		}
	}
	var waiting []*group
	for _, b := range u.blocks {
		for _, w := range b.warps {
			waiting = append(waiting, w.groups...)
		}
	}
	if u.x.san != nil {
		u.x.san.deadlock(u, waiting)
	}
	u.err = u.deadlockError(waiting)
	return false
}

func (u *unit) deadlockError(waiting []*group) error {
	var b strings.Builder
	fmt.Fprintf(&b, "deadlock: none of the threads can go on")
	shown := map[string]int{}
	var order []string
	var first *group
	for _, g := range waiting {
		if first == nil {
			first = g
		}
		what := "something unknown"
		if g.wait != nil {
			what = g.wait.describe()
		}
		line := ""
		if g.in != nil && g.in.src.Pos.Line > 0 {
			line = fmt.Sprintf(" at line %d", g.in.src.Pos.Line)
		}
		k := fmt.Sprintf("for %s%s", what, line)
		if shown[k] == 0 {
			order = append(order, k)
		}
		shown[k] += popcount(g.mask)
	}
	for _, k := range order {
		fmt.Fprintf(&b, "; %d threads wait %s", shown[k], k)
	}
	e := &LaunchError{Kernel: u.l.kernel.name, File: u.l.kernel.mod.src.File, Msg: b.String()}
	if first != nil {
		e.Block, e.Thread = first.w.b.idx, first.w.thread(firstLane(first.mask))
		if first.in != nil {
			e.Pos, e.Instr = first.in.src.Pos, instrString(first.in.src)
		}
	}
	return e
}
