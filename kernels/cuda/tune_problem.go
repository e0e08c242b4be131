package cuda

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"

	"github.com/selkie-ml/selkie/kernels"
)

// problem is a case with its operands on a backend.
type problem struct {
	b      kernels.Backend
	odd    int // elements that buffers begin behind the start of their memory
	own    []kernels.Mem
	out    []result
	op     func()
	failed error
}

// result is what the op writes, over NaN, or adds to.
type result struct {
	kernels.Buffer
	n     int
	start []byte // what it is added to; nil where it is overwritten
}

// newProblem puts a case on a backend, with numbers of both signs, the same ones on all.
func newProblem(b kernels.Backend, c TuneCase, odd int) (*problem, error) {
	p := &problem{b: b, odd: odd}
	switch {
	case strings.HasPrefix(c.Op, "linear"):
		p.linear(c)
	case c.Op == "attention":
		f := p.attention(c)
		p.op = func() { b.Attention(f) }
	case c.attention():
		p.attentionBackward(c)
	case c.lora():
		p.lora(c)
	default:
		p.loss(c)
	}
	if p.failed != nil {
		p.close()
		return nil, p.failed
	}
	return p, nil
}

func (p *problem) close() {
	for _, m := range p.own {
		p.b.Free(m)
	}
}

func (p *problem) alloc(dt kernels.DType, n int) kernels.Buffer {
	m, err := p.b.Alloc(int64((n + p.odd) * dt.Size()))
	if err != nil {
		p.failed = errors.Join(p.failed, err)
		return kernels.Buffer{}
	}
	p.own = append(p.own, m)
	return kernels.Buffer{Mem: m, DType: dt}.At(p.odd)
}

// random is an operand of numbers up to one.
func (p *problem) random(dt kernels.DType, n int) kernels.Buffer {
	buf := p.alloc(dt, n)
	if p.failed != nil {
		return buf
	}
	raw := make([]byte, 0, n*dt.Size())
	state := uint64(len(p.own))
	for range n {
		state = state*6364136223846793005 + 1442695040888963407
		raw = appendFloat(raw, dt, float32(int32(state>>32))*0x1p-31)
	}
	p.b.CopyIn(buf, raw)
	return buf
}

func (p *problem) ints(v ...int32) kernels.Buffer {
	buf := p.alloc(kernels.I32, len(v))
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(x))
	}
	if p.failed == nil {
		p.b.CopyIn(buf, raw)
	}
	return buf
}

// writes is a result that the op overwrites.
func (p *problem) writes(dt kernels.DType, n int) kernels.Buffer {
	return p.result(result{p.alloc(dt, n), n, nil})
}

// adds is a result that the op adds to, neighbours that differ: an old value that is
// read from another place shows.
func (p *problem) adds(dt kernels.DType, n int) kernels.Buffer {
	start := make([]byte, 0, n*dt.Size())
	for i := range n {
		start = appendFloat(start, dt, float32(i%61)/32-1)
	}
	return p.result(result{p.alloc(dt, n), n, start})
}

func (p *problem) result(r result) kernels.Buffer {
	p.out = append(p.out, r)
	return r.Buffer
}

// starts are those of the sequences, about as long as each other.
func (p *problem) starts(c TuneCase) kernels.Buffer {
	var v []int32
	for i := range c.Parts + 1 {
		v = append(v, int32(i*c.Rows/c.Parts))
	}
	return p.ints(v...)
}

// reset puts back what was there before the op.
func (p *problem) reset() {
	for _, r := range p.out {
		if r.start != nil {
			p.b.CopyIn(r.Buffer, r.start)
		} else {
			p.b.Fill(kernels.FillArgs{Dst: r.Buffer, N: r.n, Value: float32(math.NaN())})
		}
	}
}

// results runs the op and returns what it wrote.
func (p *problem) results() ([][]byte, error) {
	p.reset()
	p.op()
	var out [][]byte
	for _, r := range p.out {
		raw := make([]byte, r.n*r.DType.Size())
		if err := p.b.CopyOut(raw, r.Buffer); err != nil {
			return nil, err
		}
		out = append(out, raw)
	}
	return out, nil
}

