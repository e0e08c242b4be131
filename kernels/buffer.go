package kernels

// Mem is an allocation of a backend: an opaque handle. Only the backend that
// made it knows what it is.
type Mem interface {
	// Size returns the usable bytes, at least as many as were asked for.
	Size() int64
}

// Buffer is a typed position within an allocation. The zero Buffer means
// "absent" where an op allows it.
type Buffer struct {
	Mem    Mem
	Offset int64 // bytes
	DType  DType
}

// IsNil reports whether the buffer is absent.
func (b Buffer) IsNil() bool { return b.Mem == nil }

// At returns the buffer that starts n elements further on.
func (b Buffer) At(n int) Buffer {
	b.Offset += int64(n) * int64(b.DType.Size())
	return b
}

// MemStats describes a backend's memory in bytes.
type MemStats struct {
	InUse  int64 // allocated and not freed
	Peak   int64 // highest InUse since the last ResetPeak
	Cached int64 // freed and kept for reuse
	Mapped int64 // read-only host memory used in place
}
