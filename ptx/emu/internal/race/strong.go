package race

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Locations keeps what strong writes have made known at the places they wrote to:
// the release and acquire patterns of the memory consistency model (PTX ISA,
// "Release and Acquire Patterns").
type Locations struct {
	n  atomic.Int64
	mu sync.Mutex
	m  map[location]*released
}

type location struct {
	memory any
	off    uint64
}

// released is what a reader of the place may acquire: by anyone, and by threads of
// one block or cluster where the releasing scope was narrower.
type released struct {
	wide          *Clock
	block         *Clock
	blockID       uint64
	cluster       *Clock
	clusterID     uint64
	blocks, clust bool
}

// Order of a strong access, or of a fence.
type Order uint8

const (
	Relaxed Order = 1 << iota
	Acquire
	Release
)

func (w *Warp) fence(lane int) *fences {
	if w.strong == nil {
		w.strong = new([32]fences)
	}
	return &w.strong[lane]
}

// Fence is fence.acq_rel, fence.sc and membar.
func (w *Warp) Fence(mask uint32, scope Scope) {
	w.AcquireSeen(mask)
	c := w.Release(mask)
	for m := mask; m != 0; m &= m - 1 {
		f := w.fence(bits.TrailingZeros32(m))
		f.release, f.scope = c, scope
	}
}

// AcquireSeen lets the lanes know what their strong loads have seen, as a fence or
// a barrier after them does.
func (w *Warp) AcquireSeen(mask uint32) {
	if w.strong == nil {
		return
	}
	for m := mask; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		if f := &w.strong[l]; f.acquire != nil {
			w.Acquire(1<<l, f.acquire)
			f.acquire = nil
		}
	}
}

// Before must be called before strong writes take effect: store, and read-modify-write.
// What the lanes release becomes known at the places.
func (s *Locations) Before(w *Warp, memory any, kind Kind, order Order, scope Scope, mask uint32, off *[32]uint64) {
	if kind == Read || w.strong == nil && order&Release == 0 && (kind == Atomic || s.n.Load() == 0) {
		return
	}
	var all *Clock
	if order&Release != 0 {
		all = w.Release(mask)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := mask; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		c, sc := all, scope
		if c == nil && w.strong != nil {
			c, sc = w.strong[l].release, min(w.strong[l].scope, scope)
		}
		at := location{memory, off[l]}
		r := s.m[at]
		if kind == Write && r != nil {
			*r = released{}
		}
		if c == nil {
			continue
		}
		if r == nil {
			r = &released{}
			if s.m == nil {
				s.m = map[location]*released{}
			}
			s.m[at] = r
			s.n.Store(int64(len(s.m)))
		}
		switch {
		case sc >= GPU:
			r.wide = Join(r.wide, c)
		case sc == Cluster:
			if !r.clust || r.clusterID != w.Block.Cluster {
				r.cluster, r.clusterID, r.clust = nil, w.Block.Cluster, true
			}
			r.cluster = Join(r.cluster, c)
		default:
			if !r.blocks || r.blockID != w.Block.ID {
				r.block, r.blockID, r.blocks = nil, w.Block.ID, true
			}
			r.block = Join(r.block, c)
		}
	}
}

// After must be called once strong reads have happened.
func (s *Locations) After(w *Warp, memory any, kind Kind, order Order, scope Scope, mask uint32, off *[32]uint64) {
	if kind == Write || s.n.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := mask; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m)
		r := s.m[location{memory, off[l]}]
		if r == nil {
			continue
		}
		var c *Clock
		if scope >= GPU {
			c = r.wide
		}
		if r.clust && r.clusterID == w.Block.Cluster && scope >= Cluster {
			c = Join(c, r.cluster)
		}
		if r.blocks && r.blockID == w.Block.ID {
			c = Join(c, r.block)
		}
		if scope < GPU && r.wide != nil {
			// Strong towards the writer only if it is near enough: the wide clock
			// does not say who wrote. Lenient.
			c = Join(c, r.wide)
		}
		if c == nil {
			continue
		}
		if order&Acquire != 0 {
			w.Acquire(1<<l, c)
		} else {
			f := w.fence(l)
			f.acquire = Join(f.acquire, c)
		}
	}
}
