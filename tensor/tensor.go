package tensor

import (
	"fmt"
	"unsafe"

	"github.com/selkie-ml/selkie/kernels"
)

// Tensor is a typed, shaped view of device memory. A tensor made by a Device
// belongs to the caller until Free; one made by an op belongs to its tape and is
// valid until the tape is freed; a view is valid as long as what it shows.
type Tensor struct {
	shape   dims
	strides dims // elements
	buf     kernels.Buffer
	store   *storage // nil once freed
	owner   owner
	maker   int // number of the tape's node that can make it again, from 1; 0: none

	needsGrad bool    // some trained parameter lies upstream
	param     bool    // it is one itself
	grad      *Tensor // of a parameter: the caller's; of an op's output: the tape's
}

// owner is who gives a tensor's memory back.
type owner uint8

const (
	byCaller owner = iota
	byTape
	byNobody // a view
)

// New returns a tensor of undefined contents.
func (d *Device) New(dtype DType, shape ...int) (_ *Tensor, err error) {
	defer Recover(&err) // and nil, not half a tensor, that somebody would free
	t := new(Tensor)
	t.init(d, dtype, dimsOf(shape))
	return t, nil
}

// init gives a zero tensor memory of its own or raises a DeviceError.
func (t *Tensor) init(d *Device, dtype DType, shape dims) {
	t.shape, t.strides = shape, shape.dense()
	t.store = d.alloc(int64(shape.count()) * int64(dtype.Size()))
	t.buf = kernels.Buffer{Mem: t.store.mem, DType: dtype}
}

// Zeros returns a tensor of zeros.
func (d *Device) Zeros(dtype DType, shape ...int) (*Tensor, error) {
	t, err := d.New(dtype, shape...)
	if err == nil {
		t.Fill(0)
	}
	return t, err
}

// FromFloat32s returns an f32 tensor with a copy of data.
func (d *Device) FromFloat32s(data []float32, shape ...int) (*Tensor, error) {
	return d.fromBytes(F32, asBytes(data), shape)
}

// FromInt32s returns an i32 tensor with a copy of data.
func (d *Device) FromInt32s(data []int32, shape ...int) (*Tensor, error) {
	return d.fromBytes(I32, asBytes(data), shape)
}

// FromBytes returns a tensor with a copy of little-endian elements.
func (d *Device) FromBytes(dtype DType, data []byte, shape ...int) (*Tensor, error) {
	return d.fromBytes(dtype, data, shape)
}

func (d *Device) fromBytes(dtype DType, data []byte, shape []int) (*Tensor, error) {
	mustBytes(dtype, len(data), dimsOf(shape))
	t, err := d.New(dtype, shape...)
	if err == nil {
		d.backend.CopyIn(t.buf, data)
	}
	return t, err
}

// mustBytes checks the length of a tensor's contents.
func mustBytes(dtype DType, n int, shape dims) {
	if want := shape.count() * dtype.Size(); n != want {
		panic(fmt.Sprintf("tensor: %d bytes for %v of shape %v, want %d", n, dtype, shape, want))
	}
}

// Map returns a read-only tensor over host memory, a mapped weight file, used
// in place where the backend can. data must stay valid until Free. Data not
// aligned to its elements is copied.
func (d *Device) Map(dtype DType, data []byte, shape ...int) (*Tensor, error) {
	sizes := dimsOf(shape)
	mustBytes(dtype, len(data), sizes)
	if uintptr(unsafe.Pointer(unsafe.SliceData(data)))%uintptr(dtype.Size()) != 0 {
		return d.fromBytes(dtype, data, shape)
	}
	m, err := d.backend.MapHost(data)
	if err != nil {
		return nil, err
	}
	return &Tensor{
		shape: sizes, strides: sizes.dense(), store: &storage{dev: d, mem: m, refs: 1, mapped: true},
		buf: kernels.Buffer{Mem: m, DType: dtype},
	}, nil
}

// Free gives the memory of a tensor of the caller's back. Freeing twice panics.
func (t *Tensor) Free() {
	t.mustLive("free")
	switch t.owner {
	case byTape:
		panic(fmt.Sprintf("free: %v of shape %v belongs to a tape", t.DType(), t.shape))
	case byNobody:
		panic(fmt.Sprintf("free: %v of shape %v is a view", t.DType(), t.shape))
	}
	t.store.release()
	t.store = nil
}

// mustLive panics when t was freed. A tensor whose tape goes on to another step
// cannot be told from one of that step's.
func (t *Tensor) mustLive(op string) {
	if t.store == nil {
		panic(op + ": the tensor was freed, by its owner or with its tape")
	}
}

// Share returns another owner of the same memory, to be freed on its own.
func (t *Tensor) Share() *Tensor {
	t.mustLive("share")
	t.store.retain()
	return &Tensor{shape: t.shape, strides: t.strides, buf: t.buf, store: t.store}
}

// Device returns where the tensor lives.
func (t *Tensor) Device() *Device { return t.store.dev }

// DType returns the storage type.
func (t *Tensor) DType() DType { return t.buf.DType }

// Shape returns the sizes; the caller must not change them.
func (t *Tensor) Shape() []int { return t.shape.size[:t.shape.n] }

