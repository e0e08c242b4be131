package cuda

import (
	"errors"
	"fmt"

	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/host"
)

// mem is device memory.
type mem = host.Block[chunk]

// chunk is an allocation of the driver.
type chunk struct {
	base driver.Ptr
	use  use
}

// use is what a chunk is for.
type use uint8

const (
	divided use = iota // by the arena
	alone              // one block, as large as the chunk
	mapped             // a copy of the host's read-only memory
)

// start is where a block lies on the device.
func start(m *mem) driver.Ptr { return m.Chunk.base + driver.Ptr(m.Start) }

// arena hands out blocks of large allocations. All work is on one stream, so memory
// may be used anew by what is enqueued after its free; nothing waits.
type arena struct {
	api    driver.API
	limit  int64
	direct bool
	settle func() // gives the stream what is held back of it
	heap   host.Heap[chunk]
}

const (
	page       = 2 << 20 // what the driver gives
	leastChunk = 16 << 20
	mostAhead  = 1 << 30
)

func newArena(api driver.API, limit int64, direct bool, settle func()) arena {
	return arena{api: api, limit: limit, direct: direct, settle: settle}
}

// size returns what an allocation of n bytes takes.
func (a *arena) size(n int64) int64 {
	if a.direct {
		return max(4, (n+3)&^3)
	}
	return host.BlockSize(n)
}

func (a *arena) alloc(n int64) (*mem, error) {
	if n < 0 {
		return nil, fmt.Errorf("allocate %d bytes: negative size", n)
	}
	size, s := a.size(n), &a.heap.Stats
	if a.limit > 0 && s.InUse+size > a.limit {
		return nil, a.exhausted("allocate", n, fmt.Errorf("the memory limit is %s", mib(a.limit)))
	}
	if a.direct {
		p, err := a.take(size)
		if err != nil {
			return nil, a.exhausted("allocate", n, err)
		}
		s.InUse += size
		s.Peak = max(s.Peak, s.InUse)
		return host.Whole(chunk{p, alone}, size), nil
	}
	if m := a.heap.Take(size); m != nil {
		return m, nil
	}
	if err := a.grow(size); err != nil {
		return nil, a.exhausted("allocate", n, err)
	}
	return a.heap.Take(size), nil
}

// grow adds a chunk: an eighth more than is held already, so that there are few
// chunks and blocks can join; where memory is short, no more than is needed.
func (a *arena) grow(size int64) error {
	ahead := min((a.heap.Stats.InUse+a.heap.Stats.Cached)/8, mostAhead)
	for _, want := range []int64{max(size, leastChunk, ahead), size} {
		want = (want + page - 1) &^ (page - 1)
		p, err := a.api.MemAlloc(want)
		if err == nil {
			a.heap.Add(chunk{p, divided}, want)
			return nil
		}
		if !isCode(err, driver.OutOfMemory) {
			return err
		}
	}
	size = (size + page - 1) &^ (page - 1)
	p, err := a.take(size)
	if err == nil {
		a.heap.Add(chunk{p, divided}, size)
	}
	return err
}

// take asks the driver for memory. Where there is none, what is cached is given up.
func (a *arena) take(n int64) (driver.Ptr, error) {
	p, err := a.api.MemAlloc(n)
	if isCode(err, driver.OutOfMemory) && a.heap.Stats.Cached > 0 {
		if err := a.trim(); err != nil {
			return 0, err
		}
		p, err = a.api.MemAlloc(n)
	}
	return p, err
}

// weights takes n bytes for a copy of the host's memory.
func (a *arena) weights(n int64) (*mem, error) {
	n = max(n, 1)
	p, err := a.take(n)
	if err != nil {
		return nil, a.exhausted("copy weights of", n, err)
	}
	a.heap.Stats.Mapped += n
	return host.Whole(chunk{p, mapped}, n), nil
}

// exhausted says what holds the memory, and which settings lower it.
func (a *arena) exhausted(what string, n int64, err error) error {
	if a.limit == 0 && !isCode(err, driver.OutOfMemory) {
		return fmt.Errorf("%s %d bytes on the GPU: %w", what, n, err)
	}
	s := a.heap.Stats
	text := fmt.Sprintf("%s are weights, %s activations, adapters and other buffers in use, %s kept for reuse", mib(s.Mapped), mib(s.InUse), mib(s.Cached))
	if free, total, e := a.api.MemGetInfo(); e == nil {
		text += fmt.Sprintf(", %s of other programs or the driver, %s free, of %s", mib(total-free-s.Mapped-s.InUse-s.Cached), mib(free), mib(total))
	}
	advice := "use fewer tokens or adapters at once (run.max_batch_tokens, run.max_adapters), fewer texts (run.max_decodes) or recomputation (run.recompute=true)"
	if s.Mapped > s.InUse {
		advice = "use a smaller model, or compute in bf16; then " + advice[len("use "):]
	}
	return fmt.Errorf("%s %d bytes on the GPU: %w: %s; %s", what, n, err, text, advice)
}

// mib writes bytes as people read them.
func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(max(n, 0))/(1<<20)) }

// release takes memory back. Freeing twice panics.
func (a *arena) release(m *mem) error {
	if m.Freed {
		panic("kernels/cuda: memory freed twice")
	}
	switch m.Chunk.use {
	case divided:
		a.heap.Give(m)
		return nil
	case mapped:
		a.heap.Stats.Mapped -= m.Size()
	case alone:
		a.heap.Stats.InUse -= m.Size()
	}
	m.Freed = true
	return a.api.MemFree(m.Chunk.base)
}

// trim gives chunks of which nothing is in use back to the driver, which waits for
// the work that uses them.
func (a *arena) trim() (err error) {
	a.settle() // of launches that are held back the driver knows nothing
	a.heap.Drop(func(c chunk, _ int64) { err = errors.Join(err, a.api.MemFree(c.base)) })
	return err
}

func isCode(err error, code driver.Code) bool {
	var e *driver.Error
	return errors.As(err, &e) && e.Code == code
}
