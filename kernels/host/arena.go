// Package host is what backends that compute in host memory share: an arena,
// typed access to buffers, copies and the sticky error. Its Heap serves memory of
// any kind. It must not import tensor or any backend.
package host

import (
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/selkie-ml/selkie/kernels"
)

// mem is the host's kernels.Mem: a block of a chunk, or mapped memory.
type mem = Block[chunk]

type chunk struct {
	data   []byte
	mapped bool
}

// contents is the memory of a block.
func contents(m *mem) []byte { return m.Chunk.data[m.Start : m.Start+m.size : m.Start+m.size] }

// Arena hands out blocks of large chunks of memory. It is safe for concurrent use.
type Arena struct {
	// Poison fills memory handed out and memory freed with 0xFF bytes, a NaN in
	// every float storage, so that a read of what was never written shows.
	Poison bool
	// Limit is the most bytes in use at once; 0: none.
	Limit int64

	mu   sync.Mutex
	heap Heap[chunk]
}

const (
	leastChunk = 1 << 20 // bytes of a chunk
	mostAhead  = 64 << 20
)

// AllocSize returns the bytes that Alloc takes for a request of n.
func (a *Arena) AllocSize(n int64) int64 { return BlockSize(n) }

// Alloc returns at least n bytes, aligned to 64 or better, contents undefined.
func (a *Arena) Alloc(n int64) (kernels.Mem, error) {
	if n < 0 {
		return nil, fmt.Errorf("allocate %d bytes: negative size", n)
	}
	size := a.AllocSize(n)
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.heap.Stats; a.Limit > 0 && s.InUse+size > a.Limit {
		return nil, fmt.Errorf("allocate %d bytes: %d of the limit of %d bytes are in use; use a smaller batch, fewer adapters at once or activation recomputation, or raise the memory limit",
			n, s.InUse, a.Limit)
	}
	m := a.heap.Take(size)
	if m == nil {
		a.grow(size)
		m = a.heap.Take(size)
	}
	return m, nil
}

// grow adds a chunk: an eighth more than is held already, so that there are few
// chunks and blocks can join.
func (a *Arena) grow(size int64) {
	ahead := min((a.heap.Stats.InUse+a.heap.Stats.Cached)/8, mostAhead) &^ (grain - 1)
	data := make([]byte, max(size, leastChunk, ahead))
	hugePages(data)
	if a.Poison {
		fill(data, 0xFF)
	}
	a.heap.Add(chunk{data: data}, int64(len(data)))
}

// Free returns memory to the arena. Freeing twice panics.
func (a *Arena) Free(km kernels.Mem) {
	m := km.(*mem)
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.Freed {
		panic("kernels/host: memory freed twice")
	}
	if m.Chunk.mapped {
		m.Freed = true
		a.heap.Stats.Mapped -= m.Size()
		m.Chunk.data = nil
		return
	}
	if a.Poison {
		fill(contents(m), 0xFF)
	}
	a.heap.Give(m)
}

// MapHost makes host memory usable in place, read-only.
func (a *Arena) MapHost(data []byte) (kernels.Mem, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heap.Stats.Mapped += int64(len(data))
	return Whole(chunk{data: data, mapped: true}, int64(len(data))), nil
}

// Trim gives chunks of which nothing is in use back to the system.
func (a *Arena) Trim() {
	a.mu.Lock()
	trimmed := int64(0)
	a.heap.Drop(func(_ chunk, size int64) { trimmed += size })
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
	return a.heap.Stats
}

// ResetPeak starts a new measurement of the peak.
func (a *Arena) ResetPeak() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heap.Stats.Peak = a.heap.Stats.InUse
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
