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
		scale      float64 // of the logits; 0: 1
		brief      bool    // with all arrays only, and finite: the other shapes tell the rest
		late       bool    // a word near the last has the largest logit of the first row
		beside     bool    // DX does not lie as other arrays do
	}
	// More rows, and more sequences, than a block has threads.
	many := make([]int, 1030)
	many[3], many[500], many[1026] = 1019, 4, 7
	shapes := []shape{{lengths: []int{2, 3}, dim: 7, vocab: 11}, {dim: 4, vocab: 3}, {lengths: []int{1}, dim: 1, vocab: 1},
		{lengths: []int{0, 4, 0, 1, 12}, tail: 2, dim: 33, vocab: 100, scale: 3},
		{lengths: []int{3, 1}, dim: 16, vocab: 5000}, {lengths: []int{20, 45}, dim: 24, vocab: 257, scale: 40},
		{tail: 3, dim: 6, vocab: 5}, // rows, and no sequence
		{lengths: []int{2, 1}, vocab: 5, brief: true},
		{lengths: []int{3, 5}, dim: 264, vocab: 5, brief: true},              // rows of more elements than a block has threads
		{lengths: []int{2, 1}, dim: 1, vocab: 2100, brief: true},             // more parts of the vocabulary than a warp has lanes
		{lengths: []int{2, 1}, dim: 10, vocab: 530, brief: true, late: true}, // more words than a chunk of a sum
		{lengths: []int{12, 15}, dim: 12, vocab: 530, brief: true, beside: true}, {lengths: []int{3, 2}, dim: 8, vocab: 20, brief: true, beside: true},
		{lengths: []int{20, 13}, dim: 64, vocab: 5, brief: true}, // a second tile of rows, but not of targets, and a full one of columns
		// Vocabularies that end behind one vector or several of a tile, of f32 and of halves.
		{lengths: []int{3, 1}, dim: 5, vocab: 20, brief: true}, {lengths: []int{3, 1}, dim: 5, vocab: 144, brief: true},
		{lengths: []int{3, 0, 1}, dim: 8, vocab: 144, brief: true}, {lengths: []int{3, 1}, dim: 5, vocab: 648, brief: true},
		{lengths: many, dim: 5, vocab: 3, brief: true}}
	if t.opt.Heavy {
		shapes = append(shapes, shape{lengths: []int{20, 1, 40}, dim: 64, vocab: 5000, scale: 2, brief: true})
	}
	for i, s := range shapes {
		if s.scale == 0 {
			s.scale = 1
		}
		starts := startsOf(s.lengths...)
		rows := last(starts) + s.tail
		of := fmt.Sprintf("sequences %v of %d rows", s.lengths, rows)
		if rows > 1024 {
			of = fmt.Sprintf("%d sequences of %d rows", len(s.lengths), rows)
		}
		t.combos(2, i == 0, func(dt []kernels.DType) {
			x := t.floats("x", dt[0], rows*s.dim, 1).per(s.dim)
			w := t.floats("w", dt[1], s.vocab*s.dim, s.scale/math.Sqrt(float64(max(1, s.dim))))
			if s.late {
				for j := range s.dim {
					w.set((s.vocab-5)*s.dim+j, 5*decode(dt[0], getBits(dt[0], x.data, j)))
				}
			}
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
			dx.besideIf(s.beside)
			dw := t.floats("dw", kernels.F32, s.vocab*s.dim, 1).as(sum)
			try := func(dx, dw, weights *array) {
				t.check(&problem{op: "CrossEntropy", shape: fmt.Sprintf("%s, dim %d, vocab %d", of, s.dim, s.vocab),
					rows: rows, starts: starts, whole: rows > 1024 || s.beside, loose: s.scale, arrays: []*array{logProb, dx, dw, x, w, targets, weights},
					call: func(c *call) {
						a := kernels.CrossEntropyArgs{LogProb: c.at(logProb), DX: c.at(dx), DW: c.at(dw), X: c.at(x), W: c.at(w),
							Targets: c.at(targets), Weights: c.at(weights), Starts: c.starts(), NSeq: c.nseq(), Rows: c.rows, Dim: s.dim, Vocab: s.vocab}
						a.Scratch = c.scratch(c.CrossEntropyScratch(a))
						c.CrossEntropy(a)
					}})
			}
			try(dx, dw, weights)
			if s.brief {
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
