package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/internal/f32math"
)

// canary is a NaN: read by mistake it spoils a result, overwritten it is missed.
const canary = 0x7fc0beef

// arena hands out slices with canaries around them.
type arena struct {
	rng    *rand.Rand
	offset int // elements before each slice: its misalignment
	all    [][]float32
	alloc  func(n int) []float32 // where set, slices without canaries come from here
}

// after is the number of canaries behind a slice.
const after = 35

func (a *arena) make(n int, fill func() float32) []float32 {
	if a.alloc != nil {
		s := a.alloc(n)
		for i := range s {
			s[i] = fill()
		}
		return s
	}
	s := make([]float32, a.offset+n+after)
	for i := range s {
		s[i] = math.Float32frombits(canary)
		if i >= a.offset && i < a.offset+n {
			s[i] = fill()
		}
	}
	a.all = append(a.all, s)
	return s[a.offset : a.offset+n : a.offset+n]
}

func (a *arena) normal(n int) []float32 {
	return a.make(n, func() float32 { return float32(a.rng.NormFloat64()) })
}

// wild has numbers of every magnitude, zeros, infinities and NaN.
func (a *arena) wild(n int) []float32 {
	return a.make(n, func() float32 {
		switch a.rng.IntN(24) {
		case 0:
			return float32(math.Inf(1))
		case 1:
			return float32(math.Inf(-1))
		case 2:
			return float32(math.NaN())
		case 3:
			return float32(math.Copysign(0, -1))
		case 4, 5:
			return math.Float32frombits(a.rng.Uint32())
		case 6, 7:
			return math.Float32frombits(a.rng.Uint32() & 0x807fffff)
		}
		return float32(a.rng.NormFloat64() * 30)
	})
}

func (a *arena) empty(n int) []float32 {
	return a.make(n, func() float32 { return math.Float32frombits(canary) })
}

func (a *arena) check(t *testing.T) {
	t.Helper()
	for _, s := range a.all {
		n := len(s) - after - a.offset
		for i, v := range s {
			if (i < a.offset || i >= a.offset+n) && math.Float32bits(v) != canary {
				t.Fatalf("element %d beside a slice of %d was overwritten", i-a.offset, n)
			}
		}
	}
}

// op runs one primitive on inputs of about n elements and returns what it made.
type op struct {
	name string
	run  func(a *arena, values func(n int) []float32, n int) []float32
}

func bits64(x float64) []float32 {
	b := math.Float64bits(x)
	if x != x {
		b = math.Float64bits(math.NaN())
	}
	// As halves of small integers, lest they look like a NaN.
	return []float32{float32(b >> 48), float32(b >> 32 & 0xffff), float32(b >> 16 & 0xffff), float32(b & 0xffff)}
}

