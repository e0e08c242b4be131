package cpu

import (
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
)

// TestLossOfLongSequences: sequences far longer than a chunk of logits, alone
// and together, give the same bits; so do rows without targets in between.
func TestLossOfLongSequences(t *testing.T) {
	const dim, vocab = 24, 5000
	m := newMaker(t, 3)
	starts := []int32{0, 150, 150, 700, 720}
	rows := int(starts[len(starts)-1])
	if lossRows(vocab) >= rows || lossPiece(vocab) >= 150 {
		t.Fatalf("chunks of %d rows and pieces of %d: the test cuts nothing", lossRows(vocab), lossPiece(vocab))
	}
	targets := make([]int32, rows)
	for i := range targets {
		targets[i] = int32(m.rng.IntN(vocab*5/4)) - vocab/4
	}
	x, w, weights := m.f32(rows*dim), m.random(kernels.F32, vocab*dim, 0.3), m.f32(rows)
	run := func(cuts ...int) (logProb, dx, dw []float32) {
		lp, gx, gw := m.f32(rows), m.f32(rows*dim), m.f32(vocab*dim)
		m.b.Fill(kernels.FillArgs{Dst: gw, N: vocab * dim, Value: 0.5})
		for c := range len(cuts) - 1 {
			s := slices.Clone(starts[cuts[c] : cuts[c+1]+1])
			at, n := int(s[0]), int(s[len(s)-1]-s[0])
			for i := range s {
				s[i] -= int32(at)
			}
			a := kernels.CrossEntropyArgs{LogProb: lp.At(at), DX: gx.At(at * dim), DW: gw, X: x.At(at * dim), W: w, Targets: m.ints(targets[at : at+n]...),
				Weights: weights.At(at), Starts: m.ints(s...), NSeq: len(s) - 1, Rows: n, Dim: dim, Vocab: vocab}
			a.Scratch = m.mem(int(m.b.CrossEntropyScratch(a)/4), kernels.F32)
			m.b.CrossEntropy(a)
		}
		if err := m.b.Sync(); err != nil {
			t.Fatal(err)
		}
		return host.F32(lp, rows), host.F32(gx, rows*dim), host.F32(gw, vocab*dim)
	}
	lp, dx, dw := run(0, 4)
	for _, cuts := range [][]int{{0, 1, 2, 3, 4}, {0, 2, 4}, {0, 3, 4}} {
		lp2, dx2, dw2 := run(cuts...)
		if !slices.Equal(lp, lp2) || !slices.Equal(dx, dx2) || !slices.Equal(dw, dw2) {
			t.Errorf("cut at sequences %v: log-probabilities equal: %v, DX: %v, DW: %v", cuts, slices.Equal(lp, lp2), slices.Equal(dx, dx2), slices.Equal(dw, dw2))
		}
	}
}

func TestLossScratchIsBounded(t *testing.T) {
	b := open(t, 1)
	defer b.Close()
	for _, vocab := range []int{1, 1000, 10000, 32000, 50257, 128256, 151936, 262144} {
		for _, dim := range []int{1, 896, 4096} {
			if n := b.CrossEntropyScratch(kernels.CrossEntropyArgs{Rows: 1 << 20, Dim: dim, Vocab: vocab}); n > 64<<20 && vocab > dim {
				t.Errorf("vocabulary %d, dim %d: scratch of %d bytes, want at most 64 MB", vocab, dim, n)
			}
			if n, want := b.CrossEntropyScratch(kernels.CrossEntropyArgs{Rows: 1, Dim: dim, Vocab: vocab}), int64(4*(vocab+dim)); n != want {
				t.Errorf("vocabulary %d, dim %d: scratch of one row is %d bytes, want %d", vocab, dim, n, want)
			}
		}
	}
}

