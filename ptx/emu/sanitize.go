package emu

import (
	"sync"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/race"
	"github.com/selkie-ml/selkie/ptx/emu/internal/shadow"
)

// A watch is the sanitiser of one launch.
type watch struct {
	l       *launch
	checks  Checks
	races   bool // the happens-before engine runs
	locs    race.Locations
	allowed *shadow.Bits // bytes of shared memory that belong to a variable; nil: all
	scratch bool         // shared memory is reached by plain accesses of the block's threads alone

	mu   sync.Mutex
	seen map[seenKey]*Finding
}

// segShadow is what the sanitiser knows of the bytes of a segment.
type segShadow struct {
	init *shadow.Bits
	mem  *race.Memory

	// Of the shared memory of a block:
	block          *race.Block
	bytes, threads int
}

// unitWatch belongs to a unit. It holds what access needs, so that it allocates
// nothing.
type unitWatch struct {
	s       *watch
	x       *exec
	a       *access
	op      race.Op
	report  func(*race.Conflict)
	value   func(lane, i int) byte
	current func(off uint64) byte
	cluster race.Meeting
	clock   *race.Clock  // of the cluster barrier's last phase
	past    race.Meeting // the same of what was executed, whether or not the arrival orders memory
	before  *race.Clock
}

type blockWatch struct {
	b    *race.Block
	bars [16]race.Meeting
	visitors
}

type warpWatch struct {
	w      *race.Warp
	meet   race.Meeting
	uninit [warpSize]*origin // the last load of uninitialised bytes, by lane
}

// origin is where an undefined value was loaded.
type origin struct {
	in   *inst
	seg  *segment
	addr uint64
}

func newWatch(l *launch) sanitizer {
	s := &watch{l: l, checks: l.dev.cfg.Checks, seen: map[seenKey]*Finding{}}
	s.races = s.checks&(CheckRaces|CheckAsync) != 0
	s.scratch = product(l.cluster) == 1
	if mod := l.kernel.mod; !mod.marked {
		mod.marked = true
		for _, f := range mod.byAddr {
			markGuesses(f)
			mod.async = mod.async || hasAsync(f)
		}
	}
	s.scratch = s.scratch && !l.kernel.mod.async
	for _, seg := range l.table.list {
		sh, ok := seg.san.(*segShadow)
		if !ok {
			sh = &segShadow{}
			seg.san = sh
		}
		if seg.readOnly || !s.races {
			continue
		}
		if sh.mem == nil {
			sh.mem = race.NewMemory(len(seg.data), true)
		} else {
			sh.mem.Reset()
		}
	}
	if s.checks&CheckBounds != 0 {
		s.allowed = shadow.New(max(l.layout.static, l.layout.dynamic+l.dynamic))
		for v, off := range l.layout.off {
			if !v.dynamic {
				s.allowed.Set(uint64(off), uint64(v.size))
			}
		}
		s.allowed.Set(uint64(l.layout.dynamic), uint64(l.dynamic))
	}
	return s
}

func (s *watch) serial() bool { return false }

func (s *watch) begin(b *block) {
	if b.u.san == nil {
		u := &unitWatch{s: s}
		u.report = u.conflict
		u.value = u.storedByte
		u.current = func(off uint64) byte { return u.a.seg.data[off] }
		b.u.san = u
	}
	sh := s.takeShadow(b)
	bw := &blockWatch{b: sh.block}
	for i := range bw.bars {
		bw.bars[i].Barrier = true
	}
	b.san = bw
	ww := make([]warpWatch, len(b.warps))
	for i, w := range b.warps {
		ww[i].w = bw.b.Warps[i]
		w.san = &ww[i]
	}
	b.shared.san = sh
	if sh.mem != nil && s.scratch {
		bw.b.Scratch(sh.mem)
	}
}

// takeShadow gives the shadow of a block that has ended, to be used again, or a new one.
func (s *watch) takeShadow(b *block) *segShadow {
	mod := s.l.kernel.mod
	s.mu.Lock()
	for n := len(mod.shadows); n > 0; n-- {
		sh := mod.shadows[n-1]
		mod.shadows = mod.shadows[:n-1]
		if sh.bytes == len(b.shared.data) && len(sh.block.Warps) == len(b.warps) && sh.threads == b.live {
			s.mu.Unlock()
			sh.block.Restart(uint64(b.linear), uint64(b.u.index))
			return sh
		}
	}
	s.mu.Unlock()
	sh := &segShadow{bytes: len(b.shared.data), threads: b.live, block: race.NewBlock(uint64(b.linear), uint64(b.u.index), b.live)}
	if s.checks&CheckUninit != 0 {
		sh.init = shadow.New(sh.bytes)
	}
	if s.races {
		sh.mem = race.NewMemory(sh.bytes, false)
	}
	return sh
}

