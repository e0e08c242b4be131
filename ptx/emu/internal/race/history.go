package race

import "math/bits"

// Kind says what an access does.
type Kind uint8

const (
	Read Kind = iota
	Write
	Atomic // reads and writes
)

// Scope is the set of threads towards which an access or fence is strong.
type Scope uint8

const (
	Weak    Scope = iota // a plain access
	CTA                  // .cta
	Cluster              // .cluster
	GPU                  // .gpu
	System               // .sys, and volatile
)

// An access is one memory instruction of a warp, without its addresses as far as
// they do not matter: records are shared by all instructions that agree in the
// rest.
type access struct {
	block  *Ident
	op     *Async   // of an asynchronous access
	start  uint64   // stride != 0: address of lane 0, modulo 32 strides; lanes != nil: the lowest address
	lanes  *pattern // of lanes without a stride: their addresses less start
	t      Time
	site   uint32
	mask   uint32 // stride == 0: each of these lanes accessed every byte
	stride uint32 // the lane of a byte is (address - start) / stride modulo 32
	warp   uint16
	size   uint8
	kind   Kind
	scope  Scope
	proxy  bool
	init   bool // of an mbarrier
	single bool // lanes: no two lanes touch the same byte
}

// A pattern is where lanes lie. Lanes that take no part are outside.
type pattern [32]uint32

const outside = ^uint32(0)

// lanesAt is the lanes that accessed the byte at addr.
func (a *access) lanesAt(addr uint64) uint32 {
	if a.lanes != nil {
		var m uint32
		at := uint32(addr - a.start)
		for i, o := range a.lanes {
			if at-o < uint32(a.size) {
				m |= 1 << i
			}
		}
		return m & a.mask
	}
	if a.stride == 0 {
		return a.mask
	}
	return 1 << ((addr - a.start) / uint64(a.stride) & 31)
}

// samePattern says whether a and b went to the same bytes by the same lanes,
// wherever both went.
func (a *access) samePattern(b *access) bool {
	if a.stride != b.stride || a.lanes != b.lanes {
		return false
	}
	if a.lanes != nil {
		return a.start == b.start && a.mask == b.mask && a.size == b.size && a.single && b.single
	}
	if a.stride == 0 {
		return a.mask == b.mask && a.mask&(a.mask-1) == 0
	}
	return a.start == b.start
}

// A history is what is known of a byte: the last plain write, and what came
// since: reads, and strong accesses, which do not order each other.
type history struct {
	last   *access
	others []*access
	buf    [1]*access // of others, if it is one
}

const maxOthers = 32

// strongTogether says whether two accesses are strong towards each other, so that
// they do not race.
func strongTogether(a *access, b *access) bool {
	if a.scope == Weak || b.scope == Weak {
		return false
	}
	if a.block == b.block {
		return true
	}
	s := min(a.scope, b.scope)
	return s >= GPU || s == Cluster && a.block.Cluster == b.block.Cluster
}

// Order says how an earlier access stands to a later one.
type order uint8

const (
	ordered    order = iota
	unordered        // a race
	unfinished       // asynchronous and not known to be complete
	unproxied        // ordered, but not visible to the async proxy
)

// order judges the earlier access a to the byte addr against the later access b
// of warp w. perLane says that the answer holds for this byte alone.
func (w *Warp) order(a, b *access, addr uint64) (o order, perLane bool) {
	if a.kind == Read && b.kind == Read || strongTogether(a, b) {
		return ordered, false
	}
	if a.op != nil {
		return w.orderAsync(a, b, addr)
	}
	o, perLane = w.orderPlain(a, b, addr)
	if o == ordered && b.proxy && a.kind != Read {
		lanes := b.lanesAt(addr)
		c := w.clockOf(bits.TrailingZeros32(lanes) & 31)
		if c == nil {
			return unproxied, true
		}
		visible := c.proxy
		if a.init {
			visible = c.inits
		}
		if !visible.part(a.block.ID).knows(int(a.warp), a.lanesAt(addr), a.t) {
			return unproxied, true
		}
	}
	return o, perLane
}

