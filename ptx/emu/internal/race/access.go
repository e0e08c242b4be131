package race

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

const cacheSize = 16

// cached is a record that the next instruction of the same place and shape uses
// again, with the histories that come of it.
type cached struct {
	rec     *access
	written *history // the history of a byte after a plain write of rec
	before  *history // for other accesses, one step:
	after   *history
	version uint32 // of the warp when the step was found right
	slot    uint8  // where the last page had the history that came of it
}

func (x *run) record(mask uint32, start uint64, stride uint32, lanes *pattern, single bool) *cached {
	w, op := x.w, x.op
	c := &w.caches[x.where][(op.Site^uint32(op.Kind)<<2)%cacheSize]
	if r := c.rec; r != nil && r.t == w.now && r.site == op.Site && r.mask == mask && r.stride == stride && r.lanes == lanes &&
		r.start == start && r.kind == op.Kind && r.op == op.Async && int(r.size) == op.Size && r.scope == op.Scope && r.proxy == op.Proxy {
		return c
	}
	a := x.pool().newAccess(x.where != 0)
	*a = access{
		block: w.Block.Ident, op: op.Async, start: start, t: w.now, site: op.Site, mask: mask, stride: stride, lanes: lanes, single: single,
		warp: uint16(w.Index), size: uint8(min(op.Size, 255)), kind: op.Kind, scope: op.Scope, proxy: op.Proxy, init: op.Init,
	}
	c.rec, c.written, c.before, c.after = a, nil, nil, nil
	return c
}

// Access notes the access and calls report for bytes that conflict, once per lane
// at most. It returns the lanes that conflict.
func (m *Memory) Access(w *Warp, op *Op, report func(*Conflict)) uint32 {
	mask := op.Mask
	if mask == 0 {
		return 0
	}
	x := run{m: m, w: w, op: op, report: report, where: m.in(w)}
	size := uint64(op.Size)
	first := bits.TrailingZeros32(mask)
	base := op.Off[first]
	rest := mask & (mask - 1)
	if rest == 0 {
		x.one(first)
		return x.bad
	}
	second := bits.TrailingZeros32(rest)
	delta := op.Off[second] - base
	if delta == 0 {
		for r := rest; r != 0; r &= r - 1 {
			if op.Off[bits.TrailingZeros32(r)] != base {
				x.scattered(mask)
				return x.bad
			}
		}
		x.c = x.record(mask, 0, 0, nil, false)
		x.within = op.Kind == Write && op.Scope == Weak
		x.span(base, base+size)
		return x.bad
	}
	stride := delta / uint64(second-first)
	if int64(delta) < 0 || stride < size || stride > 1<<24 || stride*uint64(second-first) != delta {
		x.scattered(mask)
		return x.bad
	}
	origin := base - stride*uint64(first)
	for r := rest; r != 0; r &= r - 1 {
		l := bits.TrailingZeros32(r)
		if op.Off[l] != origin+stride*uint64(l) {
			x.scattered(mask)
			return x.bad
		}
	}
	period := 32 * stride
	var start uint64
	if period&(period-1) == 0 {
		start = origin & (period - 1)
	} else {
		start = (origin%period + period) % period
		if base < stride*uint64(first) { // origin wrapped below zero
			start = (base + period - stride*uint64(first)%period) % period
		}
	}
	x.c = x.record(mask, start, uint32(stride), nil, false)
	if run := mask >> first; stride == size && run&(run+1) == 0 {
		x.span(base, base+size*uint64(bits.OnesCount32(mask)))
		return x.bad
	}
	for r := mask; r != 0; r &= r - 1 {
		o := op.Off[bits.TrailingZeros32(r)]
		x.span(o, o+size)
	}
	return x.bad
}

// Range notes an access of one lane, or of all lanes of the mask, to consecutive
// bytes.
func (m *Memory) Range(w *Warp, op *Op, off, n uint64, report func(*Conflict)) uint32 {
	x := run{m: m, w: w, op: op, report: report, where: m.in(w)}
	x.c = x.record(op.Mask, 0, 0, nil, false)
	x.span(off, off+n)
	return x.bad
}

