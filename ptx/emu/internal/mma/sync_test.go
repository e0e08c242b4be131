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

// exact is a finite element: its value and the exponent that hardware gives it.
type exact struct {
	x   *big.Rat
	exp int
}

type shapeOf struct{ man, exp, drop uint }

var floatShapes = map[ptx.Type]shapeOf{
	ptx.F16: {10, 5, 0}, ptx.BF16: {7, 8, 0}, ptx.TF32: {10, 8, 13}, ptx.E4M3: {3, 4, 0}, ptx.E5M2: {2, 5, 0}, ptx.F32: {23, 8, 0},
}

// read gives the value of an element; inf is ±1 or 0, zero values have no exponent.
func read(t ptx.Type, b uint64) (e exact, inf int, nan bool) {
	f := floatShapes[t]
	b >>= f.drop
	frac, field := b&(1<<f.man-1), int(b>>f.man&(1<<f.exp-1))
	sign := 1 - 2*int(b>>(f.man+f.exp)&1)
	if field == 1<<f.exp-1 {
		switch {
		case t == ptx.E4M3:
			if frac == 7 {
				return e, 0, true
			}
		case frac != 0:
			return e, 0, true
		default:
			return e, sign, false
		}
	}
	m := int64(frac)
	if field > 0 {
		m += 1 << f.man
	} else {
		field = 1
	}
	e.exp = field - (1<<(f.exp-1) - 1)
	e.x = new(big.Rat).Mul(big.NewRat(m*int64(sign), 1), pow2(e.exp-int(f.man)))
	return e, 0, false
}

func pow2(e int) *big.Rat {
	p := new(big.Int).Lsh(big.NewInt(1), uint(max(e, -e)))
	if e < 0 {
		return new(big.Rat).SetFrac(big.NewInt(1), p)
	}
	return new(big.Rat).SetInt(p)
}

// trunc is x rounded toward zero to a multiple of 2^q.
func trunc(x *big.Rat, q int) *big.Rat {
	y := new(big.Rat).Mul(x, pow2(-q))
	return y.Mul(new(big.Rat).SetInt(new(big.Int).Quo(y.Num(), y.Denom())), pow2(q))
}

// refDot is the model of the sum, by its definition.
func refDot(su sums, ta, tb, tc, td ptx.Type, a, b []uint64, c uint64) uint64 {
	nanBits, infBits, sign := uint64(0x7fffffff), uint64(0x7f800000), uint64(1<<31)
	if td == ptx.F16 {
		nanBits, infBits, sign = 0x7fff, 0x7c00, 0x8000
	}
	ce, cinf, nan := read(tc, c)
	infs := map[int]bool{cinf: true}
	terms := []exact{ce}
	top := -126 // of a zero accumulator
	if cinf == 0 && !nan && ce.x.Sign() != 0 {
		top = ce.exp
	}
	for i := range a {
		x, xi, xn := read(ta, a[i])
		y, yi, yn := read(tb, b[i])
		nan = nan || xn || yn
		if xn || yn {
			continue
		}
		if xi != 0 || yi != 0 {
			if xi == 0 && x.x.Sign() == 0 || yi == 0 && y.x.Sign() == 0 {
				nan = true
				continue
			}
			sg := func(i int, e exact) int {
				if i != 0 {
					return i
				}
				return e.x.Sign()
			}
			infs[sg(xi, x)*sg(yi, y)] = true
			continue
		}
		p := exact{new(big.Rat).Mul(x.x, y.x), x.exp + y.exp}
		if p.x.Sign() != 0 {
			terms = append(terms, p)
			top = max(top, p.exp)
		}
	}
	switch {
	case nan || infs[1] && infs[-1]:
		return nanBits
	case infs[1]:
		return infBits
	case infs[-1]:
		return infBits | sign
	}
	sum := new(big.Rat)
	for _, t := range terms {
		sum.Add(sum, trunc(t.x, top-su.frac))
	}
	if sum.Sign() == 0 {
		return 0
	}
	abs := new(big.Rat).Abs(sum)
	e := abs.Num().BitLen() - abs.Denom().BitLen()
	if abs.Cmp(pow2(e)) < 0 {
		e--
	}
	var out uint64
	if td == ptx.F16 {
		q := max(e, -14) - 10
		y := new(big.Rat).Mul(abs, pow2(-q))
		n := new(big.Int).Quo(y.Num(), y.Denom())
		rest := new(big.Rat).Sub(y, new(big.Rat).SetInt(n))
		if h := rest.Cmp(big.NewRat(1, 2)); h > 0 || h == 0 && n.Bit(0) == 1 {
			n.Add(n, big.NewInt(1))
		}
		v, _ := new(big.Rat).Mul(new(big.Rat).SetInt(n), pow2(q)).Float64()
		out = infBits
		if v < 65536 {
			f := math.Float32bits(float32(v))
			out = uint64(f>>13) - 112<<10
			if v < 0x1p-14 {
				out = uint64(v * 0x1p24)
			}
		}
	} else {
		frac := 23
		if su.clear != 0 {
			frac = 13
		}
		v, _ := trunc(abs, max(e, -126)-frac).Float64()
		out = infBits
		if v < 0x1p128 {
			out = uint64(math.Float32bits(float32(v)))
		}
	}
	if sum.Sign() < 0 {
		out |= sign
	}
	return out
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

func TestLevels(t *testing.T) {
	have := num.Vectors
	defer func() { num.Vectors = have }()
	for l := num.Generic; l < have; l++ {
		num.Vectors = l
		r := rand.New(rand.NewPCG(11, uint64(l)))
		for _, s := range allSpecs() {
			if s.D == ptx.S32 && s.A == ptx.B1 || s.D == ptx.F64 {
				continue
			}
			for _, arch := range []Arch{Ampere, Hopper} {
				in, err := s.Compile(arch)
				if err != nil {
					t.Fatal(err)
				}
				testSync(t, in, arch, r, 3)
			}
		}
	}
}

// TestExtremes drives the vector code to where it must hand over: sums beyond 31 bits,
// results infinite or subnormal, accumulators far above and below.
func TestExtremes(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 13))
	have := num.Vectors
	defer func() { num.Vectors = have }()
	for _, ty := range []ptx.Type{ptx.F16, ptx.BF16, ptx.TF32} {
		s := Spec{M: 16, N: 8, K: 16, A: ty, B: ty, C: ptx.F32, D: ptx.F32}
		if ty == ptx.TF32 {
			s.K = 8
		}
		in, err := s.Compile(Hopper)
		if err != nil {
			t.Fatal(err)
		}
		for trial := range 40 {
			num.Vectors = num.Level(trial % (int(have) + 1))
			var regs [3][]*Reg
			for i, n := range []int{in.NA, in.NB, in.NC} {
				for range n {
					reg := new(Reg)
					for lane := range reg {
						e := func(t ptx.Type) uint32 {
							f := floatShapes[t]
							top := uint64(1)<<f.exp - 2
							field := []uint64{top, 1, 0, top / 2, top/2 - 60&top}[trial/8]
							m := uint64(1)<<(f.man+f.drop) - 1
							return uint32(field<<(f.man+f.drop) | m&(r.Uint64()|r.Uint64()|r.Uint64()))
						}
						if i == 2 {
							reg[lane] = e(ptx.F32) >> (r.IntN(4) / 3 * 4)
						} else if reg[lane] = e(ty); ty.Bits() == 16 {
							reg[lane] |= e(ty) << 16
						}
					}
					regs[i] = append(regs[i], reg)
				}
			}
			for _, reg := range regs[2] {
				for lane := range reg {
					if reg[lane]&0x7f800000 == 0x7f800000 {
						reg[lane] &^= 1 << 23
					}
				}
			}
			d := make([]*Reg, in.ND)
			for i := range d {
				d[i] = new(Reg)
			}
			in.Do(d, regs[0], regs[1], regs[2])
			elem := func(op byte, t ptx.Type, rs []*Reg) matrix {
				m := matrix{}
				x := make([][32]uint64, len(rs))
				for i := range rs {
					for l, v := range rs[i] {
						x[i][l] = uint64(v)
					}
				}
				move(s, op, t, x, m, false)
				return m
			}
			a, b, c, got := elem('a', ty, regs[0]), elem('b', ty, regs[1]), elem('c', ptx.F32, regs[2]), elem('d', ptx.F32, d)
			for i := range 16 {
				j := r.IntN(8)
				row, col := make([]uint64, s.K), make([]uint64, s.K)
				for k := range s.K {
					row[k], col[k] = a[[3]int{0, i, k}], b[[3]int{0, k, j}]
				}
				at := [3]int{0, i, j}
				if want := refElement(s, Hopper, row, col, c[at]); got[at] != want {
					t.Fatalf("%v, trial %d, level %d: d%v is %#x, want %#x", s, trial, num.Vectors, at, got[at], want)
				}
			}
		}
	}
}

