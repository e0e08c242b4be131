package mma

import (
	"encoding/binary"
	"fmt"

	"github.com/selkie-ml/selkie/ptx"
)

// wgmma.mma_async: PTX ISA 9.7.15. Matrix descriptors: 9.7.15.5.1.

// Desc is a matrix descriptor in shared memory.
type Desc uint64

// Start is the address, in bytes, that the matrix begins at.
func (d Desc) Start() uint32 { return uint32(d&0x3fff) << 4 }

// Lead is the leading dimension byte offset.
func (d Desc) Lead() uint32 { return uint32(d>>16&0x3fff) << 4 }

// Stride is the stride dimension byte offset.
func (d Desc) Stride() uint32 { return uint32(d>>32&0x3fff) << 4 }

// Base is the base offset field, 0 to 7.
func (d Desc) Base() uint32 { return uint32(d >> 49 & 7) }

// Span is the bytes of the swizzle pattern's rows: 128, 64, 32, or 16 without swizzle.
func (d Desc) Span() uint32 { return [4]uint32{16, 128, 64, 32}[d>>62] }

// MakeDesc builds a descriptor; span is 16 (none), 32, 64 or 128.
func MakeDesc(start, lead, stride, span uint32) Desc {
	mode := map[uint32]uint64{16: 0, 128: 1, 64: 2, 32: 3}[span]
	enc := func(x uint32) uint64 { return uint64(x&0x3ffff) >> 4 }
	return Desc(enc(start) | enc(lead)<<16 | enc(stride)<<32 | mode<<62)
}

// Swizzle permutes the 16-byte pieces of a shared-memory address as tensor copies and
// wgmma do, for patterns of span bytes: 16 (none), 32, 64 or 128.
func Swizzle(addr, span uint32) uint32 { return addr ^ addr>>3&(span-16) }

// Chunk gives the address of the 16 bytes that hold piece c of line i. K-major: line i is
// row i of A (column of B), pieces run along k. MN-major: line i is index k, pieces run
// along rows (columns).
func (d Desc) Chunk(i, c int, mnMajor bool) uint32 {
	span := d.Span()
	line, piece := uint32(i), uint32(c)
	a := d.Start() + line%8*span
	switch {
	case !mnMajor && span == 16:
		a += line/8*d.Stride() + piece*d.Lead()
	case !mnMajor:
		a += line/8*d.Stride() + piece*16
	case span == 16:
		a += line/8*d.Lead() + piece*d.Stride()
	default:
		per := span / 16
		a += line/8*d.Stride() + piece/per*d.Lead() + piece%per*16
	}
	return Swizzle(a, span) & 0x3ffff
}

// check tells what of a descriptor is not supported or out of range.
func (d Desc) check() error {
	if b := d.Base(); b != 0 {
		return fmt.Errorf("matrix descriptor %#x: base offset %d; only matrices whose swizzle pattern starts on a boundary of its size (offset 0) are supported", uint64(d), b)
	}
	return nil
}

// WgmmaSpec names wgmma.mma_async.m64nNkK.D.A.B with its immediates.
type WgmmaSpec struct {
	N              int
	A, B, D        ptx.Type
	ARegs          bool // A comes from registers
	NegA, NegB     bool // imm-scale-a, imm-scale-b are -1
	TransA, TransB bool // the operand lies MN-major in shared memory
	Sat            bool // .satfinite of integers
}

func (s WgmmaSpec) String() string {
	return fmt.Sprintf("wgmma.m64n%dk%d.%v.%v.%v", s.N, s.K(), s.D, s.A, s.B)
}

// K is the instruction's k: 32 bytes of elements.
func (s WgmmaSpec) K() int {
	if s.A == ptx.TF32 {
		return 8
	}
	return 256 / max(s.A.Bits(), 1)
}

// Wgmma is a compiled instruction, safe for concurrent use.
type Wgmma struct {
	WgmmaSpec
	NA, ND int // registers of A (if in registers) and D per lane
	m      model
	width  uint // bits of an element
}

// Compile checks the instruction.
func (s WgmmaSpec) Compile() (*Wgmma, error) {
	k := kind(s.A)
	ok := s.N >= 8 && s.N <= 256 && s.N%8 == 0
	switch k {
	case "f16":
		ok = ok && s.B == s.A && (s.D == ptx.F32 || s.D == ptx.F16)
	case "bf16", "tf32":
		ok = ok && s.B == s.A && s.D == ptx.F32
	case "fp8":
		ok = ok && kind(s.B) == k && (s.D == ptx.F32 || s.D == ptx.F16)
	case "int8", "b1":
		// Beyond 24 columns these come in steps of 16.
		ok = ok && kind(s.B) == k && s.D == ptx.S32 && (s.N <= 24 || s.N%16 == 0) && !s.NegA && !s.NegB
	default:
		ok = false
	}
	if (s.TransA || s.TransB) && k != "f16" && k != "bf16" || s.TransA && s.ARegs {
		return nil, fmt.Errorf("%v: transposed operands are f16 or bf16, in shared memory", s)
	}
	if !ok {
		return nil, fmt.Errorf("%v: no such matrix instruction", s)
	}
	w := &Wgmma{WgmmaSpec: s, NA: 4, ND: s.N / 2, width: uint(s.A.Bits())}
	if s.D == ptx.F16 {
		w.ND = s.N / 4
	}
	if k != "int8" && k != "b1" {
		w.m = newModel(Hopper, s.A, s.B, s.D, s.D, true)
	}
	if s.A == ptx.TF32 {
		w.width = 32
	}
	return w, nil
}

// EachRead calls f with the address of every 16 bytes of shared memory that the
// instruction reads: those of A (unless in registers), then those of B.
func (w *Wgmma) EachRead(a, b Desc, f func(addr uint32)) {
	if !w.ARegs {
		eachChunk(a, 64, w.TransA, f)
	}
	eachChunk(b, w.N, w.TransB, f)
}

