package cuda

import (
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// adamNumbers is how many numbers AdamW steps.
const adamNumbers = 24000

// opProblem is an op whose kernels have no rows of the table, on sizes of a small model.
type opProblem struct {
	name string
	run  func(p *problem)
}

// opProblems are the ops that the cases of the table leave out.
func opProblems() []opProblem {
	const f32, bf16 = kernels.F32, kernels.BF16
	const rows, dim, heads, kvHeads, headDim, vocab = 32, 896, 14, 2, 64, 4096
	paged := func(p *problem, dt kernels.DType, seqs, length int) {
		pages := length / kernels.PageSize
		var table, seq, pos []int32
		for s := range seqs {
			for i := range pages {
				table = append(table, int32(s*pages+i))
			}
			seq, pos = append(seq, int32(s)), append(pos, int32(length-1))
		}
		shape := kernels.PagedShape{Cache: p.random(dt, seqs*pages*2*kvHeads*kernels.PageSize*headDim), PageTable: p.ints(table...), Pages: seqs * pages, Layers: 1,
			MaxPages: pages, NSeq: seqs, KVHeads: kvHeads, HeadDim: headDim}
		rowSeq, rowPos := p.ints(seq...), p.ints(pos...)
		k, v, q, o := p.random(dt, seqs*kvHeads*headDim), p.random(dt, seqs*kvHeads*headDim), p.random(dt, seqs*heads*headDim), p.alloc(dt, seqs*heads*headDim)
		p.b.KVStore(kernels.KVStoreArgs{PagedShape: shape, K: k, V: v, RowSeq: rowSeq, RowPos: rowPos, Rows: seqs})
		p.b.AttentionPaged(kernels.AttentionPagedArgs{PagedShape: shape, O: o, Q: q, RowSeq: rowSeq, RowPos: rowPos, Rows: seqs, Heads: heads, Scale: 0.125})
	}
	return []opProblem{
		{"copy of 32 rows of 896 bf16, every other", func(p *problem) {
			p.b.Copy(kernels.CopyArgs{Dst: p.alloc(bf16, rows*dim), Src: p.random(bf16, 2*rows*dim), Rows: rows, Cols: dim, DstStride: dim, SrcStride: 2 * dim})
		}},
		{"fill of 28672 bf16", func(p *problem) { p.b.Fill(kernels.FillArgs{Dst: p.alloc(bf16, rows*dim), N: rows * dim}) }},
		{"gather of 32 rows of 896 bf16", func(p *problem) {
			p.b.Gather(kernels.GatherArgs{Dst: p.alloc(bf16, rows*dim), Src: p.random(bf16, rows*dim), Index: p.ids(rows, rows), Rows: rows, Cols: dim, SrcRows: rows})
		}},
		{"add of 28672 bf16", func(p *problem) {
			p.b.Add(kernels.AddArgs{Dst: p.alloc(bf16, rows*dim), A: p.random(bf16, rows*dim), B: p.random(bf16, rows*dim), N: rows * dim})
		}},
		{"embedding of 32 tokens, 896 bf16 each", func(p *problem) {
			p.b.Embedding(kernels.EmbeddingArgs{Y: p.alloc(bf16, rows*dim), Table: p.random(bf16, 64*dim), IDs: p.ids(rows, 64), Rows: rows, Dim: dim, Vocab: 64})
		}},
		{"its gradient", func(p *problem) {
			p.b.EmbeddingBackward(kernels.EmbeddingBackwardArgs{DTable: p.zeros(64 * dim), DY: p.random(f32, rows*dim), IDs: p.ids(rows, 64), Starts: p.ints(0, 12, rows),
				NSeq: 2, Rows: rows, Dim: dim, Vocab: 64})
		}},
		{"RMS norm of 32 rows of 896 bf16", func(p *problem) {
			p.b.RMSNorm(kernels.RMSNormArgs{Y: p.alloc(bf16, rows*dim), X: p.random(f32, rows*dim), W: p.random(bf16, dim), Rows: rows, Dim: dim, Eps: 1e-6})
		}},
		{"the same after an addition", func(p *problem) {
			p.b.RMSNorm(kernels.RMSNormArgs{Y: p.alloc(bf16, rows*dim), X: p.random(f32, rows*dim), W: p.random(bf16, dim), Add: p.random(bf16, rows*dim), Sum: p.alloc(f32, rows*dim),
				Rows: rows, Dim: dim, Eps: 1e-6})
		}},
		{"its gradient", func(p *problem) {
			p.b.RMSNormBackward(kernels.RMSNormBackwardArgs{DX: p.alloc(f32, rows*dim), DW: p.zeros(dim), DY: p.random(f32, rows*dim), X: p.random(f32, rows*dim), W: p.random(bf16, dim),
				Starts: p.ints(0, 12, rows), NSeq: 2, Rows: rows, Dim: dim, Eps: 1e-6})
		}},
		{"rotation of 32 rows of 14 and 2 heads of 64 bf16", func(p *problem) {
			p.b.Rope(kernels.RopeArgs{Y: p.alloc(bf16, rows*dim), X: p.random(bf16, rows*dim), Y2: p.alloc(bf16, rows*kvHeads*headDim), X2: p.random(bf16, rows*kvHeads*headDim), Heads2: kvHeads,
				Positions: p.ids(rows, 64), Cos: p.random(f32, 64*headDim/2), Sin: p.random(f32, 64*headDim/2), Rows: rows, Heads: heads, HeadDim: headDim, MaxPos: 64})
		}},
		{"SwiGLU of 28672 bf16", func(p *problem) {
			p.b.SwiGLU(kernels.SwiGLUArgs{Y: p.alloc(bf16, rows*dim), Gate: p.random(bf16, rows*dim), Up: p.random(bf16, rows*dim), N: rows * dim})
		}},
		{"its gradient", func(p *problem) {
			p.b.SwiGLUBackward(kernels.SwiGLUBackwardArgs{DGate: p.alloc(f32, rows*dim), DUp: p.alloc(f32, rows*dim), DY: p.random(f32, rows*dim), Gate: p.random(bf16, rows*dim),
				Up: p.random(bf16, rows*dim), N: rows * dim})
		}},
		{"gradient of a bias of 896 from 32 rows", func(p *problem) {
			p.b.LinearBackwardWeight(kernels.LinearBackwardWeightArgs{DBias: p.zeros(dim), DY: p.random(f32, rows*dim), X: p.random(bf16, rows*8), Starts: p.ints(0, 12, rows), NSeq: 2,
				Rows: rows, In: 8, Out: dim})
		}},
		{"merge of rank 8 into 96×64", func(p *problem) {
			p.b.LoRAMerge(kernels.LoRAMergeArgs{W: p.zeros(96 * 64), A: p.random(f32, 8*64), B: p.random(f32, 96*8), In: 64, Out: 96, Rank: 8, Scale: 2})
		}},
		{"2 sequences of 256 tokens in pages, 14/2 heads of 64 bf16", func(p *problem) { paged(p, bf16, 2, 256) }},
		{"the same in f32", func(p *problem) { paged(p, f32, 2, 256) }},
		{"2 sequences of 1024 tokens, whose keys are split", func(p *problem) { paged(p, bf16, 2, 1024) }},
		{"that in f32", func(p *problem) { paged(p, f32, 2, 1024) }},
		{"AdamW with clipping, 2 adapters of 12000 numbers", func(p *problem) {
			const n = adamNumbers / 2
			table := kernels.Param{Group: 0, Offset: 0, Count: n, Decay: true}.AppendTo(nil)
			table = kernels.Param{Group: 1, Offset: n, Count: n}.AppendTo(table)
			params, grad, squares := p.ints(table...), p.random(f32, 2*n), p.zeros(2)
			p.b.GradNorm(kernels.GradNormArgs{SumSquares: squares, Grad: grad, Table: params, NParam: 2, Groups: 2})
			settings := p.floats(1e-3, 0.1, 0.001, 1e-8, 0.01, 0.1, 0.001, 1, 1, 1e-3, 0.1, 0.001, 1e-8, 0, 0.1, 0.001, 0, 1)
			p.b.AdamW(kernels.AdamWArgs{P: p.random(f32, 2*n), Grad: grad, M: p.zeros(2 * n), V: p.zeros(2 * n), SumSquares: squares, Settings: settings, Table: params, NParam: 2, Groups: 2})
		}},
		{"a token of 4096, by temperature, top-p and top-k", func(p *problem) {
			p.b.Sample(kernels.SampleArgs{IDs: p.ints(0, 0), LogProb: p.zeros(2), Logits: p.random(f32, 2*vocab), Settings: p.floats(1, 0.9, 50, 0, 1, 0), Draws: p.ints(1, 2, 3, 4, 5, 6),
				Rows: 2, Vocab: vocab})
		}},
	}
}

// TestOpProblems runs them with every check: what is counted keeps to its arrays.
func TestOpProblems(t *testing.T) {
	for _, o := range opProblems() {
		api := driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.H100, Checks: emu.AllChecks}})
		b, err := New(api, Options{Direct: true})
		if err != nil {
			t.Fatal(err)
		}
		p := &problem{b: b}
		if o.run(p); p.failed != nil {
			t.Fatal(p.failed)
		}
		p.close()
		if err := b.Close(); err != nil {
			t.Errorf("%s: %v", o.name, err)
		}
		for _, f := range api.Emulator().Findings() {
			t.Errorf("%s: %v", o.name, f)
		}
	}
}

// ids are n numbers below limit, some of them equal.
func (p *problem) ids(n, limit int) kernels.Buffer {
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(i * i % limit)
	}
	return p.ints(v...)
}

func (p *problem) floats(v ...float32) kernels.Buffer {
	buf := p.alloc(kernels.F32, len(v))
	var raw []byte
	for _, x := range v {
		raw = appendFloat(raw, kernels.F32, x)
	}
	p.b.CopyIn(buf, raw)
	return buf
}

func (p *problem) zeros(n int) kernels.Buffer { return p.floats(make([]float32, n)...) }
