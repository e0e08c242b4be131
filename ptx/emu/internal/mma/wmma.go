package mma

import (
	"fmt"
	"sync"

	"github.com/selkie-ml/selkie/ptx"
)

// WMMA: PTX ISA 9.7.14.4. The ISA leaves the layout of fragments open; here it is that of
// mma.sync, continued: tiles of 8 rows by four words, the tiles of A and C row tiles
// first, those of B k tiles first (see readA). m16n16k16 is then two of m16n8k16.

var wmmaShapes = map[string][][3]int{
	"f16":  {{16, 16, 16}, {8, 32, 16}, {32, 8, 16}},
	"bf16": {{16, 16, 16}, {8, 32, 16}, {32, 8, 16}},
	"tf32": {{16, 16, 8}},
	"f64":  {{8, 8, 4}},
	"int8": {{16, 16, 16}, {8, 32, 16}, {32, 8, 16}},
	"int4": {{8, 8, 32}},
	"b1":   {{8, 8, 128}},
}

// Frag is a fragment of wmma: one operand of one shape.
type Frag struct {
	Rows, Cols int
	Type       ptx.Type
	Regs       int // registers of the instruction (64-bit ones for f64)
	used       int // those that differ: an f16 fragment of A or B may hold elements twice
	op         byte
	bits       int // of an element
}

// NewFrag describes operand op ('a', 'b', 'c', 'd') of wmma with a shape, where t is the
// type of its elements.
func NewFrag(op byte, m, n, k int, t ptx.Type) (Frag, error) {
	f := Frag{Type: t, op: op, bits: t.Bits()}
	switch op {
	case 'a':
		f.Rows, f.Cols = m, k
	case 'b':
		f.Rows, f.Cols = k, n
	case 'c', 'd':
		f.op = 'c'
		f.Rows, f.Cols = m, n
	}
	word := max(32, f.bits)
	f.used = f.Rows * f.Cols * f.bits / word / 32
	f.Regs = f.used
	if t == ptx.F16 && op <= 'b' {
		f.Regs = 8
	}
	ok := false
	for kd, list := range wmmaShapes {
		for _, s := range list {
			match := s == [3]int{m, n, k}
			if op <= 'b' {
				ok = ok || match && kd == kind(t)
				continue
			}
			acc := t == ptx.F32 && (kd == "f16" || kd == "bf16" || kd == "tf32") || t == ptx.F16 && kd == "f16" ||
				t == ptx.F64 && kd == "f64" || t == ptx.S32 && (kd == "int8" || kd == "int4" || kd == "b1")
			ok = ok || match && acc
		}
	}
	if !ok || op < 'a' || op > 'd' {
		return f, fmt.Errorf("wmma.%c.m%dn%dk%d.%v: no such fragment", op, m, n, k, t)
	}
	return f, nil
}

// Coord gives row and column of the element at bit of a register of a lane.
func (f Frag) Coord(lane, reg, bit int) (row, col int) {
	g, t := lane>>2, lane&3
	per := max(32/f.bits, 1)
	reg %= f.used
	j := bit / f.bits
	switch f.op {
	case 'a':
		tiles := f.Rows / 8
		return reg%tiles*8 + g, reg/tiles*4*per + t*per + j
	case 'b':
		tiles := f.Rows / (4 * per)
		return reg%tiles*4*per + t*per + j, reg/tiles*8 + g
	}
	i := reg*per + j // of the lane's elements
	tiles := f.Rows / 8
	return i>>1%tiles*8 + g, i>>1/tiles*8 + 2*t + i&1
}

// Each calls f for the memory accesses of wmma.load or wmma.store: size bytes at byte
// offset off belong at a bit of a register of a lane. Elements that lie side by side
// in memory and in a register are one access. ldm counts elements, rowMajor is .row.
func (f Frag) Each(rowMajor bool, ldm int, access func(lane, reg, bit int, off int64, size int)) {
	for reg := range f.Regs {
		for lane := range 32 {
			for bit := 0; bit < max(32, f.bits); {
				off, n := f.offset(lane, reg, bit, rowMajor, ldm), f.bits
				for bit+n < 32 && f.offset(lane, reg, bit+n, rowMajor, ldm) == off+int64(n) {
					n += f.bits
				}
				access(lane, reg, bit, off/8, n/8)
				bit += n
			}
		}
	}
}

// offset is in bits.
func (f Frag) offset(lane, reg, bit int, rowMajor bool, ldm int) int64 {
	r, c := f.Coord(lane, reg, bit)
	if !rowMajor {
		r, c = c, r
	}
	return (int64(r)*int64(ldm) + int64(c)) * int64(f.bits)
}

