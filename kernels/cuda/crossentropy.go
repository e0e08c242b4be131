package cuda

import (
	"cmp"
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// lossPlan is where the parts of a loss lie in its scratch memory, in bytes.
type lossPlan struct {
	x, g     kernels.DType // of the rows that are brought together, and of the gradient of logits
	backward bool
	both     bool // the gradient also in f32
	stride   int  // elements from a row to the next
	columns  int  // most columns of the statistics at once
	blocks   int  // statistics of a row in a chunk
	width    int  // most columns of the gradient at once
	before, list, wanted, hit, top,
	rows, work, full, bytes int64 // work: statistics, or gradient
}

func (b *Backend) planLoss(a kernels.CrossEntropyArgs) (p lossPlan) {
	if a.Rows == 0 {
		return p
	}
	p.columns = cmp.Or(b.lossStats, kernel.LossStats)
	p.x, p.g = kernels.F32, kernels.F32
	if a.X.DType == kernels.BF16 && a.W.DType == kernels.BF16 {
		p.x, p.g = kernels.BF16, kernels.BF16
	}
	p.backward = !a.DX.IsNil() || !a.DW.IsNil()
	p.both = !a.DW.IsNil() && p.g != kernels.F32
	p.stride = kernel.CeilDiv(a.Dim, 8) * 8
	rows := int64(a.Rows)
	take := func(bytes int64) int64 {
		at := p.bytes
		p.bytes += (bytes + 255) &^ 255
		return at
	}
	p.before, p.list, p.wanted, p.hit, p.top = take(4*(rows+1)), take(4*rows), take(4*rows), take(4*rows), take(8*rows)
	p.rows = take(rows * int64(p.stride*p.x.Size()))
	p.work = p.bytes
	p.blocks = kernel.LossBlocks(min(p.columns, a.Vocab))
	take(8 * rows * int64(p.blocks))
	if !p.backward {
		return p
	}
	afterStats := p.bytes
	p.bytes = p.work
	column := rows * int64(p.g.Size())
	if p.both {
		column += rows * int64(kernels.F32.Size())
	}
	const step = kernel.ChunkMMA // of which ChunkF32 is a part: chunks of sums do not depend on the width
	p.width = min(max(int(cmp.Or(b.lossBytes, kernel.LossBytes)/column)/step, 1), kernel.CeilDiv(a.Vocab, step)) * step
	take(rows * int64(p.width*p.g.Size()))
	if p.both {
		p.full = take(rows * int64(p.width*kernels.F32.Size()))
	}
	p.bytes = max(p.bytes, afterStats)
	return p
}

// CrossEntropyScratch implements kernels.Backend: the rows with targets, and statistics or gradients
// of a chunk of the vocabulary.
func (b *Backend) CrossEntropyScratch(a kernels.CrossEntropyArgs) int64 { return b.planLoss(a).bytes }

// CrossEntropy implements kernels.Backend.
func (b *Backend) CrossEntropy(a kernels.CrossEntropyArgs) {
	const op = "CrossEntropy"
	if a.Rows == 0 {
		return
	}
	p := b.planLoss(a)
	part := func(at int64, dt kernels.DType) kernels.Buffer {
		buf := a.Scratch
		buf.Offset += at
		buf.DType = dt
		return buf
	}
	before, list, wanted := part(p.before, kernels.I32), part(p.list, kernels.I32), part(p.wanted, kernels.I32)
	hit, top, rows := part(p.hit, kernels.F32), part(p.top, kernels.F32), part(p.rows, p.x)
	stats, g, full := part(p.work, kernels.F32), part(p.work, p.g), part(p.full, kernels.F32)

	at, badTarget := b.refusals(op, fmt.Sprintf("row %%d: target %%d, want one below %d, or negative for none", a.Vocab))
	_, badStarts := b.refusals(op, "starts: sequence %d ends at row %d, want ascending rows of the batch")
	find := kernel.LossRows{Starts: !a.DW.IsNil()}
	b.launch(op, find, find.Launch(), ptr(before), ptr(list), ptr(wanted), ptr(a.Targets), num(a.Rows), num(a.Vocab), ptr(a.Starts), num(a.NSeq),
		at, badTarget, badStarts)
	gather := kernel.LossGather{X: a.X.DType, To: p.x, DX: !a.DX.IsNil()}
	b.launch(op, gather, gather.Launch(a.Rows), ptr(rows), ptr(a.X), ptr(before), ptr(a.Targets), ptr(a.LogProb), ptr(a.DX), num(a.Dim), num(p.stride))

	per := kernel.Tile{A: p.x, B: a.W.DType}.VecElements()
	vecW := even(a.W, a.Dim, per)
	logits := func(gradient bool, v0, cols int, others ...arg) (blocks int) {
		t, _ := b.pick("loss_logits", kernel.Tile{A: p.x, B: a.W.DType, VecA: true, VecB: vecW}, shape{rows: a.Rows, cols: cols, depth: a.Dim})
		k := kernel.LossLogits{Tile: t, Gradient: gradient, Both: gradient && p.both}
		args := []arg{ptr(rows), ptr(a.W), ptr(wanted), ptr(before), num(a.Rows), num(a.Dim), num(p.stride), num(v0), num(cols)}
		b.launch(op, k, k.Launch(a.Rows, cols), append(args, others...)...)
		return k.Blocks(cols)
	}
	for v0 := 0; v0 < a.Vocab; v0 += p.columns {
		cols := min(p.columns, a.Vocab-v0)
		used := logits(false, v0, cols, ptr(stats), ptr(hit), num(p.blocks))
		k := kernel.LossMerge{First: v0 == 0, Last: v0+cols == a.Vocab}
		b.launch(op, k, k.Launch(a.Rows), ptr(top), ptr(stats), num(used), num(p.blocks), ptr(before), num(a.Rows), ptr(list), ptr(hit), ptr(a.LogProb))
	}
	if !p.backward {
		return
	}
	for v0 := 0; v0 < a.Vocab; v0 += p.width {
		cols := min(p.width, a.Vocab-v0)
		logits(true, v0, cols, ptr(g), ptr(full), num(p.width), ptr(top), ptr(list), ptr(a.Weights))
		if !a.DX.IsNil() {
			t, _ := b.pick("loss_input", kernel.Tile{A: p.g, B: a.W.DType, AcrossB: true, VecA: true, VecB: vecW}, shape{rows: a.Rows, cols: a.Dim, depth: cols})
			k := kernel.LossInput{Tile: t, First: v0 == 0, Vec: even(a.DX, a.Dim, 4)}
			b.launch(op, k, k.Launch(a.Rows, a.Dim), ptr(a.DX), ptr(g), ptr(a.W), ptr(list), ptr(before), num(a.Rows), num(a.Dim), num(v0), num(cols), num(p.width))
		}
		if !a.DW.IsNil() {
			of := g
			if p.both {
				of = full
			}
			t, _ := b.pick("loss_weight", kernel.Tile{A: kernels.F32, B: p.x, AcrossA: true, AcrossB: true, VecA: true, VecB: true}, shape{rows: cols, cols: a.Dim, depth: a.Rows})
			k := kernel.LossWeight{Tile: t, Vec: even(a.DW, a.Dim, 4)}
			b.launch(op, k, k.Launch(cols, a.Dim), ptr(a.DW), ptr(of), ptr(rows), ptr(a.Starts), num(a.NSeq), ptr(before), num(a.Rows), num(a.Dim), num(p.stride),
				num(v0), num(cols), num(p.width))
		}
	}
}
