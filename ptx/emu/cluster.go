package emu

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx"
)

// A clusterBarrier is the barrier of a cluster (PTX ISA, "barrier.cluster"): all
// threads that have not exited arrive, then wait.
type clusterBarrier struct{ phase int64 }

type clusterBarOp struct {
	arrive bool
	order  memOrder
}

func lowerClusterBar(lw *lowerer, in *ptx.Instr) {
	m := &lw.mods
	lw.need(0)
	op := &clusterBarOp{}
	i := inst{aux: op}
	switch m.one("arrive", "wait") {
	case "arrive":
		op.arrive = true
		op.order = orderRelease
		if m.one("release", "relaxed") == "relaxed" {
			op.order = orderRelaxed
		}
		i.run = runClusterArrive
	case "wait":
		op.order = orderAcquire
		m.has("acquire")
		i.run = runClusterWait
	default:
		lw.fail("arrive or wait is expected")
	}
	if m.has("aligned") {
		lw.emitCollective(i, &collOp{member: -1})
		return
	}
	lw.emit(i)
}

func clusterOpOf(in *inst) *clusterBarOp {
	if c, ok := in.aux.(*collOp); ok {
		return c.aux.(*clusterBarOp)
	}
	return in.aux.(*clusterBarOp)
}

func runClusterArrive(x *exec, in *inst) {
	if again := x.w.atBar & x.mask; again != 0 {
		x.barrierProblem(in, firstLane(again), "barrier.cluster.arrive twice without a wait between")
		if x.stop != stopNone {
			return
		}
	}
	x.w.atBar |= x.mask
	if x.san != nil {
		x.san.sync(x, in, &syncEvent{kind: syncClusterArrive, lanes: x.mask, order: clusterOpOf(in).order, unit: x.u})
	}
	x.u.clusterBar.check(x)
}

// check completes the phase where all threads that live have arrived.
func (c *clusterBarrier) check(x *exec) {
	any := uint32(0)
	for _, b := range x.u.blocks {
		for _, w := range b.warps {
			if w.live&^w.atBar != 0 {
				return
			}
			any |= w.atBar
		}
	}
	if any == 0 {
		return
	}
	if x.san != nil {
		x.san.sync(x, nil, &syncEvent{kind: syncClusterDone, unit: x.u})
	}
	for _, b := range x.u.blocks {
		for _, w := range b.warps {
			w.atBar = 0
		}
	}
	c.phase++
}

func runClusterWait(x *exec, in *inst) {
	if x.w.atBar&x.mask != 0 {
		if x.mask != x.active {
			x.splitOffPlain(x.active&^x.mask, x.pc)
			x.active = x.mask
		}
		x.block(in, &clusterWaiter{x.w, x.mask}, true)
		return
	}
	if x.san != nil {
		x.san.sync(x, in, &syncEvent{kind: syncClusterWait, lanes: x.mask, order: orderAcquire, unit: x.u})
	}
}

type clusterWaiter struct {
	w    *warp
	mask uint32
}

func (c *clusterWaiter) ready() bool { return c.w.atBar&c.mask == 0 }

func (c *clusterWaiter) describe() string {
	for _, b := range c.w.b.u.blocks {
		for _, w := range b.warps {
			if m := w.live &^ w.atBar; m != 0 {
				t := w.thread(firstLane(m))
				return fmt.Sprintf("the cluster barrier, at which thread (%d,%d,%d) of block (%d,%d,%d) has not arrived",
					t[0], t[1], t[2], b.idx[0], b.idx[1], b.idx[2])
			}
		}
	}
	return "the cluster barrier"
}