// TestMisusePanics: shapes that do not fit their buffers panic, naming the op
// and the buffer, with both sizes.
func TestMisusePanics(t *testing.T) {
	m := newMaker(t, 2)
	small, big, ints := m.f32(64), m.f32(64*64), m.ints(0, 1, 2)
	for want, f := range map[string]func(){
		"Add: B is [4096] = 4096 elements, but its buffer has 64": func() {
			m.b.Add(kernels.AddArgs{Dst: big, A: big, B: small, N: 4096})
		},
		"Linear: W is [64 64] = 4096 elements, but its buffer has 64": func() {
			m.b.Linear(kernels.LinearArgs{Y: big, X: big, W: small, Rows: 2, In: 64, Out: 64})
		},
		"Linear: W [64 64] is missing": func() {
			m.b.Linear(kernels.LinearArgs{Y: big, X: big, Rows: 2, In: 64, Out: 64})
		},
		"RMSNorm: Y has the shape [-1 64]": func() {
			m.b.RMSNorm(kernels.RMSNormArgs{Y: big, X: big, W: small, Rows: -1, Dim: 64})
		},
		"SwiGLU: Up is i32, want f32, bf16 or f16": func() {
			m.b.SwiGLU(kernels.SwiGLUArgs{Y: big, Gate: big, Up: ints, N: 2})
		},
		"EmbeddingBackward: IDs is f32, want i32": func() {
			m.b.EmbeddingBackward(kernels.EmbeddingBackwardArgs{DTable: big, DY: big, IDs: small, Starts: ints, NSeq: 1, Rows: 2, Dim: 2, Vocab: 2})
		},
		"Attention: 3 query heads on 2 KV heads of 8": func() {
			m.b.Attention(kernels.AttentionArgs{O: big, Q: big, K: big, V: big, Starts: ints, NSeq: 1, Rows: 2, Heads: 3, KVHeads: 2, HeadDim: 8})
		},
		"LoRA: A is missing": func() {
			m.b.LoRA(kernels.LoRAArgs{Y: big, X: big, H: big, B: big, Rows: 2, In: 2, Out: 2, MaxRank: 2})
		},
	} {
		func() {
			defer func() {
				v := recover()
				if s, ok := v.(string); !ok || !strings.Contains(s, want) {
					t.Errorf("panicked with %v, want %q", v, want)
				}
			}()
			f()
		}()
	}
}

func TestOptions(t *testing.T) {
	if _, err := New(Options{Threads: -1}); err == nil {
		t.Error("-1 threads: no error")
	}
	b, err := New(Options{Limit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Threads() < 1 || !strings.HasPrefix(b.NumericsID(), "cpu-") {
		t.Errorf("%d threads, id %q", b.Threads(), b.NumericsID())
	}
	if _, err := b.Alloc(2 << 20); err == nil {
		t.Error("2 MB beyond a limit of 1 MB: no error")
	}
}

// TestLoRAGathersRows: rows of decoding, with adapters in any order, have the
// bits that each row has alone.
func TestLoRAGathersRows(t *testing.T) {
	const rows, in, out, adapters, maxRank = 70, 40, 24, 5, 6
	m := newMaker(t, 3)
	x, a, b := m.f32(rows*in), m.f32(adapters*maxRank*in), m.f32(adapters*maxRank*out)
	y0 := m.f32(rows * out)
	var segs []kernels.Segment
	for row := 0; row < rows; {
		n, ad := min(1+m.rng.IntN(2), rows-row), int32(m.rng.IntN(adapters))
		segs = append(segs, kernels.Segment{RowStart: int32(row), RowEnd: int32(row + n), Rank: 1 + ad, AOffset: ad * maxRank * in, BOffset: ad * maxRank * out, Scale: 0.5})
		row += n
	}
	run := func(batches [][]kernels.Segment) (y, h []float32) {
		yb, hb := m.mem(rows*out, kernels.F32), m.mem(rows*maxRank, kernels.F32)
		copy(host.F32(yb, rows*out), host.F32(y0, rows*out))
		clear(host.F32(hb, rows*maxRank))
		for _, segs := range batches {
			var table []int32
			for _, s := range segs {
				table = s.AppendTo(table)
			}
			m.b.LoRA(kernels.LoRAArgs{Y: yb, H: hb, X: x, A: a, B: b, Segments: m.ints(table...), NSeg: len(segs), Rows: rows, In: in, Out: out, MaxRank: maxRank})
		}
		if err := m.b.Sync(); err != nil {
			t.Fatal(err)
		}
		return host.F32(yb, rows*out), host.F32(hb, rows*maxRank)
	}
	y, h := run([][]kernels.Segment{segs})
	if s := &m.b.ops.loraSegments; len(s.heads) >= len(s.pieces) || len(s.heads) < adapters {
		t.Errorf("%d pieces make %d items for %d adapters", len(s.pieces), len(s.heads), adapters)
	}
	var alone [][]kernels.Segment
	for _, s := range segs {
		alone = append(alone, []kernels.Segment{s})
	}
	y1, h1 := run(alone)
	if !slices.Equal(y, y1) || !slices.Equal(h, h1) {
		t.Error("rows of mixed adapters have other bits together than alone")
	}
	if slices.Equal(y, host.F32(y0, rows*out)) {
		t.Error("nothing was added")
	}
}
