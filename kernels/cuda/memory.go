package cuda

import (
	"errors"
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
)

// mem is device memory.
type mem struct {
	ptr    driver.Ptr
	size   int64
	mapped bool // holds a copy of the host's read-only memory
	freed  bool
}

func (m *mem) Size() int64 { return m.size }

// address is where a buffer lies on the device, 0 if it is absent.
func address(buf kernels.Buffer) driver.Ptr {
	if buf.Mem == nil {
		return 0
	}
	m, ok := buf.Mem.(*mem)
	if !ok {
		panic(fmt.Sprintf("kernels/cuda: buffer is %T, not memory of a GPU", buf.Mem))
	}
	if m.freed {
		panic("kernels/cuda: buffer used after it was freed")
	}
	return m.ptr + driver.Ptr(buf.Offset)
}

// span checks that n bytes at a buffer lie within its memory.
func span(buf kernels.Buffer, n int) {
	if buf.Offset < 0 || buf.Offset+int64(n) > buf.Mem.Size() {
		panic(fmt.Sprintf("kernels/cuda: %d bytes at offset %d of an allocation of %d", n, buf.Offset, buf.Mem.Size()))
	}
}

// arena keeps freed memory by size and hands it out again. All work is on one
// stream, so memory may be used anew by what is enqueued after its free.
type arena struct {
	api    driver.API
	limit  int64
	direct bool
	free   map[int64][]*mem
	stats  kernels.MemStats
}

const grain = 512 // bytes: allocations are multiples of it

func newArena(api driver.API, limit int64, direct bool) arena {
	return arena{api: api, limit: limit, direct: direct, free: map[int64][]*mem{}}
}

// size returns what an allocation of n bytes takes: at most an eighth more.
func (a *arena) size(n int64) int64 {
	if a.direct {
		return max(4, (n+3)&^3)
	}
	unit := int64(grain)
	for unit*16 < n {
		unit *= 2
	}
	return max(unit, (n+unit-1)/unit*unit)
}

func (a *arena) alloc(n int64) (*mem, error) {
	if n < 0 {
		return nil, fmt.Errorf("allocate %d bytes: negative size", n)
	}
	size := a.size(n)
	if a.limit > 0 && a.stats.InUse+size > a.limit {
		return nil, a.exhausted(n, fmt.Errorf("the limit is %d bytes", a.limit))
	}
	m := a.reuse(size)
	if m == nil {
		p, err := a.api.MemAlloc(size)
		if isCode(err, driver.OutOfMemory) { // what is cached may be enough
			if err := a.trim(); err != nil {
				return nil, err
			}
			p, err = a.api.MemAlloc(size)
		}
		if err != nil {
			return nil, a.exhausted(n, err)
		}
		m = &mem{ptr: p, size: size}
	}
	a.stats.InUse += size
	a.stats.Peak = max(a.stats.Peak, a.stats.InUse)
	return m, nil
}

func (a *arena) reuse(size int64) *mem {
	list := a.free[size]
	if len(list) == 0 {
		return nil
	}
	m := list[len(list)-1]
	a.free[size] = list[:len(list)-1]
	a.stats.Cached -= size
	return &mem{ptr: m.ptr, size: size}
}

func (a *arena) exhausted(n int64, err error) error {
	return fmt.Errorf("allocate %d bytes of GPU memory: %d are in use; use a smaller batch, fewer adapters at once or activation recomputation: %w", n, a.stats.InUse, err)
}

// release takes memory back. Freeing twice panics.
func (a *arena) release(m *mem) error {
	if m.freed {
		panic("kernels/cuda: memory freed twice")
	}
	m.freed = true
	if m.mapped {
		a.stats.Mapped -= m.size
	} else {
		a.stats.InUse -= m.size
	}
	if a.direct || m.mapped {
		return a.api.MemFree(m.ptr)
	}
	a.stats.Cached += m.size
	a.free[m.size] = append(a.free[m.size], m)
	return nil
}

func (a *arena) trim() (err error) {
	for size, list := range a.free {
		for _, m := range list {
			err = errors.Join(err, a.api.MemFree(m.ptr))
			a.stats.Cached -= size
		}
		delete(a.free, size)
	}
	return err
}

func (a *arena) close() error { return a.trim() }

func isCode(err error, code driver.Code) bool {
	var e *driver.Error
	return errors.As(err, &e) && e.Code == code
}

// staging is page-locked memory through which copies to the device go, in two halves:
// one is filled while the other is copied.
type staging struct {
	half  [2][]byte
	busy  [2]driver.Event
	which int
	used  int
}

