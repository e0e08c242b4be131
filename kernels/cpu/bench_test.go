package cpu

import (
	"fmt"
	"math"
	"testing"

	"github.com/selkie-ml/selkie/internal/half"
	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
)

// maker allocates buffers with random contents.
type maker struct {
	tb  testing.TB
	b   *Backend
	rng *philox.Stream
}

func newMaker(tb testing.TB, threads int) *maker {
	b, err := New(Options{Threads: threads})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Close() })
	return &maker{tb, b, philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Seed: 7})}
}

func (m *maker) mem(n int, dt kernels.DType) kernels.Buffer {
	mem, err := m.b.Alloc(int64(n * dt.Size()))
	if err != nil {
		m.tb.Fatal(err)
	}
	return kernels.Buffer{Mem: mem, DType: dt}
}

func (m *maker) random(dt kernels.DType, n int, scale float32) kernels.Buffer {
	b := m.mem(n, dt)
	for i := range n {
		v := (2*philox.Float32(m.rng.Uint32()) - 1) * scale
		switch dt {
		case kernels.F32:
			host.F32(b, n)[i] = v
		case kernels.BF16:
			host.U16(b, n)[i] = half.BF16FromFloat32(v)
		default:
			host.U16(b, n)[i] = half.F16FromFloat32(v)
		}
	}
	return b
}

func (m *maker) f32(n int) kernels.Buffer { return m.random(kernels.F32, n, 1) }

func (m *maker) ints(v ...int32) kernels.Buffer {
	b := m.mem(max(1, len(v)), kernels.I32)
	copy(host.I32(b, len(v)), v)
	return b
}

// indices returns n random integers below limit.
func (m *maker) indices(n, limit int) kernels.Buffer {
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(m.rng.IntN(limit))
	}
	return m.ints(v...)
}

// workload is a batch of the demo's kind: rows in sequences of 10–80 tokens.
type workload struct {
	rows   int
	starts []int32
}

func (m *maker) workload(rows int) workload {
	w := workload{starts: []int32{0}}
	for w.rows < rows {
		n := min(10+m.rng.IntN(71), rows-w.rows)
		w.rows += n
		w.starts = append(w.starts, int32(w.rows))
	}
	return w
}

// segments gives every two sequences an adapter of their own.
func (w workload) segments(in, out, rank int) (table []int32, sizeA, sizeB, n int) {
	for s := range len(w.starts) - 1 {
		adapter := s / 2
		table = kernels.Segment{RowStart: w.starts[s], RowEnd: w.starts[s+1], Rank: int32(rank),
			AOffset: int32(adapter * rank * in), BOffset: int32(adapter * rank * out), Scale: 2}.AppendTo(table)
		n++
	}
	adapters := (n + 1) / 2
	return table, adapters * rank * in, adapters * rank * out, n
}

// bench runs f with the work of one call: floating-point operations and bytes.
func bench(b *testing.B, name string, flops, bytes float64, f func()) {
	b.Run(name, func(b *testing.B) {
		f()
		b.ReportAllocs()
		for b.Loop() {
			f()
		}
		s := b.Elapsed().Seconds() / float64(b.N)
		if flops > 0 {
			b.ReportMetric(flops/s/1e9, "GFLOP/s")
		}
		if bytes > 0 {
			b.ReportMetric(bytes/s/1e9, "GB/s")
		}
	})
}