var ops = []op{
	{"Dot", func(a *arena, in func(int) []float32, n int) []float32 { return []float32{Dot(in(n), in(n))} }},
	{"DotRows", func(a *arena, in func(int) []float32, n int) []float32 {
		rows, stride := n%11, n+n%5
		dst := a.empty(rows)
		q, k := in(n), in(max(0, (rows-1)*stride+n))
		DotRows(dst, q, k, stride, rows, 0.125)
		return dst
	}},
	{"AxpyRows", func(a *arena, in func(int) []float32, n int) []float32 {
		rows, stride := n%7, n+n%5
		o, p, v := in(n), in(rows), in(max(0, (rows-1)*stride+n))
		AxpyRows(o, p, v, stride, rows)
		return o
	}},
	{"Axpy", func(a *arena, in func(int) []float32, n int) []float32 {
		x, y := in(n), in(n)
		Axpy(0.7, x, y)
		return y
	}},
	{"Sum", func(a *arena, in func(int) []float32, n int) []float32 { return []float32{Sum(in(n))} }},
	{"Max", func(a *arena, in func(int) []float32, n int) []float32 { return []float32{Max(in(n))} }},
	{"SumSquares", func(a *arena, in func(int) []float32, n int) []float32 { return bits64(SumSquares(in(n))) }},
	{"Exp", func(a *arena, in func(int) []float32, n int) []float32 {
		dst := a.empty(n)
		Exp(dst, in(n))
		return dst
	}},
	{"ExpSub", func(a *arena, in func(int) []float32, n int) []float32 {
		dst := a.empty(n)
		sum := ExpSub(dst, in(n), 1.5)
		return append([]float32{sum}, dst...)
	}},
	{"Add", func(a *arena, in func(int) []float32, n int) []float32 {
		dst := a.empty(n)
		Add(dst, in(n), in(n))
		return dst
	}},
	{"Scale", func(a *arena, in func(int) []float32, n int) []float32 {
		dst := a.empty(n)
		Scale(dst, 1.7, in(n))
		return dst
	}},
	{"RMSNormRow", func(a *arena, in func(int) []float32, n int) []float32 {
		dst := a.empty(n)
		RMSNormRow(dst, in(n), in(n), 0.3)
		return dst
	}},
	{"SwiGLU", func(a *arena, in func(int) []float32, n int) []float32 {
		dst := a.empty(n)
		SwiGLU(dst, in(n), in(n))
		return dst
	}},
	{"SwiGLUBackward", func(a *arena, in func(int) []float32, n int) []float32 {
		dgate, dup := a.empty(n), a.empty(n)
		SwiGLUBackward(dgate, dup, in(n), in(n), in(n))
		return append(append([]float32{}, dgate...), dup...)
	}},
	{"AdamW", func(a *arena, in func(int) []float32, n int) []float32 {
		p, g, m, v := in(n), in(n), in(n), in(n)
		for i := range v {
			v[i] = float32(math.Abs(float64(v[i])))
		}
		AdamW(p, g, m, v, 1e-3, 0.1, 0.001, 1e-8, 0.01, 0.5, 0.1, 0.002)
		return append(append(append(append([]float32{}, p...), m...), v...), g...)
	}},
}

func same(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b }

// Every level gives the bits of the portable form, whatever the length and alignment, and touches nothing else.
func TestLevelsAgree(t *testing.T) {
	lengths := []int{200, 255, 256, 257, 1000}
	for n := range 131 {
		lengths = append(lengths, n)
	}
	for _, level := range Levels() {
		t.Run(level, func(t *testing.T) {
			for i, o := range ops {
				for _, n := range lengths {
					for _, wild := range []bool{false, true} {
						run := func(level string, offset int) []float32 {
							defer ForceLevel(level)()
							a := &arena{rng: rand.New(rand.NewPCG(uint64(i), uint64(n))), offset: offset}
							values := a.normal
							if wild {
								values = a.wild
							}
							out := o.run(a, values, n)
							a.check(t)
							return out
						}
						got, want := run(level, 1+n%5), run("generic", 0)
						for j := range want {
							if !same(got[j], want[j]) {
								t.Fatalf("%s, n = %d, wild = %v: result %d is %x, want %x", o.name, n, wild, j, got[j], want[j])
							}
						}
					}
				}
			}
		})
	}
}

func eachLevel(t *testing.T, f func(t *testing.T)) {
	for _, level := range Levels() {
		t.Run(level, func(t *testing.T) {
			defer ForceLevel(level)()
			f(t)
		})
	}
}

func near(t *testing.T, what string, got float32, want, tolerance float64) {
	t.Helper()
	if e := math.Abs(float64(got) - want); !(e <= tolerance) {
		t.Fatalf("%s is %v, want %v ± %.1g", what, got, want, tolerance)
	}
}

