package race

import (
	"math/bits"
	"sync/atomic"
)

// An Ident tells blocks apart. Records of accesses hold it rather than the block, which
// they outlive.
type Ident struct {
	ID      uint64 // linear index in the grid; the unit of its clock parts
	Cluster uint64 // linear index of its cluster
}

// A Block is a thread block as the engine sees it. One goroutine at a time may
// run the warps of a block; those of other blocks may run beside it.
type Block struct {
	*Ident
	threads int
	exited  int
	now     Time
	Warps   []*Warp
	scratch *Memory
	Pool    *Pool // may be another block's, once that has ended
}

// NewBlock makes a block whose threads know nothing of anyone.
func NewBlock(id, cluster uint64, threads int) *Block {
	b := &Block{Ident: &Ident{id, cluster}, threads: threads, now: 1, Pool: &Pool{}}
	for i := 0; i*32 < threads; i++ {
		w := &Warp{Block: b, Index: i, live: ^uint32(0), now: 1}
		if n := threads - i*32; n < 32 {
			w.live = 1<<n - 1
		}
		w.whole = w.live
		b.Warps = append(b.Warps, w)
	}
	return b
}

// Restart makes the block one that has not begun, of as many threads, whose memory is used again.
// Nothing may refer to accesses of its scratch any more.
func (b *Block) Restart(id, cluster uint64) {
	*b = Block{Ident: &Ident{id, cluster}, threads: b.threads, now: 1, Warps: b.Warps, Pool: b.Pool}
	for _, w := range b.Warps {
		pats, s := w.patterns, w.scratch
		s.nr, s.nh = 0, 0
		*w = Warp{Block: b, Index: w.Index, live: w.whole, whole: w.whole, now: 1, patterns: pats, scratch: s}
	}
}

func (b *Block) tick() Time {
	b.now++
	return b.now
}

// A Warp is what the engine knows of 32 threads.
type Warp struct {
	Block *Block
	Index int
	whole uint32 // lanes that exist
	live  uint32 // lanes that have not exited
	now   Time   // of the next access
	clock *Clock // what every lane knows, unless lanes is set
	own   *part  // of clock, for the warp's block
	lanes *[32]*Clock
	// version changes whenever what the lanes know changes.
	version  uint32
	strong   *[32]fences
	caches   [2][cacheSize]cached // of global memory; of the block's scratch
	patterns *patterns

	scratch Pool // of the block's scratch
}

// fences is what fences have to do with the strong accesses around them.
type fences struct {
	release *Clock // known at the last fence
	scope   Scope  // of that fence
	acquire *Clock // read by strong loads since the last acquiring fence
}

// A Pool allocates records and histories a few at a time. That of the scratch begins
// anew at each barrier of the whole block, when nothing refers to them any more.
type Pool struct {
	records   []access
	histories []history
	nr, nh    int
	pointers  []*access // of others of histories
}

const (
	slab    = 16
	maxPool = 4096 // records kept for use after the next barrier
)

func (p *Pool) newAccess(keep bool) *access {
	if p.nr == len(p.records) {
		switch {
		case !keep:
			p.records, p.nr = make([]access, slab), 0
		case p.nr >= maxPool:
			return &access{}
		default:
			// The old slab stays alive while bytes refer to it.
			p.records = make([]access, min(maxPool, max(slab, 2*len(p.records))))
			p.nr = 0
		}
	}
	p.nr++
	return &p.records[p.nr-1]
}

func (p *Pool) newHistory(keep bool) *history {
	if p.nh == len(p.histories) {
		switch {
		case !keep:
			p.histories, p.nh = make([]history, slab), 0
		case p.nh >= maxPool:
			return &history{}
		default:
			p.histories = make([]history, min(maxPool, max(slab, 2*len(p.histories))))
			p.nh = 0
		}
	}
	p.nh++
	h := &p.histories[p.nh-1]
	h.last, h.others = nil, h.others[:0]
	return h
}

// room is memory for n pointers of a history: its own, if it had as many before.
func (p *Pool) room(h *history, n int) []*access {
	switch {
	case cap(h.others) >= n:
		return h.others[:0]
	case n == 1:
		return h.buf[:0]
	case len(p.pointers) < n:
		p.pointers = make([]*access, 4*maxOthers)
	}
	s := p.pointers[:0:n]
	p.pointers = p.pointers[n:]
	return s
}