func (s *watch) end(b *block) {
	s.endAsync(b)
	s.endVisits(b)
	if len(b.u.blocks) > 1 { // others of the cluster may still come
		return
	}
	sh := b.shared.san.(*segShadow)
	b.shared.san = &segShadow{}
	if sh.init != nil {
		sh.init.Reset()
	}
	if sh.mem != nil {
		sh.mem.Reset()
	}
	s.mu.Lock()
	if mod := s.l.kernel.mod; len(mod.shadows) < 4*spareBlocks {
		mod.shadows = append(mod.shadows, sh)
	}
	s.mu.Unlock()
}

func watchOf(w *warp) *warpWatch { return w.san.(*warpWatch) }

// extent is the offset of the lowest byte that the lanes touch, and the number of bytes up
// to the highest. Dense says that they touch them one after the other, without gaps.
func (a *access) extent() (lo, n uint64, dense bool) {
	size := uint64(a.size())
	if a.mask == fullMask {
		lo = a.off[0]
		dense = true
		for i := 1; i < warpSize; i++ {
			if a.off[i] != lo+uint64(i)*size {
				dense = false
				break
			}
		}
		if dense {
			return lo, warpSize * size, true
		}
		hi := lo
		for _, o := range a.off {
			lo, hi = min(lo, o), max(hi, o)
		}
		return lo, hi - lo + size, false
	}
	lo, hi := ^uint64(0), uint64(0)
	for m := a.mask; m != 0; m &= m - 1 {
		o := a.off[firstLane(m)]
		lo, hi = min(lo, o), max(hi, o)
	}
	return lo, hi - lo + size, false
}

func (s *watch) access(x *exec, a *access) uint32 {
	sh, _ := a.seg.san.(*segShadow)
	if sh == nil {
		if a.space != spaceLocal {
			for e := range a.count {
				a.def[e] = fullMask
			}
			return a.mask
		}
		sh = &segShadow{}
		if s.checks&CheckUninit != 0 {
			sh.init = shadow.New(len(a.seg.data))
		}
		a.seg.san = sh
	}
	lo, n, dense := a.extent()
	if a.space == spaceShared && s.allowed != nil && !s.allowed.Has(lo, n) {
		a.mask = s.redZones(x, a)
		if a.mask == 0 {
			return 0
		}
		lo, n, dense = a.extent()
	}
	if s.checks&CheckUninit != 0 {
		s.initialised(x, a, sh, lo, n, dense)
	} else {
		for e := range a.count {
			a.def[e] = fullMask
		}
	}
	if sh.mem == nil || a.space == spaceLocal {
		return a.mask
	}
	u := x.u.san.(*unitWatch)
	u.x, u.a = x, a
	op := &u.op
	op.Mask, op.Off, op.Size, op.Lo, op.End = a.mask, &a.off, a.size(), lo, lo+n
	op.Site = siteOf(x, a.in)
	op.Async, op.Proxy, op.Init = nil, false, false
	op.Scope = race.Weak
	op.Value, op.Current = nil, nil
	strong := false
	switch a.kind {
	case accLoad, accMatrixLoad:
		op.Kind = race.Read
	case accStore:
		op.Kind = race.Write
		op.Value, op.Current = u.value, u.current
	case accMatrixStore:
		op.Kind = race.Write
	default:
		op.Kind = race.Atomic
		op.Scope, strong = max(race.Scope(a.scope), race.CTA), true
	}
	if a.kind == accLoad && a.in.flags&flagGuess != 0 && a.order == orderWeak {
		op.Scope = race.System
	}
	if a.order != orderWeak && !strong {
		op.Scope, strong = race.Scope(a.scope), true
		if a.scope == scopeNone {
			op.Scope = race.System
		}
	}
	w := watchOf(x.w).w
	if strong && op.Kind != race.Read {
		s.locs.Before(w, sh, op.Kind, raceOrder(a.order), op.Scope, a.mask, &a.off)
	}
	sh.mem.Access(w, op, u.report)
	if a.space == spaceShared && a.seg != x.b.shared {
		s.visit(x, a)
	}
	return a.mask
}

func (s *watch) after(x *exec, a *access) {
	sh, _ := a.seg.san.(*segShadow)
	if sh == nil || sh.mem == nil || a.kind == accStore {
		return
	}
	kind := race.Read
	scope := race.Scope(a.scope)
	if a.kind != accLoad {
		kind = race.Atomic
		scope = max(scope, race.CTA)
	} else if scope == race.Weak {
		scope = race.System
	}
	s.locs.After(watchOf(x.w).w, sh, kind, raceOrder(a.order), scope, a.mask, &a.off)
}

func raceOrder(o memOrder) race.Order {
	switch o {
	case orderAcquire:
		return race.Acquire
	case orderRelease:
		return race.Release
	case orderAcqRel, orderSeqCst:
		return race.Acquire | race.Release
	}
	return race.Relaxed
}

// redZones reports lanes that touch shared memory outside of any variable, and
// returns the others.
func (s *watch) redZones(x *exec, a *access) uint32 {
	var bad uint32
	size := uint64(a.size())
	for m := a.mask; m != 0; m &= m - 1 {
		if i := firstLane(m); !s.allowed.Has(a.off[i], size) {
			bad |= 1 << i
		}
	}
	if bad != 0 {
		s.outside(x, a, bad)
	}
	return a.mask &^ bad
}

