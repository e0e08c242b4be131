package examples

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/ptx"
)

// problems are the rungs with arguments: sizes that are no multiples of the tiles.
func problems() []*problem {
	var all []*problem
	for _, n := range []int{1, 31, 1000} {
		all = append(all, vecAddProblem(VecAdd{Threads: 128}, n))
	}
	for _, n := range []int{3, 129, 2053} {
		all = append(all, sumProblem(Sum{Warps: 3}, n, 3))
	}
	all = append(all, sumProblem(Sum{Warps: 1}, 70, 1))
	for _, s := range [][2]int{{1, 1}, {33, 70}, {64, 31}} {
		all = append(all, transposeProblem(Transpose{Rows: 8}, s[0], s[1]))
	}
	for _, s := range [][2]int{{1, 1}, {3, 77}, {2, 300}} {
		all = append(all, softmaxProblem(Softmax{Warps: 4}, s[0], s[1]))
	}
	for _, s := range [][3]int{{1, 1, 1}, {35, 40, 19}, {32, 64, 16}} {
		all = append(all, matmulProblem(Matmul{BM: 32, BN: 32, BK: 8, TM: 4, TN: 2}, s[0], s[1], s[2]))
	}
	for _, s := range [][3]int{{1, 8, 8}, {70, 72, 200}, {64, 64, 64}, {5, 16, 0}} {
		all = append(all, mmaProblem(MMAMatmul{BM: 64, BN: 64, BK: 32, WarpsM: 2, WarpsN: 2, Stages: 3}, s[0], s[1], s[2]))
	}
	all = append(all, mmaProblem(MMAMatmul{BM: 32, BN: 128, BK: 64, WarpsM: 1, WarpsN: 4, Stages: 2}, 40, 136, 136))
	for _, s := range [][3]int{{1, 8, 8}, {130, 72, 328}, {64, 64, 64}} {
		all = append(all, wgmmaProblem(WgmmaMatmul{BM: 64, BN: 64, Stages: 3, Cluster: 1}, s[0], s[1], s[2]))
	}
	all = append(all, wgmmaProblem(WgmmaMatmul{BM: 128, BN: 128, Stages: 2, Cluster: 1}, 129, 136, 200))
	for _, s := range [][3]int{{1, 8, 8}, {130, 72, 328}} {
		all = append(all, wgmmaProblem(WgmmaMatmul{BM: 64, BN: 64, Stages: 3, Cluster: 2}, s[0], s[1], s[2]))
	}
	return all
}

func vecAddProblem(p VecAdd, n int) *problem {
	a, b := reals(n, 1), reals(n, 2)
	c := make([]float64, n)
	for i := range c {
		c[i] = float64(float32(a[i]) + float32(b[i]))
	}
	return &problem{fmt.Sprintf("vecadd %d", n), p.Module(), p.Launch(n),
		[]any{input(ptx.F32, a), input(ptx.F32, b), output(ptx.F32, c, 0), uint32(n)}}
}

// sumProblem expects the very order of additions that Sum promises.
func sumProblem(p Sum, n, blocks int) *problem {
	x := reals(n, 3)
	threads := 32 * p.Warps
	acc := make([]float32, threads*blocks)
	for i := range n / 4 * 4 {
		acc[i/4%len(acc)] += float32(x[i])
	}
	for i := n / 4 * 4; i < n; i++ {
		acc[(i-n/4*4)%len(acc)] += float32(x[i])
	}
	butterfly := func(v []float32) float32 {
		for m := len(v) / 2; m > 0; m /= 2 {
			w := make([]float32, len(v))
			for i := range v {
				w[i] = v[i] + v[i^m]
			}
			v = w
		}
		return v[0]
	}
	want := make([]float64, blocks)
	for b := range want {
		warps := make([]float32, 1)
		for len(warps) < p.Warps {
			warps = make([]float32, 2*len(warps))
		}
		for w := range p.Warps {
			warps[w] = butterfly(acc[b*threads+32*w:][:32])
		}
		want[b] = float64(butterfly(warps))
	}
	return &problem{fmt.Sprintf("sum %d", n), p.Module(), p.Launch(blocks), []any{input(ptx.F32, x), output(ptx.F32, want, 0), uint32(n)}}
}