// Scratch declares memory that the block's threads alone reach, without asynchronous
// operations: what happened before a barrier of all of them can be forgotten there.
func (b *Block) Scratch(m *Memory) { b.scratch = m }

// forget empties the scratch: all that follows is ordered after what was.
func (b *Block) forget() {
	if b.scratch == nil {
		return
	}
	b.scratch.Reset()
	for _, w := range b.Warps {
		w.scratch.nr, w.scratch.nh = 0, 0
		w.caches[1] = [cacheSize]cached{}
	}
}

func (w *Warp) clockOf(lane int) *Clock {
	if w.lanes != nil {
		return w.lanes[lane]
	}
	return w.clock
}

// known joins what the lanes know.
func (w *Warp) known(mask uint32) *Clock {
	if w.lanes == nil {
		return w.clock
	}
	var c *Clock
	for m := mask; m != 0; m &= m - 1 {
		c = Join(c, w.lanes[bits.TrailingZeros32(m)])
	}
	return c
}

func (w *Warp) set(mask uint32, c *Clock) {
	if mask&w.live == w.live {
		w.lanes = nil
		if w.clock != c {
			w.clock, w.own = c, c.part(w.Block.ID)
			w.version++
		}
		return
	}
	if w.lanes == nil {
		if w.clock == c {
			return
		}
		w.lanes = new([32]*Clock)
		for l := range w.lanes {
			w.lanes[l] = w.clock
		}
	}
	for m := mask; m != 0; m &= m - 1 {
		w.lanes[bits.TrailingZeros32(m)] = c
	}
	w.version++
	first := w.lanes[bits.TrailingZeros32(w.live)&31]
	for m := w.live; m != 0; m &= m - 1 {
		if w.lanes[bits.TrailingZeros32(m)] != first {
			return
		}
	}
	w.lanes = nil
	w.clock, w.own = first, first.part(w.Block.ID)
}

// Acquire lets the lanes know what c knows.
func (w *Warp) Acquire(mask uint32, c *Clock) {
	if c == nil || mask == 0 {
		return
	}
	if w.lanes == nil {
		if j := Join(w.clock, c); j != w.clock {
			w.set(mask, j)
		}
		return
	}
	for m := mask; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		w.set(1<<l, Join(w.clockOf(l), c))
	}
}

// Release is what the lanes know, their own accesses up to now included.
func (w *Warp) Release(mask uint32) *Clock {
	t := w.Block.tick()
	w.now = t
	return w.known(mask).withPart(lanesPart(w.Block.ID, w.Index, mask, w.whole, t))
}

// Exit tells that the lanes have ended.
func (w *Warp) Exit(mask uint32) {
	mask &= w.live
	w.live &^= mask
	w.Block.exited += bits.OnesCount32(mask)
	if w.lanes != nil && w.live != 0 {
		w.set(w.live&-w.live, w.lanes[bits.TrailingZeros32(w.live)])
	}
}

// ProxyFence makes all that the lanes know, their own accesses included, visible
// to the async proxy (fence.proxy.async).
func (w *Warp) ProxyFence(mask uint32) { w.proxyFence(mask, false) }

// InitFence makes the lanes' own initialisations of mbarriers visible to the async proxy, and
// to other blocks after a barrier that orders nothing else (fence.mbarrier_init).
func (w *Warp) InitFence(mask uint32) { w.proxyFence(mask, true) }

func (w *Warp) proxyFence(mask uint32, onlyInits bool) {
	t := w.Block.tick()
	w.now = t
	fence := func(mask uint32, c *Clock) *Clock {
		p := &Clock{parts: []part{lanesPart(w.Block.ID, w.Index, mask, w.whole, t)}}
		d := &Clock{}
		if c != nil {
			*d = *c
		}
		if !onlyInits {
			p = Join(p, c)
			d.proxy = &Clock{parts: Join(p, d.proxy).parts}
		}
		d.inits = &Clock{parts: Join(p, d.inits).parts}
		return d
	}
	if w.lanes == nil {
		w.set(mask, fence(mask, w.clock))
		return
	}
	for m := mask; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		w.set(1<<l, fence(1<<l, w.lanes[l]))
	}
}

// A Meeting is where threads make known to each other what they know: a barrier,
// or a phase of an mbarrier.
type Meeting struct {
	arrivals []arrival
	threads  int
	leavers  bool // some did not stay
	// Barrier says that threads which have exited count as arrived, as at bar.sync.
	Barrier bool
}

