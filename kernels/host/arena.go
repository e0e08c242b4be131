// Package host is what backends that compute in host memory share: an arena,
// typed access to buffers, copies and the sticky error. It must not import
// tensor or any backend.
package host

import (
	"fmt"
	"math/bits"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/selkie-ml/selkie/kernels"
)

// mem is the host's kernels.Mem: a block of a chunk, or mapped memory. Blocks lie
// in their chunk without gaps, free ones never side by side.
type mem struct {
	data         []byte
	chunk        []byte // all of the chunk, and where in it data starts
	start        int
	before, next *mem // neighbours in the chunk
	place        int  // in its list of free blocks
	mapped       bool
	freed        bool
}

func (m *mem) Size() int64 { return int64(len(m.data)) }

// Arena hands out blocks of large chunks of memory and joins what is freed to
// larger blocks, so that steps of changing shapes do with little more than the
// largest of them needs. It is safe for concurrent use.
type Arena struct {
	// Poison fills memory handed out and memory freed with 0xFF bytes, a NaN in
	// every float storage, so that a read of what was never written shows.
	Poison bool
	// Limit is the most bytes in use at once; 0: none.
	Limit int64

	mu    sync.Mutex
	free  [numClasses][]*mem // by the class that their size reaches
	spare []*mem             // records of blocks that were joined to others
	stats kernels.MemStats
}

const (
	grain      = 256     // block sizes are multiples of it
	leastChunk = 1 << 20 // bytes of a chunk
	mostAhead  = 64 << 20
	numClasses = 4 * 64
)

// AllocSize returns the bytes that Alloc takes for a request of n.
func (a *Arena) AllocSize(n int64) int64 { return max(grain, (n+grain-1)&^(grain-1)) }

// class returns the largest class, of four per power of two, that a block of n
// bytes reaches.
func class(n int64) int {
	exp := bits.Len64(uint64(n)) - 1
	return exp*4 + int(n>>(exp-2)&3)
}

// Alloc returns at least n bytes, aligned to 64 or better, contents undefined.
func (a *Arena) Alloc(n int64) (kernels.Mem, error) {
	if n < 0 {
		return nil, fmt.Errorf("allocate %d bytes: negative size", n)
	}
	size := a.AllocSize(n)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Limit > 0 && a.stats.InUse+size > a.Limit {
		return nil, fmt.Errorf("allocate %d bytes: %d of the limit of %d bytes are in use; use a smaller batch, fewer adapters at once or activation recomputation, or raise the memory limit",
			n, a.stats.InUse, a.Limit)
	}
	m := a.find(size)
	if m == nil {
		m = a.grow(size)
	}
	a.split(m, size)
	m.freed = false
	a.stats.Cached -= size
	a.stats.InUse += size
	a.stats.Peak = max(a.stats.Peak, a.stats.InUse)
	return m, nil
}

// find takes a free block of at least size bytes off its list, one of the
// smallest that there are.
func (a *Arena) find(size int64) *mem {
	first := class(size)
	for i := len(a.free[first]) - 1; i >= 0; i-- {
		if m := a.free[first][i]; m.Size() >= size {
			a.unlist(m)
			return m
		}
	}
	for c := first + 1; c < numClasses; c++ {
		if n := len(a.free[c]); n > 0 {
			m := a.free[c][n-1]
			a.unlist(m)
			return m
		}
	}
	return nil
}

// grow returns a new chunk as one block: an eighth more than is held already, so
// that there are few chunks and blocks can join.
func (a *Arena) grow(size int64) *mem {
	ahead := min((a.stats.InUse+a.stats.Cached)/8, mostAhead) &^ (grain - 1)
	chunk := make([]byte, max(size, leastChunk, ahead))
	hugePages(chunk)
	m := a.record(chunk, 0, len(chunk))
	if a.Poison {
		fill(m.data, 0xFF)
	}
	a.stats.Cached += m.Size()
	return m
}

// split gives what a block has beyond size bytes back.
func (a *Arena) split(m *mem, size int64) {
	if m.Size() == size {
		return
	}
	rest := a.record(m.chunk, m.start+int(size), m.start+len(m.data))
	m.data = m.data[:size:size]
	rest.before, rest.next, m.next = m, m.next, rest
	if rest.next != nil {
		rest.next.before = rest
	}
	a.list(rest)
}

// record returns a free block of a chunk.
func (a *Arena) record(chunk []byte, start, end int) *mem {
	var m *mem
	if n := len(a.spare); n > 0 {
		m = a.spare[n-1]
		a.spare = a.spare[:n-1]
	} else {
		m = new(mem)
	}
	*m = mem{data: chunk[start:end:end], chunk: chunk, start: start, freed: true}
	return m
}

func (a *Arena) list(m *mem) {
	c := class(m.Size())
	m.place = len(a.free[c])
	a.free[c] = append(a.free[c], m)
}

func (a *Arena) unlist(m *mem) {
	list := &a.free[class(m.Size())]
	last := len(*list) - 1
	(*list)[m.place] = (*list)[last]
	(*list)[m.place].place = m.place
	*list = (*list)[:last]
}

// Free returns memory to the arena. Freeing twice panics.
func (a *Arena) Free(km kernels.Mem) {
	m := km.(*mem)
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.freed {
		panic("kernels/host: memory freed twice")
	}
	m.freed = true
	if m.mapped {
		a.stats.Mapped -= m.Size()
		m.data = nil
		return
	}
	if a.Poison {
		fill(m.data, 0xFF)
	}
	a.stats.InUse -= m.Size()
	a.stats.Cached += m.Size()
	if next := m.next; next != nil && next.freed {
		a.unlist(next)
		a.join(m, next)
	}
	if before := m.before; before != nil && before.freed {
		a.unlist(before)
		a.join(before, m)
		m = before
	}
	a.list(m)
}

// join makes one block of two neighbours.
func (a *Arena) join(m, next *mem) {
	end := next.start + len(next.data)
	m.data = m.chunk[m.start:end:end]
	m.next = next.next
	if m.next != nil {
		m.next.before = m
	}
	*next = mem{freed: true}
	a.spare = append(a.spare, next)
}

// MapHost makes host memory usable in place, read-only.
func (a *Arena) MapHost(data []byte) (kernels.Mem, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.Mapped += int64(len(data))
	return &mem{data: data, mapped: true}, nil
}

// Trim gives chunks of which nothing is in use back to the system.
func (a *Arena) Trim() {
	a.mu.Lock()
	trimmed := int64(0)
	for c := range a.free {
		a.free[c] = slices.DeleteFunc(a.free[c], func(m *mem) bool {
			whole := m.before == nil && m.next == nil
			if whole {
				trimmed += m.Size()
			}
			return whole
		})
		for i, m := range a.free[c] {
			m.place = i
		}
	}
	a.stats.Cached -= trimmed
	a.mu.Unlock()
	if trimmed >= trimWorth {
		debug.FreeOSMemory()
	}
}

// trimWorth is the memory given back above which Trim has the runtime collect it
// at once, which takes longer than all of a small model's ops together.
const trimWorth = 64 << 20

// Stats returns the arena's figures.
func (a *Arena) Stats() kernels.MemStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

// ResetPeak starts a new measurement of the peak.
func (a *Arena) ResetPeak() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.Peak = a.stats.InUse
}

func fill(b []byte, v byte) {
	if len(b) == 0 {
		return
	}
	b[0] = v
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}