// The meaning of each primitive, by float64 loops.
func TestAgainstFloat64(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		a := &arena{rng: rand.New(rand.NewPCG(7, 7))}
		for _, n := range []int{1, 5, 16, 64, 200, 1000} {
			x, y, w, d := a.normal(n), a.normal(n), a.normal(n), a.normal(n)
			var dot, sum, size, squares float64
			largest := math.Inf(-1)
			for i := range x {
				dot += float64(x[i]) * float64(y[i])
				size += math.Abs(float64(x[i])) + math.Abs(float64(x[i])*float64(y[i]))
				sum += float64(x[i])
				squares += float64(x[i]) * float64(x[i])
				largest = max(largest, float64(x[i]))
			}
			near(t, "Dot", Dot(x, y), dot, 1e-6*size)
			near(t, "Sum", Sum(x), sum, 1e-6*size)
			near(t, "Max", Max(x), largest, 0)
			near(t, "SumSquares", float32(SumSquares(x)), squares, 1e-6*squares)

			const rows = 9
			stride := n + 3
			k, p := a.normal(rows*stride), a.normal(rows)
			dst, o := make([]float32, rows), append([]float32(nil), w...)
			DotRows(dst, x, k, stride, rows, 0.25)
			AxpyRows(o, p, k, stride, rows)
			for j := range rows {
				s, z := 0.0, 0.0
				for i := range n {
					s += float64(x[i]) * float64(k[j*stride+i])
					z += math.Abs(float64(x[i]) * float64(k[j*stride+i]))
				}
				near(t, "DotRows", dst[j], s/4, 1e-6*z)
			}
			for i := range n {
				s, z := float64(w[i]), math.Abs(float64(w[i]))
				for j := range rows {
					s += float64(p[j]) * float64(k[j*stride+i])
					z += math.Abs(float64(p[j]) * float64(k[j*stride+i]))
				}
				near(t, "AxpyRows", o[i], s, 1e-6*z)
			}

			e, glu, dgate, dup, norm := a.empty(n), a.empty(n), a.empty(n), a.empty(n), a.empty(n)
			total := ExpSub(e, x, float32(largest))
			SwiGLU(glu, x, y)
			SwiGLUBackward(dgate, dup, x, y, d)
			RMSNormRow(norm, x, w, 0.3)
			want := 0.0
			for i := range n {
				g, u, dy := float64(x[i]), float64(y[i]), float64(d[i])
				want += math.Exp(g - largest)
				near(t, "ExpSub", e[i], math.Exp(g-largest), 1e-6)
				sig := 1 / (1 + math.Exp(-g))
				near(t, "SwiGLU", glu[i], g*sig*u, 1e-6*math.Abs(g*u))
				near(t, "SwiGLUBackward's dup", dup[i], dy*g*sig, 1e-6*math.Abs(dy*g))
				near(t, "SwiGLUBackward's dgate", dgate[i], dy*u*sig*(1+g*(1-sig)), 2e-6*math.Abs(dy*u)*(1+math.Abs(g)))
				near(t, "RMSNormRow", norm[i], g*0.3*float64(w[i]), 1e-6*math.Abs(g))
			}
			near(t, "ExpSub's sum", total, want, 1e-6*float64(n))
		}
	})
}

// Ten steps of the formula in float64.
func TestAdamWAgainstFloat64(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		a := &arena{rng: rand.New(rand.NewPCG(8, 8))}
		const n, lr, beta1, beta2, eps, wd, gscale = 37, 1e-2, 0.9, 0.999, 1e-8, 0.1, 0.5
		p, m, v := a.normal(n), a.make(n, func() float32 { return 0 }), a.make(n, func() float32 { return 0 })
		var P, M, V [n]float64
		for i := range P {
			P[i] = float64(p[i])
		}
		for step := 1.0; step <= 10; step++ {
			g := a.normal(n)
			bc1, bc2 := 1-math.Pow(beta1, step), 1-math.Pow(beta2, step)
			was := append([]float32(nil), g...)
			AdamW(p, g, m, v, lr, 1-beta1, 1-beta2, eps, wd, gscale, float32(bc1), float32(bc2))
			for i := range P {
				near(t, "g", g[i], 0, 0)
				G := float64(was[i]) * gscale
				P[i] *= 1 - lr*wd
				M[i] = beta1*M[i] + (1-beta1)*G
				V[i] = beta2*V[i] + (1-beta2)*G*G
				P[i] -= lr / bc1 * M[i] / (math.Sqrt(V[i])/math.Sqrt(bc2) + eps)
				near(t, "p", p[i], P[i], 1e-6*(1+math.Abs(P[i])))
				near(t, "m", m[i], M[i], 1e-6)
				near(t, "v", v[i], V[i], 1e-6)
			}
		}
		a.check(t)
	})
}