func (p *problem) linear(c TuneCase) {
	y, x, w := c.Rows*c.Out, c.Rows*c.In, c.In*c.Out
	switch c.Op {
	case "linear":
		xs, ws := p.random(c.DType, x), p.random(c.weights(), w)
		to := p.writes(c.DType, y)
		p.op = func() {
			p.b.Linear(kernels.LinearArgs{Y: to, X: xs, W: ws, Rows: c.Rows, In: c.In, Out: c.Out})
		}
	case "linear_backward_input":
		dy, ws := p.random(c.DType, y), p.random(c.weights(), w)
		to := p.adds(kernels.F32, x)
		p.op = func() {
			p.b.LinearBackwardInput(kernels.LinearBackwardInputArgs{DX: to, DY: dy, W: ws, Rows: c.Rows, In: c.In, Out: c.Out, Accumulate: true})
		}
	default:
		dy, xs, starts := p.random(kernels.F32, y), p.random(c.DType, x), p.starts(c)
		to := p.adds(kernels.F32, w)
		p.op = func() {
			p.b.LinearBackwardWeight(kernels.LinearBackwardWeightArgs{DW: to, DY: dy, X: xs, Starts: starts, NSeq: c.Parts, Rows: c.Rows, In: c.In, Out: c.Out})
		}
	}
}

func (p *problem) attention(c TuneCase) kernels.AttentionArgs {
	nq, nkv := c.Rows*c.Heads*c.HeadDim, c.Rows*c.KVHeads*c.HeadDim
	q, k, v := p.random(c.DType, nq), p.random(c.weights(), nkv), p.random(c.weights(), nkv)
	return kernels.AttentionArgs{O: p.writes(c.DType, nq), LSE: p.writes(kernels.F32, c.Rows*c.Heads), Q: q, K: k, V: v, Starts: p.starts(c),
		NSeq: c.Parts, Rows: c.Rows, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Scale: float32(1 / math.Sqrt(float64(c.HeadDim)))}
}

// attentionBackward runs the forward once, for what the backward needs of it.
func (p *problem) attentionBackward(c TuneCase) {
	f := p.attention(c)
	do := p.random(kernels.F32, c.Rows*c.Heads*c.HeadDim)
	if p.failed == nil {
		p.b.Attention(f)
	}
	p.out = nil
	nq, nkv := c.Rows*c.Heads*c.HeadDim, c.Rows*c.KVHeads*c.HeadDim
	g := kernels.AttentionBackwardArgs{DQ: p.writes(kernels.F32, nq), DK: p.writes(kernels.F32, nkv), DV: p.writes(kernels.F32, nkv), DO: do,
		O: f.O, LSE: f.LSE, Q: f.Q, K: f.K, V: f.V, Starts: f.Starts, NSeq: f.NSeq, Rows: f.Rows, Heads: f.Heads, KVHeads: f.KVHeads, HeadDim: f.HeadDim, Scale: f.Scale}
	g.Scratch = p.scratch(p.b.AttentionBackwardScratch(g))
	p.op = func() { p.b.AttentionBackward(g) }
}

// scratch is aligned, as a step's is.
func (p *problem) scratch(bytes int64) kernels.Buffer {
	odd := p.odd
	p.odd = 0
	defer func() { p.odd = odd }()
	return p.alloc(kernels.F32, int(bytes+3)/4)
}

