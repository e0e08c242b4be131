// Package race finds data races between the threads of a grid by happens-before
// (vector clocks), whatever the schedule was. It works on the accesses of whole
// warps: in the common cases, one check covers 32 lanes and one byte of shadow
// covers four bytes of memory.
//
// Every block counts its synchronising events; that count is its Time. An access
// carries the time at which it happened, and a Clock says up to which time a
// thread knows the accesses of others. An access is ordered before another if
// the other's thread knows it.
//
// The package knows nothing of instructions; it must not import the emulator.
package race

// Time counts the synchronising events of one block.
type Time uint32

// A Clock is what a thread knows of others. It never changes once made, so that
// threads share it; nil knows nothing.
type Clock struct {
	parts []part // ascending by unit
	proxy *Clock // what is visible to the async proxy
	inits *Clock // initialisations of mbarriers that are visible to it, and to the cluster
}

// A part is what is known of one unit: a block, or what an mbarrier completes.
// Known are accesses before base by anyone, before warps[i] by the lanes of warp
// i, and before the times in lanes by single threads.
type part struct {
	unit  uint64
	base  Time
	warps []Time
	lanes []laneTime // ascending by thread
}

type laneTime struct {
	thread uint32
	t      Time
}

func (c *Clock) part(unit uint64) *part {
	if c == nil {
		return nil
	}
	for i := range c.parts {
		if c.parts[i].unit == unit {
			return &c.parts[i]
		}
	}
	return nil
}

func (p *part) warp(i int) Time {
	if i < len(p.warps) {
		return max(p.base, p.warps[i])
	}
	return p.base
}

func (p *part) thread(thread uint32) Time {
	t := p.warp(int(thread / 32))
	lo, hi := 0, len(p.lanes)
	for lo < hi {
		mid := (lo + hi) / 2
		if p.lanes[mid].thread < thread {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(p.lanes) && p.lanes[lo].thread == thread {
		t = max(t, p.lanes[lo].t)
	}
	return t
}

// knows says whether accesses at time t by the lanes of a warp of the unit are
// known. It holds for a nil part: nothing is known then.
func (p *part) knows(warp int, lanes uint32, t Time) bool {
	if p == nil {
		return false
	}
	if t < p.warp(warp) {
		return true
	}
	if len(p.lanes) == 0 || lanes == 0 {
		return false
	}
	for l := uint32(0); lanes != 0; l, lanes = l+1, lanes>>1 {
		if lanes&1 != 0 && t >= p.thread(uint32(warp)*32+l) {
			return false
		}
	}
	return true
}

func (p *part) includes(q *part) bool {
	if p.base < q.base {
		return false
	}
	for i, t := range q.warps {
		if t > p.warp(i) {
			return false
		}
	}
	for _, l := range q.lanes {
		if l.t > p.thread(l.thread) {
			return false
		}
	}
	return true
}

// includes says whether c knows all that d knows.
func (c *Clock) includes(d *Clock) bool {
	if c == d || d == nil {
		return true
	}
	if c == nil || len(c.parts) < len(d.parts) {
		return false
	}
	for i := range d.parts {
		p := c.part(d.parts[i].unit)
		if p == nil || !p.includes(&d.parts[i]) {
			return false
		}
	}
	return c.proxy.includes(d.proxy) && c.inits.includes(d.inits)
}

// Join gives what either clock knows.
func Join(c, d *Clock) *Clock {
	switch {
	case c.includes(d):
		return c
	case d.includes(c):
		return d
	}
	j := &Clock{parts: make([]part, 0, max(len(c.parts), len(d.parts))+1)}
	a, b := c.parts, d.parts
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].unit < b[0].unit:
			j.parts, a = append(j.parts, a[0]), a[1:]
		case a[0].unit > b[0].unit:
			j.parts, b = append(j.parts, b[0]), b[1:]
		default:
			j.parts = append(j.parts, joinParts(&a[0], &b[0]))
			a, b = a[1:], b[1:]
		}
	}
	j.parts = append(append(j.parts, a...), b...)
	if c.proxy != nil || d.proxy != nil {
		j.proxy = Join(c.proxy, d.proxy)
	}
	if c.inits != nil || d.inits != nil {
		j.inits = Join(c.inits, d.inits)
	}
	return j
}

func joinParts(a, b *part) part {
	switch {
	case a.includes(b):
		return *a
	case b.includes(a):
		return *b
	}
	p := part{unit: a.unit, base: max(a.base, b.base)}
	if n := max(len(a.warps), len(b.warps)); n > 0 {
		p.warps = make([]Time, n)
		any := false
		for i := range p.warps {
			p.warps[i] = max(a.warp(i), b.warp(i))
			any = any || p.warps[i] > p.base
		}
		if !any {
			p.warps = nil
		}
	}
	add := func(l laneTime) {
		if l.t > p.warp(int(l.thread/32)) {
			p.lanes = append(p.lanes, l)
		}
	}
	x, y := a.lanes, b.lanes
	for len(x) > 0 || len(y) > 0 {
		switch {
		case len(y) == 0 || len(x) > 0 && x[0].thread < y[0].thread:
			add(x[0])
			x = x[1:]
		case len(x) == 0 || x[0].thread > y[0].thread:
			add(y[0])
			y = y[1:]
		default:
			add(laneTime{x[0].thread, max(x[0].t, y[0].t)})
			x, y = x[1:], y[1:]
		}
	}
	return p
}

// withPart is c with p joined into its part of the same unit.
func (c *Clock) withPart(p part) *Clock {
	return Join(c, &Clock{parts: []part{p}})
}

// setPart is c with its part of p's unit replaced.
func (c *Clock) setPart(p part) *Clock {
	d := &Clock{}
	if c != nil {
		d.proxy, d.inits = c.proxy, c.inits
		d.parts = make([]part, 0, len(c.parts)+1)
		for i := range c.parts {
			if c.parts[i].unit < p.unit {
				d.parts = append(d.parts, c.parts[i])
			}
		}
	}
	d.parts = append(d.parts, p)
	if c != nil {
		for i := range c.parts {
			if c.parts[i].unit > p.unit {
				d.parts = append(d.parts, c.parts[i])
			}
		}
	}
	return d
}

// lanesPart is a part that knows the lanes of one warp up to t.
func lanesPart(unit uint64, warp int, mask, whole uint32, t Time) part {
	p := part{unit: unit}
	if mask&whole == whole {
		p.warps = make([]Time, warp+1)
		p.warps[warp] = t
		return p
	}
	for l := range uint32(32) {
		if mask>>l&1 != 0 {
			p.lanes = append(p.lanes, laneTime{uint32(warp)*32 + l, t})
		}
	}
	return p
}
