package mma

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/num"
)

// Every shape and type: the operands are scattered into registers by the formulas of the
// PTX ISA, written out once more here, and the result is compared with exact arithmetic
// on the matrices. A wrong place of any element is a wrong result.

// place gives row and column of element i of a lane for A (M×K), B (K×N) and C (M×N).
// It follows the text of 9.7.14.5, shape by shape.
func place(s Spec, op byte, lane, i int) (row, col int) {
	g, t := lane>>2, lane&3
	if8 := func(cond bool) int {
		if cond {
			return 8
		}
		return 0
	}
	type key struct{ m, k, bits int }
	switch k := (key{s.M, s.K, s.A.Bits()}); op {
	case 'a':
		switch k {
		case key{16, 8, 16}: // f16, bf16
			return g + if8(i >= 2), 2*t + i&1
		case key{16, 16, 16}:
			return g + if8(i>>1&1 == 1), 2*t + i&1 + if8(i >= 4)
		case key{16, 4, 32}: // tf32
			return g + 8*i, t
		case key{16, 8, 32}:
			return g + if8(i == 1 || i == 3), t + 4*(i>>1)
		case key{8, 4, 64}: // f64
			return g, t
		case key{16, 4, 64}:
			return g + 8*i, t
		case key{16, 8, 64}:
			return g + if8(i == 1 || i == 3), t + 4*(i>>1)
		case key{16, 16, 64}:
			return g + if8(i%2 == 1), t + 4*(i/2)
		case key{8, 16, 8}: // 8 bits
			return g, t*4 + i
		case key{16, 16, 8}:
			return g + if8(i >= 4), t*4 + i&3
		case key{16, 32, 8}:
			return g + if8(i >= 4 && i < 8 || i >= 12), t*4 + i&3 + 2*if8(i >= 8)
		case key{8, 32, 4}: // 4 bits
			return g, t*8 + i
		case key{16, 32, 4}:
			return g + if8(i >= 8), t*8 + i&7
		case key{16, 64, 4}:
			return g + if8(i >= 8 && i < 16 || i >= 24), t*8 + i&7 + 4*if8(i >= 16)
		case key{8, 128, 1}: // 1 bit
			return g, t*32 + i
		case key{16, 128, 1}:
			return g + if8(i >= 32), t*32 + i&31
		case key{16, 256, 1}:
			return g + if8(i >= 32 && i < 64 || i >= 96), t*32 + i&31 + 16*if8(i >= 64)
		}
	case 'b':
		switch k {
		case key{16, 8, 16}:
			return 2*t + i, g
		case key{16, 16, 16}:
			return 2*t + i&1 + if8(i >= 2), g
		case key{16, 4, 32}:
			return t, g
		case key{16, 8, 32}:
			return t + 4*i, g
		case key{8, 4, 64}, key{16, 4, 64}:
			return t, g
		case key{16, 8, 64}, key{16, 16, 64}:
			return t + 4*i, g
		case key{8, 16, 8}, key{16, 16, 8}:
			return t*4 + i, g
		case key{16, 32, 8}:
			return t*4 + i&3 + 2*if8(i >= 4), g
		case key{8, 32, 4}, key{16, 32, 4}:
			return t*8 + i, g
		case key{16, 64, 4}:
			return t*8 + i&7 + 4*if8(i >= 8), g
		case key{8, 128, 1}, key{16, 128, 1}:
			return t*32 + i, g
		case key{16, 256, 1}:
			return t*32 + i&31 + 16*if8(i >= 32), g
		}
	default:
		if s.M == 8 {
			return g, 2*t + i
		}
		return g + if8(i >= 2), 2*t + i&1
	}
	panic(fmt.Sprint(s, op))
}

// voltaPlace is place for m8n8k4 with f16; q is the quad pair.
func voltaPlace(s Spec, op byte, lane, i int) (q, row, col int) {
	q = lane % 16 / 4
	hi := 0
	if lane >= 16 {
		hi = 4
	}
	switch {
	case op == 'a' && !s.ColA:
		return q, lane%4 + hi, i
	case op == 'a':
		return q, i + hi, lane % 4
	case op == 'b' && s.RowB:
		return q, lane % 4, i + hi
	case op == 'b':
		return q, i, lane%4 + hi
	case op == 'c' && s.C == ptx.F16, op == 'd' && s.D == ptx.F16:
		return q, lane%4 + hi, i
	}
	return q, lane&1 + i&2 + hi, i&4 + lane&2 + i&1
}