// Dim returns the size of dimension i; negative i counts from the end.
func (t *Tensor) Dim(i int) int {
	if i < 0 {
		i += t.shape.n
	}
	return t.shape.size[:t.shape.n][i]
}

// Len returns the number of elements.
func (t *Tensor) Len() int { return t.shape.count() }

// rows returns the product of all dimensions but the last.
func (t *Tensor) rows() int {
	n := 1
	for _, size := range t.shape.size[:t.shape.n-1] {
		n *= size
	}
	return n
}

// Buffer returns the tensor's memory for calls to the backend.
func (t *Tensor) Buffer() kernels.Buffer { return t.buf }

// Grad returns the gradient that a backward pass adds to, nil for none.
func (t *Tensor) Grad() *Tensor { return t.grad }

// SetGrad makes t a parameter: backward passes add its gradient to g, a dense
// f32 tensor of the same shape that the caller owns. nil ends that.
func (t *Tensor) SetGrad(g *Tensor) {
	if g != nil && (g.DType() != F32 || g.shape != t.shape || !g.IsContiguous()) {
		panic(fmt.Sprintf("tensor: gradient %v of shape %v, strides %v, for a parameter of shape %v", g.DType(), g.shape, g.strides, t.shape))
	}
	t.grad, t.needsGrad, t.param = g, g != nil, g != nil
}

// Exclusive reports whether t may be written to without changing anything else:
// its memory is neither a mapped file nor shared with another owner.
func (t *Tensor) Exclusive() bool { return !t.store.mapped && t.store.refs == 1 }

// Mapped reports whether t lies in a mapped file, which cannot be written to.
func (t *Tensor) Mapped() bool { return t.store.mapped }

// Float32s copies the elements of a float tensor to the host.
func (t *Tensor) Float32s() ([]float32, error) {
	if t.DType() != F32 {
		if !t.DType().IsFloat() {
			panic(fmt.Sprintf("tensor: Float32s of %v", t.DType()))
		}
		c, err := t.Device().New(F32, t.Shape()...)
		if err != nil {
			return nil, err
		}
		defer c.Free()
		copyView(c, t)
		return c.Float32s()
	}
	out := make([]float32, t.Len())
	return out, t.copyOut(asBytes(out))
}

// Int32s copies the elements of an i32 tensor to the host.
func (t *Tensor) Int32s() ([]int32, error) {
	if t.DType() != I32 {
		panic(fmt.Sprintf("tensor: Int32s of %v", t.DType()))
	}
	out := make([]int32, t.Len())
	return out, t.copyOut(asBytes(out))
}

// Bytes copies the elements to the host as stored, little-endian.
func (t *Tensor) Bytes() ([]byte, error) {
	out := make([]byte, t.Len()*t.DType().Size())
	return out, t.copyOut(out)
}

// ReadFloat32s copies the elements of an f32 tensor to dst, of as many.
func (t *Tensor) ReadFloat32s(dst []float32) error {
	t.mustLive("read")
	mustBytes(F32, 4*len(dst), t.shape)
	return t.copyOut(asBytes(dst))
}

// ReadInt32s copies the elements of an i32 tensor to dst, of as many.
func (t *Tensor) ReadInt32s(dst []int32) error {
	t.mustLive("read")
	mustBytes(I32, 4*len(dst), t.shape)
	return t.copyOut(asBytes(dst))
}

func (t *Tensor) copyOut(dst []byte) error {
	t.mustLive("copy")
	if !t.IsContiguous() {
		c, err := t.Device().New(t.DType(), t.Shape()...)
		if err != nil {
			return err
		}
		defer c.Free()
		copyView(c, t)
		return c.copyOut(dst)
	}
	return t.Device().backend.CopyOut(dst, t.buf)
}

// SetFloat32s overwrites an f32 tensor from the host.
func (t *Tensor) SetFloat32s(data []float32) { t.setBytes(F32, asBytes(data)) }

// SetInt32s overwrites an i32 tensor from the host.
func (t *Tensor) SetInt32s(data []int32) { t.setBytes(I32, asBytes(data)) }

// SetBytes overwrites a tensor from its stored form.
func (t *Tensor) SetBytes(data []byte) { t.setBytes(t.DType(), data) }

func (t *Tensor) setBytes(dtype DType, data []byte) {
	mustWritable("copy", t)
	if t.DType() != dtype || len(data) != t.Len()*dtype.Size() || !t.IsContiguous() {
		panic(fmt.Sprintf("tensor: %d bytes of %v for %v of shape %v", len(data), dtype, t.DType(), t.shape))
	}
	if len(data) > 0 {
		t.Device().backend.CopyIn(t.buf, data)
	}
}

// Fill sets every element to v.
func (t *Tensor) Fill(v float32) {
	mustContiguous("fill", t)
	mustWritable("fill", t)
	t.Device().backend.Fill(kernels.FillArgs{Dst: t.buf, N: t.Len(), Value: v})
}

// CopyFrom overwrites t with src, converting the storage type.
func (t *Tensor) CopyFrom(src *Tensor) {
	if t.shape != src.shape {
		panic(fmt.Sprintf("copy: destination %v, source %v", t.shape, src.shape))
	}
	mustWritable("copy", t)
	copyView(t, src)
}

func asBytes[T float32 | int32](x []T) []byte {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}
