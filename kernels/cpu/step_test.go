package cpu

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
)

// step is a training step of one decoder layer with an adapter on every linear:
// every op of the product's inner loop, on buffers of its own.
type step struct {
	stepShape
	m    *maker
	l    workload
	nseq int

	starts, ids, targets, pos, weights, cos, sin, norm     kernels.Buffer
	table, dtable                                          kernels.Buffer
	x, xn, q, k, v, o, lse, res, gate, up, act, out, final kernels.Buffer
	dx, dn, dq, dk, dv, do, dgate, dup, dact, dnorm        kernels.Buffer
	logProb, lossScratch, attentionScratch                 kernels.Buffer
	lins                                                   []*lin

	grads, moments, seconds, params kernels.Buffer
	squares, settings, paramTable   kernels.Buffer
	logits, set, draws, sampled     kernels.Buffer
	nparam, groups                  int
}

// lin is a linear layer with its adapters and its weight's gradient.
type lin struct {
	x, y, dx, dy        kernels.Buffer
	w, dw, bias, dbias  kernels.Buffer
	a, b, da, db, h     kernels.Buffer
	seg, scratch        kernels.Buffer
	nseg, in, out, rank int
}

// stepShape is the shape of a step's model.
type stepShape struct{ dim, heads, kv, head, ff, vocab int }

var (
	smallStep = stepShape{64, 4, 2, 16, 96, 333}
	demoStep  = stepShape{128, 4, 2, 32, 320, 1000}
)

func newStep(m *maker, shape stepShape, rows int) *step {
	l := m.workload(rows)
	s := &step{stepShape: shape, m: m, l: l, nseq: len(l.starts) - 1}
	n := l.rows
	pos := make([]int32, 0, n)
	for i := range s.nseq {
		for p := range l.starts[i+1] - l.starts[i] {
			pos = append(pos, p)
		}
	}
	targets := make([]int32, n)
	for i := range targets {
		targets[i] = int32(m.rng.IntN(s.vocab+100)) - 100
	}
	s.starts, s.pos, s.ids, s.targets = m.ints(l.starts...), m.ints(pos...), m.indices(n, s.vocab), m.ints(targets...)
	s.weights, s.cos, s.sin, s.norm = m.f32(n), m.f32(100*s.head/2), m.f32(100*s.head/2), m.f32(s.dim)
	s.table, s.dtable = m.f32(s.vocab*s.dim), m.f32(s.vocab*s.dim)
	dim, kv := n*s.dim, n*s.kv*s.head
	for _, b := range []*kernels.Buffer{&s.x, &s.xn, &s.q, &s.o, &s.res, &s.out, &s.final, &s.dx, &s.dn, &s.dq, &s.do} {
		*b = m.f32(dim)
	}
	for _, b := range []*kernels.Buffer{&s.k, &s.v, &s.dk, &s.dv} {
		*b = m.f32(kv)
	}
	for _, b := range []*kernels.Buffer{&s.gate, &s.up, &s.act, &s.dgate, &s.dup, &s.dact} {
		*b = m.f32(n * s.ff)
	}
	s.lse, s.dnorm, s.logProb = m.f32(n*s.heads), m.f32(s.dim), m.f32(n)
	add := func(x, y, dx, dy kernels.Buffer, in, out int) {
		rank := 3 + 2*(len(s.lins)%3)
		table, sizeA, sizeB, nseg := l.segments(in, out, rank)
		f := &lin{x: x, y: y, dx: dx, dy: dy, w: m.f32(in * out), dw: m.f32(in * out), bias: m.f32(out), dbias: m.f32(out),
			a: m.f32(sizeA), b: m.f32(sizeB), da: m.f32(sizeA), db: m.f32(sizeB), h: m.f32(n * rank), seg: m.ints(table...),
			nseg: nseg, in: in, out: out, rank: rank}
		f.scratch = m.mem(n*rank, kernels.F32)
		s.lins = append(s.lins, f)
	}
	add(s.xn, s.q, s.dn, s.dq, s.dim, s.heads*s.head)
	add(s.xn, s.k, s.dn, s.dk, s.dim, s.kv*s.head)
	add(s.xn, s.v, s.dn, s.dv, s.dim, s.kv*s.head)
	add(s.o, s.res, s.do, s.dx, s.heads*s.head, s.dim)
	add(s.xn, s.gate, s.dn, s.dgate, s.dim, s.ff)
	add(s.xn, s.up, s.dn, s.dup, s.dim, s.ff)
	add(s.act, s.out, s.dact, s.dx, s.ff, s.dim)
	loss := s.loss()
	s.lossScratch = m.mem(int(m.b.CrossEntropyScratch(loss)/4), kernels.F32)
	s.attentionScratch = m.mem(int(m.b.AttentionBackwardScratch(s.attention())/4), kernels.F32)

	const runs, length = 40, 3000
	s.nparam, s.groups = runs, 8
	var table []int32
	var settings []float32
	for i := range runs {
		table = kernels.Param{Group: int32(i % s.groups), Offset: int32(i * length), Count: length - int32(i), Decay: i%2 == 0}.AppendTo(table)
	}
	for i := range s.groups {
		settings = append(settings, 1e-3, 0.1, 0.001, 1e-8, 0.01, 0.1, 0.001, float32(i%2), float32(i%3))
	}
	s.paramTable, s.squares = m.ints(table...), m.f32(s.groups)
	s.settings = m.f32(len(settings))
	copy(host.F32(s.settings, len(settings)), settings)
	s.params, s.grads, s.moments, s.seconds = m.f32(runs*length), m.f32(runs*length), m.f32(runs*length), m.f32(runs*length)

	const draws = 5
	s.logits, s.sampled, s.draws = m.random(kernels.F32, draws*s.vocab, 5), m.indices(draws, 9), m.indices(draws*kernels.DrawColumns, math.MaxInt32)
	s.set = m.f32(draws * kernels.SampleColumns)
	for i := range draws {
		copy(host.F32(s.set, draws*kernels.SampleColumns)[i*kernels.SampleColumns:], []float32{float32(i) / 3, 0.9, float32(i * 20)})
	}
	return s
}

