package host

import (
	"fmt"
	"unsafe"

	"github.com/selkie-ml/selkie/kernels"
)

// Bytes returns the n bytes at a buffer. It panics when the buffer is shorter:
// a mistake of the caller's sizes.
func Bytes(b kernels.Buffer, n int) []byte {
	if n == 0 {
		return nil
	}
	m, ok := b.Mem.(*mem)
	if !ok {
		panic(fmt.Sprintf("kernels/host: buffer is %T, not host memory", b.Mem))
	}
	if m.Freed {
		panic("kernels/host: buffer used after it was freed")
	}
	if b.Offset < 0 || b.Offset+int64(n) > m.size {
		panic(fmt.Sprintf("kernels/host: %d bytes at offset %d of an allocation of %d", n, b.Offset, m.size))
	}
	at := m.Start + b.Offset
	return m.Chunk.data[at : at+int64(n) : at+int64(n)]
}

// view reinterprets the n elements at a buffer, which must be of type a or b, as
// T.
func view[T float32 | uint16 | int32](buf kernels.Buffer, n int, a, b kernels.DType) []T {
	if buf.DType != a && buf.DType != b {
		panic(fmt.Sprintf("kernels/host: buffer is %v, want %v or %v", buf.DType, a, b))
	}
	if n == 0 {
		return nil
	}
	var zero T
	data := Bytes(buf, n*int(unsafe.Sizeof(zero)))
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(data))), n)
}

// F32 returns the n elements of an f32 buffer, in place.
func F32(b kernels.Buffer, n int) []float32 { return view[float32](b, n, kernels.F32, kernels.F32) }

// U16 returns the n elements of a bf16 or f16 buffer as bits, in place.
func U16(b kernels.Buffer, n int) []uint16 { return view[uint16](b, n, kernels.BF16, kernels.F16) }

// I32 returns the n elements of an i32 buffer, in place.
func I32(b kernels.Buffer, n int) []int32 { return view[int32](b, n, kernels.I32, kernels.I32) }

// Device is the part of a kernels.Backend that host backends embed.
type Device struct {
	Arena
	err error
}

// Fail keeps the first error of an op until Sync or CopyOut reports it.
func (d *Device) Fail(op, format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%s: "+format, append([]any{op}, args...)...)
	}
}

// CopyIn implements kernels.Backend.
func (d *Device) CopyIn(dst kernels.Buffer, src []byte) { copy(Bytes(dst, len(src)), src) }

// CopyOut implements kernels.Backend.
func (d *Device) CopyOut(dst []byte, src kernels.Buffer) error {
	if err := d.Sync(); err != nil {
		return err
	}
	copy(dst, Bytes(src, len(dst)))
	return nil
}

// Sync implements kernels.Backend: host ops finish before they return, so only
// the sticky error is left.
func (d *Device) Sync() error {
	err := d.err
	d.err = nil
	return err
}