// segments gives each part of the rows an adapter of its own, and returns the elements of
// the slabs. Ragged ones are unlike each other: ranks and offsets that vectors fit and such
// that they do not, a segment without rows, one without an adapter, whose place says nothing,
// rows of no segment, and an adapter that comes again.
func (c TuneCase) segments() (table []int32, sizeA, sizeB int) {
	add := func(from, to, rank, a, b int, scale float32) {
		table = kernels.Segment{RowStart: int32(from), RowEnd: int32(to), Rank: int32(rank), AOffset: int32(a), BOffset: int32(b), Scale: scale}.AppendTo(table)
		sizeA, sizeB = max(sizeA, a+rank*c.In), max(sizeB, b+rank*c.Out)
	}
	if !c.ragged {
		for i := range c.Parts {
			add(i*c.Rows/c.Parts, (i+1)*c.Rows/c.Parts, c.Rank, sizeA, sizeB, 2)
		}
		return table, sizeA, sizeB
	}
	part := c.Rows / 4
	add(0, part, c.Rank, 0, 0, 2)
	add(part, part, c.Rank, 0, 0, 2)
	add(part, 2*part-2, c.Rank-2, sizeA, sizeB, 0.5)
	table = kernels.Segment{RowStart: int32(2*part - 2), RowEnd: int32(2*part - 1), AOffset: math.MaxInt32, BOffset: math.MaxInt32, Scale: 1}.AppendTo(table)
	add(2*part, 3*part, 5, sizeA+1, sizeB+1, -1)
	add(3*part, c.Rows-2, c.Rank, 0, 0, 2)
	add(c.Rows-2, c.Rows-1, 4, (sizeA+3)&^3, (sizeB+3)&^3, 1) // vectors of four, not of eight
	add(c.Rows-1, c.Rows, 3, sizeA, sizeB, 1)
	return table, sizeA, sizeB
}

// lora runs forward and backward: each of its ops has a part in both.
func (p *problem) lora(c TuneCase) {
	table, sizeA, sizeB := c.segments()
	nseg := len(table) / kernels.SegmentColumns
	f := kernels.LoRAArgs{X: p.random(c.DType, c.Rows*c.In), A: p.random(kernels.F32, sizeA), B: p.random(kernels.F32, sizeB),
		H: p.adds(kernels.F32, c.Rows*c.Rank), Y: p.adds(c.DType, c.Rows*c.Out), Segments: p.ints(table...), NSeg: nseg, Rows: c.Rows, In: c.In, Out: c.Out, MaxRank: c.Rank}
	g := kernels.LoRABackwardArgs{DX: p.adds(kernels.F32, c.Rows*c.In), DA: p.adds(kernels.F32, sizeA), DB: p.adds(kernels.F32, sizeB),
		DY: p.random(kernels.F32, c.Rows*c.Out), X: f.X, H: f.H, A: f.A, B: f.B, Segments: f.Segments, NSeg: nseg, Rows: f.Rows, In: f.In, Out: f.Out, MaxRank: f.MaxRank}
	g.Scratch = p.scratch(p.b.LoRABackwardScratch(g))
	p.op = func() {
		p.b.LoRA(f)
		p.b.LoRABackward(g)
	}
}

// loss is that of every row but each fifth, which has no target.
func (p *problem) loss(c TuneCase) {
	targets := make([]int32, c.Rows)
	for i := range targets {
		if targets[i] = int32(i * 61 % c.Out); i%5 == 4 {
			targets[i] = -1
		}
	}
	a := kernels.CrossEntropyArgs{X: p.random(c.DType, c.Rows*c.In), W: p.random(c.weights(), c.Out*c.In), Targets: p.ints(targets...), Weights: p.random(kernels.F32, c.Rows),
		LogProb: p.writes(kernels.F32, c.Rows), DX: p.writes(kernels.F32, c.Rows*c.In), Starts: p.starts(c), NSeq: c.Parts, Rows: c.Rows, Dim: c.In, Vocab: c.Out}
	if c.Op == "loss_weight" {
		a.DW = p.adds(kernels.F32, c.Out*c.In)
	}
	if c.low && p.failed == nil {
		p.low(a)
	}
	a.Scratch = p.scratch(p.b.CrossEntropyScratch(a))
	p.op = func() { p.b.CrossEntropy(a) }
}

// low gives every third row logits far below zero: what is not of the vocabulary, whose logit
// would be 0, must not count.
func (p *problem) low(a kernels.CrossEntropyArgs) {
	for v := range a.Vocab {
		p.b.CopyIn(a.W.At(v*a.Dim), appendFloat(nil, a.W.DType, 1))
	}
	for i := 1; i < a.Rows; i += 3 {
		row := appendFloat(nil, a.X.DType, -1000)
		p.b.CopyIn(a.X.At(i*a.Dim), append(row, make([]byte, (a.Dim-1)*a.X.DType.Size())...))
	}
}