func (s *step) loss() kernels.CrossEntropyArgs {
	return kernels.CrossEntropyArgs{LogProb: s.logProb, DX: s.dx, DW: s.dtable, X: s.final, W: s.table, Targets: s.targets, Weights: s.weights,
		Starts: s.starts, NSeq: s.nseq, Rows: s.l.rows, Dim: s.dim, Vocab: s.vocab, Scratch: s.lossScratch}
}

func (s *step) attention() kernels.AttentionBackwardArgs {
	return kernels.AttentionBackwardArgs{DQ: s.dq, DK: s.dk, DV: s.dv, DO: s.do, O: s.o, LSE: s.lse, Q: s.q, K: s.k, V: s.v, Starts: s.starts,
		NSeq: s.nseq, Rows: s.l.rows, Heads: s.heads, KVHeads: s.kv, HeadDim: s.head, Scale: 0.25, Scratch: s.attentionScratch}
}

func (s *step) forward(f *lin) {
	b, n := s.m.b, s.l.rows
	b.Linear(kernels.LinearArgs{Y: f.y, X: f.x, W: f.w, Bias: f.bias, Rows: n, In: f.in, Out: f.out})
	b.LoRA(kernels.LoRAArgs{Y: f.y, H: f.h, X: f.x, A: f.a, B: f.b, Segments: f.seg, NSeg: f.nseg, Rows: n, In: f.in, Out: f.out, MaxRank: f.rank})
}

func (s *step) backward(f *lin, accumulate bool) {
	b, n := s.m.b, s.l.rows
	b.LinearBackwardInput(kernels.LinearBackwardInputArgs{DX: f.dx, DY: f.dy, W: f.w, Rows: n, In: f.in, Out: f.out, Accumulate: accumulate})
	b.LinearBackwardWeight(kernels.LinearBackwardWeightArgs{DW: f.dw, DBias: f.dbias, DY: f.dy, X: f.x, Starts: s.starts, NSeq: s.nseq, Rows: n, In: f.in, Out: f.out})
	b.LoRABackward(kernels.LoRABackwardArgs{DX: f.dx, DA: f.da, DB: f.db, DY: f.dy, X: f.x, H: f.h, A: f.a, B: f.b, Segments: f.seg, NSeg: f.nseg,
		Rows: n, In: f.in, Out: f.out, MaxRank: f.rank, Scratch: f.scratch})
}