func BenchmarkLinear(b *testing.B) {
	m := newMaker(b, 0)
	for _, c := range []struct {
		rows, in, out int
		w             kernels.DType
	}{{2000, 128, 128, kernels.F32}, {2000, 128, 320, kernels.F32}, {2000, 320, 128, kernels.F32}, {1, 128, 320, kernels.F32}, {64, 128, 320, kernels.F32},
		{1, 896, 4864, kernels.BF16}, {8, 896, 4864, kernels.BF16}, {128, 896, 4864, kernels.BF16}} {
		x, w, y := m.f32(c.rows*c.in), m.random(c.w, c.in*c.out, 1), m.f32(c.rows*c.out)
		dw, starts := m.f32(c.in*c.out), m.workload(c.rows).starts
		st := m.ints(starts...)
		name := fmt.Sprintf("rows=%d/in=%d/out=%d/w=%v", c.rows, c.in, c.out, c.w)
		flops, bytes := 2*float64(c.rows*c.in*c.out), float64(c.in*c.out*c.w.Size()+4*c.rows*(c.in+c.out))
		bench(b, "Forward/"+name, flops, bytes, func() {
			m.b.Linear(kernels.LinearArgs{Y: y, X: x, W: w, Rows: c.rows, In: c.in, Out: c.out})
		})
		bench(b, "BackwardInput/"+name, flops, bytes, func() {
			m.b.LinearBackwardInput(kernels.LinearBackwardInputArgs{DX: x, DY: y, W: w, Rows: c.rows, In: c.in, Out: c.out})
		})
		bench(b, "BackwardWeight/"+name, flops, bytes, func() {
			m.b.LinearBackwardWeight(kernels.LinearBackwardWeightArgs{DW: dw, DY: y, X: x, Starts: st, NSeq: len(starts) - 1, Rows: c.rows, In: c.in, Out: c.out})
		})
	}
}

func BenchmarkLoRA(b *testing.B) {
	m := newMaker(b, 0)
	for _, c := range []struct{ rows, in, out, rank int }{{2000, 128, 128, 8}, {2000, 128, 320, 8}, {2000, 320, 128, 16}, {500, 128, 128, 4}, {512, 896, 896, 32}} {
		l := m.workload(c.rows)
		table, sizeA, sizeB, n := l.segments(c.in, c.out, c.rank)
		a, bm, da, db := m.f32(sizeA), m.f32(sizeB), m.f32(sizeA), m.f32(sizeB)
		x, y, h, dx := m.f32(c.rows*c.in), m.f32(c.rows*c.out), m.f32(c.rows*c.rank), m.f32(c.rows*c.in)
		seg := m.ints(table...)
		name := fmt.Sprintf("rows=%d/in=%d/out=%d/rank=%d", c.rows, c.in, c.out, c.rank)
		flops := 2 * float64(c.rows*c.rank*(c.in+c.out))
		bench(b, "Forward/"+name, flops, 0, func() {
			m.b.LoRA(kernels.LoRAArgs{Y: y, H: h, X: x, A: a, B: bm, Segments: seg, NSeg: n, Rows: c.rows, In: c.in, Out: c.out, MaxRank: c.rank})
		})
		args := kernels.LoRABackwardArgs{DX: dx, DA: da, DB: db, DY: y, X: x, H: h, A: a, B: bm, Segments: seg, NSeg: n, Rows: c.rows, In: c.in, Out: c.out, MaxRank: c.rank}
		args.Scratch = m.mem(int(m.b.LoRABackwardScratch(args)/4), kernels.F32)
		bench(b, "Backward/"+name, 2*flops, 0, func() { m.b.LoRABackward(args) })
	}
}

func BenchmarkCrossEntropy(b *testing.B) {
	m := newMaker(b, 0)
	for _, c := range []struct {
		rows, dim, vocab int
		w                kernels.DType
		dw               bool
	}{{2000, 128, 1000, kernels.F32, false}, {2000, 128, 1000, kernels.F32, true}, {64, 896, 151936, kernels.BF16, false}} {
		l := m.workload(c.rows)
		a := kernels.CrossEntropyArgs{LogProb: m.f32(c.rows), DX: m.f32(c.rows * c.dim), X: m.f32(c.rows * c.dim), W: m.random(c.w, c.vocab*c.dim, 0.1),
			Targets: m.indices(c.rows, c.vocab), Weights: m.f32(c.rows), Starts: m.ints(l.starts...), NSeq: len(l.starts) - 1,
			Rows: c.rows, Dim: c.dim, Vocab: c.vocab}
		products := 2.0
		if c.dw {
			a.DW, products = m.f32(c.vocab*c.dim), 3
		}
		a.Scratch = m.mem(int(m.b.CrossEntropyScratch(a)/4), kernels.F32)
		bench(b, fmt.Sprintf("rows=%d/dim=%d/vocab=%d/w=%v/dw=%v", c.rows, c.dim, c.vocab, c.w, c.dw),
			products*2*float64(c.rows*c.dim*c.vocab), 0, func() { m.b.CrossEntropy(a) })
	}
}

