package mma

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
)

// A 16-bit element says where it is: matrix, row, column.
func code(q, row, col int) uint32 { return uint32(q<<12 | row<<4 | col) }

func TestLdmatrix(t *testing.T) {
	var rows [32][4]uint32
	for i := range rows {
		for c := range 8 {
			rows[i][c/2] |= code(i/8, i%8, c) << (16 * (c & 1))
		}
	}
	for _, n := range []int{1, 2, 4} {
		for _, trans := range []bool{false, true} {
			d := make([]*Reg, n)
			for q := range d {
				d[q] = new(Reg)
			}
			Ldmatrix(d, &rows, trans)
			for q := range d {
				for lane, x := range d[q] {
					for j := range 2 {
						row, col := lane>>2, lane&3*2+j
						if trans {
							row, col = col, row
						}
						if got := x >> (16 * j) & 0xffff; got != code(q, row, col) {
							t.Fatalf("x%d trans %v: lane %d register %d half %d holds %#x, want %#x", n, trans, lane, q, j, got, code(q, row, col))
						}
					}
				}
			}
			var back [32][4]uint32
			Stmatrix(&back, d, trans)
			for i := range 8 * n {
				if back[i] != rows[i] {
					t.Fatalf("stmatrix x%d trans %v: row %d is %#x, want %#x", n, trans, i, back[i], rows[i])
				}
			}
		}
	}
}

func TestMovmatrix(t *testing.T) {
	var a Reg
	for lane := range a {
		a[lane] = code(0, lane>>2, lane&3*2) | code(0, lane>>2, lane&3*2+1)<<16
	}
	Movmatrix(&a, &a)
	for lane, x := range a {
		if want := code(0, lane&3*2, lane>>2) | code(0, lane&3*2+1, lane>>2)<<16; x != want {
			t.Fatalf("lane %d: %#x, want %#x", lane, x, want)
		}
	}
}

// loadFrag reads a matrix from memory as wmma.load does.
func loadFrag(f Frag, mem []byte, rowMajor bool, ldm int) [][32]uint64 {
	regs := make([][32]uint64, f.Regs)
	f.Each(rowMajor, ldm, func(lane, reg, bit int, off int64, size int) {
		for i := range size {
			regs[reg][lane] |= uint64(mem[off+int64(i)]) << (bit + 8*i)
		}
	})
	return regs
}

func TestWmma(t *testing.T) {
	forms := 0
	r := rand.New(rand.NewPCG(3, 3))
	try := func(s Spec) {
		for layout := range 8 {
			rowA, rowB, rowC := layout&1 == 0, layout&2 == 0, layout&4 == 0
			if s.A.Bits() < 8 && (!rowA || rowB) {
				continue // bits and nibbles: .row.col alone
			}
			forms++
			in, err := s.CompileWmma(Hopper)
			if err != nil {
				t.Fatal(err)
			}
			const pad = 8
			fill := func(op byte, typ ptx.Type, rows, cols int, rowMajor bool) (Frag, [][32]uint64, matrix) {
				f, err := NewFrag(op, s.M, s.N, s.K, typ)
				if err != nil {
					t.Fatal(err)
				}
				lines, length := rows, cols
				if !rowMajor {
					lines, length = cols, rows
				}
				ldm := length + pad
				if f.bits < 8 {
					ldm = length * 2
				}
				mem := make([]byte, lines*ldm*f.bits/8+16)
				m := matrix{}
				for i := range rows {
					for j := range cols {
						v := draw(r, typ, 0)
						if typ == ptx.F64 {
							v = f64Bits(r.NormFloat64())
						}
						m[[3]int{0, i, j}] = v
						at := i*ldm + j
						if !rowMajor {
							at = j*ldm + i
						}
						if f.bits < 8 {
							mem[at*f.bits/8] |= byte(v << (at * f.bits % 8))
							continue
						}
						var b [8]byte
						binary.LittleEndian.PutUint64(b[:], v)
						copy(mem[at*f.bits/8:], b[:f.bits/8])
					}
				}
				return f, loadFrag(f, mem, rowMajor, ldm), m
			}
			_, fa, a := fill('a', s.A, s.M, s.K, rowA)
			_, fb, b := fill('b', s.B, s.K, s.N, rowB)
			_, fc, c := fill('c', s.C, s.M, s.N, rowC)
			fd := run(in, fa, fb, fc)
			frag, _ := NewFrag('d', s.M, s.N, s.K, s.D)
			seen := 0
			frag.Each(true, s.N, func(lane, reg, bit int, off int64, size int) {
				for at := 0; at < size; at += s.D.Bits() / 8 {
					i, j := int(off)+at, 0
					i /= s.D.Bits() / 8
					i, j = i/s.N, i%s.N
					seen++
					got := fd[reg][lane] >> (bit + 8*at) & (1<<s.D.Bits() - 1)
					row, col := make([]uint64, s.K), make([]uint64, s.K)
					for k := range s.K {
						row[k], col[k] = a[[3]int{0, i, k}], b[[3]int{0, k, j}]
					}
					if r.IntN(8) == 0 || s.C == ptx.S32 {
						if want := refElement(s, Hopper, row, col, c[[3]int{0, i, j}]); got != want {
							t.Fatalf("w%v, A row %v, B row %v: d[%d][%d] is %#x, want %#x", s, rowA, rowB, i, j, got, want)
						}
					}
				}
			})
			if seen != s.M*s.N {
				t.Fatalf("w%v: %d elements of d", s, seen)
			}
		}
	}
	for kd, list := range wmmaShapes {
		for _, sh := range list {
			s := Spec{M: sh[0], N: sh[1], K: sh[2], C: ptx.F32, D: ptx.F32}
			switch kd {
			case "f16":
				s.A, s.B = ptx.F16, ptx.F16
				for i := range 4 {
					s.C, s.D = []ptx.Type{ptx.F32, ptx.F16}[i&1], []ptx.Type{ptx.F32, ptx.F16}[i>>1]
					try(s)
				}
				continue
			case "bf16":
				s.A = ptx.BF16
			case "tf32":
				s.A = ptx.TF32
			case "f64":
				s.A, s.C, s.D = ptx.F64, ptx.F64, ptx.F64
			default:
				s.C, s.D = ptx.S32, ptx.S32
				s.A = map[string]ptx.Type{"int8": ptx.S8, "int4": ptx.U4, "b1": ptx.B1}[kd]
			}
			s.B = s.A
			try(s)
		}
	}
	t.Logf("%d forms", forms)
}