func (s Spec) volta() bool { return s.A == ptx.F16 && s.K == 4 }

// matrix holds the bits of elements; several of them for the quad pairs.
type matrix map[[3]int]uint64

// scatter fills registers of a warp with a matrix; gather reads them.
func move(s Spec, op byte, t ptx.Type, regs [][32]uint64, m matrix, write bool) {
	w := t.Bits()
	if t == ptx.TF32 {
		w = 32
	}
	per := max(32/w, 1)
	for r := range regs {
		for lane := range 32 {
			for j := range per {
				var k [3]int
				if s.volta() {
					k[0], k[1], k[2] = voltaPlace(s, op, lane, r*per+j)
				} else {
					k[1], k[2] = place(s, op, lane, r*per+j)
				}
				if write {
					regs[r][lane] |= m[k] << (j * w)
				} else {
					m[k] = regs[r][lane] >> (j * w) & (1<<w - 1)
				}
			}
		}
	}
}

// draw gives an element for a trial: 0 small whole numbers, 1 any exponent near one, 2 any bits,
// 3 extremes, infinities and NaN now and then.
func draw(r *rand.Rand, t ptx.Type, trial int) uint64 {
	f, ok := floatShapes[t]
	if !ok {
		return r.Uint64() & (1<<t.Bits() - 1)
	}
	mag := f.man + f.exp + f.drop
	bias := uint64(1)<<(f.exp-1) - 1
	b := r.Uint64() & (1<<(mag+1) - 1)
	exp := func(e uint64) uint64 { return b&^((1<<f.exp-1)<<(f.man+f.drop)) | e<<(f.man+f.drop) }
	finite := func() {
		if _, inf, nan := read(t, b); inf != 0 || nan {
			b = exp(bias)
		}
	}
	switch trial % 4 {
	case 0:
		b = exp(bias)
	case 1:
		b = exp(bias + r.Uint64N(min(bias, 24)) - min(bias, 24)/2)
	case 2:
		finite()
		if r.IntN(8) == 0 {
			b &= 1<<mag | 1<<(f.man+f.drop) - 1 // subnormal
		}
	case 3:
		finite()
		switch r.IntN(60) {
		case 0:
			b = b&(1<<mag) | (1<<f.exp-1)<<(f.man+f.drop)
		case 1:
			b |= 1<<mag - 1
		default:
			if r.IntN(3) == 0 {
				b &= 1 << mag
			}
		}
	}
	return b
}

func allSpecs() []Spec {
	var all []Spec
	add := func(kind string, as, bs, cs []ptx.Type) {
		for _, sh := range shapes[kind] {
			for _, a := range as {
				for _, b := range bs {
					for _, c := range cs {
						for _, d := range cs {
							all = append(all, Spec{M: sh[0], N: sh[1], K: sh[2], A: a, B: b, C: c, D: d})
						}
					}
				}
			}
		}
	}
	f32, both := []ptx.Type{ptx.F32}, []ptx.Type{ptx.F32, ptx.F16}
	one := func(t ptx.Type) []ptx.Type { return []ptx.Type{t} }
	add("f16", one(ptx.F16), one(ptx.F16), both)
	add("bf16", one(ptx.BF16), one(ptx.BF16), f32)
	add("tf32", one(ptx.TF32), one(ptx.TF32), f32)
	fp8 := []ptx.Type{ptx.E4M3, ptx.E5M2}
	add("fp8", fp8, fp8, both)
	add("f64", one(ptx.F64), one(ptx.F64), one(ptx.F64))
	add("int8", []ptx.Type{ptx.S8, ptx.U8}, []ptx.Type{ptx.S8, ptx.U8}, one(ptx.S32))
	add("int4", []ptx.Type{ptx.S4, ptx.U4}, []ptx.Type{ptx.S4, ptx.U4}, one(ptx.S32))
	add("b1", one(ptx.B1), one(ptx.B1), one(ptx.S32))
	for _, s := range all {
		switch {
		case s.volta():
			for i := 1; i < 4; i++ {
				s.ColA, s.RowB = i&1 != 0, i&2 != 0
				all = append(all, s)
			}
		case s.A == ptx.B1:
			s.And = true
			all = append(all, s)
		case s.C == ptx.S32:
			s.Sat = true
			all = append(all, s)
		}
	}
	return all
}

