package emu

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx/emu/internal/race"
)

// A block's shared memory lives as long as the block (CUDA programming guide, "Distributed
// Shared Memory"; PTX ISA, "Cluster of Cooperative Thread Arrays"). Who reaches it from another
// block must know that it has begun, and some thread of it must know that
// they are done before the last one ends; the same for copies that complete at its barriers.

// visitors is what a block must outlive.
type visitors struct {
	known *race.Clock // by threads that have ended, and from barriers of the cluster
	exit  *Other      // of the last thread
	index map[visitKey]int
	list  []visit
}

type visitKey struct {
	in   *inst
	w    *warp
	mask uint32
	bar  uint64 // where the operation completes, if it is asynchronous
}

// A visit is the last access of its key; who knows it, knows those before.
type visit struct {
	visitKey
	t    race.Time
	op   *race.Async
	off  uint64
	size int
}

func (v *visitors) learn(c *race.Clock) { v.known = race.Join(v.known, c) }

func (v *visitors) note(n visit) {
	i, ok := v.index[n.visitKey]
	if !ok {
		if v.index == nil {
			v.index = map[visitKey]int{}
		}
		i = len(v.list)
		v.index[n.visitKey] = i
		v.list = append(v.list, n)
	}
	v.list[i] = n
}

// visit is told of accesses of shared memory by the lanes themselves.
func (s *watch) visit(x *exec, a *access) {
	if a.space != spaceShared || a.seg == x.b.shared || s.checks&CheckRaces == 0 {
		return
	}
	b := x.u.blocks[a.seg.base>>rankShift]
	v := visit{visitKey: visitKey{in: a.in, w: x.w, mask: a.mask}, t: watchOf(x.w).w.Now(), off: a.off[firstLane(a.mask)], size: a.size()}
	if b.live == 0 {
		s.outlived(x, b, &v)
		return
	}
	s.begun(x, b, &v)
	if o, ok := a.in.aux.(*mbarOp); ok && o.relaxed {
		return // who waits for such arrivals learns nothing else
	}
	b.san.(*blockWatch).note(v)
}

// visitAsync is told of a copy that completes at an mbarrier.
func (s *watch) visitAsync(x *exec, t *transfer) {
	check := CheckRaces
	if t.b == x.b {
		check = CheckAsync
	}
	if s.checks&check == 0 || t.hb == nil {
		return
	}
	v := visit{visitKey: visitKey{in: t.in, w: x.w, mask: 1 << t.lane, bar: t.bar.off}, op: t.hb, off: t.bar.off, size: int(t.bytes)}
	if t.b.live == 0 {
		s.outlived(x, t.b, &v)
		return
	}
	s.begun(x, t.b, &v)
	t.b.san.(*blockWatch).note(v)
}

// begun reports an access of a block from which nothing has been heard yet.
func (s *watch) begun(x *exec, b *block, v *visit) {
	if b == x.b || watchOf(x.w).w.Met(v.mask, uint64(b.linear), x.b.san.(*blockWatch).known) {
		return
	}
	if f := s.find(x, v.in, v.mask, KindLifetime, 0); f != nil {
		s.place(f, b, v)
		f.Message = fmt.Sprintf("the shared memory of block (%d,%d,%d) is reached before the block is known to have begun; a barrier of the cluster must come first", b.idx[0], b.idx[1], b.idx[2])
		s.keep(v.in, 0, f)
	}
}

func (s *watch) place(f *Finding, b *block, v *visit) {
	f.Space, f.Size, f.Address, f.Memory = "shared", v.size, b.shared.addr(v.off), s.memory(b.shared, v.off)
}

// exitVisited notes what threads know that end.
func (s *watch) exitVisited(x *exec, in *inst, lanes uint32) {
	if s.scratch || !s.races {
		return
	}
	b := x.b.san.(*blockWatch)
	b.learn(watchOf(x.w).w.Seen(lanes))
	if x.b.live == popcount(lanes) {
		b.exit = &Other{What: "end", Line: in.src.Pos.Line, GoLine: in.src.Pos.GoLine(), Instr: instrString(in.src), Block: x.b.idx, Thread: x.w.thread(firstLane(lanes))}
	}
}

// endVisits looks for accesses that a block need not have outlived.
func (s *watch) endVisits(b *block) {
	bw := b.san.(*blockWatch)
	for i := range bw.list {
		v := &bw.list[i]
		if v.op != nil && !v.op.KnownTo(bw.known) || v.op == nil && !watchOf(v.w).w.KnownTo(bw.known, v.mask, v.t) {
			s.outlived(b.u.x, b, v)
		}
	}
	bw.index, bw.list = nil, nil
}

// outlived reports an access that may come when its block has ended.
func (s *watch) outlived(x *exec, b *block, v *visit) {
	xb, xw := x.b, x.w
	x.b, x.w = v.w.b, v.w
	defer func() { x.b, x.w = xb, xw }()
	kind, what := KindLifetime, "access"
	if v.op != nil {
		what = "copy"
	}
	if v.w.b == b {
		kind = KindAsync
	}
	f := s.find(x, v.in, v.mask, kind, 1)
	if f == nil {
		return
	}
	s.place(f, b, v)
	f.Other = b.san.(*blockWatch).exit
	if kind == KindAsync {
		f.Message = "the block ends without waiting for this copy at its mbarrier"
	} else {
		f.Message = fmt.Sprintf("block (%d,%d,%d) may have ended before this %s of its shared memory: nothing that it waits for comes after", b.idx[0], b.idx[1], b.idx[2], what)
	}
	s.keep(v.in, 1, f)
}