// wgmmaAddr is the byte that element (i, k) of a matrix lies at, by the canonical layouts of
// the PTX ISA ("Strides"), in elements, before the swizzle. i counts rows of A, columns of B.
func wgmmaAddr(d Desc, i, k, es int, mnMajor bool) uint32 {
	t := 16 / es
	lead, stride := int(d.Lead())/es, int(d.Stride())/es
	width := int(d.Span()) / 16
	var e int
	switch {
	case !mnMajor && width == 1: // ((8,m),(T,2)):((T,SBO),(1,LBO))
		e = i%8*t + i/8*stride + k%t + k/t*lead
	case !mnMajor: // ((8,m),(T,2)):((wT,SBO),(1,T))
		e = i%8*width*t + i/8*stride + k
	case width == 1: // ((T,1,m),(8,k)):((1,T,SBO),(T,LBO))
		e = i%t + i/t*stride + k%8*t + k/8*lead
	default: // ((T,w,m),(8,k)):((1,T,LBO),(wT,SBO))
		e = i%t + i/t%width*t + i/t/width*lead + k%8*width*t + k/8*stride
	}
	a := d.Start() + uint32(e*es)
	switch width {
	case 8:
		a ^= a >> 3 & 0x70
	case 4:
		a ^= a >> 3 & 0x30
	case 2:
		a ^= a >> 3 & 0x10
	}
	return a
}

func TestWgmma(t *testing.T) {
	type types struct{ a, b, d ptx.Type }
	forms := 0
	r := rand.New(rand.NewPCG(5, 5))
	for _, ty := range []types{
		{ptx.F16, ptx.F16, ptx.F32}, {ptx.F16, ptx.F16, ptx.F16}, {ptx.BF16, ptx.BF16, ptx.F32}, {ptx.TF32, ptx.TF32, ptx.F32},
		{ptx.E4M3, ptx.E4M3, ptx.F32}, {ptx.E4M3, ptx.E5M2, ptx.F16}, {ptx.E5M2, ptx.E4M3, ptx.F32}, {ptx.E5M2, ptx.E5M2, ptx.F32},
		{ptx.S8, ptx.U8, ptx.S32}, {ptx.U8, ptx.S8, ptx.S32}, {ptx.S8, ptx.S8, ptx.S32}, {ptx.U8, ptx.U8, ptx.S32}, {ptx.B1, ptx.B1, ptx.S32},
	} {
		for _, span := range []uint32{16, 32, 64, 128} {
			for mode := range 8 {
				s := WgmmaSpec{N: []int{8, 16, 24, 64, 128, 256}[r.IntN(6)], A: ty.a, B: ty.b, D: ty.d,
					ARegs: mode&1 != 0, TransA: mode&2 != 0, TransB: mode&4 != 0}
				if s.A.Bits() != 16 && mode > 1 || s.ARegs && s.TransA {
					continue
				}
				if ty.d != ptx.S32 {
					s.NegA, s.NegB = r.IntN(2) == 0, r.IntN(2) == 0
				}
				if span > 16 && (s.TransA || s.TransB) && s.N*2%int(span) != 0 {
					s.N = 64
				}
				forms++
				testWgmma(t, s, span, r)
			}
		}
	}
	t.Logf("%d forms", forms)
}

