package kerneltest

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

func testCrossEntropy(t *trial) {
	type shape struct {
		lengths    []int
		tail       int // rows of no sequence: sizes are upper bounds
		dim, vocab int
		scale      float64 // of the logits
	}
	shapes := []shape{{[]int{2, 3}, 0, 7, 11, 1}, {nil, 0, 4, 3, 1}, {[]int{1}, 0, 1, 1, 1}, {[]int{0, 4, 0, 1, 12}, 2, 33, 100, 3},
		{[]int{3, 1}, 0, 16, 5000, 1}, {[]int{20, 45}, 0, 24, 257, 40},
		{[]int{3, 5}, 0, 264, 5, 1},  // rows of more elements than a block has threads
		{[]int{2, 1}, 0, 1, 2100, 1}, // more parts of the vocabulary than a warp has lanes
		{[]int{2, 1}, 0, 10, 530, 1}} // more words than a chunk of a sum
	// More rows, and more sequences, than a block has threads.
	many := make([]int, 1030)
	many[3], many[500], many[1026] = 1019, 4, 7
	shapes = append(shapes, shape{many, 0, 5, 3, 1})
	if t.opt.Heavy {
		shapes = append(shapes, shape{[]int{20, 1, 40}, 0, 64, 5000, 2})
	}
	for i, s := range shapes {
		starts := startsOf(s.lengths...)
		rows := last(starts) + s.tail
		of := fmt.Sprintf("sequences %v of %d rows", s.lengths, rows)
		if rows > 1024 {
			of = fmt.Sprintf("%d sequences of %d rows", len(s.lengths), rows)
		}
		t.combos(2, i == 0, func(dt []kernels.DType) {
			x := t.floats("x", dt[0], rows*s.dim, 1).per(s.dim)
			w := t.floats("w", dt[1], s.vocab*s.dim, s.scale/math.Sqrt(float64(s.dim)))
			ids := t.indices(rows, s.vocab)
			for i := range ids {
				if t.rng.IntN(4) == 0 {
					ids[i] = -1 - int32(t.rng.IntN(3))
				}
			}
			switch {
			case rows > 1024: // each warp of a block finds another number of targets
				for i := range ids {
					ids[i] = int32(i % s.vocab)
					if i%32 < i/32%32 {
						ids[i] = -1
					}
				}
			case rows > 1:
				ids[1] = -1 // some row has no target
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
				t.check(&problem{op: "CrossEntropy", shape: fmt.Sprintf("%s, dim %d, vocab %d", of, s.dim, s.vocab),
					rows: rows, starts: starts, whole: rows > 1024, loose: s.scale, arrays: []*array{logProb, dx, dw, x, w, targets, weights},
					call: func(c *call) {
						a := kernels.CrossEntropyArgs{LogProb: c.at(logProb), DX: c.at(dx), DW: c.at(dw), X: c.at(x), W: c.at(w),
							Targets: c.at(targets), Weights: c.at(weights), Starts: c.starts(), NSeq: c.nseq(), Rows: c.rows, Dim: s.dim, Vocab: s.vocab}
						a.Scratch = c.scratch(c.CrossEntropyScratch(a))
						c.CrossEntropy(a)
					}})
			}
			try(dx, dw, weights)
			if i > 5 {
				return // they are large, and the others tell the rest
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
