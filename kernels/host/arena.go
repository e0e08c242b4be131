// Package host is what backends that compute in host memory share: a caching
// arena, typed access to buffers, copies and the sticky error. It must not
// import tensor or any backend.
package host

import (
	"fmt"
	"math/bits"
	"runtime/debug"
	"sync"

	"github.com/selkie-ml/selkie/kernels"
)

// mem is the host's kernels.Mem.
type mem struct {
	data   []byte
	class  int
	mapped bool
	freed  bool
}

func (m *mem) Size() int64 { return int64(len(m.data)) }

// Arena hands out memory in size classes (four per power of two) and keeps
// what is freed for the next request of its class. It is safe for concurrent
// use.
type Arena struct {
	// Poison fills memory handed out and memory freed with 0xFF bytes, a NaN in
	// every float storage, so that a read of what was never written shows.
	Poison bool
	// Limit is the most bytes in use at once; 0: none.
	Limit int64

	mu    sync.Mutex
	free  [numClasses][]*mem
	stats kernels.MemStats
}

const numClasses = 4 * 64

// AllocSize returns the bytes that Alloc takes for a request of n.
func (a *Arena) AllocSize(n int64) int64 {
	_, size := sizeClass(n)
	return size
}

// sizeClass returns the class of a request and the bytes of that class.
func sizeClass(n int64) (class int, size int64) {
	const smallest = 256
	if n <= smallest {
		return 0, smallest
	}
	exp := bits.Len64(uint64(n-1)) - 1 // 2^exp < n <= 2^(exp+1)
	quarter := int64(1) << (exp - 2)
	step := (n - (1 << exp) + quarter - 1) / quarter
	return exp*4 + int(step), 1<<exp + step*quarter
}

// Alloc returns at least n bytes, aligned to 8 or better, contents undefined.
func (a *Arena) Alloc(n int64) (kernels.Mem, error) {
	if n < 0 {
		return nil, fmt.Errorf("allocate %d bytes: negative size", n)
	}
	class, size := sizeClass(n)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.Limit > 0 && a.stats.InUse+size > a.Limit {
		return nil, fmt.Errorf("allocate %d bytes: %d of the limit of %d bytes are in use; use a smaller batch, fewer adapters at once or activation recomputation, or raise the memory limit",
			n, a.stats.InUse, a.Limit)
	}
	var m *mem
	if list := a.free[class]; len(list) > 0 {
		m = list[len(list)-1]
		a.free[class] = list[:len(list)-1]
		a.stats.Cached -= size
		m.freed = false
	} else {
		m = &mem{data: make([]byte, size), class: class}
		if a.Poison {
			fill(m.data, 0xFF)
		}
	}
	a.stats.InUse += size
	a.stats.Peak = max(a.stats.Peak, a.stats.InUse)
	return m, nil
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
	a.free[m.class] = append(a.free[m.class], m)
	a.stats.InUse -= m.Size()
	a.stats.Cached += m.Size()
}

// MapHost makes host memory usable in place, read-only.
func (a *Arena) MapHost(data []byte) (kernels.Mem, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.Mapped += int64(len(data))
	return &mem{data: data, mapped: true}, nil
}

// Trim gives cached memory back to the system.
func (a *Arena) Trim() {
	a.mu.Lock()
	cached := a.stats.Cached
	a.free = [numClasses][]*mem{}
	a.stats.Cached = 0
	a.mu.Unlock()
	if cached >= trimWorth {
		debug.FreeOSMemory()
	}
}

// trimWorth is the cached memory above which Trim has the runtime collect it at
// once, which takes longer than all of a small model's ops together.
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
	for i := range b {
		b[i] = v
	}
}