// Exp is Exp32, and within 1 ulp of the exponential in float64, on a walk
// through all bit patterns: one in 4,133, or with SELKIE_HEAVY=1 every one.
func TestExpIsExp32(t *testing.T) {
	step := uint64(4133)
	if os.Getenv("SELKIE_HEAVY") == "1" {
		step = 1
	}
	const chunk = 4096
	x, got, want := make([]float32, 0, chunk), make([]float32, chunk), make([]float32, chunk)
	worst := 0.0
	for b := uint64(0); b < 1<<32; {
		x = x[:0]
		for ; len(x) < chunk && b < 1<<32; b += step {
			v := math.Float32frombits(uint32(b))
			e := f32math.Exp32(v)
			want[len(x)] = e
			x = append(x, v)
			if v >= f32math.ExpLo && v <= f32math.ExpHi {
				exact := math.Exp(float64(v))
				worst = max(worst, math.Abs(float64(e)-exact)/math.Ldexp(1, max(math.Ilogb(exact), -126)-23))
			}
		}
		for _, level := range Levels() {
			restore := ForceLevel(level)
			Exp(got[:len(x)], x)
			restore()
			for i := range x {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
					t.Fatalf("%s: Exp(%x) = %x, want %x", level, x[i], got[i], want[i])
				}
			}
		}
	}
	t.Logf("largest error %.3f ulp", worst)
	if worst >= 1 {
		t.Errorf("largest error %.3f ulp, want below 1", worst)
	}
}

// A row's dot product is the same whatever rows stand beside it, and is Dot.
func TestDotRowsKeepTheirBits(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		a := &arena{rng: rand.New(rand.NewPCG(9, 9)), offset: 1}
		const d, stride, n = 70, 83, 23
		q, k := a.normal(d), a.normal(n*stride)
		all := a.empty(n)
		DotRows(all, q, k, stride, n, 0.5)
		for from := range n {
			for rows := 1; from+rows <= n; rows++ {
				some := a.empty(rows)
				DotRows(some, q, k[from*stride:], stride, rows, 0.5)
				for j := range some {
					if some[j] != all[from+j] || some[j] != 0.5*Dot(q, k[(from+j)*stride:][:d]) {
						t.Fatalf("row %d among %d is %v, want %v", from+j, rows, some[j], all[from+j])
					}
				}
			}
		}
	})
}

// Outputs may be inputs.
func TestInPlace(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		a := &arena{rng: rand.New(rand.NewPCG(10, 10))}
		const n = 45
		x, y, dy := a.normal(n), a.normal(n), a.normal(n)
		out, out2 := a.empty(n), a.empty(n)
		check := func(name string, got, want []float32) {
			t.Helper()
			for i := range want {
				if !same(got[i], want[i]) {
					t.Fatalf("%s in place: element %d is %v, want %v", name, i, got[i], want[i])
				}
			}
		}
		c := func(x []float32) []float32 { return append([]float32(nil), x...) }
		z := c(x)
		Exp(out, x)
		Exp(z, z)
		check("Exp", z, out)
		z = c(x)
		Add(out, x, y)
		Add(z, z, y)
		check("Add", z, out)
		z = c(y)
		SwiGLU(out, x, y)
		SwiGLU(z, x, z)
		check("SwiGLU", z, out)
		g, u := c(x), c(y)
		SwiGLUBackward(out, out2, x, y, dy)
		SwiGLUBackward(g, u, g, u, dy)
		check("SwiGLUBackward's dgate", g, out)
		check("SwiGLUBackward's dup", u, out2)
	})
}