func testWgmma(t *testing.T, s WgmmaSpec, span uint32, r *rand.Rand) {
	w, err := s.Compile()
	if err != nil {
		t.Fatal(err)
	}
	smem := make([]byte, 1<<18)
	for i := range smem {
		smem[i] = byte(r.Uint32())
	}
	es := max(s.A.Bits(), 8) / 8
	if s.A == ptx.TF32 {
		es = 4
	}
	k := s.K()
	units := k
	if s.A == ptx.B1 {
		units = 32 // bytes of 8 bits
	}
	// Generous strides: what is not in the layout must not be read.
	descA := MakeDesc(1024, 0x2000, 0x1800, span)
	descB := MakeDesc(0x10000, 0x1400, 0x1000, span)
	if span == 16 {
		descA, descB = MakeDesc(1024+16*3, 0x2400, 0x90, span), MakeDesc(0x10000, 0x2080, 0x90, span)
		if s.TransA {
			descA = MakeDesc(1024, 0x2400, 0x480, span)
		}
		if s.TransB {
			descB = MakeDesc(0x10000, 0x1400, 0x100, span)
		}
	}
	type key = [2]int
	used := map[uint32]bool{}
	scatter := func(d Desc, n int, typ ptx.Type, trans bool) map[key]uint64 {
		m := map[key]uint64{}
		for i := range n {
			for c := range units {
				at := wgmmaAddr(d, i, c, es, trans)
				used[at&^15] = true
				if typ == ptx.B1 {
					for b := range 8 {
						m[key{i, 8*c + b}] = uint64(smem[at] >> b & 1)
					}
					continue
				}
				v := draw(r, typ, 0)
				var b [8]byte
				binary.LittleEndian.PutUint64(b[:], v)
				copy(smem[at:], b[:es])
				m[key{i, c}] = v
			}
		}
		return m
	}
	var a map[key]uint64
	var aregs *[4][]*Reg
	if s.ARegs {
		aregs = new([4][]*Reg)
		a = map[key]uint64{}
		per := 32 / max(int(w.width), 1)
		for q := range aregs {
			for i := range 4 {
				reg := new(Reg)
				for lane := range reg {
					g, tt := lane>>2, lane&3
					for j := range per {
						v := draw(r, s.A, 0)
						reg[lane] |= uint32(v) << (j * int(w.width))
						a[key{16*q + g + 8*(i&1), (i>>1)*4*per + tt*per + j}] = v
					}
				}
				aregs[q] = append(aregs[q], reg)
			}
		}
	} else {
		a = scatter(descA, 64, s.A, s.TransA)
	}
	b := scatter(descB, s.N, s.B, s.TransB)
	w.EachRead(descA, descB, func(addr uint32) {
		if !used[addr] {
			t.Fatalf("%v span %d: reads %#x, which holds no element", w, span, addr)
		}
		used[addr] = false
	})
	for addr, missing := range used {
		if missing {
			t.Fatalf("%v span %d: does not read %#x", w, span, addr)
		}
	}
	for _, scaleD := range []bool{true, false} {
		var d [4][]*Reg
		c := map[key]uint64{}
		half := s.D == ptx.F16
		place := func(q, i, lane, j int) key {
			e := i
			if half {
				e = 2*i + j
			}
			return key{16*q + lane>>2 + 8*(e>>1&1), 8*(e>>2) + 2*(lane&3) + e&1}
		}
		for q := range d {
			for i := range w.ND {
				reg := new(Reg)
				for lane := range reg {
					if half {
						x, y := draw(r, ptx.F16, 0), draw(r, ptx.F16, 0)
						reg[lane] = uint32(x | y<<16)
						c[place(q, i, lane, 0)], c[place(q, i, lane, 1)] = x, y
						continue
					}
					x := draw(r, s.D, 0)
					reg[lane] = uint32(x)
					c[place(q, i, lane, 0)] = x
				}
				d[q] = append(d[q], reg)
			}
		}
		if err := w.Do(&d, aregs, descA, descB, smem, scaleD); err != nil {
			t.Fatal(err)
		}
		for range 60 {
			q, i, lane, j := r.IntN(4), r.IntN(w.ND), r.IntN(32), 0
			got := uint64(d[q][i][lane])
			if half {
				j = r.IntN(2)
				got = got >> (16 * j) & 0xffff
			}
			at := place(q, i, lane, j)
			row, col := make([]uint64, k), make([]uint64, k)
			for x := range k {
				row[x], col[x] = a[key{at[0], x}], b[key{at[1], x}]
				if s.NegA {
					row[x] ^= 1 << (w.width - 1)
				}
				if s.NegB {
					col[x] ^= 1 << (w.width - 1)
				}
			}
			cc := c[at]
			if !scaleD {
				cc = 0
			}
			var want uint64
			if s.D == ptx.S32 {
				want = refElement(Spec{A: s.A, B: s.B, C: ptx.S32, And: true}, Hopper, row, col, cc)
			} else {
				su := sums{frac: 25, step: 16}
				if s.A.Bits() == 8 {
					su = sums{frac: 13, clear: 1}
				}
				want = refDot(su, s.A, s.B, s.D, s.D, row, col, cc)
			}
			if got != want {
				t.Fatalf("%v span %d %+v: d%v is %#x, want %#x", w, span, s, at, got, want)
			}
		}
	}
}

