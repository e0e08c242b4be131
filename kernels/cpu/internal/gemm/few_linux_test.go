package gemm

import (
	"math"
	"math/rand/v2"
	"runtime/debug"
	"testing"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// fewCase is a product of few rows whose matrices and bias end where readable
// memory ends, rows further apart than they are long.
type fewCase struct {
	m, n, k, pad int
	a, b, dst    Kind
	accumulate   bool
	bias         bool
	special      bool
}

// matrix is of rows × cols elements, drawn like normals or, where special, with
// values that have arithmetic of their own among them.
func (c fewCase) matrix(t *testing.T, rng *rand.Rand, kind Kind, rows, cols int) Matrix {
	value := func() float32 {
		if c.special && rng.IntN(40) == 0 {
			zero := float32(0)
			return [...]float32{nan, float32(math.Inf(1)), float32(math.Inf(-1)), zero, -zero, 1e-42, -1e-38, 3e38}[rng.IntN(8)]
		}
		return float32(rng.NormFloat64())
	}
	m := Matrix{Kind: kind, Ld: cols + c.pad}
	size := (rows-1)*m.Ld + cols
	if kind == KindF32 {
		m.F32 = beforeFault[float32](t, size)
	} else {
		m.Bits = beforeFault[uint16](t, size)
	}
	for i := range size {
		switch kind {
		case KindF32:
			m.F32[i] = value()
		case KindBF16:
			m.Bits[i] = uint16(math.Float32bits(value()) >> 16)
		case KindF16:
			m.Bits[i] = uint16(rng.Uint32())
			if m.Bits[i]&0x7c00 == 0x7c00 && !c.special {
				m.Bits[i] &^= 0x4000
			}
		}
	}
	return m
}

// check compares Product with the tasks of a job that packs b or, in tiles, with
// the product of b transposed, which packs b too.
func (c fewCase) check(t *testing.T, rng *rand.Rand) {
	t.Helper()
	a, b := c.matrix(t, rng, c.a, c.m, c.k), c.matrix(t, rng, c.b, c.n, c.k)
	got := c.matrix(t, rng, c.dst, c.m, c.n)
	want := got
	want.F32, want.Bits = append([]float32(nil), got.F32...), append([]uint16(nil), got.Bits...)
	var bias []float32
	if c.bias {
		bias = c.matrix(t, rng, KindF32, 1, c.n).F32
	}
	j := newJob("test", want, bias, c.m, c.n, c.accumulate)
	j.left(a)
	j.right(b, FormNT, c.k)
	if j.pairs && hasTiles() {
		turned := Matrix{Bits: make([]uint16, c.n*c.k), Kind: c.b, Ld: c.n}
		for i := range c.n {
			for l := range c.k {
				turned.Bits[l*c.n+i] = b.Bits[i*b.Ld+l]
			}
		}
		Product(nil, FormNN, want, a, turned, bias, c.m, c.n, c.k, c.accumulate)
	} else {
		for i := range j.cut(nil, j.k()) {
			j.task(i)
		}
	}
	Product(inTurn, FormNT, got, a, b, bias, c.m, c.n, c.k, c.accumulate)
	for i := range want.len() {
		var g, w float32
		if c.dst == KindF32 {
			g, w = got.F32[i], want.F32[i]
		} else {
			g, w = widen1(got.Bits[i], c.dst), widen1(want.Bits[i], c.dst)
		}
		if math.Float32bits(g) != math.Float32bits(w) && !(g != g && w != w) {
			t.Fatalf("%+v at level %s: element (%d, %d) is %v, want %v", c, vec.Level(), i/got.Ld, i%got.Ld, g, w)
		}
	}
}

func TestFewIsThePackedProduct(t *testing.T) {
	eachReading(t, func(t *testing.T) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		rng := rand.New(rand.NewPCG(21, 21))
		coin := func() bool { return rng.IntN(2) == 0 }
		ks := []int{16, 32, 48, 63, 64, 65, 80, 96, 127, 128, 129, 160, 192, 200, 255, 256, 257}
		ns := []int{7, 8, 15, 16, 17, 31, 32, 33, 40, 65}
		forms := []fewCase{{b: KindF32}, {b: KindBF16}, {b: KindF16}, {a: KindBF16, b: KindBF16}, {a: KindBF16, b: KindBF16, dst: KindBF16}}
		for m := 1; m <= fewRows+1; m++ {
			for _, c := range forms {
				c.m, c.n, c.k, c.pad = m, ns[rng.IntN(len(ns))], ks[rng.IntN(len(ks))], rng.IntN(4)
				c.accumulate, c.bias, c.special = coin(), coin(), rng.IntN(4) == 0
				c.check(t, rng)
			}
		}
		// Enough columns for several tasks, and rows a power of two apart.
		for _, c := range forms {
			c.m, c.n, c.k, c.bias = 9, 300, 1024, true
			c.check(t, rng)
			c.m, c.n, c.k, c.pad, c.accumulate = 2, 523, 1031, 1, true
			c.check(t, rng)
			c.n, c.k = 5000, 16
			c.check(t, rng)
		}
	})
}