func (m *Memory) in(w *Warp) int {
	if m == w.Block.scratch {
		return 1
	}
	return 0
}

// A run is the work of one Access.
type run struct {
	m      *Memory
	w      *Warp
	op     *Op
	c      *cached
	report func(*Conflict)
	bad    uint32
	where  int  // in Warp.caches
	within bool // several lanes store to the same bytes
}

func (x *run) pool() *Pool {
	if x.where != 0 {
		return &x.w.scratch
	}
	return x.w.Block.Pool
}

func (x *run) one(lane int) {
	o := x.op.Off[lane]
	x.c = x.record(1<<lane, 0, 0, nil, false)
	x.span(o, o+uint64(x.op.Size))
}

// scattered handles lanes that follow no stride: one record tells which of them touched
// a byte.
func (x *run) scattered(mask uint32) {
	w, op := x.w, x.op
	lo, hi := op.extent()
	if hi-lo >= 1<<31 {
		for m := mask; m != 0; m &= m - 1 {
			x.one(bits.TrailingZeros32(m))
		}
		return
	}
	if w.patterns == nil {
		w.patterns = new(patterns)
	}
	p := &w.patterns.now
	if mask == ^uint32(0) {
		for i, o := range op.Off {
			p[i] = uint32(o - lo)
		}
	} else {
		for i := range p {
			p[i] = outside
			if mask>>i&1 != 0 {
				p[i] = uint32(op.Off[i] - lo)
			}
		}
	}
	// Sites tend to repeat their pattern elsewhere.
	c := &w.patterns.bySite[op.Site%uint32(len(w.patterns.bySite))]
	if c.p == nil || c.size != op.Size || *c.p != *p {
		c.set(p, mask, op.Size)
	}
	x.c = x.record(mask, lo, 0, c.p, c.single)
	if !c.single && op.Kind == Write && op.Scope == Weak {
		x.sameBytes(mask)
	}
	for _, r := range c.runs {
		x.span(lo+uint64(r.from), lo+uint64(r.to))
	}
}

// extent is the lowest and the highest address of a lane.
func (op *Op) extent() (lo, hi uint64) {
	if op.End != 0 {
		return op.Lo, op.End - uint64(op.Size)
	}
	if op.Mask == ^uint32(0) {
		lo, hi = op.Off[0], op.Off[0]
		for _, o := range op.Off {
			lo, hi = min(lo, o), max(hi, o)
		}
		return lo, hi
	}
	lo = ^uint64(0)
	for m := op.Mask; m != 0; m &= m - 1 {
		o := op.Off[bits.TrailingZeros32(m)]
		lo, hi = min(lo, o), max(hi, o)
	}
	return lo, hi
}

// patterns are those of a warp.
type patterns struct {
	now    pattern // of the current access
	bySite [64]repeated
}

// repeated is a pattern that a site uses again.
type repeated struct {
	p      *pattern
	size   int
	single bool
	runs   []stretch // of bytes that some lane touches, ascending
}

type stretch struct{ from, to uint32 }

func (c *repeated) set(p *pattern, mask uint32, size int) {
	c.p, c.size = new(pattern), size
	*c.p = *p
	c.single = !p.overlaps(mask, uint32(size))
	sorted := *p
	slices.Sort(sorted[:])
	c.runs = c.runs[:0]
	for _, o := range sorted[:bits.OnesCount32(mask)] {
		end := o + uint32(size)
		if n := len(c.runs); n > 0 && o <= c.runs[n-1].to {
			c.runs[n-1].to = max(c.runs[n-1].to, end)
			continue
		}
		c.runs = append(c.runs, stretch{o, end})
	}
}

