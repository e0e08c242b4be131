package emu

import "github.com/selkie-ml/selkie/ptx/emu/internal/race"

// sync tells the happens-before engine what orders threads.
func (s *watch) sync(x *exec, in *inst, e *syncEvent) {
	if !s.races {
		return
	}
	switch e.kind {
	case syncBarArrive:
		w := watchOf(x.w).w
		w.AcquireSeen(e.lanes)
		x.b.san.(*blockWatch).bars[e.id].Arrive(w, e.lanes, barOpOf(in).wait)
	case syncBarDone:
		e.block.san.(*blockWatch).bars[e.id].Complete()
	case syncWarp:
		ww := watchOf(x.w)
		ww.w.AcquireSeen(e.lanes)
		ww.meet.Arrive(ww.w, e.lanes, true)
		ww.meet.Complete()
	case syncClusterArrive:
		w := watchOf(x.w).w
		w.AcquireSeen(e.lanes)
		u := x.u.san.(*unitWatch)
		if e.order != orderRelaxed {
			u.cluster.Arrive(w, e.lanes, false)
		} else if c := w.Relaxed(e.lanes); c != nil {
			u.cluster.Add(c)
		}
		u.past.Arrive(w, e.lanes, false)
	case syncClusterDone:
		u := x.u.san.(*unitWatch)
		u.clock, u.before = u.cluster.Complete(), u.past.Complete()
	case syncClusterWait:
		u := x.u.san.(*unitWatch)
		watchOf(x.w).w.Acquire(e.lanes, u.clock)
		x.b.san.(*blockWatch).learn(u.before)
	case syncFence:
		w := watchOf(x.w).w
		switch {
		case e.proxy == "":
			w.Fence(e.lanes, race.Scope(e.scope))
		case e.proxy == "mbarrier_init":
			w.InitFence(e.lanes)
		case len(e.proxy) >= 5 && e.proxy[:5] == "async":
			w.ProxyFence(e.lanes)
		}
	}
}

func (s *watch) exit(x *exec, in *inst, lanes uint32) {
	s.exitAsync(x, in, lanes)
	s.exitVisited(x, in, lanes)
	watchOf(x.w).w.Exit(lanes)
}
