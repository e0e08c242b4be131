package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// isa gives AVX2 and AVX-512 one face: vectors, constants, and the masks of the
// last, incomplete vector (nil where a vector is complete).
type isa struct {
	name  string
	lanes int
}

var (
	avx2   = isa{"AVX2", 8}
	avx512 = isa{"AVX512", 16}
)

// sumLanes is the number of lanes of a sum, on every instruction set.
const sumLanes = 16

// perBlock is the number of vectors that hold a sum's lanes.
func (s isa) perBlock() int { return sumLanes / s.lanes }

func (s isa) function(name, sig, doc string) {
	TEXT(name+s.name, NOSPLIT, "func("+sig+")")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s%s is %s", name, s.name, doc))
}

func (s isa) vec() VecVirtual {
	if s.lanes == 16 {
		return ZMM()
	}
	return YMM()
}

func (s isa) zero() VecVirtual {
	v := s.vec()
	if s.lanes == 16 {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
	return v
}

func (s isa) load(m Op, mask Op) VecVirtual {
	v := s.vec()
	switch {
	case mask == nil:
		VMOVUPS(m, v)
	case s.lanes == 16:
		VMOVUPS_Z(m, mask, v)
	default:
		VMASKMOVPS(m, mask, v)
	}
	return v
}

func (s isa) store(v VecVirtual, m Op, mask Op) {
	switch {
	case mask == nil:
		VMOVUPS(v, m)
	case s.lanes == 16:
		VMOVUPS(v, mask, m)
	default:
		VMASKMOVPS(v, mask, m)
	}
}

// keep zeroes the lanes outside mask.
func (s isa) keep(v VecVirtual, mask Op) {
	switch {
	case mask == nil:
	case s.lanes == 16:
		VMOVAPS_Z(v, mask, v)
	default:
		VANDPS(mask, v, v)
	}
}

// choose sets v to other in the lanes where a's relation to b holds.
func (s isa) choose(relation U8, a VecVirtual, b Op, other Op, v VecVirtual) {
	if s.lanes == 16 {
		k := K()
		VCMPPS(relation, b, a, k)
		VMOVAPS(other, k, v)
		return
	}
	m := YMM()
	VCMPPS(relation, b, a, m)
	VBLENDVPS(m, other, v, v)
}

// Quiet comparisons.
const (
	unordered = U8(0x03)
	less      = U8(0x11)
	notLess   = U8(0x15)
	greater   = U8(0x1e)
)

// masks gives the masks of a block of vecs vectors of which n elements, fewer
// than all, are used.
func (s isa) masks(n GPVirtual, vecs int) []Op {
	var masks []Op
	if s.lanes == 16 {
		bits := GP64()
		MOVQ(I32(-1), bits)
		BZHIQ(n, bits, bits)
		for v := range vecs {
			if v > 0 {
				SHRQ(U8(16), bits)
			}
			k := K()
			KMOVW(bits.As32(), k)
			masks = append(masks, k)
		}
		return masks
	}
	table, at := GP64(), GP64()
	LEAQ(maskTable(), table)
	MOVQ(n, at)
	NEGQ(at)
	for v := range vecs {
		m := YMM()
		VMOVUPS(Mem{Base: table, Index: at, Scale: 4, Disp: 64 + 32*v}, m)
		masks = append(masks, m)
	}
	return masks
}

var tables = map[string]Mem{}

// maskTable is sixteen ones, then sixteen zeros.
func maskTable() Mem {
	m, ok := tables["mask"]
	if !ok {
		m = GLOBL("mask", RODATA|NOPTR)
		for i := range 32 {
			DATA(4*i, U32(0xffffffff*uint32(1-i/16)))
		}
		tables["mask"] = m
	}
	return m
}

// constant is a vector full of x: a register in AVX-512, to be made before a
// loop, and memory in AVX2, which has too few registers.
func (s isa) constant(x float32) Op { return s.bits(math.Float32bits(x)) }

func (s isa) bits(x uint32) Op {
	name := fmt.Sprintf("all%08x", x)
	m, ok := tables[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, U32(x))
		}
		tables[name] = m
	}
	if s.lanes == 16 {
		v := ZMM()
		VBROADCASTSS(m, v)
		return v
	}
	return m
}

func (s isa) broadcast(param string) VecVirtual {
	v := s.vec()
	m, err := Param(param).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(m.Addr, v)
	return v
}

func gp(param string) GPVirtual { return Load(Param(param), GP64()).(GPVirtual) }

// loop runs body for every complete vector of size elements, then tail, with the number of elements left,
// if there are any. pointers, to float32, advance. n is consumed.
func loop(n GPVirtual, size int, pointers []GPVirtual, body func(), tail func(left GPVirtual)) {
	var p []pointer
	for _, q := range pointers {
		p = append(p, pointer{q, 4})
	}
	advancing(n, size, p, body, tail)
}

// advancing is loop with pointers to elements of any size.
func advancing(n GPVirtual, size int, pointers []pointer, body func(), tail func(left GPVirtual)) {
	SUBQ(U8(size), n)
	JB(LabelRef("tail"))
	Label("whole")
	body()
	for _, p := range pointers {
		ADDQ(U8(p.size*size), p.GPVirtual)
	}
	SUBQ(U8(size), n)
	JAE(LabelRef("whole"))
	Label("tail")
	ADDQ(U8(size), n)
	JZ(LabelRef("done"))
	tail(n)
	Label("done")
}