// overlaps says whether two lanes touch the same byte.
func (p *pattern) overlaps(mask, size uint32) bool {
	var seen [4]uint64 // of places modulo 256 words
	clash := false
	for m := mask; m != 0; m &= m - 1 {
		o := p[bits.TrailingZeros32(m)]
		for k := o / size; k <= (o+size-1)/size; k++ {
			b := &seen[k>>6&3]
			clash = clash || *b>>(k&63)&1 != 0
			*b |= 1 << (k & 63)
		}
	}
	if !clash {
		return false
	}
	for m := mask; m != 0; m &= m - 1 {
		i := bits.TrailingZeros32(m)
		for k := m & (m - 1); k != 0; k &= k - 1 {
			j := bits.TrailingZeros32(k)
			if d := int64(p[i]) - int64(p[j]); d < int64(size) && d > -int64(size) {
				return true
			}
		}
	}
	return false
}

// sameBytes reports lanes of one scattered store that write different values to the
// same bytes.
func (x *run) sameBytes(mask uint32) {
	op := x.op
	for m := mask; m != 0; m &= m - 1 {
		i := bits.TrailingZeros32(m)
		for k := m & (m - 1); k != 0; k &= k - 1 {
			j := bits.TrailingZeros32(k)
			if x.bad>>j&1 != 0 {
				continue
			}
			lo, hi := max(op.Off[i], op.Off[j]), min(op.Off[i], op.Off[j])+uint64(op.Size)
			for at := lo; at < hi; at++ {
				if op.Value != nil && op.Value(i, int(at-op.Off[i])) == op.Value(j, int(at-op.Off[j])) {
					continue
				}
				x.clash(at, i, j)
				break
			}
		}
	}
}

// clash reports that lane b stores over what lane a stores with the same instruction.
func (x *run) clash(at uint64, a, b int) {
	x.bad |= 1 << b
	if x.report != nil {
		x.report(&Conflict{Off: at, Lane: b, Earlier: Earlier{
			Block: x.w.Block.Ident, Warp: x.w.Index, Lane: a, Site: x.op.Site, Kind: Write}})
	}
}

// span handles the bytes lo..hi, page by page.
func (x *run) span(lo, hi uint64) {
	if hi > uint64(len(x.m.pages))<<pageShift || hi < lo {
		return
	}
	if x.within {
		x.sameStores(lo)
	}
	for lo < hi {
		end := min(hi, (lo|(pageBytes-1))+1)
		p := x.m.page(lo >> pageShift)
		x.chunk(p, lo, end)
		if x.m.shared {
			p.lock.Store(0)
		}
		lo = end
	}
}

func (x *run) chunk(p *page, lo, hi uint64) {
	if (lo|hi)&3 != 0 && len(p.idx) != pageBytes {
		p.narrow()
	}
	idx, shift := p.idx, uint(2)
	if len(idx) == pageBytes {
		shift = 0
	}
	o := int(lo & (pageBytes - 1) >> shift)
	end := o + int((hi-lo)>>shift)
	for o < end {
		s := idx[o]
		e := o + 1
		if end-o >= 8 {
			all := uint64(s) * 0x0101010101010101
			for e = o; end-e >= 8 && binary.LittleEndian.Uint64(idx[e:]) == all; e += 8 {
			}
		}
		for e < end && idx[e] == s {
			e++
		}
		before := p.pal[s]
		addr := lo&^(pageBytes-1) + uint64(o)<<shift
		after := x.step(before, addr, e-o, shift)
		if after != before {
			n := x.c.slot
			if int(n) >= len(p.pal) || p.pal[n] != after {
				n = p.slot(after)
				x.c.slot = n
			}
			fill(idx[o:e], n)
		}
		o = e
	}
}

