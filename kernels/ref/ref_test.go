package ref

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
)

// put allocates a buffer that holds x.
func put(t *testing.T, d *Backend, dt kernels.DType, x ...float64) kernels.Buffer {
	t.Helper()
	m, err := d.Alloc(int64(len(x) * dt.Size()))
	if err != nil {
		t.Fatal(err)
	}
	b := kernels.Buffer{Mem: m, DType: dt}
	if dt != kernels.I32 {
		store(b, x)
		return b
	}
	var raw []byte
	for _, v := range x {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(int32(v)))
	}
	d.CopyIn(b, raw)
	return b
}

func same(t *testing.T, what string, got []float64, want ...float64) {
	t.Helper()
	for i, w := range want {
		if math.Abs(got[i]-w) > 1e-6*(1+math.Abs(w)) {
			t.Errorf("%s[%d] = %v, want %v", what, i, got[i], w)
		}
	}
}

// Values worked out by hand, so that ref does not only agree with itself.
func TestByHand(t *testing.T) {
	d := New(Options{Poison: true})
	nan := math.NaN()
	f := func(x ...float64) kernels.Buffer { return put(t, d, kernels.F32, x...) }
	i := func(x ...float64) kernels.Buffer { return put(t, d, kernels.I32, x...) }

	y := f(nan, nan, nan, nan)
	d.Linear(kernels.LinearArgs{Y: y, X: f(1, 2, 3, 4), W: f(1, 10, -1, 1), Bias: f(100, 0), Rows: 2, In: 2, Out: 2})
	same(t, "Linear", load(y, 4), 121, 1, 143, 1)

	d.RMSNorm(kernels.RMSNormArgs{Y: y, X: f(1, 7), W: f(2, 1), Rows: 1, Dim: 2})
	same(t, "RMSNorm", load(y, 2), 0.4, 1.4)

	d.Rope(kernels.RopeArgs{Y: y, X: f(1, 2, 3, 4), Positions: i(1), Cos: f(1, 1, 0, 0.6), Sin: f(0, 0, 1, 0.8),
		Rows: 1, Heads: 1, HeadDim: 4, MaxPos: 2})
	same(t, "Rope", load(y, 4), -3, 1.2-3.2, 1, 2.4+1.6)

	// Two equal keys share the second row's attention; the third row is a sequence of its own.
	lse := f(nan, nan, nan)
	d.Attention(kernels.AttentionArgs{O: y, LSE: lse, Q: f(1, 2, 3), K: f(1, 1, 1), V: f(10, 20, 70), Starts: i(0, 2, 3),
		NSeq: 2, Rows: 3, Heads: 1, KVHeads: 1, HeadDim: 1, Scale: 0.5})
	same(t, "Attention", load(y, 3), 10, 15, 70)
	same(t, "LSE", load(lse, 3), 0.5, 1+math.Ln2, 1.5)

	// Logits 0 and log 3: probabilities 1/4 and 3/4.
	lp, dx, dw := f(nan, nan), f(nan, nan), f(0, 0)
	d.CrossEntropy(kernels.CrossEntropyArgs{LogProb: lp, DX: dx, DW: dw, X: f(1, 1), W: f(0, math.Log(3)),
		Targets: i(0, -1), Weights: f(2, 1), Starts: i(0, 2), NSeq: 1, Rows: 2, Dim: 1, Vocab: 2})
	same(t, "LogProb", load(lp, 2), math.Log(0.25), 0)
	same(t, "DX", load(dx, 2), 1.5*math.Log(3), 0)
	same(t, "DW", load(dw, 2), -1.5, 1.5)

	// The first step of Adam moves a parameter by the learning rate, whatever the gradient.
	p, g, ss := f(1), f(5), f(0)
	table, set := i(0, 0, 1, 1), f(0.1, 0.1, 0.01, 0, 0.5, 0.1, 0.01, 1, 1)
	d.GradNorm(kernels.GradNormArgs{SumSquares: ss, Grad: g, Table: table, NParam: 1, Groups: 1})
	same(t, "SumSquares", load(ss, 1), 25)
	m, v := f(0), f(0)
	d.AdamW(kernels.AdamWArgs{P: p, Grad: g, M: m, V: v, SumSquares: ss, Settings: set, Table: table, NParam: 1, Groups: 1})
	same(t, "AdamW", append(append(load(p, 1), load(m, 1)...), append(load(v, 1), load(g, 1)...)...), 0.95-0.1, 0.1, 0.01, 0)

	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
}

func TestErrorsNameRowAndValue(t *testing.T) {
	d := New()
	y := put(t, d, kernels.F32, 7, 7)
	d.Embedding(kernels.EmbeddingArgs{Y: y, Table: put(t, d, kernels.F32, 1, 2), IDs: put(t, d, kernels.I32, 1, 5), Rows: 2, Dim: 1, Vocab: 2})
	if err := d.Sync(); err == nil || !strings.Contains(err.Error(), "Embedding: row 1: id 5") {
		t.Errorf("error %v, want one that names Embedding, row 1 and id 5", err)
	}
	same(t, "output after an error", load(y, 2), 7, 7)
	if err := d.Sync(); err != nil {
		t.Errorf("the error came back twice: %v", err)
	}
}
