package emu

// The memory of blocks, warps and frames, which later blocks and launches use again.

// takeExec gives an exec of an earlier launch, whose memory is used again, or a new one.
func (l *launch) takeExec() *exec {
	mod := l.kernel.mod
	x := &exec{}
	if n := len(mod.idle); n > 0 {
		x = mod.idle[n-1]
		mod.idle = mod.idle[:n-1]
		*x = exec{frames: x.frames, spare: x.spare, queue: x.queue}
	} else {
		x.frames = make([][]*frame, len(mod.byAddr))
	}
	x.l, x.san = l, l.san
	if l.prof != nil {
		x.prof = l.prof.newUnit(x)
	}
	x.untold = x.san == nil && x.prof == nil
	return x
}

// spareBlocks is how many blocks, and frames of a function, an exec keeps for later ones.
const spareBlocks = 16

// giveBack keeps the execs of a launch that ended well.
func (l *launch) giveBack() {
	for _, x := range l.execs {
		for i, fs := range x.frames {
			if most := spareBlocks * product(l.block) / warpSize; len(fs) > most {
				clear(fs[most:])
				x.frames[i] = fs[:most]
			}
		}
		*x = exec{frames: x.frames, spare: x.spare, queue: x.queue}
	}
	l.kernel.mod.idle = l.execs
}

// adopt makes x the exec of a unit.
func (x *exec) adopt(u *unit) {
	x.u, u.x = u, x
	x.err = nil
}

// start makes the blocks of a unit.
func (l *launch) start(x *exec, u *unit) {
	x.adopt(u)
	u.rng = newRNG(l.dev.cfg.Seed, u.index)
	u.sched.kind = l.dev.cfg.Schedule
	u.sched.ready, x.queue = x.queue[:0], nil
	per := [3]uint32{l.grid[0] / l.cluster[0], l.grid[1] / l.cluster[1], l.grid[2] / l.cluster[2]}
	i := uint32(u.index)
	cl := [3]uint32{i % per[0], i / per[0] % per[1], i / per[0] / per[1]}
	rank := 0
	for cz := range l.cluster[2] {
		for cy := range l.cluster[1] {
			for cx := range l.cluster[0] {
				idx := [3]uint32{cl[0]*l.cluster[0] + cx, cl[1]*l.cluster[1] + cy, cl[2]*l.cluster[2] + cz}
				b := x.takeBlock()
				b.u, b.idx, b.rank, b.linear = u, idx, rank, int(idx[0]+l.grid[0]*(idx[1]+l.grid[1]*idx[2]))
				rank++
				u.blocks = append(u.blocks, b)
			}
		}
	}
	for _, b := range u.blocks {
		l.startBlock(x, b)
	}
	u.alive = len(u.blocks)
}

func (l *launch) startBlock(x *exec, b *block) {
	threads := product(l.block)
	b.live = threads
	if b.dim != l.block {
		b.warps = nil
		ws := make([]warp, (threads+warpSize-1)/warpSize)
		for i := range ws {
			w := &ws[i]
			w.id, w.exist = i, fullMask
			if n := threads - i*warpSize; n < warpSize {
				w.exist = 1<<n - 1
			}
			for lane := range warpSize {
				t := uint32(i*warpSize + lane)
				w.tid[0][lane] = t % l.block[0]
				w.tid[1][lane] = t / l.block[0] % l.block[1]
				w.tid[2][lane] = t / l.block[0] / l.block[1]
			}
			w.local = &segment{base: localWindow, space: spaceLocal}
			b.warps = append(b.warps, w)
		}
	}
	b.dim = l.block
	b.shared.reset(max(l.layout.static, l.layout.dynamic+l.dynamic))
	b.shared.base = uint64(b.rank) << rankShift
	for _, w := range b.warps {
		*w = warp{b: b, id: w.id, exist: w.exist, live: w.exist, tid: w.tid, local: w.local, stride: l.kernel.local,
			groups: w.groups[:0], recs: w.recs[:0], freeRecs: w.freeRecs, freeGroups: w.freeGroups, colls: w.colls[:0]}
		w.local.reset(w.stride * warpSize)
	}
	x.b = b
	if l.san != nil {
		l.san.begin(b)
	}
	for _, w := range b.warps {
		x.w = w
		f := x.newFrame(l.kernel, 0, w.exist)
		w.root = f
		b.u.sched.add(w.newGroup(w.exist, 0, f, nil))
	}
}

// finish gives back what a unit held.
func (u *unit) finish() {
	for _, b := range u.blocks {
		for _, w := range b.warps {
			u.x.freeFrame(w.root)
		}
		if len(u.x.spare) < spareBlocks {
			u.x.spare = append(u.x.spare, b)
		}
	}
	u.blocks = nil
	u.x.queue = u.sched.ready[:0]
}

// takeBlock gives a block that has ended, to be used again, or a new one.
func (x *exec) takeBlock() *block {
	n := len(x.spare)
	if n == 0 {
		return &block{shared: &segment{space: spaceShared}}
	}
	b := x.spare[n-1]
	x.spare = x.spare[:n-1]
	*b = block{dim: b.dim, warps: b.warps, shared: b.shared, bars: b.bars}
	for i := range b.bars {
		b.bars[i].active = false
	}
	return b
}

// reset gives a segment n bytes that nobody has written.
func (s *segment) reset(n int) {
	if cap(s.data) < n {
		s.data = make([]byte, n)
	}
	s.data, s.san = s.data[:n], nil
	fillPattern(s.data)
}