func TestSync(t *testing.T) {
	forms := 0
	for _, s := range allSpecs() {
		if testing.Short() && s.A != ptx.F16 {
			continue
		}
		for _, arch := range []Arch{Turing, Ampere, Ada, Hopper} {
			if s.C != ptx.F32 && s.C != ptx.F16 && arch != Hopper {
				continue // whole numbers and f64 are the same everywhere
			}
			forms++
			in, err := s.Compile(arch)
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(7, uint64(forms)))
			for trial := range 4 {
				testSync(t, in, arch, r, trial)
			}
		}
	}
	t.Logf("%d forms", forms)
}

func testSync(t *testing.T, in *Inst, arch Arch, r *rand.Rand, trial int) {
	s := in.Spec
	sets := 1
	if s.volta() {
		sets = 4
	}
	mk := func(rows, cols int, typ ptx.Type) matrix {
		m := matrix{}
		for q := range sets {
			for i := range rows {
				for j := range cols {
					m[[3]int{q, i, j}] = draw(r, typ, trial)
					if typ == ptx.F64 {
						m[[3]int{q, i, j}] = math.Float64bits(r.NormFloat64())
					}
				}
			}
		}
		return m
	}
	a, b, c := mk(s.M, s.K, s.A), mk(s.K, s.N, s.B), mk(s.M, s.N, s.C)
	if s.C == ptx.S32 && trial&1 == 1 {
		for k := range c {
			c[k] = 0x7fffffff + c[k]&1 // saturation or wrapping at once
		}
	}
	fa, fb, fc := make([][32]uint64, in.NA), make([][32]uint64, in.NB), make([][32]uint64, in.NC)
	move(s, 'a', s.A, fa, a, true)
	move(s, 'b', s.B, fb, b, true)
	move(s, 'c', s.C, fc, c, true)
	fd := run(in, fa, fb, fc)
	d := matrix{}
	move(s, 'd', s.D, fd, d, false)
	if len(d) != sets*s.M*s.N {
		t.Fatalf("%v: %d elements of d", s, len(d))
	}
	few := trial > 0 && s.A != ptx.F64 && s.C != ptx.S32 // exact fractions are slow
	for key, got := range d {
		if few && r.IntN(6) != 0 {
			continue
		}
		q, i, j := key[0], key[1], key[2]
		row, col := make([]uint64, s.K), make([]uint64, s.K)
		for k := range s.K {
			row[k], col[k] = a[[3]int{q, i, k}], b[[3]int{q, k, j}]
		}
		want := refElement(s, arch, row, col, c[key])
		if got != want {
			t.Fatalf("%v on %v, trial %d: d[%d][%d] of %d is %#x, want %#x", s, arch, trial, i, j, q, got, want)
		}
	}
}

// run executes an instruction; the registers of d are those of c, in reverse, where their
// numbers agree: nothing may be overwritten before it is read.
func run(in *Inst, fa, fb, fc [][32]uint64) [][32]uint64 {
	if in.A == ptx.F64 {
		p := func(x [][32]uint64) (r []*Reg64) {
			for i := range x {
				r = append(r, &x[i])
			}
			return r
		}
		c := p(fc)
		var d []*Reg64
		for i := range c {
			d = append(d, c[len(c)-1-i])
		}
		in.DoF64(d, p(fa), p(fb), c)
		var out [][32]uint64
		for _, reg := range d {
			out = append(out, *reg)
		}
		return out
	}
	p := func(x [][32]uint64) (r []*Reg) {
		for i := range x {
			var reg Reg
			for l, v := range x[i] {
				reg[l] = uint32(v)
			}
			r = append(r, &reg)
		}
		return r
	}
	c := p(fc)
	d := p(make([][32]uint64, in.ND))
	if len(c) == len(d) {
		for i := range c {
			d[i] = c[len(c)-1-i]
		}
	}
	in.Do(d, p(fa), p(fb), c)
	out := make([][32]uint64, len(d))
	for i := range d {
		for l, v := range d[i] {
			out[i][l] = uint64(v)
		}
	}
	return out
}

