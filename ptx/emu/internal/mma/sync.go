package mma

import (
	"fmt"
	"sync"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/num"
)

// Reg is a register of a warp: one word per lane.
type Reg = [32]uint32

// Reg64 is a 64-bit register of a warp.
type Reg64 = [32]uint64

// Spec names a dense matrix instruction: mma.sync.mMnNkK{.row.col}.D.A.B.C (9.7.14.5).
type Spec struct {
	M, N, K    int
	A, B, C, D ptx.Type
	ColA, RowB bool         // m8n8k4 with f16 alone: layouts other than .row.col
	Sat        bool         // .satfinite of integers: clamp instead of wrap
	And        bool         // b1: .and.popc instead of .xor.popc
	Rnd        num.Rounding // of f64
}

func (s Spec) String() string {
	return fmt.Sprintf("mma.m%dn%dk%d.%v.%v.%v.%v", s.M, s.N, s.K, s.D, s.A, s.B, s.C)
}

// Inst is a compiled matrix instruction. It is immutable, and safe for concurrent use.
type Inst struct {
	Spec
	NA, NB, NC, ND int // registers of the operands (64-bit ones for f64)
	do             func(in *Inst, d, a, b, c []*Reg)
	m              model
}

// shapes of mma.sync by the kind of operand (9.7.14.5, table of shapes).
var shapes = map[string][][3]int{
	"f16":  {{8, 8, 4}, {16, 8, 8}, {16, 8, 16}},
	"bf16": {{16, 8, 8}, {16, 8, 16}},
	"tf32": {{16, 8, 4}, {16, 8, 8}},
	"fp8":  {{16, 8, 16}, {16, 8, 32}},
	"f64":  {{8, 8, 4}, {16, 8, 4}, {16, 8, 8}, {16, 8, 16}},
	"int8": {{8, 8, 16}, {16, 8, 16}, {16, 8, 32}},
	"int4": {{8, 8, 32}, {16, 8, 32}, {16, 8, 64}},
	"b1":   {{8, 8, 128}, {16, 8, 128}, {16, 8, 256}},
}

func kind(t ptx.Type) string {
	switch t {
	case ptx.F16, ptx.BF16, ptx.TF32, ptx.F64, ptx.B1:
		return t.String()
	case ptx.E4M3, ptx.E5M2:
		return "fp8"
	case ptx.S8, ptx.U8:
		return "int8"
	case ptx.S4, ptx.U4:
		return "int4"
	}
	return ""
}

// Compile checks the instruction and prepares it for a generation.
func (s Spec) Compile(arch Arch) (*Inst, error) {
	k := kind(s.A)
	ok := k != "" && k == kind(s.B)
	if k == "f16" || k == "bf16" || k == "tf32" || k == "f64" {
		ok = ok && s.A == s.B
	}
	if ok {
		ok = false
		for _, x := range shapes[k] {
			ok = ok || x == [3]int{s.M, s.N, s.K}
		}
	}
	half := func(t ptx.Type) bool { return t == ptx.F16 && (k == "f16" || k == "fp8") || t == ptx.F32 }
	switch k {
	case "f64":
		ok = ok && s.C == ptx.F64 && s.D == ptx.F64
	case "int8", "int4", "b1":
		ok = ok && s.C == ptx.S32 && s.D == ptx.S32
	default:
		ok = ok && half(s.C) && half(s.D)
	}
	volta := k == "f16" && s.K == 4
	if !ok || (s.ColA || s.RowB) && !volta {
		return nil, fmt.Errorf("%v: no such matrix instruction", s)
	}
	in := &Inst{Spec: s}
	ab := s.A.Bits()
	in.NA, in.NB = s.M*s.K*ab/32/32, s.N*s.K*ab/32/32
	in.NC, in.ND = s.M*s.N*s.C.Bits()/32/32, s.M*s.N*s.D.Bits()/32/32
	switch k {
	case "f64":
		in.NA, in.NB, in.NC, in.ND = s.M*s.K/32, s.N*s.K/32, s.M*s.N/32, s.M*s.N/32
	case "int8":
		in.do = (*Inst).int8
	case "int4":
		in.do = (*Inst).int4
	case "b1":
		in.do = (*Inst).binary
	default:
		in.m = newModel(arch, s.A, s.B, s.C, s.D, false)
		in.do = (*Inst).float
		if volta {
			in.NA, in.NB = 2, 2
			in.NC, in.ND = 2*s.C.Bits()/8, 2*s.D.Bits()/8
			in.do = (*Inst).quadPairs
		}
	}
	return in, nil
}

