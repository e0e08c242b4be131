package kerneltest

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

func testCrossEntropy(t *trial) {
	type shape struct {
		lengths    []int
		dim, vocab int
		scale      float64 // of the logits
	}
	shapes := []shape{{[]int{2, 3}, 7, 11, 1}, {nil, 4, 3, 1}, {[]int{1}, 1, 1, 1}, {[]int{0, 4, 0, 1, 12}, 33, 100, 3},
		{[]int{3, 1}, 16, 5000, 1}, {[]int{20, 45}, 24, 257, 40}, {[]int{700, 2}, 3, 6, 1}}
	if t.opt.Heavy {
		shapes = append(shapes, shape{[]int{20, 1, 40}, 64, 5000, 2})
	}
	for i, s := range shapes {
		starts := startsOf(s.lengths...)
		rows := last(starts)
		t.combos(2, i == 0, func(dt []kernels.DType) {
			x := t.floats("x", dt[0], rows*s.dim, 1).per(s.dim)
			w := t.floats("w", dt[1], s.vocab*s.dim, s.scale/math.Sqrt(float64(s.dim)))
			ids := t.indices(rows, s.vocab)
			for i := range ids {
				if t.rng.IntN(4) == 0 {
					ids[i] = -1 - int32(t.rng.IntN(3))
				}
			}
			targets := t.ints("targets", ids...).per(1)
			weights := t.floats("weights", kernels.F32, rows, 1).per(1)
			logProb := t.output("logprob", kernels.F32, rows).per(1)
			dx := t.output("dx", kernels.F32, rows*s.dim).per(s.dim)
			if dt[0] == kernels.BF16 && dt[1] == kernels.BF16 {
				// Σ_v |g[v]| is at most twice the weight; g may be rounded to bf16.
				dx.slack = 0x1p-9 * 2 * weights.largest() * w.largest()
			}
			dw := t.floats("dw", kernels.F32, s.vocab*s.dim, 1).as(sum)
			try := func(dx, dw, weights *array) {
				t.check(&problem{op: "CrossEntropy", shape: fmt.Sprintf("sequences %v, dim %d, vocab %d", s.lengths, s.dim, s.vocab),
					rows: rows, starts: starts, loose: s.scale, arrays: []*array{logProb, dx, dw, x, w, targets, weights},
					call: func(c *call) {
						a := kernels.CrossEntropyArgs{LogProb: c.at(logProb), DX: c.at(dx), DW: c.at(dw), X: c.at(x), W: c.at(w),
							Targets: c.at(targets), Weights: c.at(weights), Starts: c.starts(), NSeq: c.nseq(), Rows: c.rows, Dim: s.dim, Vocab: s.vocab}
						a.Scratch = c.scratch(c.CrossEntropyScratch(a))
						c.CrossEntropy(a)
					}})
			}
			try(dx, dw, weights)
			if rows*s.vocab > 100_000 || rows > 500 {
				return
			}
			try(dx, nil, weights)
			try(nil, dw, weights)
			try(nil, nil, nil)
			if rows > 0 { // a row without a target may hold anything
				for i, id := range ids {
					if id < 0 {
						x.set(i*s.dim, math.NaN())
						weights.set(i, math.NaN())
					}
				}
				try(dx, dw, weights)
				x.set(0, math.NaN())
				try(dx, dw, weights)
			}
		})
	}
}
