package cpu

import (
	"math"

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
	narrowed         []uint16 // the same memory, two for each
	vocab            int
	backward         bool

	rows   []int32 // of the chunk, in the batch
	pieces []int32 // starts of its sequences' pieces in rows, and its end
}

// CrossEntropy implements kernels.Backend.
func (b *Backend) CrossEntropy(a kernels.CrossEntropyArgs) {
	const op = "CrossEntropy"
	x := floats(op, "X", a.X, a.Rows, a.Dim)
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
	hidden := gemm.Matrix{F32: scratch[capacity*a.Vocab:], Ld: a.Dim}
	// Rows of x and of the gradient as the products take them, in the place of the f32's.
	rows, grad := hidden, gemm.Matrix{F32: t.logits, Ld: a.Vocab}
	narrow := x.dtype == kernels.BF16 && a.W.DType == kernels.BF16
	if narrow {
		a.Scratch.DType = kernels.BF16
		t.narrowed = floats(op, "Scratch", a.Scratch, capacity, 2*a.Vocab).u16
		grad = gemm.Matrix{Bits: t.narrowed, Kind: gemm.KindBF16, Ld: 2 * a.Vocab}
		rows = gemm.Matrix{Bits: floats(op, "Scratch", a.Scratch.At(2*capacity*a.Vocab), capacity, a.Dim).u16, Kind: gemm.KindBF16, Ld: a.Dim}
	}

	// chunk computes the rows collected so far and starts the next collection.
	chunk := func() {
		n := len(t.rows)
		if n == 0 {
			return
		}
		t.pieces = append(t.pieces, int32(n))
		for i, row := range t.rows {
			if narrow {
				copy(rows.Bits[i*a.Dim:(i+1)*a.Dim], x.u16[int(row)*a.Dim:])
			} else {
				x.widen(rows.F32[i*a.Dim:(i+1)*a.Dim], int(row)*a.Dim)
			}
		}
		logits := gemm.Matrix{F32: t.logits, Ld: a.Vocab}
		gemm.Product(b.products(op), gemm.FormNT, logits, rows, w, nil, n, a.Vocab, a.Dim, false)
		b.pool.run(op, t, n, rowGrain(4*a.Vocab))
		if dw != nil {
			gemm.TNSegmentsOf(b.products(op), dw, a.Dim, t.logits, a.Vocab, rows, a.Vocab, a.Dim, t.pieces, true)
		}
		if dx != nil {
			if narrow {
				u := &b.ops.crossEntropyNarrow
				*u = crossEntropyNarrowTask{t}
				b.pool.run(op, u, n, rowGrain(a.Vocab))
			}
			gemm.Product(b.products(op), gemm.FormNN, hidden, grad, w, nil, n, a.Dim, a.Vocab, false)
			for i, row := range t.rows {
				copy(dx[int(row)*a.Dim:][:a.Dim], hidden.F32[i*a.Dim:])
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

// lossBlock is how many logits of a row are worked on at a time.
const lossBlock = 4096

func (t *crossEntropyTask) do(lo, hi int, _ *worker) {
	for i := lo; i < hi; i++ {
		z := t.logits[i*t.vocab:][:t.vocab]
		row := int(t.rows[i])
		target := t.targets[row]
		m, zt := vec.Max(z), z[target]
		sum := 0.0 // float64 over blocks
		for c := 0; c < len(z); c += lossBlock {
			part := z[c:min(c+lossBlock, len(z))]
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

// crossEntropyNarrowTask rounds a chunk's rows of the gradient to bf16, each to the
// beginning of its own memory.
type crossEntropyNarrowTask struct{ *crossEntropyTask }

func (t *crossEntropyNarrowTask) do(lo, hi int, w *worker) {
	buf := w.floats(lossBlock)
	for i := lo; i < hi; i++ {
		g := t.logits[i*t.vocab:][:t.vocab]
		for c := 0; c < len(g); c += lossBlock {
			part := buf[:copy(buf, g[c:])]
			vec.NarrowBF16(t.narrowed[2*i*t.vocab+c:][:len(part)], part)
		}
	}
}