// initialised keeps the set of bytes that were written.
func (s *watch) initialised(x *exec, a *access, sh *segShadow, lo, n uint64, dense bool) {
	reads := a.kind != accStore && a.kind != accMatrixStore
	writes := a.kind != accLoad && a.kind != accMatrixLoad
	stored := a.def
	if reads {
		whole := sh.init == nil || sh.init.Has(lo, n)
		for e := range a.count {
			a.def[e] = fullMask
		}
		if !whole {
			s.loadHoles(x, a, sh)
		}
	}
	if !writes {
		return
	}
	holes := uint32(0)
	if !reads || a.kind >= accAtomic {
		for e := range a.count {
			holes |= a.mask &^ stored[e]
		}
	}
	if holes != 0 {
		if a.space == spaceLocal && a.kind == accStore && sh.init != nil {
			// Spilled and copied: it shows when it is used.
			for e := range a.count {
				for m := a.mask; m != 0; m &= m - 1 {
					i := firstLane(m)
					o := a.off[i] + uint64(e*a.elem)
					if stored[e]>>i&1 != 0 {
						sh.init.Set(o, uint64(a.elem))
					} else {
						sh.init.Clear(o, uint64(a.elem))
					}
				}
			}
			return
		}
		s.undefinedStore(x, a, holes, stored[:a.count])
	}
	if sh.init == nil || sh.init.Has(lo, n) {
		return
	}
	if dense {
		sh.init.Set(lo, n)
		return
	}
	size := uint64(a.size())
	for m := a.mask; m != 0; m &= m - 1 {
		sh.init.Set(a.off[firstLane(m)], size)
	}
}

// loadHoles finds the lanes that load uninitialised bytes.
func (s *watch) loadHoles(x *exec, a *access, sh *segShadow) {
	ww := watchOf(x.w)
	var any uint32
	for m := a.mask; m != 0; m &= m - 1 {
		i := firstLane(m)
		for e := range a.count {
			o := a.off[i] + uint64(e*a.elem)
			if at, missing := sh.init.First(o, uint64(a.elem)); missing {
				a.def[e] &^= 1 << i
				if any>>i&1 == 0 {
					any |= 1 << i
					ww.uninit[i] = &origin{a.in, a.seg, at}
				}
			}
		}
	}
	if any != 0 && a.kind >= accAtomic && a.kind != accMatrixLoad && a.in.src != nil && !hasMod(a.in.src, "exch") {
		s.undefinedMemory(x, a, any, "an atomic operation combines with")
		for e := range a.count {
			a.def[e] = fullMask
		}
	}
}

// hasAsync says whether a function has asynchronous operations, or mbarriers.
func hasAsync(f *fn) bool {
	for i := range f.code {
		if in := f.code[i].src; in != nil {
			switch in.Op {
			case "cp", "mbarrier", "wgmma":
				return true
			case "st", "red":
				if hasMod(in, "async") {
					return true
				}
			}
		}
	}
	return false
}

// flagGuess marks plain loads of what a compare-and-swap then compares with: the first guess of
// a loop, which races by the letter, but is checked by the swap. CUDA's own guide writes such loops.
const flagGuess instFlags = 1 << 15

func markGuesses(f *fn) {
	type place struct {
		base ptx.Operand
		off  int64
	}
	where := func(op ptx.Operand) (place, bool) {
		m, ok := op.(ptx.Mem)
		if !ok || m.Coords != nil {
			return place{}, false
		}
		switch m.Base.(type) {
		case ptx.Reg, ptx.Sym:
			return place{m.Base, m.Offset}, true
		}
		return place{}, false
	}
	var swapped map[place]bool
	for i := range f.code {
		if in := f.code[i].src; in != nil && in.Op == "atom" && len(in.Args) == 4 && hasMod(in, "cas") {
			if p, ok := where(in.Args[1]); ok {
				if swapped == nil {
					swapped = map[place]bool{}
				}
				swapped[p] = true
			}
		}
	}
	if swapped == nil {
		return
	}
	for i := range f.code {
		in := &f.code[i]
		if in.src != nil && in.src.Op == "ld" && len(in.src.Args) == 2 {
			if p, ok := where(in.src.Args[1]); ok && swapped[p] {
				in.flags |= flagGuess
			}
		}
	}
}

// storedByte is byte i of what a lane of the current store writes.
func (u *unitWatch) storedByte(lane, i int) byte {
	m, ok := u.a.in.aux.(*memOp)
	if !ok || m.elem == 0 {
		return 0
	}
	r := m.regs[i/m.elem]
	at := 8 * (i % m.elem)
	if m.file == file32 {
		return byte(u.x.r32[r][lane] >> at)
	}
	return byte(u.x.r64[r][lane] >> at)
}
