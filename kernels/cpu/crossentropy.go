package cpu

import (
	"math"

	"github.com/selkie-ml/selkie/internal/half"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/gemm"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// lossRows is how many rows of logits exist at once, by the vocabulary alone: as
// many as fit into 4 MB, or where those are few, up to 96 within 56 MB.
func lossRows(vocab int) int {
	row := 4 * max(1, vocab)
	if n := (4 << 20) / row &^ 31; n >= 96 {
		return n
	}
	return max(8, min(96, (56<<20)/row))
}

// lossPiece is where a sequence is cut, counted in its rows that have targets:
// where the product of its weight gradient is cut anyway, if possible.
func lossPiece(vocab int) int { return min(gemm.KC, lossRows(vocab)) }

// CrossEntropyScratch implements kernels.Backend: a chunk of logits and of X.
func (b *Backend) CrossEntropyScratch(a kernels.CrossEntropyArgs) int64 {
	return 4 * int64(min(lossRows(a.Vocab), a.Rows)) * (int64(a.Vocab) + int64(a.Dim))
}

// crossEntropyTask's items are the rows of a chunk.
type crossEntropyTask struct {
	logProb, weights []float32
	targets          []int32
	logits           []float32
	vocab            int
	backward         bool

	rows   []int32 // of the chunk, in the batch
	pieces []int32 // starts of its sequences' pieces in rows, and its end
}

// CrossEntropy implements kernels.Backend.
func (b *Backend) CrossEntropy(a kernels.CrossEntropyArgs) {
	const op = "CrossEntropy"
	x := floats(op, "X", a.X, a.Rows, a.Dim)
	narrow := x.dtype == kernels.BF16 && a.W.DType == kernels.BF16
	w := floats(op, "W", a.W, a.Vocab, a.Dim).matrix(a.Dim)
	t := &b.ops.crossEntropy
	*t = crossEntropyTask{
		logProb: f32s(op, "LogProb", a.LogProb, a.Rows), targets: i32s(op, "Targets", a.Targets, a.Rows),
		vocab: a.Vocab, backward: !a.DX.IsNil() || !a.DW.IsNil(), rows: t.rows[:0], pieces: t.pieces[:0],
	}
	for i, v := range t.targets {
		if int(v) >= a.Vocab {
			b.Fail(op, "row %d has target %d, outside a vocabulary of %d", i, v, a.Vocab)
			return
		}
	}
	var dx, dw []float32
	if t.backward {
		t.weights = f32s(op, "Weights", a.Weights, a.Rows)
	}
	if !a.DX.IsNil() {
		dx = f32s(op, "DX", a.DX, a.Rows, a.Dim)
	}
	var from []int32
	if !a.DW.IsNil() {
		dw = f32s(op, "DW", a.DW, a.Vocab, a.Dim)
		var ok bool
		if from, ok = b.starts(op, a.Starts, a.NSeq, a.Rows); !ok {
			return
		}
	}
	capacity := min(lossRows(a.Vocab), a.Rows)
	a.Scratch.DType = kernels.F32
	scratch := f32s(op, "Scratch", a.Scratch, capacity, a.Vocab+a.Dim)
	t.logits = scratch[:capacity*a.Vocab]
	hidden := scratch[capacity*a.Vocab:]

	// chunk computes the rows collected so far and starts the next collection.
	chunk := func() {
		n := len(t.rows)
		if n == 0 {
			return
		}
		t.pieces = append(t.pieces, int32(n))
		for i, row := range t.rows {
			x.widen(hidden[i*a.Dim:(i+1)*a.Dim], int(row)*a.Dim)
		}
		gemm.NT(b.products(op), t.logits, a.Vocab, hidden, a.Dim, w, nil, n, a.Vocab, a.Dim, false)
		b.pool.run(op, t, n, rowGrain(4*a.Vocab))
		if dw != nil {
			gemm.TNSegments(b.products(op), dw, a.Dim, t.logits, a.Vocab, hidden, a.Dim, a.Vocab, a.Dim, t.pieces, true)
		}
		if dx != nil {
			if narrow {
				for i, g := range t.logits[:n*a.Vocab] {
					t.logits[i] = half.BF16ToFloat32(half.BF16FromFloat32(g))
				}
			}
			gemm.NN(b.products(op), hidden, a.Dim, t.logits, a.Vocab, w, nil, n, a.Dim, a.Vocab, false)
			for i, row := range t.rows {
				copy(dx[int(row)*a.Dim:][:a.Dim], hidden[i*a.Dim:])
			}
		}
		t.rows, t.pieces = t.rows[:0], t.pieces[:0]
	}
	piece := capacity
	if dw != nil {
		piece = lossPiece(a.Vocab)
	}
	// collect takes in the rows of a sequence, or rows of none, in pieces that
	// each lie in one chunk.
	collect := func(lo, hi int) {
		for lo < hi {
			n, stop := 0, lo
			for ; stop < hi && n < piece; stop++ {
				if t.targets[stop] >= 0 {
					n++
				}
			}
			if len(t.rows)+n > capacity {
				chunk()
			}
			if n > 0 {
				t.pieces = append(t.pieces, int32(len(t.rows)))
			}
			for ; lo < stop; lo++ {
				if t.targets[lo] >= 0 {
					t.rows = append(t.rows, int32(lo))
					continue
				}
				t.logProb[lo] = 0
				if dx != nil {
					clear(dx[lo*a.Dim:][:a.Dim])
				}
			}
		}
	}
	if dw == nil {
		collect(0, a.Rows)
		chunk()
		return
	}
	for s := range a.NSeq {
		collect(int(from[s]), int(from[s+1]))
	}
	chunk()
	dw = nil // rows of no sequence add nothing to it
	collect(0, int(from[0]))
	collect(int(from[a.NSeq]), a.Rows)
	chunk()
}

func (t *crossEntropyTask) do(lo, hi int, _ *worker) {
	const block = 4096 // the sum of exponentials: float64 over blocks
	for i := lo; i < hi; i++ {
		z := t.logits[i*t.vocab:][:t.vocab]
		row := int(t.rows[i])
		target := t.targets[row]
		m, zt := vec.Max(z), z[target]
		sum := 0.0
		for c := 0; c < len(z); c += block {
			part := z[c:min(c+block, len(z))]
			sum += float64(vec.ExpSub(part, part, m))
		}
		t.logProb[row] = float32(float64(zt) - float64(m) - math.Log(sum))
		if t.backward {
			weight := t.weights[row]
			vec.Scale(z, float32(float64(weight)/sum), z)
			z[target] -= weight
		}
	}
}
