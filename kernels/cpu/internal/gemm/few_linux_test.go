package gemm

import (
	"math"
	"math/rand/v2"
	"runtime/debug"
	"testing"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// inTurn runs tasks one after the other, in the calling goroutine.
func inTurn(n int, f func(i int)) {
	for i := range n {
		f(i)
	}
}

// fewCase is a product of few rows whose b, a, dst and bias end where readable
// memory ends, rows further apart than they are long.
type fewCase struct {
	m, n, k, pad int
	kind         Kind
	accumulate   bool
	bias         bool
}

// check compares NT with the product by a packed b, which is not read in place.
func (c fewCase) check(t *testing.T, rng *rand.Rand, special bool) {
	t.Helper()
	size := func(rows, cols int) int { return (rows-1)*(cols+c.pad) + cols }
	value := func() float32 {
		if special && rng.IntN(40) == 0 {
			return [...]float32{nan, float32(math.Inf(1)), float32(math.Inf(-1)), 0, 1e-42, 3e38}[rng.IntN(6)]
		}
		return float32(rng.NormFloat64())
	}
	fill := func(x []float32) []float32 {
		for i := range x {
			x[i] = value()
		}
		return x
	}
	a := fill(beforeFault[float32](t, size(c.m, c.k)))
	b := Matrix{Kind: c.kind, Ld: c.k + c.pad}
	if c.kind == KindF32 {
		b.F32 = fill(beforeFault[float32](t, size(c.n, c.k)))
	} else {
		b.Bits = beforeFault[uint16](t, size(c.n, c.k))
		for i := range b.Bits {
			b.Bits[i] = uint16(math.Float32bits(value()) >> 16)
		}
	}
	dst := fill(beforeFault[float32](t, size(c.m, c.n)))
	want := append([]float32(nil), dst...)
	var bias []float32
	if c.bias {
		bias = fill(beforeFault[float32](t, c.n))
	}
	panels := make([]float32, PanelFloats(c.n, c.k))
	PackPanels(panels, b, FormNT, c.n, c.k)
	MulPanels(want, c.n+c.pad, a, c.k+c.pad, 1, panels, c.m, c.n, c.k, c.accumulate)
	for i := range c.m {
		for j, v := range bias {
			want[i*(c.n+c.pad)+j] += v
		}
	}
	NT(inTurn, dst, c.n+c.pad, a, c.k+c.pad, b, bias, c.m, c.n, c.k, c.accumulate)
	for i := range want {
		if g, w := dst[i], want[i]; math.Float32bits(g) != math.Float32bits(w) && !(g != g && w != w) {
			t.Fatalf("%+v at level %s: element (%d, %d) is %v, want %v", c, vec.Level(), i/(c.n+c.pad), i%(c.n+c.pad), g, w)
		}
	}
}

func TestFewIsThePackedProduct(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		rng := rand.New(rand.NewPCG(21, 21))
		ks := []int{16, 32, 48, 63, 64, 65, 80, 96, 127, 128, 129, 160, 192, 200}
		ns := []int{7, 8, 15, 16, 17, 31, 32, 33, 40, 65}
		for m := 1; m <= fewRows+1; m++ {
			for kind := KindF32; kind <= KindF16; kind++ {
				for range 3 {
					c := fewCase{m, ns[rng.IntN(len(ns))], ks[rng.IntN(len(ks))], rng.IntN(4), kind, rng.IntN(2) == 0, rng.IntN(2) == 0}
					c.check(t, rng, rng.IntN(4) == 0)
				}
			}
		}
		// Enough columns for several tasks, and rows a power of two apart.
		for kind := KindF32; kind <= KindF16; kind++ {
			fewCase{9, 700, 1024, 0, kind, false, true}.check(t, rng, false)
			fewCase{2, 1043, 1030, 1, kind, true, true}.check(t, rng, false)
		}
	})
}
