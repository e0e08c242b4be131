package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// IsContiguous reports whether elements lie densely in row-major order.
func (t *Tensor) IsContiguous() bool {
	n := 1
	for i := t.shape.n - 1; i >= 0; i-- {
		if t.shape.size[i] != 1 && t.strides.size[i] != n {
			return false
		}
		n *= t.shape.size[i]
	}
	return true
}

func mustContiguous(op string, ts ...*Tensor) {
	for _, t := range ts {
		t.mustLive(op)
		if !t.IsContiguous() {
			panic(fmt.Sprintf("%s: shape %v with strides %v is not contiguous", op, t.shape, t.strides))
		}
	}
}

func mustWritable(op string, t *Tensor) {
	t.mustLive(op)
	if t.store.mapped {
		panic(fmt.Sprintf("%s: %v of shape %v is a mapped file, which cannot be written to", op, t.DType(), t.shape))
	}
}

// view returns a tensor over the same memory. It holds no reference of its own:
// it is valid as long as t is.
func (t *Tensor) view(offset int, shape, strides dims) *Tensor {
	t.mustLive("view")
	return &Tensor{shape: shape, strides: strides, buf: t.buf.At(offset), store: t.store, owner: byNobody}
}

// Reshape returns a view of a contiguous tensor with another shape of as many
// elements; one size may be -1. A view is valid as long as t is, and carries no
// gradient.
func (t *Tensor) Reshape(shape ...int) *Tensor {
	sizes := t.reshaped(shape)
	return t.view(0, sizes, sizes.dense())
}

// reshaped checks a new shape of t and fills in its unknown size.
func (t *Tensor) reshaped(shape []int) dims {
	mustContiguous("reshape", t)
	var sizes dims
	if len(shape) > maxDims {
		dimsOf(shape)
	}
	sizes.n = copy(sizes.size[:], shape)
	known, unknown := 1, -1
	for i, d := range shape {
		if d == -1 && unknown < 0 {
			unknown = i
		} else {
			known *= d
		}
	}
	if unknown >= 0 && known > 0 {
		sizes.size[unknown] = t.Len() / known
	}
	if sizes = dimsOf(sizes.size[:sizes.n]); sizes.count() != t.Len() {
		panic(fmt.Sprintf("reshape: %v to %v", t.shape, sizes))
	}
	return sizes
}

// Narrow returns the view of indices start…start+length-1 of a dimension.
func (t *Tensor) Narrow(dim, start, length int) *Tensor {
	if dim < 0 || dim >= t.shape.n || start < 0 || length < 0 || start+length > t.shape.size[dim] {
		panic(fmt.Sprintf("narrow: %d…%d of dimension %d of shape %v", start, start+length, dim, t.shape))
	}
	shape := t.shape
	shape.size[dim] = length
	return t.view(start*t.strides.size[dim], shape, t.strides)
}

// Transpose returns the view with two dimensions exchanged.
func (t *Tensor) Transpose(i, j int) *Tensor {
	if min(i, j) < 0 || max(i, j) >= t.shape.n {
		panic(fmt.Sprintf("transpose: dimensions %d and %d of shape %v", i, j, t.shape))
	}
	shape, strides := t.shape, t.strides
	shape.size[i], shape.size[j] = shape.size[j], shape.size[i]
	strides.size[i], strides.size[j] = strides.size[j], strides.size[i]
	return t.view(0, shape, strides)
}

// index returns the view of index i of the first dimension.
func (t *Tensor) index(i int) *Tensor {
	return t.view(i*t.strides.size[0], t.shape.rest(), t.strides.rest())
}

// copyView copies between views of one shape, in as few ops as their strides
// allow.
func copyView(dst, src *Tensor) {
	args := kernels.CopyArgs{Dst: dst.buf, Src: src.buf, Rows: 1, Cols: src.Len(), DstStride: src.Len(), SrcStride: src.Len()}
	n, to, from := src.shape.size, dst.strides.size, src.strides.size
	switch rank := src.shape.n; {
	case dst.IsContiguous() && src.IsContiguous():
	case rank == 1:
		args.Rows, args.Cols, args.DstStride, args.SrcStride = n[0], 1, to[0], from[0]
	case rank == 2 && to[1] == 1 && from[1] == 1:
		args.Rows, args.Cols, args.DstStride, args.SrcStride = n[0], n[1], to[0], from[0]
	default:
		for i := range n[0] {
			copyView(dst.index(i), src.index(i))
		}
		return
	}
	if src.Len() > 0 {
		src.Device().backend.Copy(args)
	}
}