func (s *step) run() {
	b, n := s.m.b, s.l.rows
	norm := func(x, y kernels.Buffer) {
		b.RMSNorm(kernels.RMSNormArgs{Y: y, X: x, W: s.norm, Rows: n, Dim: s.dim, Eps: 1e-5})
	}
	rope := func(x kernels.Buffer, heads int) kernels.RopeArgs {
		return kernels.RopeArgs{Y: x, X: x, Positions: s.pos, Cos: s.cos, Sin: s.sin, Rows: n, Heads: heads, HeadDim: s.head, MaxPos: 100}
	}
	b.Embedding(kernels.EmbeddingArgs{Y: s.x, Table: s.table, IDs: s.ids, Rows: n, Dim: s.dim, Vocab: s.vocab})
	norm(s.x, s.xn)
	for _, f := range s.lins[:3] {
		s.forward(f)
	}
	b.Rope(rope(s.q, s.heads))
	b.Rope(rope(s.k, s.kv))
	b.Attention(kernels.AttentionArgs{O: s.o, LSE: s.lse, Q: s.q, K: s.k, V: s.v, Starts: s.starts, NSeq: s.nseq, Rows: n,
		Heads: s.heads, KVHeads: s.kv, HeadDim: s.head, Scale: 0.25})
	s.forward(s.lins[3])
	b.Add(kernels.AddArgs{Dst: s.res, A: s.res, B: s.x, N: n * s.dim})
	norm(s.res, s.xn)
	s.forward(s.lins[4])
	s.forward(s.lins[5])
	b.SwiGLU(kernels.SwiGLUArgs{Y: s.act, Gate: s.gate, Up: s.up, N: n * s.ff})
	s.forward(s.lins[6])
	norm(s.out, s.final)
	b.CrossEntropy(s.loss())

	s.backward(s.lins[6], false)
	b.SwiGLUBackward(kernels.SwiGLUBackwardArgs{DGate: s.dgate, DUp: s.dup, DY: s.dact, Gate: s.gate, Up: s.up, N: n * s.ff})
	s.backward(s.lins[4], false)
	s.backward(s.lins[5], true)
	b.RMSNormBackward(kernels.RMSNormBackwardArgs{DX: s.dx, DW: s.dnorm, DY: s.dn, X: s.res, W: s.norm, Starts: s.starts, NSeq: s.nseq, Rows: n,
		Dim: s.dim, Eps: 1e-5, Accumulate: true})
	s.backward(s.lins[3], false)
	b.AttentionBackward(s.attention())
	b.RopeBackward(rope(s.dq, s.heads))
	b.RopeBackward(rope(s.dk, s.kv))
	for i, f := range s.lins[:3] {
		s.backward(f, i > 0)
	}
	b.EmbeddingBackward(kernels.EmbeddingBackwardArgs{DTable: s.dtable, DY: s.dn, IDs: s.ids, Starts: s.starts, NSeq: s.nseq, Rows: n, Dim: s.dim, Vocab: s.vocab})
	b.Fill(kernels.FillArgs{Dst: s.squares, N: s.groups})
	b.GradNorm(kernels.GradNormArgs{SumSquares: s.squares, Grad: s.grads, Table: s.paramTable, NParam: s.nparam, Groups: s.groups})
	b.AdamW(kernels.AdamWArgs{P: s.params, Grad: s.grads, M: s.moments, V: s.seconds, SumSquares: s.squares, Settings: s.settings,
		Table: s.paramTable, NParam: s.nparam, Groups: s.groups})
	b.Sample(kernels.SampleArgs{IDs: s.sampled, LogProb: s.squares, Logits: s.logits, Settings: s.set, Draws: s.draws, Rows: 5, Vocab: s.vocab})
}

// results are the bits of everything that the step writes and keeps.
func (s *step) results() map[string][]byte {
	r := map[string][]byte{}
	for name, b := range map[string]kernels.Buffer{"x": s.x, "q": s.q, "k": s.k, "v": s.v, "o": s.o, "lse": s.lse, "res": s.res, "out": s.out,
		"dx": s.dx, "dn": s.dn, "dq": s.dq, "dk": s.dk, "dv": s.dv, "dtable": s.dtable, "dnorm": s.dnorm, "logprob": s.logProb,
		"params": s.params, "moments": s.moments, "seconds": s.seconds, "ids": s.sampled} {
		r[name] = slices.Clone(host.Bytes(b, int(b.Mem.Size())))
	}
	for i, f := range s.lins {
		for name, b := range map[string]kernels.Buffer{"dw": f.dw, "dbias": f.dbias, "da": f.da, "db": f.db, "h": f.h} {
			r[fmt.Sprintf("%s%d", name, i)] = slices.Clone(host.Bytes(b, int(b.Mem.Size())))
		}
	}
	return r
}

// TestThreadsChangeNoBit runs the step with 1, 2 and 3 workers.
func TestThreadsChangeNoBit(t *testing.T) {
	var want map[string][]byte
	for _, threads := range []int{1, 2, 3} {
		s := newStep(newMaker(t, threads), smallStep, 230)
		for range 2 {
			s.run()
		}
		if err := s.m.b.Sync(); err != nil {
			t.Fatal(err)
		}
		got := s.results()
		if want == nil {
			want = got
			continue
		}
		for name := range want {
			if !slices.Equal(got[name], want[name]) {
				t.Errorf("%d workers: %s has other bits than with one", threads, name)
			}
		}
	}
	for name, b := range want {
		if len(b) > 64 && slices.Equal(b[:32], make([]byte, 32)) && slices.Equal(b[len(b)/2:len(b)/2+16], make([]byte, 16)) {
			t.Errorf("%s is zero: the step does not reach it", name)
		}
	}
}

// TestStepAllocatesNothing: in the steady state no op allocates.
func TestStepAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("pools of scratch drop items at random under the race detector")
	}
	s := newStep(newMaker(t, 2), smallStep, 200)
	for range 3 {
		s.run()
	}
	// A garbage collection empties gemm's pools: allow it one refill.
	if n := testing.AllocsPerRun(10, s.run); n > 1 {
		t.Errorf("a step allocates %v times", n)
	}
}

// BenchmarkStep runs one layer of the demo's model, its loss and an update.
func BenchmarkStep(b *testing.B) {
	s := newStep(newMaker(b, 0), demoStep, 2000)
	bench(b, fmt.Sprintf("demo/rows=%d", s.l.rows), 0, 0, s.run)
}
