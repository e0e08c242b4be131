package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/selkie-ml/selkie/internal/f32math"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

var nan = float32(math.NaN())

// eachLevel runs f at every level that this machine offers.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	for _, level := range vec.Levels() {
		t.Run(level, func(t *testing.T) {
			defer vec.ForceLevel(level)()
			f(t)
		})
	}
}

// fma is the multiply-add of the active level.
func fma(a, b, c float32) float32 {
	if vec.Active() == vec.Generic {
		return float32(a*b) + c
	}
	return f32math.FMA32(a, b, c)
}

// element is the package comment's specification of one element.
func element(k int, a, b func(l int) float32, old float32, accumulate bool, bias *float32) float32 {
	e := old
	for k0 := 0; k0 < k; k0 += KC {
		s := float32(0)
		for l := k0; l < min(k, k0+KC); l++ {
			s = fma(a(l), b(l), s)
		}
		if accumulate || k0 > 0 {
			s = e + s
		}
		e = s
	}
	if k == 0 && !accumulate {
		e = 0
	}
	if bias != nil {
		e += *bias
	}
	return e
}

// guarded is a matrix inside a larger slice whose every other element is a
// canary: around it, and between its rows.
type guarded struct {
	all            []float32
	at             int
	rows, cols, ld int
}

const canary = 0x7fc0beef

func newGuarded(rows, cols, ld, offset int) *guarded {
	g := &guarded{make([]float32, offset+rows*ld+67), offset, rows, cols, ld}
	for i := range g.all {
		g.all[i] = math.Float32frombits(canary)
	}
	return g
}

// slice ends with the last element, so that Go's own checks guard the end too.
func (g *guarded) slice() []float32 {
	if g.rows == 0 || g.cols == 0 {
		return nil
	}
	return g.all[g.at : g.at+(g.rows-1)*g.ld+g.cols]
}

func (g *guarded) fill(rng *rand.Rand) {
	for i := range g.rows {
		for j := range g.cols {
			g.all[g.at+i*g.ld+j] = float32(rng.NormFloat64())
		}
	}
}

func (g *guarded) get(i, j int) float32 { return g.all[g.at+i*g.ld+j] }

func (g *guarded) clone() *guarded {
	c := *g
	c.all = append([]float32(nil), g.all...)
	return &c
}

func (g *guarded) checkCanaries(t *testing.T, name string) {
	t.Helper()
	for i, v := range g.all {
		r, c := (i-g.at)/g.ld, (i-g.at)%g.ld
		inside := i >= g.at && r < g.rows && c < g.cols
		if !inside && math.Float32bits(v) != canary {
			t.Fatalf("%s: element %d outside the [%d, %d] matrix was overwritten with %v", name, i-g.at, g.rows, g.cols, v)
		}
	}
}

// store gives g as a Matrix of a kind, g's own elements rounded to what was stored.
func (g *guarded) store(kind Kind) Matrix {
	if kind == KindF32 {
		return Matrix{F32: g.slice(), Ld: g.ld}
	}
	bits := make([]uint16, len(g.slice()))
	for i, v := range g.slice() {
		bits[i] = uint16(math.Float32bits(v) >> 16)
		if kind == KindF16 {
			bits[i] = bits[i]&0x83ff | 0x3000 // any number between 2⁻³ and 2⁻²
		}
	}
	for i := range g.rows {
		for j := range g.cols {
			g.all[g.at+i*g.ld+j] = widen1(bits[i*g.ld+j], kind)
		}
	}
	return Matrix{Bits: bits, Kind: kind, Ld: g.ld}
}

