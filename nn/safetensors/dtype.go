package safetensors

import "fmt"

// DType is the type of a tensor's elements.
type DType uint8

// The element types of the format, in the order by which files sort tensors. Its
// types of less than a byte (F4, F6) are refused.
const (
	Invalid DType = iota
	BOOL
	U8
	I8
	F8E5M2
	F8E4M3
	F8E8M0
	F8E4M3FNUZ
	F8E5M2FNUZ
	I16
	U16
	F16
	BF16
	I32
	U32
	F32
	C64
	F64
	I64
	U64
	numDTypes
)

var dtypes = [numDTypes]struct {
	name string
	size int
}{
	Invalid:    {"invalid", 0},
	BOOL:       {"BOOL", 1},
	U8:         {"U8", 1},
	I8:         {"I8", 1},
	F8E5M2:     {"F8_E5M2", 1},
	F8E4M3:     {"F8_E4M3", 1},
	F8E8M0:     {"F8_E8M0", 1},
	F8E4M3FNUZ: {"F8_E4M3FNUZ", 1},
	F8E5M2FNUZ: {"F8_E5M2FNUZ", 1},
	I16:        {"I16", 2},
	U16:        {"U16", 2},
	F16:        {"F16", 2},
	BF16:       {"BF16", 2},
	I32:        {"I32", 4},
	U32:        {"U32", 4},
	F32:        {"F32", 4},
	C64:        {"C64", 8},
	F64:        {"F64", 8},
	I64:        {"I64", 8},
	U64:        {"U64", 8},
}

// String returns the name that files use, such as "BF16".
func (d DType) String() string {
	if d >= numDTypes {
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
	return dtypes[d].name
}

// Size returns the bytes of one element, 0 for Invalid.
func (d DType) Size() int {
	if d >= numDTypes {
		return 0
	}
	return dtypes[d].size
}

// parseDType finds a type by the name that files use.
func parseDType(name string) (DType, bool) {
	for d := Invalid + 1; d < numDTypes; d++ {
		if dtypes[d].name == name {
			return d, true
		}
	}
	return Invalid, false
}
