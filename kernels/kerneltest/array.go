package kerneltest

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/internal/half"
	"github.com/selkie-ml/selkie/kernels"
)

// array is one operand of a problem, held on the host.
type array struct {
	name  string
	dt    kernels.DType
	row   int    // elements per row; 0: shared by all rows
	data  []byte // contents before the op
	role  role
	slack float64 // absolute error allowed beyond the op's tolerance

	sparse bool // the op comes to few of its elements: it does not count for Options.Limit
	lead   int  // elements before the first that the op is given, see besideIf
}

// beyond16 is a size at which indices do not fit into 16 bits.
const beyond16 = 70_000

type role uint8

const (
	input  role = iota // must stay as it is
	output             // starts as NaN, overwritten
	sum                // starts with numbers that the op reads and changes
)

// per makes the array one of rows of n elements.
func (a *array) per(n int) *array { a.row = n; return a }

// as changes what the op may do with the array.
func (a *array) as(r role) *array { a.role = r; return a }

// sparseIf says that the op comes to few elements, or not.
func (a *array) sparseIf(sparse bool) *array { a.sparse = sparse; return a }

// besideIf puts an element before the array's own, or not: where arrays lie aligned, this one
// does not. An array of rows becomes one that cannot be cut.
func (a *array) besideIf(beside bool) {
	if !beside {
		return
	}
	data := make([]byte, a.dt.Size()+len(a.data))
	putBits(a.dt, data, 0, untouched(a.dt))
	copy(data[a.dt.Size():], a.data)
	a.data, a.row, a.lead = data, 0, 1
}

// largest returns the largest finite absolute value.
func (a *array) largest() float64 {
	m := 0.0
	for i := range a.len() {
		if v := math.Abs(decode(a.dt, getBits(a.dt, a.data, i))); v > m && !math.IsInf(v, 0) {
			m = v
		}
	}
	return m
}

func (a *array) len() int { return len(a.data) / a.dt.Size() }

// floats returns n normally distributed numbers times scale.
func (t *trial) floats(name string, dt kernels.DType, n int, scale float64) *array {
	a := &array{name: name, dt: dt, data: make([]byte, n*dt.Size())}
	for i := 0; i < n; i += 2 {
		r := scale * math.Sqrt(-2*math.Log(1-t.rng.Float64()))
		sin, cos := math.Sincos(2 * math.Pi * t.rng.Float64())
		a.set(i, r*cos)
		if i+1 < n {
			a.set(i+1, r*sin)
		}
	}
	return a
}

// output returns n elements for an op to write.
func (t *trial) output(name string, dt kernels.DType, n int) *array {
	a := &array{name: name, dt: dt, data: make([]byte, n*dt.Size()), role: output}
	for i := range n {
		putBits(dt, a.data, i, untouched(dt))
	}
	return a
}

// ints returns an i32 array.
func (t *trial) ints(name string, v ...int32) *array {
	a := &array{name: name, dt: kernels.I32}
	for _, x := range v {
		a.data = binary.LittleEndian.AppendUint32(a.data, uint32(x))
	}
	return a
}

// sprinkle replaces a few elements by numbers that arithmetic trips over.
func (t *trial) sprinkle(a *array) *array {
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 0x1p-140, -0x1p-133, 0x1p-24}
	for range min(4, a.len()) {
		a.set(t.rng.IntN(a.len()), odd[t.rng.IntN(len(odd))])
	}
	return a
}

// infinite makes n elements of an array infinite, of both signs.
func (a *array) infinite(from, n int) {
	for i := range n {
		a.set(from+i, math.Inf(1-2*(i%2)))
	}
}

// behindRows makes the first of the cols elements infinite in every second row: who reads a
// row beyond its end spoils it, even where he multiplies by zero.
func (a *array) behindRows(cols int) {
	for i := a.lead + cols; i < a.len(); i += 2 * cols {
		a.set(i, math.Inf(1))
	}
}

func (a *array) set(i int, v float64) { putBits(a.dt, a.data, i, encode(a.dt, v)) }

// untouched is a NaN that arithmetic does not make (as an i32, a senseless index).
func untouched(dt kernels.DType) uint32 {
	switch dt {
	case kernels.BF16:
		return 0x7FDA
	case kernels.F16:
		return 0x7EDA
	case kernels.I32:
		return 0x5ADA5ADA
	}
	return 0x7FDA5ADA
}

func putBits(dt kernels.DType, data []byte, i int, v uint32) {
	if dt.Size() == 2 {
		binary.LittleEndian.PutUint16(data[2*i:], uint16(v))
	} else {
		binary.LittleEndian.PutUint32(data[4*i:], v)
	}
}

func getBits(dt kernels.DType, data []byte, i int) uint32 {
	if dt.Size() == 2 {
		return uint32(binary.LittleEndian.Uint16(data[2*i:]))
	}
	return binary.LittleEndian.Uint32(data[4*i:])
}

func encode(dt kernels.DType, v float64) uint32 {
	switch dt {
	case kernels.BF16:
		return uint32(half.BF16FromFloat32(float32(v)))
	case kernels.F16:
		return uint32(half.F16FromFloat32(float32(v)))
	case kernels.I32:
		return uint32(int32(v))
	}
	return math.Float32bits(float32(v))
}

func decode(dt kernels.DType, v uint32) float64 {
	switch dt {
	case kernels.BF16:
		return float64(half.BF16ToFloat32(uint16(v)))
	case kernels.F16:
		return float64(half.F16ToFloat32(uint16(v)))
	case kernels.I32:
		return float64(int32(v))
	}
	return float64(math.Float32frombits(v))
}

// widen returns contents as f32, exactly; what is untouched stays so.
func widen(dt kernels.DType, data []byte) []byte {
	n := len(data) / dt.Size()
	wide := make([]byte, 4*n)
	for i := range n {
		v := getBits(dt, data, i)
		if v == untouched(dt) {
			putBits(kernels.F32, wide, i, untouched(kernels.F32))
		} else {
			putBits(kernels.F32, wide, i, encode(kernels.F32, decode(dt, v)))
		}
	}
	return wide
}

func (a *array) String() string { return fmt.Sprintf("%s %v", a.name, a.dt) }