func BenchmarkRows(b *testing.B) {
	const rows, dim, heads, d, ff = 2000, 128, 4, 32, 320
	m := newMaker(b, 0)
	l := m.workload(rows)
	x, y, w, dx := m.f32(rows*dim), m.f32(rows*dim), m.f32(dim), m.f32(rows*dim)
	starts, nseq := m.ints(l.starts...), len(l.starts)-1
	n := 4.0 * rows * dim
	bench(b, "Add", 0, 3*n, func() { m.b.Add(kernels.AddArgs{Dst: x, A: x, B: y, N: rows * dim}) })
	bench(b, "Fill", 0, n, func() { m.b.Fill(kernels.FillArgs{Dst: x, N: rows * dim, Value: 0.5}) })
	x16 := m.random(kernels.BF16, rows*dim, 1)
	bench(b, "Copy/to=bf16", 0, 1.5*n, func() {
		m.b.Copy(kernels.CopyArgs{Dst: x16, Src: x, Rows: rows, Cols: dim, DstStride: dim, SrcStride: dim})
	})
	bench(b, "Copy/from=bf16", 0, 1.5*n, func() {
		m.b.Copy(kernels.CopyArgs{Dst: x, Src: x16, Rows: rows, Cols: dim, DstStride: dim, SrcStride: dim})
	})
	bench(b, "RMSNorm", 0, 2*n, func() { m.b.RMSNorm(kernels.RMSNormArgs{Y: y, X: x, W: w, Rows: rows, Dim: dim, Eps: 1e-5}) })
	norm := kernels.RMSNormBackwardArgs{DX: dx, DY: y, X: x, W: w, Rows: rows, Dim: dim, Eps: 1e-5}
	bench(b, "RMSNormBackward", 0, 3*n, func() { m.b.RMSNormBackward(norm) })
	norm.DW, norm.Starts, norm.NSeq = m.f32(dim), starts, nseq
	bench(b, "RMSNormBackward/dw", 0, 5*n, func() { m.b.RMSNormBackward(norm) })
	pos, cos, sin := m.indices(rows, 100), m.f32(100*d/2), m.f32(100*d/2)
	bench(b, "Rope", 0, 2*n, func() {
		m.b.Rope(kernels.RopeArgs{Y: y, X: x, Positions: pos, Cos: cos, Sin: sin, Rows: rows, Heads: heads, HeadDim: d, MaxPos: 100})
	})
	g, u, s, s2 := m.f32(rows*ff), m.f32(rows*ff), m.f32(rows*ff), m.f32(rows*ff)
	bench(b, "SwiGLU", 0, 12*rows*ff, func() { m.b.SwiGLU(kernels.SwiGLUArgs{Y: s, Gate: g, Up: u, N: rows * ff}) })
	bench(b, "SwiGLUBackward", 0, 20*rows*ff, func() {
		m.b.SwiGLUBackward(kernels.SwiGLUBackwardArgs{DGate: s, DUp: s2, DY: s, Gate: g, Up: u, N: rows * ff})
	})
	ids, table := m.indices(rows, 1000), m.f32(1000*dim)
	bench(b, "Embedding", 0, 2*n, func() {
		m.b.Embedding(kernels.EmbeddingArgs{Y: y, Table: table, IDs: ids, Rows: rows, Dim: dim, Vocab: 1000})
	})
	bench(b, "EmbeddingBackward", 0, 3*n, func() {
		m.b.EmbeddingBackward(kernels.EmbeddingBackwardArgs{DTable: table, DY: y, IDs: ids, Starts: starts, NSeq: nseq, Rows: rows, Dim: dim, Vocab: 1000})
	})
}

