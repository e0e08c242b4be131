package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/selkie-ml/selkie/internal/half"
)

// Float32s returns a copy of the elements of an F32, F16, BF16 or F64 tensor as
// float32; F64 is rounded. Other types are an error.
func Float32s(t Tensor) ([]float32, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	le, b := binary.LittleEndian, t.Data
	v := make([]float32, t.NumElements())
	switch t.DType {
	case F32:
		for i := range v {
			v[i] = math.Float32frombits(le.Uint32(b[4*i:]))
		}
	case BF16:
		for i := range v {
			v[i] = half.BF16ToFloat32(le.Uint16(b[2*i:]))
		}
	case F16:
		for i := range v {
			v[i] = half.F16ToFloat32(le.Uint16(b[2*i:]))
		}
	case F64:
		for i := range v {
			v[i] = float32(math.Float64frombits(le.Uint64(b[8*i:])))
		}
	default:
		return nil, fmt.Errorf("safetensors: tensor %s: expected F32, BF16, F16 or F64, found %v", quote(t.Name), t.DType)
	}
	return v, nil
}

// Int32s returns a copy of the elements of an integer or BOOL tensor as int32.
// Other types, and values that int32 does not hold, are an error.
func Int32s(t Tensor) ([]int32, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	le, b := binary.LittleEndian, t.Data
	var at func(i int) int64
	switch t.DType {
	case I64:
		at = func(i int) int64 { return int64(le.Uint64(b[8*i:])) }
	case I32:
		at = func(i int) int64 { return int64(int32(le.Uint32(b[4*i:]))) }
	case U32:
		at = func(i int) int64 { return int64(le.Uint32(b[4*i:])) }
	case I16:
		at = func(i int) int64 { return int64(int16(le.Uint16(b[2*i:]))) }
	case U16:
		at = func(i int) int64 { return int64(le.Uint16(b[2*i:])) }
	case I8:
		at = func(i int) int64 { return int64(int8(b[i])) }
	case U8, BOOL:
		at = func(i int) int64 { return int64(b[i]) }
	default:
		return nil, fmt.Errorf("safetensors: tensor %s: expected I64, I32, U32, I16, U16, I8, U8 or BOOL, found %v", quote(t.Name), t.DType)
	}
	v := make([]int32, t.NumElements())
	for i := range v {
		x := at(i)
		if int64(int32(x)) != x {
			return nil, fmt.Errorf("safetensors: tensor %s: element %d is %d: expected values within int32", quote(t.Name), i, x)
		}
		v[i] = int32(x)
	}
	return v, nil
}

// check guards against tensors put together by hand.
func (t Tensor) check() error {
	size, err := byteSize(t.DType, t.Shape)
	if err != nil {
		return fmt.Errorf("safetensors: tensor %s: %w", quote(t.Name), err)
	}
	if len(t.Data) != size {
		return fmt.Errorf("safetensors: tensor %s: expected %d bytes for shape %v of %v, found %d", quote(t.Name), size, t.Shape, t.DType, len(t.Data))
	}
	return nil
}

// FromFloat32s makes a tensor of type F32, BF16 or F16 (rounded to nearest, ties
// to even) or F64 from a copy of v. It panics when v does not fill the shape or
// the type is another.
func FromFloat32s(name string, dtype DType, shape []int, v []float32) Tensor {
	t := newTensor("FromFloat32s", name, dtype, shape, len(v))
	le := binary.LittleEndian
	switch dtype {
	case F32:
		for i, x := range v {
			le.PutUint32(t.Data[4*i:], math.Float32bits(x))
		}
	case BF16:
		for i, x := range v {
			le.PutUint16(t.Data[2*i:], half.BF16FromFloat32(x))
		}
	case F16:
		for i, x := range v {
			le.PutUint16(t.Data[2*i:], half.F16FromFloat32(x))
		}
	case F64:
		for i, x := range v {
			le.PutUint64(t.Data[8*i:], math.Float64bits(float64(x)))
		}
	default:
		panic(fmt.Sprintf("safetensors: FromFloat32s(%s): dtype %v, want F32, BF16, F16 or F64", quote(name), dtype))
	}
	return t
}

// FromInt32s makes a tensor of type I32 from a copy of v. It panics when v does
// not fill the shape.
func FromInt32s(name string, shape []int, v []int32) Tensor {
	t := newTensor("FromInt32s", name, I32, shape, len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(t.Data[4*i:], uint32(x))
	}
	return t
}

func newTensor(op, name string, dtype DType, shape []int, n int) Tensor {
	size, err := byteSize(dtype, shape)
	if err != nil || size != n*dtype.Size() {
		panic(fmt.Sprintf("safetensors: %s(%s): shape %v, but %d values", op, quote(name), shape, n))
	}
	return Tensor{Name: name, DType: dtype, Shape: slices.Clone(shape), Data: make([]byte, size)}
}
