package cuda

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// adapters are what the kernels of an op on segments have in common.
type adapters struct {
	table                                      kernels.Buffer
	nseg, rows, in, out, maxRank, sizeA, sizeB int
}

// slabElements is how many elements a slab has, as far as an offset can reach.
func slabElements(bufs ...kernels.Buffer) int {
	n := int64(math.MaxInt32)
	for _, b := range bufs {
		n = min(n, max(0, b.Mem.Size()-b.Offset)/int64(b.DType.Size()))
	}
	return int(n)
}

// shape is what the table asks of a product whose result has so many columns: its rows
// are those of a segment.
func (a adapters) shape(cols, depth int) shape {
	return shape{rows: kernel.CeilDiv(a.rows, a.nseg), cols: cols, depth: depth, times: a.nseg}
}

// down, up and gradient are the kernels, with sizes from the table.
func (b *Backend) down(x kernels.DType, back, vec bool, s shape) kernel.LoRADown {
	t, split := b.pick("lora_down", kernel.Tile{A: x, B: kernels.F32, AcrossB: back}, s)
	return kernel.LoRADown{SplitTile: kernel.SplitTile{Tile: t, Warps: split}, Back: back, Vec: vec}
}

func (b *Backend) up(y kernels.DType, back, vec bool, s shape) kernel.LoRAUp {
	t, _ := b.pick("lora_up", kernel.Tile{A: kernels.F32, B: kernels.F32, AcrossB: back}, s)
	return kernel.LoRAUp{Tile: t, Y: y, Back: back, Vec: vec}
}

func (b *Backend) gradient(x kernels.DType, ofB, vec bool, s shape) kernel.LoRAGradient {
	k := kernel.LoRAGradientOf(x, ofB, vec)
	k.Tile, k.Warps = b.pick("lora_gradient", k.Tile, s)
	return k
}

// args are a kernel's parameters: its own, then the table's and what its rows must keep to, then others.
func (a adapters) args(own []arg, others ...arg) []arg {
	own = append(own, ptr(a.table), num(a.nseg), num(a.rows), num(a.in), num(a.out), num(a.maxRank), num(a.sizeA), num(a.sizeB))
	return append(own, others...)
}

const badSegment = "segment %d does not fit: %d is out of place; want ascending rows of the batch, a rank up to the largest, and matrices inside of their slabs"

// LoRA implements kernels.Backend.
func (b *Backend) LoRA(a kernels.LoRAArgs) {
	const op = "LoRA"
	if a.NSeg == 0 {
		return
	}
	s := adapters{a.Segments, a.NSeg, a.Rows, a.In, a.Out, a.MaxRank, slabElements(a.A), slabElements(a.B)}
	at, tag := b.refusals(op, badSegment)
	down := b.down(a.X.DType, false, even(a.X, a.In, 4) && even(a.A, a.In, 4), s.shape(a.MaxRank, a.In))
	b.launch(op, down, down.Launch(a.Rows, a.NSeg, a.MaxRank), s.args([]arg{ptr(a.H), ptr(a.X), ptr(a.A)}, num(a.MaxRank), at, tag)...)
	vec := even(a.H, a.MaxRank, 4) && even(a.B, 4, 4) && even(a.Y, a.Out, 8)
	up := b.up(a.Y.DType, false, vec, s.shape(a.Out, a.MaxRank))
	b.launch(op, up, up.Launch(a.Rows, a.NSeg, a.Out), s.args([]arg{ptr(a.Y), ptr(a.H), ptr(a.B)}, num(a.MaxRank))...)
}

// LoRABackwardScratch implements kernels.Backend: g, and h times the scale, of every row.
func (b *Backend) LoRABackwardScratch(a kernels.LoRABackwardArgs) int64 {
	return 2 * 4 * int64(a.Rows) * int64(scratchRank(a.MaxRank))
}

// scratchRank is the width of rows that are read by vectors.
func scratchRank(maxRank int) int { return kernel.CeilDiv(maxRank, 4) * 4 }

// LoRABackward implements kernels.Backend.
func (b *Backend) LoRABackward(a kernels.LoRABackwardArgs) {
	const op = "LoRABackward"
	if a.NSeg == 0 || a.Rows == 0 {
		return
	}
	s := adapters{a.Segments, a.NSeg, a.Rows, a.In, a.Out, a.MaxRank, slabElements(a.A, a.DA), slabElements(a.B, a.DB)}
	stride := scratchRank(a.MaxRank)
	g := a.Scratch
	g.DType = kernels.F32
	scaled := g.At(a.Rows * stride)
	at, tag := b.refusals(op, badSegment)
	vecY := even(a.DY, a.Out, 4)
	down := b.down(kernels.F32, true, vecY && even(a.B, 4, 4), s.shape(a.MaxRank, a.Out))
	b.launch(op, down, down.Launch(a.Rows, a.NSeg, a.MaxRank),
		s.args([]arg{ptr(g), ptr(a.DY), ptr(a.B)}, num(stride), ptr(a.H), ptr(scaled), at, tag)...)
	if !a.DX.IsNil() {
		up := b.up(kernels.F32, true, even(a.A, a.In, 4) && even(a.DX, a.In, 4), s.shape(a.In, a.MaxRank))
		b.launch(op, up, up.Launch(a.Rows, a.NSeg, a.In), s.args([]arg{ptr(a.DX), ptr(g), ptr(a.A)}, num(stride))...)
	}
	ofA := b.gradient(a.X.DType, false, even(a.X, a.In, 4), s.shape(a.In, a.Rows))
	b.launch(op, ofA, ofA.Launch(a.NSeg, a.MaxRank, a.In), s.args([]arg{ptr(a.DA), ptr(g), ptr(a.X)}, num(stride))...)
	ofB := b.gradient(kernels.F32, true, vecY, s.shape(a.Out, a.Rows))
	b.launch(op, ofB, ofB.Launch(a.NSeg, a.MaxRank, a.Out), s.args([]arg{ptr(a.DB), ptr(scaled), ptr(a.DY)}, num(stride))...)
}

// LoRAMerge implements kernels.Backend.
func (b *Backend) LoRAMerge(a kernels.LoRAMergeArgs) {
	up := b.up(kernels.F32, true, even(a.B, 4, 4) && even(a.A, a.In, 4) && even(a.W, a.In, 4), shape{rows: a.Out, cols: a.In, depth: a.Rank})
	up.Merge = true
	b.launch("LoRAMerge", up, up.Launch(a.Out, 0, a.In), ptr(a.W), ptr(a.B), ptr(a.A), num(a.In), num(a.Out), num(a.Rank), float(a.Scale))
}
