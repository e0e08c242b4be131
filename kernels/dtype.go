package kernels

import "fmt"

// DType is the storage type of a buffer's elements.
type DType uint8

// Storage types. Arithmetic is f32 (ref: f64) whatever the storage.
const (
	Invalid DType = iota
	F32
	BF16
	F16
	I32
)

// Size returns the bytes of one element.
func (d DType) Size() int {
	switch d {
	case F32, I32:
		return 4
	case BF16, F16:
		return 2
	}
	panic(fmt.Sprintf("kernels: size of %v", d))
}

// IsFloat reports whether elements are numbers a model computes with.
func (d DType) IsFloat() bool { return d == F32 || d == BF16 || d == F16 }

func (d DType) String() string {
	switch d {
	case F32:
		return "f32"
	case BF16:
		return "bf16"
	case F16:
		return "f16"
	case I32:
		return "i32"
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}