// CompileWmma checks wmma.mma.mMnNkK.D.A.B.C and prepares it. The registers of Do and
// DoF64 are those of Frag.
func (s Spec) CompileWmma(arch Arch) (*Inst, error) {
	k := kind(s.A)
	ok := false
	for _, x := range wmmaShapes[k] {
		ok = ok || x == [3]int{s.M, s.N, s.K}
	}
	if k == "f64" || k == "int4" || k == "b1" { // the same shapes as mma.sync
		if !ok {
			return nil, fmt.Errorf("w%v: no such matrix instruction", s)
		}
		return s.Compile(arch)
	}
	in := &Inst{Spec: s}
	var frags [4]Frag
	for i, t := range []ptx.Type{s.A, s.B, s.C, s.D} {
		f, err := NewFrag("abcd"[i], s.M, s.N, s.K, t)
		ok = ok && err == nil
		frags[i] = f
	}
	acc := s.C == ptx.S32 && s.D == ptx.S32
	if k != "int8" {
		acc = s.C != ptx.S32 && s.D != ptx.S32 && (k == "f16" || s.C != ptx.F16 && s.D != ptx.F16)
	}
	if !ok || !acc || s.A != s.B || s.ColA || s.RowB {
		return nil, fmt.Errorf("w%v: no such matrix instruction", s)
	}
	in.NA, in.NB, in.NC, in.ND = frags[0].Regs, frags[1].Regs, frags[2].Regs, frags[3].Regs
	if k == "int8" {
		in.do = (*Inst).wideInt8
		return in, nil
	}
	in.m = newModel(arch, s.A, s.B, s.C, s.D, false)
	in.do = (*Inst).wideFloat
	return in, nil
}

// wide holds the pieces of a product with up to 256 columns.
type wide struct {
	a     rows
	braw  [256 * maxK]uint32
	bsig  [256 * maxK]int32
	bexp  [256 * maxK]int32
	c     [256][16]uint32
	pairs [maxPairs][16]uint32
	bint  [256][maxPairs]uint32
	cols  columns
	d     [32]Reg // of wmma
}

var wides = sync.Pool{New: func() any {
	w := new(wide)
	w.cols = columns{raw: w.braw[:], sig: w.bsig[:], exp: w.bexp[:]}
	return w
}}

// wideFloat is wmma.mma with floating point: blocks of 16 rows.
func (in *Inst) wideFloat(d, a, b, c []*Reg) {
	w := wides.Get().(*wide)
	defer wides.Put(w)
	tiles := in.M / 8
	readB(w.braw[:], b[:in.N*in.K*int(in.m.b.bits)/1024], in.m.b.bits, in.K)
	in.m.decodeColumns(&w.cols, in.N, in.K)
	out := w.out(d)
	for first := 0; first < tiles; first += 2 {
		w.a.raw = [maxK][16]uint32{}
		readA(&w.a.raw, a[:in.M*in.K*int(in.m.a.bits)/1024], in.m.a.bits, tiles, first)
		in.m.decodeRows(&w.a, in.K)
		readC(w.c[:], c, in.m.c16, tiles, first)
		in.m.multiply(w.c[:in.N], w.c[:in.N], &w.a, &w.cols, in.K)
		writeD(out, w.c[:], in.m.d16, tiles, first)
	}
	copyRegs(d, out)
}

// wideInt8 is wmma.mma with bytes.
func (in *Inst) wideInt8(d, a, b, c []*Reg) {
	w := wides.Get().(*wide)
	defer wides.Put(w)
	tiles := in.M / 8
	readColumns8(w.bint[:], b, in.B == ptx.S8, in.K)
	out := w.out(d)
	for first := 0; first < tiles; first += 2 {
		readPairs8(&w.pairs, a, in.A == ptx.S8, tiles, first)
		intProducts(w.c[:in.N], &w.pairs, w.bint[:in.N], in.K/2)
		accumulate(w.c[:], c, in.Sat, tiles, first)
		writeD(out, w.c[:], false, tiles, first)
	}
	copyRegs(d, out)
}

// out stands for d until every block has read c.
func (w *wide) out(d []*Reg) []*Reg {
	out := make([]*Reg, len(d), 16)
	for i := range out {
		out[i] = &w.d[i]
	}
	return out
}

func copyRegs(d, s []*Reg) {
	for i := range d {
		*d[i] = *s[i]
	}
}