const stageBytes = 4 << 20 // of a half

func newStaging(api driver.API) (s staging, err error) {
	for i := range s.half {
		if s.half[i], err = api.MemHostAlloc(stageBytes); err != nil {
			return s, err
		}
		if s.busy[i], err = api.EventCreate(false); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *staging) close(api driver.API) (err error) {
	for i := range s.half {
		err = errors.Join(err, api.MemFreeHost(s.half[i]), api.EventDestroy(s.busy[i]))
	}
	return err
}

// copyIn copies host bytes to the device; src may change when it returns.
func (s *staging) copyIn(api driver.API, to driver.Ptr, src []byte, stream driver.Stream) error {
	for len(src) > 0 {
		if s.used == stageBytes {
			if err := api.EventRecord(s.busy[s.which], stream); err != nil {
				return err
			}
			s.which, s.used = 1-s.which, 0
			if err := api.EventSynchronize(s.busy[s.which]); err != nil {
				return err
			}
		}
		part := s.half[s.which][s.used:]
		n := copy(part, src)
		if err := api.MemcpyHtoDAsync(to, part[:n], stream); err != nil {
			return err
		}
		s.used += (n + 15) &^ 15
		s.used = min(s.used, stageBytes)
		src, to = src[n:], to+driver.Ptr(n)
	}
	return nil
}

// Alloc implements kernels.Backend.
func (b *Backend) Alloc(bytes int64) (kernels.Mem, error) {
	defer b.enter()()
	m, err := b.arena.alloc(bytes)
	if err != nil {
		return nil, err
	}
	b.taint(m)
	return m, nil
}

// taint fills memory with NaN, if that is wanted.
func (b *Backend) taint(m *mem) {
	if b.poison {
		b.catchUp()
		if err := b.api.MemsetD8Async(m.ptr, 0xFF, m.size, b.stream); err != nil {
			b.fail("", err)
		}
	}
}

// AllocSize returns the bytes that Alloc takes for a request of n.
func (b *Backend) AllocSize(n int64) int64 { return b.arena.size(n) }

// Free implements kernels.Backend.
func (b *Backend) Free(km kernels.Mem) {
	defer b.enter()()
	m := km.(*mem)
	if !m.freed && !m.mapped {
		b.taint(m)
	}
	if m.mapped || b.arena.direct {
		b.catchUp()
	}
	if err := b.arena.release(m); err != nil {
		b.fail("", err)
	}
}

// MapHost implements kernels.Backend: the memory is copied to the GPU.
func (b *Backend) MapHost(data []byte) (kernels.Mem, error) {
	defer b.enter()()
	b.catchUp()
	n := max(int64(len(data)), 1)
	p, err := b.api.MemAlloc(n)
	if isCode(err, driver.OutOfMemory) {
		if err = b.arena.trim(); err == nil {
			p, err = b.api.MemAlloc(n)
		}
	}
	if err == nil {
		err = b.stage.copyIn(b.api, p, data, b.stream)
	}
	if err != nil {
		return nil, fmt.Errorf("copy %d bytes of weights to the GPU: %d are in use, %d are weights: %w", n, b.arena.stats.InUse, b.arena.stats.Mapped, err)
	}
	b.arena.stats.Mapped += n
	return &mem{ptr: p, size: n, mapped: true}, nil
}

// CopyIn implements kernels.Backend.
func (b *Backend) CopyIn(dst kernels.Buffer, src []byte) {
	if len(src) == 0 {
		return
	}
	defer b.enter()()
	span(dst, len(src))
	b.catchUp()
	if err := b.stage.copyIn(b.api, address(dst), src, b.stream); err != nil {
		b.fail("CopyIn", err)
	}
}

// CopyOut implements kernels.Backend.
func (b *Backend) CopyOut(dst []byte, src kernels.Buffer) error {
	defer b.enter()()
	b.catchUp()
	if len(dst) > 0 {
		span(src, len(dst))
		if err := b.api.MemcpyDtoHAsync(dst, address(src), b.stream); err != nil {
			b.fail("CopyOut", err)
		}
	}
	return b.wait()
}

// Stats implements kernels.Backend.
func (b *Backend) Stats() kernels.MemStats { return b.arena.stats }

// ResetPeak implements kernels.Backend.
func (b *Backend) ResetPeak() { b.arena.stats.Peak = b.arena.stats.InUse }

// Trim implements kernels.Backend.
func (b *Backend) Trim() {
	defer b.enter()()
	b.catchUp()
	if err := b.arena.trim(); err != nil {
		b.fail("", err)
	}
}
