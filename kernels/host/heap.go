package host

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/selkie-ml/selkie/kernels"
)

// Block is a part of a chunk of memory, in use or free. Blocks lie in their chunk
// without gaps, free ones never side by side. C is what a chunk is to its owner.
type Block[C any] struct {
	Chunk        C
	Start        int64 // where in the chunk it begins
	Freed        bool
	size         int64
	number       int       // of the chunk
	before, next *Block[C] // neighbours in the chunk
}

// Whole returns a chunk that no heap divides, as a block in use.
func Whole[C any](chunk C, size int64) *Block[C] { return &Block[C]{Chunk: chunk, size: size} }

// Size implements kernels.Mem.
func (m *Block[C]) Size() int64 { return m.size }

// order sorts free blocks: by size, then by place.
func (m *Block[C]) order(n *Block[C]) int {
	return cmp.Or(cmp.Compare(m.size, n.size), cmp.Compare(m.number, n.number), cmp.Compare(m.Start, n.Start))
}

// Heap finds blocks in chunks and joins what is freed to larger blocks, so that steps
// of changing shapes do with little more than the largest of them needs. A block is
// the smallest free one that fits, of several the one of the oldest chunk and lowest
// place: steps that ask alike get the same addresses, in whatever order they free.
// It is not safe for concurrent use.
type Heap[C any] struct {
	Stats  kernels.MemStats
	free   [numClasses][]*Block[C] // by the class that their size reaches, in order
	spare  []*Block[C]             // records of blocks that were joined to others
	chunks int                     // so far
}

const (
	grain      = 256 // block sizes are multiples of it
	numClasses = 4 * 64
)

// BlockSize is the size of a block for n bytes.
func BlockSize(n int64) int64 { return max(grain, (n+grain-1)&^(grain-1)) }

// class returns the largest class, of four per power of two, that a block of n
// bytes reaches.
func class(n int64) int {
	exp := bits.Len64(uint64(n)) - 1
	return exp*4 + int(n>>(exp-2)&3)
}

// Take returns a block of size bytes, a multiple of the grain; nil: no free one is as large.
func (h *Heap[C]) Take(size int64) *Block[C] {
	m := h.find(size)
	if m == nil {
		return nil
	}
	h.unlist(m)
	if m.size > size { // what is left is a block of its own
		rest := h.record(m.Chunk, m.number, m.Start+size, m.size-size)
		m.size = size
		rest.before, rest.next, m.next = m, m.next, rest
		if rest.next != nil {
			rest.next.before = rest
		}
		h.list(rest)
	}
	m.Freed = false
	s := &h.Stats
	s.Cached -= size
	s.InUse += size
	s.Peak = max(s.Peak, s.InUse)
	return m
}

// find returns the smallest free block of at least size bytes.
func (h *Heap[C]) find(size int64) *Block[C] {
	first := class(size)
	if i, _ := slices.BinarySearchFunc(h.free[first], size, func(m *Block[C], size int64) int { return cmp.Compare(m.size, size) }); i < len(h.free[first]) {
		return h.free[first][i]
	}
	for c := first + 1; c < numClasses; c++ {
		if len(h.free[c]) > 0 {
			return h.free[c][0]
		}
	}
	return nil
}

// Add adds a chunk of size bytes as one free block.
func (h *Heap[C]) Add(chunk C, size int64) {
	h.chunks++
	h.list(h.record(chunk, h.chunks, 0, size))
	h.Stats.Cached += size
}

// Give takes a block back.
func (h *Heap[C]) Give(m *Block[C]) {
	m.Freed = true
	h.Stats.InUse -= m.size
	h.Stats.Cached += m.size
	if next := m.next; next != nil && next.Freed {
		h.unlist(next)
		h.join(m, next)
	}
	if before := m.before; before != nil && before.Freed {
		h.unlist(before)
		h.join(before, m)
		m = before
	}
	h.list(m)
}

// Drop forgets the chunks of which nothing is in use, after telling each to drop.
func (h *Heap[C]) Drop(drop func(chunk C, size int64)) {
	for c := range h.free {
		h.free[c] = slices.DeleteFunc(h.free[c], func(m *Block[C]) bool {
			whole := m.before == nil && m.next == nil
			if whole {
				h.Stats.Cached -= m.size
				drop(m.Chunk, m.size)
			}
			return whole
		})
	}
}

// record returns a free block of a chunk.
func (h *Heap[C]) record(chunk C, number int, start, size int64) *Block[C] {
	var m *Block[C]
	if n := len(h.spare); n > 0 {
		m = h.spare[n-1]
		h.spare = h.spare[:n-1]
	} else {
		m = new(Block[C])
	}
	*m = Block[C]{Chunk: chunk, Start: start, Freed: true, size: size, number: number}
	return m
}

func (h *Heap[C]) list(m *Block[C]) {
	list := &h.free[class(m.size)]
	i, _ := slices.BinarySearchFunc(*list, m, (*Block[C]).order)
	*list = slices.Insert(*list, i, m)
}

func (h *Heap[C]) unlist(m *Block[C]) {
	list := &h.free[class(m.size)]
	i, _ := slices.BinarySearchFunc(*list, m, (*Block[C]).order)
	*list = slices.Delete(*list, i, i+1)
}

// join makes one block of two neighbours.
func (h *Heap[C]) join(m, next *Block[C]) {
	m.size += next.size
	m.next = next.next
	if m.next != nil {
		m.next.before = m
	}
	*next = Block[C]{Freed: true}
	h.spare = append(h.spare, next)
}
