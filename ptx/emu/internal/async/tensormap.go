package async

import (
	"encoding/binary"
	"fmt"
)

// MapBytes is the size of an encoded tensor map; its address must be a multiple
// of MapAlign.
const (
	MapBytes = 128
	MapAlign = 64
)

// ElemType is the element type of a tensor map, numbered as CUtensorMapDataType.
type ElemType uint8

const (
	ElemU8 ElemType = iota
	ElemU16
	ElemU32
	ElemS32
	ElemU64
	ElemS64
	ElemF16
	ElemF32
	ElemF64
	ElemBF16
	ElemF32FTZ
	ElemTF32
	ElemTF32FTZ
	numElemTypes
)

var elemBytes = [numElemTypes]int{1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4}

// Bytes is the size of an element, 0 for a type that does not exist.
func (t ElemType) Bytes() int {
	if t >= numElemTypes {
		return 0
	}
	return elemBytes[t]
}

// Float says whether out-of-bounds elements can be NaN.
func (t ElemType) Float() bool { return t >= ElemF16 && t < numElemTypes }

// NaN is the pattern that OOBNaN fills elements of the type with.
func (t ElemType) NaN() uint64 {
	switch t {
	case ElemF16:
		return 0x7fff
	case ElemBF16:
		return 0x7fff
	case ElemF64:
		return 0x7fffffffffffffff
	}
	return 0x7fffffff
}

// Swizzle is the pattern in which 16-byte units of a box are permuted in shared
// memory, numbered as CUtensorMapSwizzle.
type Swizzle uint8

const (
	SwizzleNone Swizzle = iota
	Swizzle32
	Swizzle64
	Swizzle128
)

// Span is the number of bytes of a row that the pattern permutes, 0 for none.
func (s Swizzle) Span() int { return [4]int{0, 32, 64, 128}[s&3] }

// Apply permutes the byte address a of shared memory. The pattern is a function
// of the address, not of the offset within the box.
func (s Swizzle) Apply(a uint64) uint64 {
	return a ^ a>>3&[4]uint64{0, 0x10, 0x30, 0x70}[s&3]
}

// A TensorMap describes a tensor in global memory and the box of it that one
// copy moves, as cuTensorMapEncodeTiled does. Dimension 0 is the innermost.
type TensorMap struct {
	Elem    ElemType
	Rank    int
	Addr    uint64    // of the tensor, a multiple of 16
	Dim     [5]uint64 // elements, 1..2^32
	Stride  [5]uint64 // bytes from one element to the next; [0] is the element's size
	Box     [5]uint32 // elements of a box, 1..256
	Step    [5]uint32 // traversal (element) strides, 1..8; [0] is ignored
	Swizzle Swizzle
	OOBNaN  bool // elements outside the tensor read as NaN, not as zero
}

// The encoded form is our own, since NVIDIA's is not published. Little endian:
//
//	 0  8 bytes "SELKTMAP"      64  dim - 1, 5 × u32
//	 8  address, u64            84  box, 5 × u16
//	16  stride[1..4], 4 × u64   94  step, 5 × u8
//	48  element type, rank, swizzle, out-of-bounds fill, 4 × u8
const mapMagic = "SELKTMAP"