func TestWgmmaErrors(t *testing.T) {
	w, err := WgmmaSpec{N: 8, A: ptx.F16, B: ptx.F16, D: ptx.F32}.Compile()
	if err != nil {
		t.Fatal(err)
	}
	var d [4][]*Reg
	for q := range d {
		for range w.ND {
			d[q] = append(d[q], new(Reg))
		}
	}
	ok, far, odd := MakeDesc(0, 0, 1024, 128), MakeDesc(0x3fc00, 0, 1024, 128), MakeDesc(0, 0, 1024, 128)|1<<49
	smem := make([]byte, 16<<10)
	for i, x := range [][2]Desc{{ok, far}, {far, ok}, {ok, odd}, {odd, ok}} {
		if err := w.Do(&d, nil, x[0], x[1], smem, true); err == nil {
			t.Errorf("case %d: no error", i)
		}
	}
	if err := w.Do(&d, nil, ok, ok, smem, true); err != nil {
		t.Error(err)
	}
	for _, s := range []WgmmaSpec{
		{N: 12, A: ptx.F16, B: ptx.F16, D: ptx.F32}, {N: 264, A: ptx.F16, B: ptx.F16, D: ptx.F32}, {N: 8, A: ptx.TF32, B: ptx.TF32, D: ptx.F32, TransB: true},
		{N: 8, A: ptx.F16, B: ptx.BF16, D: ptx.F32}, {N: 40, A: ptx.S8, B: ptx.S8, D: ptx.S32}, {N: 8, A: ptx.F16, B: ptx.F16, D: ptx.F32, ARegs: true, TransA: true},
	} {
		if _, err := s.Compile(); err == nil {
			t.Errorf("%+v compiles", s)
		}
	}
}

func BenchmarkWgmma(b *testing.B) {
	for _, s := range []WgmmaSpec{{N: 128, A: ptx.F16, B: ptx.F16, D: ptx.F32}, {N: 128, A: ptx.S8, B: ptx.S8, D: ptx.S32}} {
		b.Run(fmt.Sprint(s), func(b *testing.B) {
			w, err := s.Compile()
			if err != nil {
				b.Fatal(err)
			}
			var d [4][]*Reg
			for q := range d {
				for range w.ND {
					d[q] = append(d[q], new(Reg))
				}
			}
			smem := make([]byte, 1<<17)
			r := rand.New(rand.NewPCG(1, 1))
			for i := 0; i < len(smem); i += 2 {
				binary.LittleEndian.PutUint16(smem[i:], uint16(draw(r, ptx.F16, 0)))
			}
			for b.Loop() {
				if err := w.Do(&d, nil, MakeDesc(0, 0, 1024, 128), MakeDesc(1<<16, 0, 1024, 128), smem, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