func (w *Warp) orderPlain(a, b *access, addr uint64) (order, bool) {
	if w.lanes == nil && a.block == w.Block.Ident {
		if w.own != nil && a.t < w.own.warp(int(a.warp)) {
			return ordered, false
		}
		if int(a.warp) == w.Index && a.samePattern(b) {
			return ordered, false
		}
	}
	la, lb := a.lanesAt(addr), b.lanesAt(addr)
	same := a.block == w.Block.Ident && int(a.warp) == w.Index
	for m := lb; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		others := la
		if same {
			others &^= 1 << l
		}
		if c := w.clockOf(l); others != 0 && !c.part(a.block.ID).knows(int(a.warp), others, a.t) &&
			!(a.init && c != nil && c.inits.part(a.block.ID).knows(int(a.warp), others, a.t)) {
			return unordered, true
		}
	}
	return ordered, true
}

// knowsAll says that every lane of the warp knows the asynchronous access a to be complete,
// whatever bytes it is about.
func (w *Warp) knowsAll(a, b *access, done []completion) bool {
	if w.lanes != nil || b.proxy {
		return false
	}
	for _, c := range done {
		if c.mask&a.mask == a.mask && w.clock.part(c.unit).knows(c.warp, a.mask, c.t) {
			return true
		}
	}
	return false
}

func (w *Warp) orderAsync(a, b *access, addr uint64) (order, bool) {
	if a.op == b.op {
		return ordered, false
	}
	done := a.op.known.Load()
	if done == nil {
		return unfinished, true
	}
	if w.knowsAll(a, b, *done) {
		return ordered, false
	}
	la, lb := a.lanesAt(addr), b.lanesAt(addr)
	for m := lb; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		clock := w.clockOf(l)
		o := unordered
		for _, c := range *done {
			if c.mask&la != la {
				continue
			}
			others := la
			if c.unit == w.Block.ID && c.warp == w.Index {
				others &^= 1 << l
			}
			if others != 0 && !clock.part(c.unit).knows(c.warp, others, c.t) {
				continue
			}
			o = ordered
			// A copy through the generic proxy, cp.async, is not visible to the
			// async proxy before a fence.
			if b.proxy && !a.proxy && a.kind != Read &&
				(clock == nil || !clock.proxy.part(c.unit).knows(c.warp, la, c.t)) {
				o = unproxied
			}
			break
		}
		if o != ordered {
			return o, true
		}
	}
	return ordered, true
}

// check finds what b must not have come after.
func (w *Warp) check(h *history, b *access, addr uint64) (bad *access, o order, perLane bool) {
	if h == nil {
		return nil, ordered, false
	}
	if h.last != nil && h.last != b { // lanes that store together were compared
		o, p := w.order(h.last, b, addr)
		perLane = p
		if o != ordered {
			return h.last, o, true
		}
	}
	for _, a := range h.others {
		if a == b {
			continue
		}
		o, p := w.order(a, b, addr)
		perLane = perLane || p
		if o != ordered {
			return a, o, true
		}
	}
	return nil, ordered, perLane
}

// covers says that b can stand for the earlier access a of the same warp: whoever is
// ordered after b is ordered after a. That is exact where the same lanes did both; in a crowd,
// and for strong accesses, races within the warp may go unseen for it.
func (b *access) covers(a *access, crowd bool) bool {
	return a.block == b.block && a.warp == b.warp && a.op == b.op && a.kind <= b.kind && a.scope >= b.scope &&
		(crowd || a.scope != Weak || a.samePattern(b))
}

// after is the history once b has happened.
func (x *run) after(h *history, b *access) *history {
	w := x.w
	if b.kind == Write && b.scope == Weak {
		n := x.pool().newHistory(x.where != 0)
		n.last = b
		return n
	}
	var kept [maxOthers]*access
	others := kept[:0]
	pool := x.pool()
	n := pool.newHistory(x.where != 0)
	if h != nil {
		n.last = h.last
		for _, a := range h.others {
			if !b.covers(a, len(h.others) >= 4) && !w.forgets(a, b) {
				others = append(others, a)
			}
		}
		if len(others) >= maxOthers {
			others = others[1:]
		}
	}
	n.others = append(pool.room(n, len(others)+1), others...)
	n.others = append(n.others, b)
	return n
}

// forgets says that a is known to all lanes of b, so that b stands for it.
func (w *Warp) forgets(a, b *access) bool {
	return a.op == nil && b.op == nil && a.kind <= b.kind && a.scope >= b.scope &&
		w.lanes == nil && a.block == w.Block.Ident && w.own != nil && a.t < w.own.warp(int(a.warp))
}