func BenchmarkSync(b *testing.B) {
	for _, s := range []Spec{
		{M: 16, N: 8, K: 16, A: ptx.F16, B: ptx.F16, C: ptx.F32, D: ptx.F32},
		{M: 16, N: 8, K: 16, A: ptx.F16, B: ptx.F16, C: ptx.F16, D: ptx.F16},
		{M: 16, N: 8, K: 8, A: ptx.TF32, B: ptx.TF32, C: ptx.F32, D: ptx.F32},
		{M: 16, N: 8, K: 32, A: ptx.S8, B: ptx.S8, C: ptx.S32, D: ptx.S32},
		{M: 16, N: 8, K: 256, A: ptx.B1, B: ptx.B1, C: ptx.S32, D: ptx.S32},
		{M: 16, N: 8, K: 16, A: ptx.F64, B: ptx.F64, C: ptx.F64, D: ptx.F64},
	} {
		for _, arch := range []Arch{Ampere, Hopper} {
			b.Run(fmt.Sprintf("%v/%v", s, arch), func(b *testing.B) {
				in, err := s.Compile(arch)
				if err != nil {
					b.Fatal(err)
				}
				r := rand.New(rand.NewPCG(1, 1))
				if s.A == ptx.F64 {
					regs := make([]Reg64, in.NA+in.NB+in.NC)
					var p []*Reg64
					for i := range regs {
						for l := range regs[i] {
							regs[i][l] = math.Float64bits(r.NormFloat64())
						}
						p = append(p, &regs[i])
					}
					for b.Loop() {
						in.DoF64(p[in.NA+in.NB:], p, p[in.NA:], p[in.NA+in.NB:])
					}
					return
				}
				regs := make([]Reg, in.NA+in.NB+in.NC+in.ND)
				var p []*Reg
				for i := range regs {
					for l := range regs[i] {
						regs[i][l] = uint32(draw(r, s.A, 0))
						if w := s.A.Bits(); w == 16 {
							regs[i][l] |= uint32(draw(r, s.A, 0)) << 16
						} else if w < 16 {
							regs[i][l] = r.Uint32()
						}
					}
					p = append(p, &regs[i])
				}
				c := p[in.NA+in.NB:]
				d := c[in.NC:]
				for b.Loop() {
					in.Do(d, p, p[in.NA:], c)
				}
			})
		}
	}
}