func f64Bits(x float64) uint64 { return math.Float64bits(x) }

func refElement(s Spec, arch Arch, a, b []uint64, c uint64) uint64 {
	switch {
	case s.A == ptx.F64:
		x := math.Float64frombits(c)
		for k := range a {
			x = math.FMA(math.Float64frombits(a[k]), math.Float64frombits(b[k]), x)
		}
		return math.Float64bits(x)
	case s.C == ptx.S32:
		sum := int64(int32(c))
		for k := range a {
			switch {
			case s.A == ptx.B1 && s.And:
				sum += int64(a[k] & b[k])
			case s.A == ptx.B1:
				sum += int64(a[k] ^ b[k])
			default:
				sum += signedValue(s.A, a[k]) * signedValue(s.B, b[k])
			}
		}
		if s.Sat {
			sum = min(max(sum, math.MinInt32), math.MaxInt32)
		}
		return uint64(uint32(sum))
	}
	// The table of ptx-facts: F and the products per sum.
	su := sums{frac: 24, step: 8}
	if arch == Hopper {
		su = sums{frac: 25, step: 16}
	}
	if s.A == ptx.TF32 {
		su.step /= 2
	}
	if s.A.Bits() == 8 && arch == Ada {
		su = sums{frac: 13, step: 16, clear: 1}
	}
	tc := s.C
	for k := 0; k < s.K; k += su.step {
		n := min(k+su.step, s.K)
		c = refDot(su, s.A, s.B, tc, s.D, a[k:n], b[k:n], c)
		tc = s.D
	}
	return c
}

func signedValue(t ptx.Type, b uint64) int64 {
	v := int64(b)
	if t.Kind() == ptx.KindSigned && b>>(t.Bits()-1) != 0 {
		v -= 1 << t.Bits()
	}
	return v
}

// TestF64Rounding compares directed rounding along a chain with exact arithmetic.
func TestF64Rounding(t *testing.T) {
	modes := map[num.Rounding]big.RoundingMode{num.RN: big.ToNearestEven, num.RZ: big.ToZero, num.RM: big.ToNegativeInf, num.RP: big.ToPositiveInf}
	r := rand.New(rand.NewPCG(3, 4))
	for rnd, mode := range modes {
		in, err := Spec{M: 8, N: 8, K: 4, A: ptx.F64, B: ptx.F64, C: ptx.F64, D: ptx.F64, Rnd: rnd}.Compile(ArchOf(90))
		if err != nil {
			t.Fatal(err)
		}
		var a, b Reg64
		var c, d [2]Reg64
		for l := range a {
			a[l], b[l] = f64Bits(r.NormFloat64()), f64Bits(r.NormFloat64())
			c[0][l], c[1][l] = f64Bits(r.NormFloat64()), f64Bits(r.NormFloat64())
		}
		in.DoF64([]*Reg64{&d[0], &d[1]}, []*Reg64{&a}, []*Reg64{&b}, []*Reg64{&c[0], &c[1]})
		for row := range 8 {
			for col := range 8 {
				lane, q := row*4+col/2, col%2
				s := big.NewFloat(math.Float64frombits(c[q][lane]))
				for k := range 4 {
					p := new(big.Float).SetPrec(200).Mul(big.NewFloat(math.Float64frombits(a[row*4+k])), big.NewFloat(math.Float64frombits(b[col*4+k])))
					s = new(big.Float).SetPrec(53).SetMode(mode).Add(p, s)
				}
				if want, _ := s.Float64(); d[q][lane] != f64Bits(want) {
					t.Errorf("%v: d[%d][%d] is %x, want %x", rnd, row, col, d[q][lane], f64Bits(want))
				}
			}
		}
	}
}