func BenchmarkAdamW(b *testing.B) {
	m := newMaker(b, 0)
	for _, c := range []struct {
		name         string
		runs, length int
	}{{"adapters", 4480, 1024}, {"model", 16, 100000}} {
		n := c.runs * c.length
		var table []int32
		groups := max(1, c.runs/56)
		for i := range c.runs {
			table = kernels.Param{Group: int32(i % groups), Offset: int32(i * c.length), Count: int32(c.length), Decay: true}.AppendTo(table)
		}
		settings := make([]float32, 0, groups*kernels.AdamColumns)
		for range groups {
			settings = append(settings, 1e-3, 0.1, 0.001, 1e-8, 0.01, 0.1, 0.001, 1, 1)
		}
		set := m.mem(len(settings), kernels.F32)
		copy(host.F32(set, len(settings)), settings)
		p, g, mo, v, ss, tab := m.f32(n), m.f32(n), m.f32(n), m.f32(n), m.f32(groups), m.ints(table...)
		m.b.Fill(kernels.FillArgs{Dst: v, N: n, Value: 0.1})
		m.b.Fill(kernels.FillArgs{Dst: ss, N: groups, Value: 0})
		bench(b, "GradNorm/"+c.name, 0, 4*float64(n), func() {
			m.b.GradNorm(kernels.GradNormArgs{SumSquares: ss, Grad: g, Table: tab, NParam: c.runs, Groups: groups})
		})
		m.b.Fill(kernels.FillArgs{Dst: ss, N: groups, Value: 1})
		bench(b, "AdamW/"+c.name, 0, 28*float64(n), func() {
			m.b.AdamW(kernels.AdamWArgs{P: p, Grad: g, M: mo, V: v, SumSquares: ss, Settings: set, Table: tab, NParam: c.runs, Groups: groups})
		})
	}
}

func BenchmarkSample(b *testing.B) {
	m := newMaker(b, 0)
	for _, c := range []struct{ rows, vocab int }{{64, 1000}, {1, 151936}} {
		logits, ids, lp, draws := m.random(kernels.F32, c.rows*c.vocab, 8), m.ints(make([]int32, c.rows)...), m.f32(c.rows), m.indices(c.rows*kernels.DrawColumns, math.MaxInt32)
		for _, s := range []struct {
			name    string
			t, p, k float32
		}{{"greedy", 0, 1, 0}, {"plain", 1, 1, 0}, {"topp", 0.7, 0.9, 0}, {"topkp", 0.7, 0.9, 50}} {
			set := m.f32(c.rows * kernels.SampleColumns)
			for i := range c.rows {
				copy(host.F32(set, c.rows*kernels.SampleColumns)[i*kernels.SampleColumns:], []float32{s.t, s.p, s.k})
			}
			bench(b, fmt.Sprintf("rows=%d/vocab=%d/%s", c.rows, c.vocab, s.name), 0, 4*float64(c.rows*c.vocab), func() {
				m.b.Sample(kernels.SampleArgs{IDs: ids, LogProb: lp, Logits: logits, Settings: set, Draws: draws, Rows: c.rows, Vocab: c.vocab})
			})
		}
	}
}

type idleTask struct{}

func (idleTask) do(lo, hi int, _ *worker) {}

// BenchmarkPool is the cost of sharing a job that has no work.
func BenchmarkPool(b *testing.B) {
	for _, threads := range []int{1, 2, 3} {
		p := newPool(threads)
		defer p.close()
		bench(b, fmt.Sprintf("threads=%d", threads), 0, 0, func() { p.run("idle", idleTask{}, 16, 1) })
	}
}
