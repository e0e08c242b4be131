package race

import "math/bits"

// What blocks of a cluster must know of each other: a barrier that orders no memory, and
// accesses that must be over when their target ends.

// Relaxed is what lanes make known at a barrier that orders nothing by itself: what a
// fence of the cluster's scope has released before, and initialised mbarriers.
func (w *Warp) Relaxed(mask uint32) *Clock {
	var c, last *Clock
	for m := mask; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		if w.strong != nil && w.strong[l].scope >= Cluster {
			c = Join(c, w.strong[l].release)
		}
		if k := w.clockOf(l); k != nil && k.inits != nil && k != last {
			c, last = Join(c, &Clock{inits: k.inits}), k
		}
	}
	return c
}

// Seen is what the lanes know, what their strong loads have seen included.
func (w *Warp) Seen(mask uint32) *Clock {
	c := w.known(mask)
	if w.strong != nil {
		for m := mask; m != 0; m &= m - 1 {
			c = Join(c, w.strong[bits.TrailingZeros32(m)].acquire)
		}
	}
	return c
}

// Met says whether every lane, or c, knows anything at all of a block.
func (w *Warp) Met(mask uint32, block uint64, c *Clock) bool {
	if c.part(block) != nil {
		return true
	}
	for m := mask; m != 0; m &= m - 1 {
		if w.clockOf(bits.TrailingZeros32(m)).part(block) == nil {
			return false
		}
	}
	return true
}

// Now is the time of the warp's next access.
func (w *Warp) Now() Time { return w.now }

// KnownTo says whether c knows accesses of the lanes up to time t.
func (w *Warp) KnownTo(c *Clock, lanes uint32, t Time) bool {
	return c.part(w.Block.ID).knows(w.Index, lanes, t)
}

// KnownTo says whether c knows the operation to be complete.
func (a *Async) KnownTo(c *Clock) bool {
	done := a.known.Load()
	if done == nil {
		return false
	}
	for _, k := range *done {
		if c.part(k.unit).knows(k.warp, k.mask, k.t) {
			return true
		}
	}
	return false
}