func TestKillSwitches(t *testing.T) {
	const noAMX, noBF16, no512, no2 = "SELKIE_NO_AMX", "SELKIE_NO_AVX512BF16", "SELKIE_NO_AVX512", "SELKIE_NO_AVX2"
	for _, c := range []struct {
		have     ISA
		switches []string
		want     ISA
	}{
		{AMX, nil, AMX}, {AMX, []string{noAMX}, AVX512BF16}, {AMX, []string{noBF16}, AVX512}, {AMX, []string{noAMX, no512}, AVX2},
		{AMX, []string{no2}, Generic}, {AVX512BF16, []string{noAMX}, AVX512BF16},
		{AVX512BF16, nil, AVX512BF16}, {AVX512BF16, []string{noBF16}, AVX512}, {AVX512BF16, []string{no512}, AVX2},
		{AVX512BF16, []string{noBF16, no512}, AVX2}, {AVX512BF16, []string{no2}, Generic},
		{AVX512, nil, AVX512}, {AVX512, []string{noBF16}, AVX512}, {AVX512, []string{no512}, AVX2}, {AVX512, []string{no2}, Generic},
		{AVX2, []string{no512}, AVX2}, {AVX2, []string{no512, no2}, Generic}, {Generic, nil, Generic}, {Generic, []string{no512}, Generic},
	} {
		if got := allowed(c.have, func(name string) bool { return slices.Contains(c.switches, name) }); got != c.want {
			t.Errorf("allowed(%v, %v) = %v, want %v", c.have, c.switches, got, c.want)
		}
	}
}

func TestMisusePanics(t *testing.T) {
	x := make([]float32, 10)
	for want, f := range map[string]func(){
		"vec.Dot: lengths differ: 10 and 9":                                 func() { Dot(x, x[:9]) },
		"vec.DotRows: 2 rows of 10, stride 10, do not fit in a slice of 10": func() { DotRows(x, x, x, 10, 2, 1) },
		"vec.DotRows: 3 rows of 1, stride 1, do not fit in a slice of 2":    func() { DotRows(x[:2], x[:1], x, 1, 3, 1) },
		"vec.AxpyRows: 11 rows of 1, stride 1, do not fit in a slice of 10": func() { AxpyRows(x[:0], x, make([]float32, 10), 1, 11) },
		"vec.ForceLevel: this process cannot run level avx1024":             func() { ForceLevel("avx1024") },
		"vec.SwiGLUBackward: lengths differ: 10 and 4":                      func() { SwiGLUBackward(x, x, x, x, x[:4]) },
	} {
		func() {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			f()
		}()
	}
}

func TestNoAllocations(t *testing.T) {
	a := &arena{rng: rand.New(rand.NewPCG(11, 11))}
	x, y := a.normal(100), a.normal(100)
	eachLevel(t, func(t *testing.T) {
		if got := testing.AllocsPerRun(20, func() {
			Dot(x, y)
			ExpSub(y, x, 1)
			Stream(y, x)
			Fence()
			AdamW(x, y, x, y, 1, 1, 1, 1, 1, 1, 1, 1)
		}); got != 0 {
			t.Errorf("%v allocations, want none", got)
		}
	})
}

func Benchmark(b *testing.B) {
	for _, level := range Levels() {
		for _, n := range []int{64, 1024} {
			bench := func(name string, flops int, f func()) {
				b.Run(fmt.Sprintf("%s/%d/%s", name, n, level), func(b *testing.B) {
					defer ForceLevel(level)()
					for b.Loop() {
						f()
					}
					b.ReportMetric(float64(flops)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
			a := &arena{rng: rand.New(rand.NewPCG(12, 12))}
			x, y, z, w := a.normal(n), a.normal(n), a.normal(n), a.normal(n)
			const rows = 64
			k, p := a.normal(rows*n), a.normal(rows)
			bench("Dot", 2*n, func() { Dot(x, y) })
			bench("DotRows", 2*n*rows, func() { DotRows(p, x, k, n, rows, 1e-3) })
			bench("AxpyRows", 2*n*rows, func() { AxpyRows(y, p, k, n, rows) })
			bench("ExpSub", n, func() { ExpSub(y, x, 3) })
			bench("SwiGLU", n, func() { SwiGLU(z, x, x) })
			bench("SwiGLUBackward", n, func() { SwiGLUBackward(z, w, x, x, x) })
			bench("SumSquares", 2*n, func() { SumSquares(x) })
			m, v, q := make([]float32, n), make([]float32, n), make([]float32, n)
			bench("AdamW", n, func() { AdamW(q, x, m, v, 1e-3, 0.1, 0.001, 1e-8, 0.01, 1, 0.1, 0.002) })
		}
	}
}