type arrival struct {
	w     *Warp
	mask  uint32
	t     Time
	clock *Clock
	stays bool
}

// Arrive notes the lanes' arrival. Lanes that stay do nothing before Complete.
func (m *Meeting) Arrive(w *Warp, mask uint32, stays bool) {
	t := w.Block.tick()
	w.now = t
	m.arrivals = append(m.arrivals, arrival{w, mask, t, w.known(mask), stays})
	m.threads += bits.OnesCount32(mask)
	m.leavers = m.leavers || !stays
}

// Add makes c known at the meeting, as by an arrival of nobody.
func (m *Meeting) Add(c *Clock) {
	m.arrivals = append(m.arrivals, arrival{clock: c})
	m.leavers = true
}

// Empty says whether nobody has arrived since Complete.
func (m *Meeting) Empty() bool { return len(m.arrivals) == 0 }

// Complete ends the meeting: those who stayed know what all knew who came. The
// clock is for those who come to ask later.
func (m *Meeting) Complete() *Clock {
	if len(m.arrivals) == 0 {
		return nil
	}
	var c *Clock
	var last *Clock
	for i := range m.arrivals {
		if a := &m.arrivals[i]; i == 0 || a.clock != last {
			c = Join(c, a.clock)
			last = a.clock
		}
	}
	var first *Block
	if w := m.arrivals[0].w; w != nil {
		first = w.Block
	}
	gone := 0
	if m.Barrier && first != nil {
		gone = first.exited
	}
	if !m.leavers && m.threads+gone >= first.threads && m.within(first) {
		t := first.tick()
		c = c.setPart(part{unit: first.ID, base: t})
		for i := range m.arrivals {
			m.arrivals[i].w.now = t
		}
		first.forget()
	} else {
		for i := range m.arrivals {
			if a := &m.arrivals[i]; a.w != nil {
				c = c.withPart(lanesPart(a.w.Block.ID, a.w.Index, a.mask, a.w.whole, a.t))
			}
		}
	}
	for i := range m.arrivals {
		if a := &m.arrivals[i]; a.stays {
			a.w.Acquire(a.mask, c)
		}
	}
	clear(m.arrivals)
	m.arrivals, m.threads, m.leavers = m.arrivals[:0], 0, false
	return c
}

func (m *Meeting) within(b *Block) bool {
	for i := range m.arrivals {
		if m.arrivals[i].w.Block != b {
			return false
		}
	}
	return true
}

// An Agent is what completes asynchronous accesses at an mbarrier. It has a unit
// of its own in clocks.
type Agent struct {
	unit uint64
	now  Time
}

var agents atomic.Uint64

// NewAgent makes an agent of which nobody knows anything.
func NewAgent() *Agent { return &Agent{unit: 1<<63 | agents.Add(1), now: 1} }

// Clock knows all that the agent has completed up to now.
func (a *Agent) Clock() *Clock {
	a.now++
	return &Clock{parts: []part{{unit: a.unit, base: a.now}}}
}

// An Async is an asynchronous operation of some lanes of a warp. Until it is
// complete, its accesses are ordered before nothing.
type Async struct {
	Proxy bool // its accesses go through the async proxy
	known atomic.Pointer[[]completion]
}

type completion struct {
	unit uint64
	warp int
	mask uint32
	t    Time
}

// Wait completes the operation for lanes that waited for it: from here on its
// accesses count as theirs.
func (a *Async) Wait(w *Warp, mask uint32) {
	a.complete(completion{w.Block.ID, w.Index, mask, w.now})
}

// CompleteAt completes the operation for whoever learns it from the agent.
func (a *Async) CompleteAt(g *Agent) {
	a.complete(completion{unit: g.unit, mask: ^uint32(0), t: g.now})
}

func (a *Async) complete(c completion) {
	var list []completion
	if old := a.known.Load(); old != nil {
		for _, o := range *old {
			if o.unit == c.unit && o.warp == c.warp && o.mask&c.mask != 0 {
				return
			}
		}
		list = append(list, *old...)
	}
	list = append(list, c)
	a.known.Store(&list)
}

// Done says whether anyone can know the operation to be complete.
func (a *Async) Done() bool { return a.known.Load() != nil }