// Check says what is wrong with a map, in the terms of the CUDA driver API.
func (m *TensorMap) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("tensor map: "+format, args...)
	}
	es := m.Elem.Bytes()
	switch {
	case es == 0:
		return bad("element type %d does not exist", m.Elem)
	case m.Rank < 1 || m.Rank > 5:
		return bad("rank %d; it must lie in 1..5", m.Rank)
	case m.Addr%16 != 0:
		return bad("address %#x is no multiple of 16", m.Addr)
	case m.Swizzle > Swizzle128:
		return bad("swizzle %d does not exist", m.Swizzle)
	case m.OOBNaN && !m.Elem.Float():
		return bad("NaN outside the tensor needs a floating-point type")
	}
	for d := range m.Rank {
		switch {
		case m.Dim[d] < 1 || m.Dim[d] > 1<<32:
			return bad("dimension %d has %d elements; it must be 1..2^32", d, m.Dim[d])
		case m.Box[d] < 1 || m.Box[d] > 256:
			return bad("box dimension %d has %d elements; it must be 1..256", d, m.Box[d])
		case m.Step[d] < 1 || m.Step[d] > 8:
			return bad("element stride %d is %d; it must be 1..8", d, m.Step[d])
		case d > 0 && (m.Stride[d]%16 != 0 || m.Stride[d] >= 1<<40):
			return bad("stride %d is %d bytes; it must be a multiple of 16 below 2^40", d, m.Stride[d])
		case d == 1 && m.Stride[1] < m.Dim[0]*uint64(es):
			return bad("stride 1 is %d bytes, but a row takes %d", m.Stride[1], m.Dim[0]*uint64(es))
		}
	}
	inner := int(m.Box[0]) * es
	if inner%16 != 0 {
		return bad("the box's inner dimension takes %d bytes, no multiple of 16", inner)
	}
	if span := m.Swizzle.Span(); span != 0 && inner > span {
		return bad("the box's inner dimension takes %d bytes, more than the swizzle's %d", inner, span)
	}
	return nil
}

// Encode gives the 128 bytes that a kernel sees.
func (m *TensorMap) Encode() (b [MapBytes]byte, err error) {
	if err := m.Check(); err != nil {
		return b, err
	}
	m.put(&b)
	return b, nil
}

func (m *TensorMap) put(b *[MapBytes]byte) {
	copy(b[:], mapMagic)
	le := binary.LittleEndian
	le.PutUint64(b[8:], m.Addr)
	for d := range 5 {
		if d > 0 {
			le.PutUint64(b[16+8*(d-1):], m.Stride[d])
		}
		le.PutUint32(b[64+4*d:], uint32(m.Dim[d]-1))
		le.PutUint16(b[84+2*d:], uint16(m.Box[d]))
		b[94+d] = byte(m.Step[d])
	}
	b[48], b[49], b[50] = byte(m.Elem), byte(m.Rank), byte(m.Swizzle)
	if m.OOBNaN {
		b[51] = 1
	}
}

// Decode reads what Encode wrote.
func Decode(b []byte) (m TensorMap, err error) {
	if len(b) < MapBytes || string(b[:8]) != mapMagic {
		return m, fmt.Errorf("no tensor map lies here; one is made on the host and passed to the kernel")
	}
	le := binary.LittleEndian
	m.Addr = le.Uint64(b[8:])
	for d := range 5 {
		if d > 0 {
			m.Stride[d] = le.Uint64(b[16+8*(d-1):])
		}
		m.Dim[d] = uint64(le.Uint32(b[64+4*d:])) + 1
		m.Box[d] = uint32(le.Uint16(b[84+2*d:]))
		m.Step[d] = uint32(b[94+d])
	}
	m.Elem, m.Rank, m.Swizzle, m.OOBNaN = ElemType(b[48]), int(b[49]), Swizzle(b[50]), b[51] != 0
	m.Stride[0] = uint64(m.Elem.Bytes())
	return m, m.Check()
}

