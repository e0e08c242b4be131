package vec

import (
	"math"
	"math/rand/v2"
	"testing"
)

// counts returns how many elements of each row are valid: any number up to w.
func counts(a *arena, rows, w int) []int32 {
	n := make([]int32, rows)
	for r := range n {
		n[r] = int32(a.rng.IntN(w + 1))
	}
	return n
}

func init() {
	const scale = 0.37
	rowsOf := func(n int) (rows, w, ld int) { return 1 + n%7, 16 * (1 + n%4), 16*(1+n%4) + n%3 }
	ops = append(ops,
		op{"Softmax", func(a *arena, in func(int) []float32, n int) []float32 {
			rows, w, ld := rowsOf(n)
			x, m, shift, sum := in((rows-1)*ld+w), in(rows), a.empty(rows), a.empty(rows)
			Softmax(x, ld, w, counts(a, rows, w), scale, m, shift, sum)
			return append(append(append(x, m...), shift...), sum...)
		}},
		op{"SoftmaxGrad", func(a *arena, in func(int) []float32, n int) []float32 {
			rows, w, ld := rowsOf(n)
			p, dp := in((rows-1)*ld+w), in((rows-1)*ld+w)
			SoftmaxGrad(p, dp, ld, w, counts(a, rows, w), scale, in(rows), in(rows))
			return append(p, dp...)
		}},
		op{"ScaleRows", func(a *arena, in func(int) []float32, n int) []float32 {
			rows, ld := n%5, n+n%3
			x := in(max(0, (rows-1)*ld+n))
			ScaleRows(x, ld, n, in(rows))
			return x
		}},
		op{"RowDots", func(a *arena, in func(int) []float32, n int) []float32 {
			rows, ld := n%5, n+n%3
			dst := a.make(rows, func() float32 { return 0 })
			RowDots(dst, in(max(0, (rows-1)*ld+n)), in(max(0, (rows-1)*ld+n)), ld, n)
			return dst
		}},
		op{"LogSumExp", func(a *arena, in func(int) []float32, n int) []float32 {
			dst, m, l := a.empty(n), in(n), in(n)
			for i, x := range l {
				if l[i] = float32(math.Abs(float64(x))); l[i] < 0x1p-126 {
					l[i] = 0
				}
			}
			LogSumExp(dst, m, l)
			return dst
		}},
	)
}

// Blocks of a row's scores, taken in one after the other, give its softmax.
func TestSoftmaxOverBlocks(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		a := &arena{rng: rand.New(rand.NewPCG(9, 9))}
		const rows, w, ld, scale = 5, 64, 80, 0.6
		var scores, weights [rows][]float64 // weights relative to the block's m
		var tops [rows][]float64
		m, shift, sum, l := a.empty(rows), a.empty(rows), a.empty(rows), make([]float64, rows)
		for r := range m {
			m[r] = -math.MaxFloat32
		}
		for range 4 {
			x, n := a.normal(rows*ld), []int32{64, 1, 17, 48, 63}
			for i := range x {
				x[i] *= 4
			}
			for r := range rows {
				for j := range n[r] {
					scores[r] = append(scores[r], scale*float64(x[r*ld+int(j)]))
				}
			}
			Softmax(x, ld, w, n, scale, m, shift, sum)
			for r := range rows {
				l[r] = l[r]*math.Exp(float64(shift[r])) + float64(sum[r])
				for j := range w {
					p := float64(x[r*ld+j])
					if j >= int(n[r]) {
						near(t, "a masked weight", float32(p), 0, 0)
						continue
					}
					weights[r], tops[r] = append(weights[r], p), append(tops[r], float64(m[r]))
				}
			}
		}
		for r := range rows {
			total := 0.0
			for _, s := range scores[r] {
				total += math.Exp(s)
			}
			lse := make([]float32, 1)
			LogSumExp(lse, m[r:r+1], []float32{float32(l[r])})
			near(t, "LogSumExp", lse[0], math.Log(total), 2e-6)
			for j, s := range scores[r] {
				got := weights[r][j] * math.Exp(tops[r][j]-float64(m[r])) / l[r]
				near(t, "a weight", float32(got), math.Exp(s)/total, 2e-6)
			}
		}
	})
}

func TestSoftmaxGradAgainstFloat64(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		a := &arena{rng: rand.New(rand.NewPCG(10, 10))}
		const rows, w, ld, scale = 5, 48, 50, 0.6
		s, dp, lse, delta, n := a.normal(rows*ld), a.normal(rows*ld), a.normal(rows), a.normal(rows), []int32{48, 1, 17, 33, 32}
		p, ds := append([]float32(nil), s...), append([]float32(nil), dp...)
		SoftmaxGrad(p, ds, ld, w, n, scale, lse, delta)
		for r := range rows {
			for j := range w {
				wantP, wantDS := 0.0, 0.0
				if j < int(n[r]) {
					wantP = math.Exp(scale*float64(s[r*ld+j]) - float64(lse[r]))
					wantDS = scale * wantP * (float64(dp[r*ld+j]) - float64(delta[r]))
				}
				near(t, "p", p[r*ld+j], wantP, 1e-6*wantP)
				near(t, "ds", ds[r*ld+j], wantDS, 2e-6*wantP*(1+math.Abs(float64(delta[r]))))
			}
		}
	})
}

func BenchmarkAttentionRows(b *testing.B) {
	const rows, w, ld = 64, 64, 80
	a := &arena{rng: rand.New(rand.NewPCG(1, 1))}
	x, dp, m, c, n := a.normal(rows*ld), a.normal(rows*ld), a.normal(rows), a.normal(rows), make([]int32, rows)
	y, z, sum := a.empty(rows*ld), a.empty(rows*ld), a.empty(rows)
	for r := range n {
		n[r] = w
	}
	for name, f := range map[string]func(){
		"copy":        func() { copy(y, x); copy(z, dp) },
		"Softmax":     func() { copy(y, x); copy(z, dp); Softmax(y, ld, w, n, 0.1, m, c, sum) },
		"SoftmaxGrad": func() { copy(y, x); copy(z, dp); SoftmaxGrad(y, z, ld, w, n, 0.1, m, c) },
		"ScaleRows":   func() { ScaleRows(y, ld, 64, c) },
		"RowDots":     func() { RowDots(sum, x, dp, ld, 64) },
		"LogSumExp":   func() { LogSumExp(c, m, sum) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				f()
			}
		})
	}
}