func transposeProblem(p Transpose, rows, cols int) *problem {
	x := reals(rows*cols, 4)
	y := make([]float64, len(x))
	for r := range rows {
		for c := range cols {
			y[c*rows+r] = x[r*cols+c]
		}
	}
	return &problem{fmt.Sprintf("transpose %dx%d", rows, cols), p.Module(), p.Launch(rows, cols),
		[]any{input(ptx.F32, x), output(ptx.F32, y, 0), uint32(rows), uint32(cols)}}
}

// softmaxProblem has, in every other row, logits so far apart that exp overflows if it
// is not the maximum that is subtracted.
func softmaxProblem(p Softmax, rows, cols int) *problem {
	x := reals(rows*cols, 5)
	for r := 1; r < rows; r += 2 {
		for c := range cols {
			x[r*cols+c] = math.Round(x[r*cols+c] * 50)
		}
		x[r*cols+[]int{96, 0, cols - 1, 31, 64, 32}[r/2%6]%cols] = 900
	}
	y := make([]float64, len(x))
	for r := range rows {
		row, out := x[r*cols:(r+1)*cols], y[r*cols:(r+1)*cols]
		most, sum := math.Inf(-1), 0.0
		for _, v := range row {
			most = max(most, v)
		}
		for i, v := range row {
			out[i] = math.Exp(v - most)
			sum += out[i]
		}
		for i := range out {
			out[i] /= sum
		}
	}
	return &problem{fmt.Sprintf("softmax %dx%d", rows, cols), p.Module(), p.Launch(rows), []any{input(ptx.F32, x), output(ptx.F32, y, 1e-4), uint32(cols)}}
}

// product is a [m][k] times b, which is [k][n], or [n][k] if transposed.
func product(a, b []float64, m, n, k int, transposed bool) []float64 {
	c := make([]float64, m*n)
	for i := range m {
		for j := range n {
			for l := range k {
				if transposed {
					c[i*n+j] += a[i*k+l] * b[j*k+l]
				} else {
					c[i*n+j] += a[i*k+l] * b[l*n+j]
				}
			}
		}
	}
	return c
}

func matmulProblem(p Matmul, m, n, k int) *problem {
	a, b := integers(m*k, 6), integers(k*n, 7)
	return &problem{fmt.Sprintf("matmul %dx%dx%d", m, n, k), p.Module(), p.Launch(m, n),
		[]any{input(ptx.F32, a), input(ptx.F32, b), output(ptx.F32, product(a, b, m, n, k, false), 0), uint32(m), uint32(n), uint32(k)}}
}

func mmaProblem(p MMAMatmul, m, n, k int) *problem {
	a, b := integers(max(m*k, 8), 8), integers(max(k*n, 8), 9) // with k = 0 nobody reads them
	return &problem{fmt.Sprintf("mma %dx%dx%d", m, n, k), p.Module(), p.Launch(m, n),
		[]any{input(ptx.BF16, a), input(ptx.BF16, b), output(ptx.F32, product(a, b, m, n, k, false), 0), uint32(m), uint32(n), uint32(k)}}
}

func wgmmaProblem(p WgmmaMatmul, m, n, k int) *problem {
	a, b := integers(m*k, 10), integers(n*k, 11)
	c := product(a, b, m, n, k, true)
	for i := range c {
		c[i] = roundBF16(c[i])
	}
	boxA, boxB, boxC := p.Boxes()
	return &problem{fmt.Sprintf("wgmma%d %dx%dx%d", p.Cluster, m, n, k), p.Module(), p.Launch(m, n), []any{
		tensorMap{input(ptx.BF16, a), m, k, boxA}, tensorMap{input(ptx.BF16, b), n, k, boxB}, tensorMap{output(ptx.BF16, c, 0), m, n, boxC}, uint32(k),
	}}
}