// eachChunk visits a matrix of n lines of 32 bytes, or its MN-major twin of 16 lines.
func eachChunk(d Desc, n int, mnMajor bool, f func(addr uint32)) {
	lines, pieces := n, 2
	if mnMajor {
		lines, pieces = 16, n/8
	}
	for i := range lines {
		for c := range pieces {
			f(d.Chunk(i, c, mnMajor))
		}
	}
}

// Do executes the instruction for the four warps of a warpgroup. d[w] and a[w] are the
// registers of warp w; a is nil unless A is in registers, else descA is not read.
// smem is the shared memory that descriptors address, from address 0 on. With scaleD
// false the accumulator counts as zero.
func (w *Wgmma) Do(d, a *[4][]*Reg, descA, descB Desc, smem []byte, scaleD bool) error {
	x := wides.Get().(*wide)
	defer wides.Put(x)
	if err := w.load(descB, smem, w.N, w.TransB, func(i, word int, v uint32) {
		w.put(v, w.B, w.NegB, word, i, x)
	}); err != nil {
		return fmt.Errorf("%v: B: %w", w, err)
	}
	if w.D != ptx.S32 {
		w.m.decodeColumns(&x.cols, w.N, w.K())
	}
	// All of A is read before D is written.
	var words [64][8]uint32
	if w.ARegs {
		for q := range a {
			for r, reg := range a[q][:w.NA] {
				for lane, v := range reg {
					words[16*q+r&1*8+lane>>2][r>>1*4+lane&3] = v
				}
			}
		}
	} else if err := w.load(descA, smem, 64, w.TransA, func(i, word int, v uint32) { words[i][word] = v }); err != nil {
		return fmt.Errorf("%v: A: %w", w, err)
	}
	for q := range d {
		w.warp(x, d[q][:w.ND], words[16*q:][:16], scaleD)
	}
	return nil
}

// load reads a matrix of n rows of 32 bytes, as words along k.
func (w *Wgmma) load(d Desc, smem []byte, n int, mnMajor bool, put func(i, word int, v uint32)) error {
	if err := d.check(); err != nil {
		return err
	}
	at := func(addr uint32) ([]byte, error) {
		if int(addr)+16 > len(smem) {
			return nil, fmt.Errorf("matrix descriptor %#x: reads shared memory at %#x, beyond its end %#x", uint64(d), addr, len(smem))
		}
		return smem[addr:][:16], nil
	}
	if !mnMajor {
		for i := range n {
			for c := range 2 {
				b, err := at(d.Chunk(i, c, false))
				if err != nil {
					return err
				}
				for j := range 4 {
					put(i, 4*c+j, binary.LittleEndian.Uint32(b[4*j:]))
				}
			}
		}
		return nil
	}
	// Two lines along k make the halves of a word.
	for k := 0; k < 16; k += 2 {
		for c := range n / 8 {
			lo, err := at(d.Chunk(k, c, true))
			if err != nil {
				return err
			}
			hi, err := at(d.Chunk(k+1, c, true))
			if err != nil {
				return err
			}
			for j := range 8 {
				v := uint32(binary.LittleEndian.Uint16(lo[2*j:])) | uint32(binary.LittleEndian.Uint16(hi[2*j:]))<<16
				put(8*c+j, k/2, v)
			}
		}
	}
	return nil
}

// put stores a word of B: elements along k of column n.
func (w *Wgmma) put(v uint32, t ptx.Type, neg bool, word, n int, x *wide) {
	switch {
	case t == ptx.B1:
		x.bint[n][word] = v
	case w.D == ptx.S32:
		x.bint[n][2*word], x.bint[n][2*word+1] = pair8(v, t == ptx.S8), pair8(v>>16, t == ptx.S8)
	default:
		w.split(v, neg, word, func(k int, e uint32) { x.braw[n*maxK+k] = e })
	}
}

// split takes the elements of a word apart, negated if asked.
func (w *Wgmma) split(v uint32, neg bool, word int, f func(k int, e uint32)) {
	per := int(32 / w.width)
	var flip uint32
	if neg {
		flip = 1 << (w.width - 1)
	}
	for j := range per {
		f(word*per+j, v&uint32(1<<w.width-1)^flip)
		v >>= w.width
	}
}

// warp multiplies the 16 rows of one warp.
func (w *Wgmma) warp(x *wide, d []*Reg, words [][8]uint32, scaleD bool) {
	c := x.c[:w.N]
	if w.D == ptx.S32 {
		for r := range words {
			for i, v := range words[r] {
				if w.A == ptx.B1 {
					x.pairs[i][r] = v
					continue
				}
				x.pairs[2*i][r], x.pairs[2*i+1][r] = pair8(v, w.A == ptx.S8), pair8(v>>16, w.A == ptx.S8)
			}
		}
		if w.A == ptx.B1 {
			bitProducts(c, &x.pairs, x.bint[:w.N], 8, true)
		} else {
			intProducts(c, &x.pairs, x.bint[:w.N], 16)
		}
		if scaleD {
			accumulate(c, d, w.Sat, 2, 0)
		}
		writeD(d, c, false, 2, 0)
		return
	}
	for r := range words {
		for i, v := range words[r] {
			w.split(v, w.NegA, i, func(k int, e uint32) { x.a.raw[k][r] = e })
		}
	}
	w.m.decodeRows(&x.a, w.K())
	if scaleD {
		readC(c, d, w.m.c16, 2, 0)
	} else {
		clear(c)
	}
	w.m.multiply(c, c, &x.a, &x.cols, w.K())
	writeD(d, c, w.m.d16, 2, 0)
}
