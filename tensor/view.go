package tensor

import (
	"fmt"
	"slices"

	"github.com/selkie-ml/selkie/kernels"
)

// dense returns the strides of a contiguous tensor.
func dense(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

// IsContiguous reports whether elements lie densely in row-major order.
func (t *Tensor) IsContiguous() bool {
	n := 1
	for i := len(t.shape) - 1; i >= 0; i-- {
		if t.shape[i] != 1 && t.strides[i] != n {
			return false
		}
		n *= t.shape[i]
	}
	return true
}

func mustContiguous(op string, ts ...*Tensor) {
	for _, t := range ts {
		if !t.IsContiguous() {
			panic(fmt.Sprintf("%s: shape %v with strides %v is not contiguous", op, t.shape, t.strides))
		}
	}
}

func mustWritable(op string, t *Tensor) {
	if t.store.mapped {
		panic(fmt.Sprintf("%s: %v of shape %v is a mapped file, which cannot be written to", op, t.DType(), t.shape))
	}
}

// view returns a tensor over the same memory. It holds no reference of its own:
// it is valid as long as t is.
func (t *Tensor) view(offset int, shape, strides []int) *Tensor {
	return &Tensor{shape: shape, strides: strides, buf: t.buf.At(offset), store: t.store}
}

// Reshape returns a view of a contiguous tensor with another shape of as many
// elements; one size may be -1. A view is valid as long as t is, and carries no
// gradient.
func (t *Tensor) Reshape(shape ...int) *Tensor {
	mustContiguous("reshape", t)
	shape = slices.Clone(shape)
	known, unknown := 1, -1
	for i, d := range shape {
		if d == -1 && unknown < 0 {
			unknown = i
		} else {
			known *= d
		}
	}
	if unknown >= 0 && known > 0 {
		shape[unknown] = t.Len() / known
	}
	if count(shape) != t.Len() {
		panic(fmt.Sprintf("reshape: %v to %v", t.shape, shape))
	}
	return t.view(0, shape, dense(shape))
}

// Narrow returns the view of indices start…start+length-1 of a dimension.
func (t *Tensor) Narrow(dim, start, length int) *Tensor {
	if dim < 0 || dim >= len(t.shape) || start < 0 || length < 0 || start+length > t.shape[dim] {
		panic(fmt.Sprintf("narrow: %d…%d of dimension %d of shape %v", start, start+length, dim, t.shape))
	}
	shape := slices.Clone(t.shape)
	shape[dim] = length
	return t.view(start*t.strides[dim], shape, slices.Clone(t.strides))
}

// Transpose returns the view with two dimensions exchanged.
func (t *Tensor) Transpose(i, j int) *Tensor {
	if min(i, j) < 0 || max(i, j) >= len(t.shape) {
		panic(fmt.Sprintf("transpose: dimensions %d and %d of shape %v", i, j, t.shape))
	}
	shape, strides := slices.Clone(t.shape), slices.Clone(t.strides)
	shape[i], shape[j] = shape[j], shape[i]
	strides[i], strides[j] = strides[j], strides[i]
	return t.view(0, shape, strides)
}

// index returns the view of index i of the first dimension.
func (t *Tensor) index(i int) *Tensor {
	return t.view(i*t.strides[0], t.shape[1:], t.strides[1:])
}

// copyView copies between views of one shape, in as few ops as their strides
// allow.
func copyView(dst, src *Tensor) {
	args := kernels.CopyArgs{Dst: dst.buf, Src: src.buf, Rows: 1, Cols: src.Len(), DstStride: src.Len(), SrcStride: src.Len()}
	switch dims := len(src.shape); {
	case dst.IsContiguous() && src.IsContiguous():
	case dims == 1:
		args.Rows, args.Cols, args.DstStride, args.SrcStride = src.shape[0], 1, dst.strides[0], src.strides[0]
	case dims == 2 && dst.strides[1] == 1 && src.strides[1] == 1:
		args.Rows, args.Cols, args.DstStride, args.SrcStride = src.shape[0], src.shape[1], dst.strides[0], src.strides[0]
	default:
		for i := range src.shape[0] {
			copyView(dst.index(i), src.index(i))
		}
		return
	}
	if src.Len() > 0 {
		src.Device().backend.Copy(args)
	}
}
