package ref

import (
	"math"
	"testing"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
)

const f32 = kernels.F32

// bench holds a backend and what gradient tests need beside it.
type bench struct {
	*testing.T
	d   *Backend
	rng *philox.Stream
}

func newBench(t *testing.T) *bench {
	return &bench{t, New(Options{Poison: true}), philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Item: t.Name()})}
}

// random returns n numbers within ±1.
func (b *bench) random(n int) kernels.Buffer {
	x := make([]float64, n)
	for i := range x {
		x[i] = 2*b.rng.Float64() - 1
	}
	return put(b.T, b.d, f32, x...)
}

func (b *bench) zeros(n int) kernels.Buffer { return put(b.T, b.d, f32, make([]float64, n)...) }

func (b *bench) ints(v ...float64) kernels.Buffer { return put(b.T, b.d, kernels.I32, v...) }

// compare differentiates loss by central differences in every element of x.
func (b *bench) compare(name string, x, gradient kernels.Buffer, n int, loss func() float64) {
	b.Helper()
	const h = 1.0 / 64
	g, v := load(gradient, n), host.F32(x, n)
	for i, old := range v {
		v[i] = old + h
		up := loss()
		v[i] = old - h
		down := loss()
		v[i] = old
		if want := (up - down) / (2 * h); !(math.Abs(g[i]-want) < 4e-4*(1+math.Abs(want))) {
			b.Errorf("%s[%d] is %v, by differences %v", name, i, g[i], want)
			return
		}
	}
}

// weigh returns Σ c·y.
func weigh(c, y kernels.Buffer, n int) float64 { return dot(load(c, n), load(y, n)) }

func TestGradientOfSwiGLU(t *testing.T) {
	b := newBench(t)
	const n = 30
	y, dy, gate, up, dgate, dup := b.zeros(n), b.random(n), b.random(n), b.random(n), b.zeros(n), b.zeros(n)
	loss := func() float64 {
		b.d.SwiGLU(kernels.SwiGLUArgs{Y: y, Gate: gate, Up: up, N: n})
		return weigh(dy, y, n)
	}
	b.d.SwiGLUBackward(kernels.SwiGLUBackwardArgs{DGate: dgate, DUp: dup, DY: dy, Gate: gate, Up: up, N: n})
	b.compare("DGate", gate, dgate, n, loss)
	b.compare("DUp", up, dup, n, loss)
}

func TestGradientOfEmbedding(t *testing.T) {
	b := newBench(t)
	const rows, dim, vocab = 6, 3, 4
	y, dy, table, dtable := b.zeros(rows*dim), b.random(rows*dim), b.random(vocab*dim), b.zeros(vocab*dim)
	ids := b.ints(1, 3, 1, 0, 1, 3)
	b.d.EmbeddingBackward(kernels.EmbeddingBackwardArgs{DTable: dtable, DY: dy, IDs: ids, Starts: b.ints(0, 4, 6), NSeq: 2, Rows: rows, Dim: dim, Vocab: vocab})
	b.compare("DTable", table, dtable, vocab*dim, func() float64 {
		b.d.Embedding(kernels.EmbeddingArgs{Y: y, Table: table, IDs: ids, Rows: rows, Dim: dim, Vocab: vocab})
		return weigh(dy, y, rows*dim)
	})
}

func TestGradientOfRMSNorm(t *testing.T) {
	b := newBench(t)
	const rows, dim, n = 4, 9, 4 * 9
	y, dy, x, w, dx, dw := b.zeros(n), b.random(n), b.random(n), b.random(dim), b.zeros(n), b.zeros(dim)
	loss := func() float64 {
		b.d.RMSNorm(kernels.RMSNormArgs{Y: y, X: x, W: w, Rows: rows, Dim: dim, Eps: 0.01})
		return weigh(dy, y, n)
	}
	b.d.RMSNormBackward(kernels.RMSNormBackwardArgs{DX: dx, DW: dw, DY: dy, X: x, W: w, Starts: b.ints(0, 1, 4), NSeq: 2, Rows: rows, Dim: dim, Eps: 0.01})
	b.compare("DX", x, dx, n, loss)
	b.compare("DW", w, dw, dim, loss)
}

func TestGradientOfRope(t *testing.T) {
	b := newBench(t)
	const n = 3 * 2 * 6
	y, dy, x, dx := b.zeros(n), b.random(n), b.random(n), b.zeros(n)
	a := kernels.RopeArgs{Y: y, X: x, Positions: b.ints(0, 4, 2), Cos: b.random(15), Sin: b.random(15), Rows: 3, Heads: 2, HeadDim: 6, MaxPos: 5}
	back := a
	back.Y, back.X = dx, dy
	b.d.RopeBackward(back)
	b.compare("DX", x, dx, n, func() float64 { b.d.Rope(a); return weigh(dy, y, n) })
}

