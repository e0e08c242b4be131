package vec

import (
	"math"
	"math/rand/v2"
	"testing"
)

func init() {
	ops = append(ops, []op{
		{"RMSNormSums", func(a *arena, in func(int) []float32, n int) []float32 {
			squares, dot := RMSNormSums(in(n), in(n), in(n))
			return append(bits64(squares), dot)
		}},
		{"RMSNormGrad", func(a *arena, in func(int) []float32, n int) []float32 {
			dx := a.empty(n)
			RMSNormGrad(dx, in(n), in(n), in(n), 0.3, -0.2, false)
			return dx
		}},
		{"RMSNormGrad/add", func(a *arena, in func(int) []float32, n int) []float32 {
			dx := in(n)
			RMSNormGrad(dx, in(n), in(n), in(n), 0.3, -0.2, true)
			return dx
		}},
		{"RMSNormWeightRows", func(a *arena, in func(int) []float32, n int) []float32 {
			rows, stride := n%7, n+n%5
			size := max(0, (rows-1)*stride+n)
			sum := in(n)
			RMSNormWeightRows(sum, in(size), in(size), in(rows), stride)
			return sum
		}},
		{"Rope", func(a *arena, in func(int) []float32, n int) []float32 {
			heads := 1 + n%4
			y := a.empty(2 * heads * n)
			Rope(y, in(2*heads*n), in(n), in(n), heads, float32(1-2*(n%2)))
			return y
		}},
		{"Rope/inplace", func(a *arena, in func(int) []float32, n int) []float32 {
			heads := 1 + n%4
			y := in(2 * heads * n)
			Rope(y, y, in(n), in(n), heads, -1)
			return y
		}},
		{"GroupMax", func(a *arena, in func(int) []float32, n int) []float32 {
			x := in(5 * n)
			dst := a.empty(Groups(len(x)))
			if GroupMax(dst, x) {
				return []float32{1}
			}
			for i := range dst {
				dst[i] += 0 // of +0 and −0 either is right
			}
			return append([]float32{0}, dst...)
		}},
		{"Stream", func(a *arena, in func(int) []float32, n int) []float32 {
			dst := a.empty(n)
			Stream(dst, in(n))
			Fence()
			return dst
		}},
	}...)
}

// A NaN anywhere is found.
func TestGroupMaxFindsNaN(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		a := &arena{rng: rand.New(rand.NewPCG(14, 14)), offset: 3}
		for _, n := range []int{1, 16, 255, 256, 257, 530} {
			x, dst := a.normal(n), a.empty(Groups(n))
			if GroupMax(dst, x) {
				t.Fatalf("n = %d: a NaN found where there is none", n)
			}
			if got, want := Max(dst), Max(x); got != want {
				t.Fatalf("n = %d: the largest maximum is %v, want %v", n, got, want)
			}
			for i, old := range x {
				x[i] = float32(math.NaN())
				if !GroupMax(dst, x) {
					t.Fatalf("n = %d: the NaN at %d is not found", n, i)
				}
				x[i] = old
			}
		}
		a.check(t)
	})
}

func TestWeightsAreFloors(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		a := &arena{rng: rand.New(rand.NewPCG(15, 15)), offset: 5}
		for n := range 70 {
			for _, temperature := range []float32{1, 0.7, 1e-30, 3e30, 0x1p-149} {
				z := a.normal(n)
				if n > 3 {
					z[1], z[2] = float32(math.Inf(-1)), -math.MaxFloat32
				}
				m := Max(z)
				if n == 0 {
					m = 0
				}
				got, want := make([]uint32, n), make([]uint32, n)
				Weights(got, z, m, temperature)
				weightsGeneric(want, z, m, temperature)
				var sums [3]uint64
				thresholds := [3]uint32{0, 1 << 29, 1 << 30}
				for i, w := range want {
					if got[i] != w || w > 1<<30 {
						t.Fatalf("n = %d, temperature %v: weight %d of logit %v is %d, want %d", n, temperature, i, z[i], got[i], w)
					}
					for j, least := range thresholds {
						if w >= least {
							sums[j] += uint64(w)
						}
					}
				}
				for j, least := range thresholds {
					if got := SumAtLeast(got, least); got != sums[j] {
						t.Fatalf("n = %d: the weights from %d on sum to %d, want %d", n, least, got, sums[j])
					}
				}
			}
		}
		x := []uint32{1<<32 - 1, 1 << 31, 1<<31 - 1, 0, 7, 1<<32 - 1, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 1 << 31}
		if got, want := SumAtLeast(x, 1<<31), uint64(2*(1<<32-1)+2*(1<<31)); got != want {
			t.Fatalf("SumAtLeast of large integers is %d, want %d", got, want)
		}
		a.check(t)
	})
}