// step judges the access to n places with the same history, the first at addr, and
// gives the history after it.
func (x *run) step(h *history, addr uint64, n int, shift uint) *history {
	c, w := x.c, x.w
	b := c.rec
	plain := b.kind == Write && b.scope == Weak
	if h != nil {
		if plain {
			if h == c.written {
				return h
			}
		} else {
			if c.before == h && c.version == w.version {
				return c.after
			}
			if len(h.others) != 0 && h == c.after && c.version == w.version {
				return h
			}
		}
		bad, o, perLane := w.check(h, b, addr)
		if bad != nil {
			x.conflict(bad, o, addr, 1<<shift)
		}
		if perLane {
			for i := 1; i < n; i++ {
				at := addr + uint64(i)<<shift
				if bad, o, _ := w.check(h, b, at); bad != nil {
					x.conflict(bad, o, at, 1<<shift)
				}
			}
		}
		if plain {
			if c.written == nil {
				c.written = x.after(nil, b)
			}
			return c.written
		}
		for _, a := range h.others {
			if a == b {
				return h
			}
		}
		after := x.after(h, b)
		if !perLane && bad == nil {
			c.before, c.after, c.version = h, after, w.version
		}
		return after
	}
	if plain {
		if c.written == nil {
			c.written = x.after(nil, b)
		}
		return c.written
	}
	if c.before == nil && c.after != nil && c.version == w.version {
		return c.after
	}
	after := x.after(nil, b)
	c.before, c.after, c.version = nil, after, w.version
	return after
}

func (x *run) conflict(a *access, o order, addr uint64, n int) {
	op, b := x.op, x.c.rec
	// Of several lanes, name one that did not do the earlier access itself.
	lanes := b.lanesAt(addr) & op.Mask
	others := a.lanesAt(addr)
	mine := lanes
	if a.block == x.w.Block.Ident && int(a.warp) == x.w.Index && mine&^others != 0 {
		mine &^= others
	}
	if mine == 0 {
		mine = op.Mask
	}
	lane := bits.TrailingZeros32(mine)
	if a.block == x.w.Block.Ident && int(a.warp) == x.w.Index && others&^(1<<lane) != 0 {
		others &^= 1 << lane
	}
	if x.bad>>lane&1 != 0 {
		return
	}
	if o == unordered && a.kind == Write && b.kind == Write && a.op == nil && b.op == nil && x.benign(a, addr, n, lane) {
		return
	}
	x.bad |= 1 << lane
	if x.report == nil {
		return
	}
	c := Conflict{Off: addr, Lane: lane, Earlier: Earlier{
		Block: a.block, Warp: int(a.warp), Lane: bits.TrailingZeros32(others) & 31, Site: a.site, Kind: a.kind, Async: a.op != nil, Init: a.init,
	}}
	switch o {
	case unfinished:
		c.Problem = Unfinished
	case unproxied:
		c.Problem = NoProxy
	}
	x.report(&c)
}

// benign says whether the store writes what is there already.
func (x *run) benign(a *access, addr uint64, n, lane int) bool {
	op := x.op
	if op.Value == nil || op.Current == nil || op.Off == nil {
		return false
	}
	// A store of the same instruction by another lane has not reached memory yet.
	for i := range uint64(n) {
		at := addr + i
		j := at - op.Off[lane]
		if j >= uint64(op.Size) {
			continue
		}
		v := op.Value(lane, int(j))
		same := v == op.Current(at)
		if a.block == x.w.Block.Ident && int(a.warp) == x.w.Index && a.site == op.Site {
			for m := a.lanesAt(at) & op.Mask; m != 0; m &= m - 1 {
				l := bits.TrailingZeros32(m)
				if k := at - op.Off[l]; k < uint64(op.Size) {
					same = v == op.Value(l, int(k))
				}
			}
		}
		if !same {
			return false
		}
	}
	return true
}

// sameStores reports lanes of one store that write different values to the same
// bytes.
func (x *run) sameStores(lo uint64) {
	op := x.op
	if op.Value == nil {
		return
	}
	first := bits.TrailingZeros32(op.Mask)
	for m := op.Mask & (op.Mask - 1); m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		for i := range op.Size {
			if op.Value(l, i) == op.Value(first, i) {
				continue
			}
			x.clash(lo+uint64(i), first, l)
			return
		}
	}
}