func TestGradientOfLinear(t *testing.T) {
	b := newBench(t)
	const rows, in, out = 5, 7, 4
	y, dy, x, w, bias := b.zeros(rows*out), b.random(rows*out), b.random(rows*in), b.random(out*in), b.random(out)
	dx, dw, dbias := b.zeros(rows*in), b.zeros(out*in), b.zeros(out)
	loss := func() float64 {
		b.d.Linear(kernels.LinearArgs{Y: y, X: x, W: w, Bias: bias, Rows: rows, In: in, Out: out})
		return weigh(dy, y, rows*out)
	}
	b.d.LinearBackwardInput(kernels.LinearBackwardInputArgs{DX: dx, DY: dy, W: w, Rows: rows, In: in, Out: out})
	b.d.LinearBackwardWeight(kernels.LinearBackwardWeightArgs{DW: dw, DBias: dbias, DY: dy, X: x, Starts: b.ints(0, 2, 2, 5), NSeq: 3, Rows: rows, In: in, Out: out})
	b.compare("DX", x, dx, rows*in, loss)
	b.compare("DW", w, dw, out*in, loss)
	b.compare("DBias", bias, dbias, out, loss)
}

func TestGradientOfLoRA(t *testing.T) {
	b := newBench(t)
	const rows, in, out, maxRank = 6, 5, 4, 3
	dy, x := b.random(rows*out), b.random(rows*in)
	wa, wb, da, db := b.random(30), b.random(30), b.zeros(30), b.zeros(30)
	y, h, dx := b.zeros(rows*out), b.zeros(rows*maxRank), b.zeros(rows*in)
	var raw []int32
	for _, s := range []kernels.Segment{{RowStart: 0, RowEnd: 2, Rank: 3, AOffset: 1, BOffset: 2, Scale: 0.5},
		{RowStart: 3, RowEnd: 5, Rank: 2, AOffset: 18, BOffset: 15, Scale: 2},
		{RowStart: 5, RowEnd: 6, Rank: 3, AOffset: 1, BOffset: 2, Scale: 1.5}} {
		raw = s.AppendTo(raw)
	}
	table := put(t, b.d, kernels.I32, make([]float64, len(raw))...)
	copy(host.I32(table, len(raw)), raw)
	loss := func() float64 {
		store(y, make([]float64, rows*out))
		b.d.LoRA(kernels.LoRAArgs{Y: y, H: h, X: x, A: wa, B: wb, Segments: table, NSeg: 3, Rows: rows, In: in, Out: out, MaxRank: maxRank})
		return weigh(dy, y, rows*out)
	}
	loss()
	b.d.LoRABackward(kernels.LoRABackwardArgs{DX: dx, DA: da, DB: db, DY: dy, X: x, H: h, A: wa, B: wb, Segments: table, NSeg: 3,
		Rows: rows, In: in, Out: out, MaxRank: maxRank})
	b.compare("DX", x, dx, rows*in, loss)
	b.compare("DA", wa, da, 30, loss)
	b.compare("DB", wb, db, 30, loss)

	// Merged into a weight, an adapter does the same.
	w := b.zeros(out * in)
	b.d.LoRAMerge(kernels.LoRAMergeArgs{W: w, A: wa.At(1), B: wb.At(2), In: in, Out: out, Rank: 3, Scale: 0.5})
	merged := b.zeros(2 * out)
	b.d.Linear(kernels.LinearArgs{Y: merged, X: x, W: w, Rows: 2, In: in, Out: out})
	loss()
	same(t, "merged", load(merged, 2*out), load(y, 2*out)...)
}

func TestGradientOfAttention(t *testing.T) {
	b := newBench(t)
	const rows, heads, kvHeads, dim = 6, 4, 2, 4
	nq, nk := rows*heads*dim, rows*kvHeads*dim
	q, k, v, o, do := b.random(nq), b.random(nk), b.random(nk), b.zeros(nq), b.random(nq)
	lse, dq, dk, dv := b.zeros(rows*heads), b.zeros(nq), b.zeros(nk), b.zeros(nk)
	starts := b.ints(0, 4, 4, 6)
	loss := func() float64 {
		b.d.Attention(kernels.AttentionArgs{O: o, LSE: lse, Q: q, K: k, V: v, Starts: starts, NSeq: 3, Rows: rows, Heads: heads, KVHeads: kvHeads, HeadDim: dim, Scale: 0.7})
		return weigh(do, o, nq)
	}
	loss()
	b.d.AttentionBackward(kernels.AttentionBackwardArgs{DQ: dq, DK: dk, DV: dv, DO: do, O: o, LSE: lse, Q: q, K: k, V: v, Starts: starts,
		NSeq: 3, Rows: rows, Heads: heads, KVHeads: kvHeads, HeadDim: dim, Scale: 0.7})
	b.compare("DQ", q, dq, nq, loss)
	b.compare("DK", k, dk, nk, loss)
	b.compare("DV", v, dv, nk, loss)
}

func TestGradientOfCrossEntropy(t *testing.T) {
	b := newBench(t)
	const rows, dim, vocab = 5, 4, 7
	x, w, weights := b.random(rows*dim), b.random(vocab*dim), b.random(rows)
	lp, dx, dw := b.zeros(rows), b.zeros(rows*dim), b.zeros(vocab*dim)
	a := kernels.CrossEntropyArgs{LogProb: lp, X: x, W: w, Targets: b.ints(3, -1, 0, 6, 3), Weights: weights, Starts: b.ints(0, 2, 5),
		NSeq: 2, Rows: rows, Dim: dim, Vocab: vocab}
	loss := func() float64 { b.d.CrossEntropy(a); return -weigh(weights, lp, rows) }
	back := a
	back.DX, back.DW = dx, dw
	b.d.CrossEntropy(back)
	b.compare("DX", x, dx, rows*dim, loss)
	b.compare("DW", w, dw, vocab*dim, loss)
}