// goroutines runs every task on a goroutine of its own, in no order.
var goroutines = &Parallel{Threads: 3, Run: func(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := n - 1; i >= 0; i-- {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}}

// inTurn runs tasks one after the other, in the calling goroutine.
var inTurn = &Parallel{Threads: 2, Run: func(n int, f func(i int)) {
	for i := range n {
		f(i)
	}
}}

// product is one case: its inputs, and every way to compute it.
type product struct {
	form       string // NT, NN, TN
	m, n, k    int
	kind       Kind
	accumulate bool
	bias       bool
	offset     int
}

func (c product) String() string {
	return fmt.Sprintf("%s m=%d n=%d k=%d %v accumulate=%v bias=%v offset=%d", c.form, c.m, c.n, c.k, c.kind, c.accumulate, c.bias, c.offset)
}

// check compares the product with the specification, bit by bit.
func (c product) check(t *testing.T, rng *rand.Rand) {
	t.Helper()
	o := c.offset
	aRows, aCols := c.m, c.k
	if c.form == "TN" {
		aRows, aCols = c.k, c.m
	}
	bRows, bCols := c.k, c.n
	if c.form == "NT" {
		bRows, bCols = c.n, c.k
	}
	a, b := newGuarded(aRows, aCols, aCols+o, o), newGuarded(bRows, bCols, bCols+2*o, 2*o)
	dst := newGuarded(c.m, c.n, c.n+3*o, 3*o)
	a.fill(rng)
	b.fill(rng)
	w := b.store(c.kind)
	if c.accumulate {
		dst.fill(rng)
	}
	var bias []float32
	if c.bias {
		g := newGuarded(1, c.n, c.n, o)
		g.fill(rng)
		bias = g.slice()
	}
	want := dst.clone()
	for i := range c.m {
		for j := range c.n {
			av := func(l int) float32 { return a.get(i, l) }
			if c.form == "TN" {
				av = func(l int) float32 { return a.get(l, i) }
			}
			bv := func(l int) float32 { return b.get(l, j) }
			if c.form == "NT" {
				bv = func(l int) float32 { return b.get(j, l) }
			}
			var bp *float32
			if bias != nil {
				bp = &bias[j]
			}
			want.all[want.at+i*want.ld+j] = element(c.k, av, bv, dst.get(i, j), c.accumulate, bp)
		}
	}
	compare := func(how string, f func(dst []float32)) {
		t.Helper()
		got := dst.clone()
		f(got.slice())
		got.checkCanaries(t, c.String()+" "+how)
		for i := range c.m {
			for j := range c.n {
				x, y := got.get(i, j), want.get(i, j)
				if math.Float32bits(x) != math.Float32bits(y) && !(x != x && y != y) {
					t.Fatalf("%v, %s: element (%d, %d) is %v, want %v", c, how, i, j, x, y)
				}
			}
		}
	}
	for _, p := range []struct {
		name string
		run  *Parallel
	}{{"serial", nil}, {"parallel", goroutines}} {
		compare(p.name, func(d []float32) {
			switch c.form {
			case "NT":
				NT(p.run, d, dst.ld, a.slice(), a.ld, w, bias, c.m, c.n, c.k, c.accumulate)
			case "NN":
				NN(p.run, d, dst.ld, a.slice(), a.ld, w, bias, c.m, c.n, c.k, c.accumulate)
			case "TN":
				TN(p.run, d, dst.ld, a.slice(), a.ld, b.slice(), b.ld, c.m, c.n, c.k, c.accumulate)
			}
		})
	}
}

func TestSpecification(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 1))
		// Every size up to past two tiles in one direction, the others odd.
		for size := range 71 {
			for i, form := range []string{"NT", "NN", "TN"} {
				acc, bias := (size+i)%2 == 0, form != "TN" && size%3 == 0
				kind := KindF32
				if form != "TN" {
					kind = Kind((size + i) % 3)
				}
				product{form, size, 19, 37, kind, acc, bias, i}.check(t, rng)
				product{form, 7, size, 21, kind, acc, bias, i + 1}.check(t, rng)
				product{form, 5, 34, size, kind, acc, bias, size % 4}.check(t, rng)
			}
		}
		// k across chunks, blocks across tasks.
		for _, k := range []int{KC - 1, KC, KC + 1, 2*KC + 9} {
			for _, kind := range []Kind{KindF32, KindBF16, KindF16} {
				product{"NT", 13, 41, k, kind, k%2 == 0, true, 1}.check(t, rng)
				product{"NN", 13, 41, k, kind, k%2 == 1, true, 1}.check(t, rng)
			}
			product{"TN", 13, 41, k, KindF32, true, false, 1}.check(t, rng)
		}
		product{"NT", 251, 137, 17, KindF32, false, true, 1}.check(t, rng)
		product{"NN", 251, 137, 17, KindBF16, true, false, 1}.check(t, rng)
		product{"TN", 251, 137, 17, KindF32, true, false, 1}.check(t, rng)
	})
}
