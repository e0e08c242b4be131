package cpu

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/klauspost/cpuid/v2"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
	"github.com/selkie-ml/selkie/kernels/host"
)

// elems is an op's view of a buffer in any float storage. f32 is worked on in
// place; bf16 and f16 pass through a worker's scratch.
type elems struct {
	f32   []float32
	u16   []uint16
	dtype kernels.DType
	past  bool // an output that goes to memory past the caches, by way of scratch
}

// pastFrom is the size in bytes from which an output goes past the caches. A
// smaller one will be read from there.
var pastFrom = max(8<<20, cpuid.CPU.Cache.L3/2)

// output marks e as the output of an op that does little but copy its input in.
// Where it is large it goes past the caches, unless it takes the input's place.
// f32 alone gains by that, and only where there is little to compute.
func (e elems) output(in elems) elems {
	e.past = 4*len(e.f32) >= pastFrom && unsafe.SliceData(e.f32) != unsafe.SliceData(in.f32)
	return e
}

// blockLen is how many elements of every operand are in a worker's scratch at
// once: few enough for a first-level cache.
const blockLen = 1024

// blockOf returns n, or blockLen if less where an operand passes through scratch.
func blockOf(n int, operands ...elems) int {
	for _, e := range operands {
		if e.dtype != kernels.F32 || e.past {
			return min(n, blockLen)
		}
	}
	return n
}

// product returns the number of elements of a shape. It panics on a negative
// dimension.
func product(op, name string, dims []int) int {
	n := 1
	for _, d := range dims {
		if d < 0 {
			panic(fmt.Sprintf("kernels/cpu: %s: %s has the shape %v", op, name, slices.Clone(dims)))
		}
		n *= d
	}
	return n
}

// check panics unless the buffer is present and holds the shape's n elements.
func check(op, name string, b kernels.Buffer, n int, dims []int) {
	if n == 0 {
		return
	}
	if b.IsNil() {
		panic(fmt.Sprintf("kernels/cpu: %s: %s %v is missing", op, name, slices.Clone(dims)))
	}
	if have := (b.Mem.Size() - b.Offset) / int64(b.DType.Size()); b.Offset < 0 || have < int64(n) {
		panic(fmt.Sprintf("kernels/cpu: %s: %s is %v = %d elements, but its buffer has %d", op, name, slices.Clone(dims), n, have))
	}
}

// view returns the shape's elements in place; want says which storage is right.
func view[T float32 | uint16 | int32](op, name string, b kernels.Buffer, n int, ok bool, want string) []T {
	if n == 0 {
		return nil
	}
	if !ok {
		panic(fmt.Sprintf("kernels/cpu: %s: %s is %v, want %s", op, name, b.DType, want))
	}
	data := host.Bytes(b, n*int(unsafe.Sizeof(T(0))))
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(data))), n)
}

// floats opens a buffer of any float storage.
func floats(op, name string, b kernels.Buffer, dims ...int) elems {
	n := product(op, name, dims)
	check(op, name, b, n, dims)
	if n == 0 || b.DType == kernels.F32 {
		return elems{f32: view[float32](op, name, b, n, true, ""), dtype: kernels.F32}
	}
	return elems{u16: view[uint16](op, name, b, n, b.DType.IsFloat(), "f32, bf16 or f16"), dtype: b.DType}
}

// f32s opens a buffer that is f32 by definition.
func f32s(op, name string, b kernels.Buffer, dims ...int) []float32 {
	n := product(op, name, dims)
	check(op, name, b, n, dims)
	return view[float32](op, name, b, n, b.DType == kernels.F32, "f32")
}

// slab opens all that an f32 buffer holds, for ops that address it by a table.
func slab(op, name string, b kernels.Buffer) []float32 {
	if b.IsNil() {
		panic(fmt.Sprintf("kernels/cpu: %s: %s is missing", op, name))
	}
	return f32s(op, name, b, int((b.Mem.Size()-b.Offset)/4))
}

// i32s opens a buffer of integers.
func i32s(op, name string, b kernels.Buffer, dims ...int) []int32 {
	n := product(op, name, dims)
	check(op, name, b, n, dims)
	return view[int32](op, name, b, n, b.DType == kernels.I32, "i32")
}

// starts opens sequence starts. It keeps the error and reports false unless
// they ascend within rows.
func (b *Backend) starts(op string, buf kernels.Buffer, nseq, rows int) (starts []int32, ok bool) {
	starts = i32s(op, "Starts", buf, nseq+1)
	last := int32(0)
	for s, v := range starts {
		if v < last || int(v) > rows {
			b.Fail(op, "starts[%d] is %d, want %d…%d", s, v, last, rows)
			return nil, false
		}
		last = v
	}
	return starts, true
}

// load returns elements at…at+n-1 as float32, in place where they are.
func (e elems) load(w *worker, at, n int) []float32 {
	if e.dtype == kernels.F32 {
		return e.f32[at : at+n : at+n]
	}
	x := w.floats(n)
	e.widen(x, at)
	return x
}

// widen copies elements from at on to x.
func (e elems) widen(x []float32, at int) {
	switch e.dtype {
	case kernels.F32:
		copy(x, e.f32[at:at+len(x)])
	case kernels.BF16:
		vec.WidenBF16(x, e.u16[at:at+len(x)])
	default:
		vec.WidenF16(x, e.u16[at:at+len(x)])
	}
}

// out returns a place for n elements that belong at at: their own for f32,
// scratch otherwise, and for what goes past the caches. flush must follow.
func (e elems) out(w *worker, at, n int) []float32 {
	if e.dtype == kernels.F32 && !e.past {
		return e.f32[at : at+n : at+n]
	}
	return w.floats(n)
}

// flush brings what was computed in the place that out gave to its storage.
// A worker's last is followed by fence.
func (e *elems) flush(x []float32, at int) {
	if e.dtype != kernels.F32 || e.past {
		e.put(x, at)
	}
}

func (e *elems) put(x []float32, at int) {
	if e.past {
		vec.Stream(e.f32[at:at+len(x)], x)
	} else {
		e.narrow(x, at)
	}
}

// fence makes what was flushed visible to other workers.
func (e elems) fence() {
	if e.past {
		vec.Fence()
	}
}

// narrow rounds x to the elements from at on.
func (e elems) narrow(x []float32, at int) {
	switch e.dtype {
	case kernels.F32:
		copy(e.f32[at:at+len(x)], x)
	case kernels.BF16:
		vec.NarrowBF16(e.u16[at:at+len(x)], x)
	default:
		vec.NarrowF16(e.u16[at:at+len(x)], x)
	}
}
