package cuda

import (
	"errors"
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
)

// address is where a buffer lies on the device, 0 if it is absent.
func address(buf kernels.Buffer) driver.Ptr {
	if buf.Mem == nil {
		return 0
	}
	m, ok := buf.Mem.(*mem)
	if !ok {
		panic(fmt.Sprintf("kernels/cuda: buffer is %T, not memory of a GPU", buf.Mem))
	}
	if m.Freed {
		panic("kernels/cuda: buffer used after it was freed")
	}
	return start(m) + driver.Ptr(buf.Offset)
}

// span checks that n bytes at a buffer lie within its memory.
func span(buf kernels.Buffer, n int) {
	if buf.Offset < 0 || buf.Offset+int64(n) > buf.Mem.Size() {
		panic(fmt.Sprintf("kernels/cuda: %d bytes at offset %d of an allocation of %d", n, buf.Offset, buf.Mem.Size()))
	}
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
		if s.half[i] != nil {
			err = errors.Join(err, api.MemFreeHost(s.half[i]))
		}
		if s.busy[i] != 0 {
			err = errors.Join(err, api.EventDestroy(s.busy[i]))
		}
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
	if b.lost != nil {
		return nil, b.lost
	}
	defer b.enter()()
	m, err := b.arena.alloc(bytes)
	if err != nil {
		return nil, b.failure(err)
	}
	b.taint(m)
	return m, nil
}

// taint fills memory with NaN, if that is wanted.
func (b *Backend) taint(m *mem) {
	if b.poison {
		b.catchUp()
		if err := b.api.MemsetD8Async(start(m), 0xFF, m.Size(), b.stream); err != nil {
			b.fail("", err)
		}
	}
}

// AllocSize returns the bytes that Alloc takes for a request of n.
func (b *Backend) AllocSize(n int64) int64 { return b.arena.size(n) }

// Free implements kernels.Backend.
func (b *Backend) Free(km kernels.Mem) {
	m := km.(*mem)
	if b.lost != nil {
		m.Freed = true
		return
	}
	defer b.enter()()
	if !m.Freed && m.Chunk.use != mapped {
		b.taint(m)
	}
	if m.Chunk.use != divided {
		b.catchUp()
	}
	if err := b.arena.release(m); err != nil {
		b.fail("", err)
	}
}

// MapHost implements kernels.Backend: the memory is copied to the GPU.
func (b *Backend) MapHost(data []byte) (kernels.Mem, error) {
	if b.lost != nil {
		return nil, b.lost
	}
	defer b.enter()()
	b.catchUp()
	m, err := b.arena.weights(int64(len(data)))
	if err != nil {
		return nil, b.failure(err)
	}
	if err := b.stage.copyIn(b.api, m.Chunk.base, data, b.stream); err != nil {
		_ = b.arena.release(m) // the copy's failure says more
		return nil, b.failure(fmt.Errorf("copy %d bytes of weights to the GPU: %w", len(data), err))
	}
	return m, nil
}

// CopyIn implements kernels.Backend.
func (b *Backend) CopyIn(dst kernels.Buffer, src []byte) {
	if len(src) == 0 || b.lost != nil {
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
	if b.lost != nil {
		return b.lost
	}
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

// Available returns the bytes that the GPU has free or the arena keeps for reuse; 0 if
// the driver does not tell.
func (b *Backend) Available() int64 {
	defer b.enter()()
	free, _, err := b.api.MemGetInfo()
	if err != nil {
		return 0
	}
	return free + b.arena.heap.Stats.Cached
}

// Stats implements kernels.Backend.
func (b *Backend) Stats() kernels.MemStats { return b.arena.heap.Stats }

// ResetPeak implements kernels.Backend.
func (b *Backend) ResetPeak() { b.arena.heap.Stats.Peak = b.arena.heap.Stats.InUse }

// Trim implements kernels.Backend.
func (b *Backend) Trim() {
	if b.lost != nil {
		return
	}
	defer b.enter()()
	if err := b.arena.trim(); err != nil {
		b.fail("", err)
	}
}
