// Package dry is a backend that computes nothing: it counts the memory that work
// would take on another backend, so that a step's peak is known before the step
// runs. What it copies out is zeros.
//
// It must not import tensor or any other backend.
package dry

import "github.com/selkie-ml/selkie/kernels"

var _ kernels.Backend = (*Backend)(nil)

// Backend stands in for another backend. Ops of any shape, on memory of any
// size, take no time and leave no trace.
type Backend struct {
	of    kernels.Backend
	stats kernels.MemStats
}

// New returns a backend that asks of how much scratch its ops need and, if it has
// a method AllocSize(int64) int64, what it takes for an allocation.
func New(of kernels.Backend) *Backend { return &Backend{of: of} }

// mem is an allocation: its size alone.
type mem struct {
	size   int64
	mapped bool
}

// Size implements kernels.Mem.
func (m *mem) Size() int64 { return m.size }

// Name implements kernels.Backend.
func (b *Backend) Name() string { return "dry" }

// NumericsID implements kernels.Backend.
func (b *Backend) NumericsID() string { return "dry" }

// Alloc implements kernels.Backend.
func (b *Backend) Alloc(bytes int64) (kernels.Mem, error) {
	if a, ok := b.of.(interface{ AllocSize(bytes int64) int64 }); ok {
		bytes = a.AllocSize(bytes)
	}
	b.stats.InUse += bytes
	b.stats.Peak = max(b.stats.Peak, b.stats.InUse)
	return &mem{size: bytes}, nil
}

// Free implements kernels.Backend.
func (b *Backend) Free(km kernels.Mem) {
	m := km.(*mem)
	if m.size < 0 {
		panic("kernels/dry: memory freed twice")
	}
	if m.mapped {
		b.stats.Mapped -= m.size
	} else {
		b.stats.InUse -= m.size
	}
	m.size = -1
}

// MapHost implements kernels.Backend.
func (b *Backend) MapHost(data []byte) (kernels.Mem, error) {
	b.stats.Mapped += int64(len(data))
	return &mem{int64(len(data)), true}, nil
}

// CopyIn implements kernels.Backend.
func (b *Backend) CopyIn(kernels.Buffer, []byte) {}

// CopyOut implements kernels.Backend.
func (b *Backend) CopyOut(dst []byte, _ kernels.Buffer) error {
	clear(dst)
	return nil
}

// Sync implements kernels.Backend.
func (b *Backend) Sync() error { return nil }

// Stats implements kernels.Backend.
func (b *Backend) Stats() kernels.MemStats { return b.stats }

// ResetPeak implements kernels.Backend.
func (b *Backend) ResetPeak() { b.stats.Peak = b.stats.InUse }

// Trim implements kernels.Backend.
func (b *Backend) Trim() {}

// Close implements kernels.Backend.
func (b *Backend) Close() error { return nil }