// Replace is tensormap.replace: it sets one field of an encoded map. The value of
// a stride is in bytes; that of a rank, box, or dimension as the instruction says.
func Replace(b []byte, field string, ord int, value uint64) error {
	if len(b) < MapBytes || string(b[:8]) != mapMagic {
		return fmt.Errorf("tensormap.replace: no tensor map lies here")
	}
	le := binary.LittleEndian
	inRank := func(n int) error {
		if ord < 0 || ord >= n {
			return fmt.Errorf("tensormap.replace.%s: ordinal %d is outside 0..%d", field, ord, n-1)
		}
		return nil
	}
	switch field {
	case "global_address":
		le.PutUint64(b[8:], value)
	case "rank": // zero-based
		b[49] = byte(value + 1)
	case "box_dim":
		if err := inRank(5); err != nil {
			return err
		}
		le.PutUint16(b[84+2*ord:], uint16(value))
	case "global_dim":
		if err := inRank(5); err != nil {
			return err
		}
		le.PutUint32(b[64+4*ord:], uint32(value-1))
	case "global_stride":
		if err := inRank(4); err != nil {
			return err
		}
		le.PutUint64(b[16+8*ord:], value)
	case "element_stride":
		if err := inRank(5); err != nil {
			return err
		}
		b[94+ord] = byte(value)
	case "elemtype":
		b[48] = byte(value)
	case "swizzle_mode":
		b[50] = byte(value)
	case "fill_mode":
		b[51] = byte(value)
	case "interleave_layout":
		if value != 0 {
			return fmt.Errorf("tensormap.replace.interleave_layout: only the layout without interleaving is emulated")
		}
	case "swizzle_atomicity":
		if value != 0 {
			return fmt.Errorf("tensormap.replace.swizzle_atomicity: only 16-byte atoms are emulated")
		}
	default:
		return fmt.Errorf("tensormap.replace.%s is not known", field)
	}
	return nil
}

// BoxBytes is what one copy moves, elements outside the tensor included.
func (m *TensorMap) BoxBytes() int {
	n := m.Elem.Bytes() * int(m.Box[0])
	for d := 1; d < m.Rank; d++ {
		n *= m.count(d)
	}
	return n
}

// count is the number of elements that a copy takes along dimension d.
func (m *TensorMap) count(d int) int {
	if d == 0 {
		return int(m.Box[0])
	}
	return int((m.Box[d] + m.Step[d] - 1) / m.Step[d])
}

// A Run is consecutive bytes of a box that lie consecutively in global memory,
// or outside the tensor.
type Run struct {
	Offset int    // into the box as it lies in shared memory before swizzling
	Bytes  int    //
	Addr   uint64 // in global memory, if Inside
	Inside bool   // of the tensor
}

// Runs calls f for each run of the box whose first element has the coordinates,
// in the order of shared memory. There must be Rank coordinates.
func (m *TensorMap) Runs(coords []int32, f func(Run)) {
	es := m.Elem.Bytes()
	row := int(m.Box[0])
	// Elements lo..hi of each row lie inside the tensor.
	c0, dim0 := int64(coords[0]), int64(m.Dim[0])
	lo := int(min(max(-c0, 0), int64(row)))
	hi := int(min(max(dim0-c0, int64(lo)), int64(row)))
	var i [5]int
	for offset := 0; ; offset += row * es {
		addr, inside := m.Addr, lo < hi
		for d := 1; d < m.Rank; d++ {
			c := int64(coords[d]) + int64(i[d])*int64(m.Step[d])
			if c < 0 || c >= int64(m.Dim[d]) {
				inside = false
			}
			addr += uint64(c) * m.Stride[d]
		}
		if !inside {
			f(Run{Offset: offset, Bytes: row * es})
		} else {
			if lo > 0 {
				f(Run{Offset: offset, Bytes: lo * es})
			}
			f(Run{Offset: offset + lo*es, Bytes: (hi - lo) * es, Addr: addr + uint64(c0+int64(lo))*uint64(es), Inside: true})
			if hi < row {
				f(Run{Offset: offset + hi*es, Bytes: (row - hi) * es})
			}
		}
		d := 1
		for ; d < m.Rank; d++ {
			if i[d]++; i[d] < m.count(d) {
				break
			}
			i[d] = 0
		}
		if d >= m.Rank {
			return
		}
	}
}

// Fill writes what a copy stores for elements outside the tensor.
func (m *TensorMap) Fill(dst []byte) {
	clear(dst)
	if !m.OOBNaN {
		return
	}
	es, nan := m.Elem.Bytes(), m.Elem.NaN()
	for i := range dst {
		dst[i] = byte(nan >> (8 * (i % es)))
	}
}