func newModel(arch Arch, a, b, c, d ptx.Type, wgmma bool) model {
	return model{
		sums: sumsOf(arch, a, wgmma),
		a:    formats[a], b: formats[b],
		c16: c == ptx.F16, d16: d == ptx.F16,
	}
}

// Do executes the instruction for a whole warp. d may share registers with c, a and b.
// Registers that the instruction does not have are not touched.
func (in *Inst) Do(d, a, b, c []*Reg) {
	if len(d) < in.ND || len(a) < in.NA || len(b) < in.NB || len(c) < in.NC {
		panic(fmt.Sprintf("%v: %d, %d, %d, %d registers for d, a, b, c; it has %d, %d, %d, %d",
			in.Spec, len(d), len(a), len(b), len(c), in.ND, in.NA, in.NB, in.NC))
	}
	in.do(in, d[:in.ND], a[:in.NA], b[:in.NB], c[:in.NC])
}

// operands holds the pieces of one product of 16 rows.
type operands struct {
	a    rows
	braw [8 * maxK]uint32
	bsig [8 * maxK]int32
	bexp [8 * maxK]int32
	c    [8][16]uint32
	cols columns
}

// pool spares clearing them: what an instruction reads, it has written.
var pool = sync.Pool{New: func() any {
	o := new(operands)
	o.cols = columns{raw: o.braw[:], sig: o.bsig[:], exp: o.bexp[:]}
	return o
}}

// float is m16n8 with f16, bf16, tf32 and fp8.
func (in *Inst) float(d, a, b, c []*Reg) {
	o := pool.Get().(*operands)
	readA(&o.a.raw, a, in.m.a.bits, 2, 0)
	readB(o.braw[:], b, in.m.b.bits, in.K)
	readC(o.c[:], c, in.m.c16, 2, 0)
	in.m.decodeRows(&o.a, in.K)
	in.m.decodeColumns(&o.cols, 8, in.K)
	in.m.multiply(o.c[:], o.c[:], &o.a, &o.cols, in.K)
	writeD(d, o.c[:], in.m.d16, 2, 0)
	pool.Put(o)
}

// All fragments but those of m8n8k4 with f16 are made of tiles of 8 rows by one word of four
// lanes: lane 4g+t holds, of every tile, the word t of row g (of B, of column g). The
// tiles of a register follow each other along the rows of A and C and along the k of
// B, then along the other direction.

// readA gathers 16 rows, of which the first is tile first of the fragment's tiles.
func readA(raw *[maxK][16]uint32, a []*Reg, w uint, tiles, first int) {
	per := int(32 / w)
	mask := uint32(1<<w - 1)
	for r, reg := range a {
		row := 8 * (r%tiles - first)
		if row < 0 || row > 8 {
			continue
		}
		k0 := r / tiles * 4 * per
		for lane, x := range reg {
			k, g := k0+lane&3*per, row+lane>>2
			for j := range per {
				raw[k+j][g] = x & mask
				x >>= w
			}
		}
	}
}

// readB gathers columns.
func readB(raw []uint32, b []*Reg, w uint, k int) {
	per := int(32 / w)
	tiles := k / (4 * per)
	mask := uint32(1<<w - 1)
	for r, reg := range b {
		n0, k0 := r/tiles*8, r%tiles*4*per
		for lane, x := range reg {
			i := (n0+lane>>2)*maxK + k0 + lane&3*per
			for j := range per {
				raw[i+j] = x & mask
				x >>= w
			}
		}
	}
}

// readC gathers 16 rows of an accumulator: column [n], row r.
func readC(o [][16]uint32, c []*Reg, half bool, tiles, first int) {
	for r, reg := range c {
		q := r
		if !half {
			q = r >> 1
		}
		row, n0 := 8*(q%tiles-first), 8*(q/tiles)
		if row < 0 || row > 8 {
			continue
		}
		if half {
			for lane, x := range reg {
				n, g := n0+lane&3*2, row+lane>>2
				o[n][g], o[n+1][g] = x&0xffff, x>>16
			}
			continue
		}
		for lane, x := range reg {
			o[n0+lane&3*2+r&1][row+lane>>2] = x
		}
	}
}

// writeD is the inverse of readC.
func writeD(d []*Reg, o [][16]uint32, half bool, tiles, first int) {
	for r, reg := range d {
		q := r
		if !half {
			q = r >> 1
		}
		row, n0 := 8*(q%tiles-first), 8*(q/tiles)
		if row < 0 || row > 8 {
			continue
		}
		if half {
			for lane := range reg {
				n, g := n0+lane&3*2, row+lane>>2
				reg[lane] = o[n][g] | o[n+1][g]<<16
			}
			continue
		}
		for lane := range reg {
			reg[lane] = o[n0+lane&3*2+r&1][row+lane>>2]
		}
	}
}
