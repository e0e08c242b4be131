// Package shadow keeps, for every byte of a piece of memory, whether it was ever
// written and whether it may be touched at all.
package shadow

import "sync/atomic"

// Bits is a set of byte offsets of a segment. Goroutines may set and ask at the
// same time; Clear and Reset need the segment for themselves.
type Bits struct {
	words []uint64
	n     uint64
	full  atomic.Bool // every byte is in the set
}

// New makes an empty set over n bytes.
func New(n int) *Bits {
	return &Bits{words: make([]uint64, (n+63)/64), n: uint64(n)}
}

// Size is the number of bytes that the set itself takes.
func (b *Bits) Size() int { return 8 * len(b.words) }

// Full says whether all bytes are known to be in the set.
func (b *Bits) Full() bool { return b.full.Load() }

// mask covers n ≤ 64 bits from bit o.
func mask(o, n uint64) uint64 { return ^uint64(0) >> (64 - n) << o }

// Set adds n bytes from off. What lies outside of the segment is ignored.
func (b *Bits) Set(off, n uint64) {
	if b.full.Load() || n == 0 || off >= b.n {
		return
	}
	n = min(n, b.n-off)
	if n == b.n {
		for i := range b.words {
			atomic.StoreUint64(&b.words[i], mask(0, min(64, b.n-uint64(i)*64)))
		}
		b.full.Store(true)
		return
	}
	for n > 0 {
		o := off & 63
		k := min(64-o, n)
		p, m := &b.words[off>>6], mask(o, k)
		if m == ^uint64(0) {
			atomic.StoreUint64(p, m)
		} else if atomic.LoadUint64(p)&m != m {
			atomic.OrUint64(p, m)
		}
		off, n = off+k, n-k
	}
}

// Has says whether all n bytes from off are in the set.
func (b *Bits) Has(off, n uint64) bool {
	if off >= b.n || n > b.n-off {
		return n == 0
	}
	if b.full.Load() || n == 0 {
		return true
	}
	if o := off & 63; o+n <= 64 {
		m := mask(o, n)
		return atomic.LoadUint64(&b.words[off>>6])&m == m
	}
	_, missing := b.First(off, n)
	return !missing
}

// Any says whether one of the n bytes from off is in the set.
func (b *Bits) Any(off, n uint64) bool {
	if off >= b.n {
		return false
	}
	n = min(n, b.n-off)
	for n > 0 {
		o := off & 63
		k := min(64-o, n)
		if atomic.LoadUint64(&b.words[off>>6])&mask(o, k) != 0 {
			return true
		}
		off, n = off+k, n-k
	}
	return false
}

// First finds the first of n bytes from off that is not in the set.
func (b *Bits) First(off, n uint64) (at uint64, found bool) {
	if b.full.Load() && off < b.n && n <= b.n-off {
		return 0, false
	}
	start := off
	for n > 0 {
		if off >= b.n {
			return max(start, b.n), true
		}
		o := off & 63
		k := min(64-o, n)
		if w := atomic.LoadUint64(&b.words[off>>6]); w&mask(o, k) != mask(o, k) {
			for w>>o&1 != 0 {
				o++
			}
			return min(off&^63+o, b.n), true
		}
		off, n = off+k, n-k
	}
	return 0, false
}

// Clear takes n bytes from off out of the set.
func (b *Bits) Clear(off, n uint64) {
	if off >= b.n {
		return
	}
	n = min(n, b.n-off)
	b.full.Store(false)
	for n > 0 {
		o := off & 63
		k := min(64-o, n)
		b.words[off>>6] &^= mask(o, k)
		off, n = off+k, n-k
	}
}

// Copy lets the n bytes from off be in the set as those of src are.
func (b *Bits) Copy(off uint64, src *Bits, from, n uint64) {
	if src == nil || src.Has(from, n) {
		b.Set(off, n)
		return
	}
	for i := range n {
		if src.Has(from+i, 1) {
			b.Set(off+i, 1)
		} else {
			b.drop(off + i)
		}
	}
}

func (b *Bits) drop(off uint64) {
	if off < b.n {
		b.full.Store(false)
		atomic.AndUint64(&b.words[off>>6], ^(uint64(1) << (off & 63)))
	}
}

// Reset empties the set.
func (b *Bits) Reset() {
	b.full.Store(false)
	clear(b.words)
}
