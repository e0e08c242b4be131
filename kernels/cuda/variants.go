package cuda

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// engine is what multiplies: it decides the order of sums, and so the bits.
type engine string

const (
	byMMA engine = "mma" // tensor cores, where both operands are bf16, or both f16
	byFMA engine = "fma" // f32 arithmetic, everywhere else
)

// variant is a row of the table: for which launches of an op it is, and the sizes of its
// kernel. All variants of an op and engine give the same bits.
type variant struct {
	op     string
	engine engine
	sm     int     // least compute capability
	room   int     // least KB of shared memory that a block may have: 163 for sm_80, 99 for sm_86
	rows   int     // most rows of the result, of a segment or sequence if there are many; 0: any
	dim    int     // most elements of a head; 0: any
	depth  int     // least terms of a sum
	fill   float64 // least blocks per multiprocessor

	tile  kernel.Tile // of a product
	split int         // warps that share a sum; 0: none
	block kernel.AttentionSizes
}

// sizes is a tile without operands.
func sizes(bm, bn, bk, warpsM, warpsN, stages int) kernel.Tile {
	return kernel.Tile{BM: bm, BN: bn, BK: bk, WarpsM: warpsM, WarpsN: warpsN, Stages: stages}
}

//go:generate go test -count=1 -run ^TestReport$ . -update

// variants is the table. Of an op and engine, the first row that fits a launch and
// whose shared memory the GPU has is taken; the last fits all.
var variants = []variant{
	// y = x·wᵀ. Few rows: the weights are read once, by many warps at a time.
	{op: "linear", engine: byMMA, sm: 80, rows: 16, depth: 4096, tile: sizes(16, 16, 64, 1, 1, 3), split: 8},
	{op: "linear", engine: byMMA, sm: 80, rows: 16, depth: 1536, fill: 2, tile: sizes(16, 32, 64, 1, 1, 3), split: 4},
	{op: "linear", engine: byMMA, sm: 80, rows: 16, depth: 1536, tile: sizes(16, 16, 64, 1, 1, 4), split: 4},
	{op: "linear", engine: byMMA, sm: 80, rows: 16, fill: 2, tile: sizes(16, 32, 64, 1, 1, 4), split: 2},
	{op: "linear", engine: byMMA, sm: 80, rows: 16, tile: sizes(16, 16, 64, 1, 1, 4), split: 2},
	{op: "linear", engine: byMMA, sm: 80, rows: 32, depth: 1536, tile: sizes(32, 32, 64, 1, 1, 2), split: 4},
	{op: "linear", engine: byMMA, sm: 80, rows: 32, tile: sizes(32, 32, 64, 1, 1, 3), split: 2},
	// Hopper's own kernels (wgmma, sm_90a) come before these.
	{op: "linear", engine: byMMA, sm: 80, fill: 1, tile: sizes(128, 128, 32, 2, 4, 4)},
	{op: "linear", engine: byMMA, sm: 80, fill: 0.75, tile: sizes(128, 64, 32, 4, 2, 4)},
	{op: "linear", engine: byMMA, sm: 80, fill: 0.5, tile: sizes(64, 64, 64, 2, 2, 3)},
	{op: "linear", engine: byMMA, sm: 80, tile: sizes(32, 32, 64, 2, 2, 3)},
	{op: "linear", engine: byFMA, sm: 80, rows: 8, tile: sizes(8, 32, 32, 1, 1, 3), split: 8},
	{op: "linear", engine: byFMA, sm: 80, rows: 16, tile: sizes(16, 32, 32, 1, 1, 3), split: 4},
	{op: "linear", engine: byFMA, sm: 80, fill: 1, tile: sizes(128, 128, 16, 4, 2, 3)},
	{op: "linear", engine: byFMA, sm: 80, fill: 0.5, tile: sizes(64, 64, 16, 2, 2, 3)},
	{op: "linear", engine: byFMA, sm: 80, tile: sizes(32, 64, 16, 2, 2, 3)},

	// dx = dy·w.
	{op: "linear_backward_input", engine: byMMA, sm: 80, fill: 1, tile: sizes(128, 128, 32, 2, 4, 4)},
	{op: "linear_backward_input", engine: byMMA, sm: 80, fill: 0.75, tile: sizes(128, 64, 32, 4, 2, 4)},
	{op: "linear_backward_input", engine: byMMA, sm: 80, fill: 0.5, tile: sizes(64, 64, 64, 2, 2, 3)},
	{op: "linear_backward_input", engine: byMMA, sm: 80, tile: sizes(32, 32, 64, 2, 2, 3)},
	{op: "linear_backward_input", engine: byFMA, sm: 80, fill: 1, tile: sizes(128, 128, 16, 4, 2, 3)},
	{op: "linear_backward_input", engine: byFMA, sm: 80, fill: 0.5, tile: sizes(64, 64, 16, 2, 2, 3)},
	{op: "linear_backward_input", engine: byFMA, sm: 80, tile: sizes(32, 64, 16, 2, 2, 3)},

	// dw = dyᵀ·x; rows are those of dw, and the sums are as long as sequences.
	{op: "linear_backward_weight", engine: byFMA, sm: 80, fill: 1, tile: sizes(128, 128, 16, 4, 2, 3)},
	{op: "linear_backward_weight", engine: byFMA, sm: 80, fill: 0.5, tile: sizes(64, 64, 16, 2, 2, 3)},
	{op: "linear_backward_weight", engine: byFMA, sm: 80, tile: sizes(32, 64, 16, 2, 2, 3)},

	// h = x·Aᵀ and g = dy·B; rows are those of a segment.
	{op: "lora_down", engine: byFMA, sm: 80, rows: 8, tile: sizes(8, 32, 16, 1, 1, 4), split: 8},
	{op: "lora_down", engine: byFMA, sm: 80, tile: sizes(32, 32, 16, 1, 1, 2), split: 4},

	// y += h·Bᵀ, dx += g·A, and w += B·A.
	{op: "lora_up", engine: byFMA, sm: 80, rows: 8, tile: sizes(8, 32, 16, 1, 1, 3)},
	{op: "lora_up", engine: byFMA, sm: 80, tile: sizes(64, 64, 16, 2, 2, 2)},

	// dA = gᵀ·x and dB = dyᵀ·h.
	{op: "lora_gradient", engine: byFMA, sm: 80, tile: sizes(32, 32, 16, 1, 1, 2), split: 4},

	// Rows are a sequence's, depth its keys; a warp has 16 rows (mma) or 8 (fma).
	{op: "attention", engine: byMMA, sm: 80, dim: 64, block: kernel.AttentionSizes{Rows: 64, Blocks: 3}},
	{op: "attention", engine: byMMA, sm: 80, depth: 128, fill: 1, block: kernel.AttentionSizes{Rows: 128, Blocks: 1}},
	{op: "attention", engine: byMMA, sm: 80, block: kernel.AttentionSizes{Rows: 64, Blocks: 2}},
	{op: "attention", engine: byFMA, sm: 80, dim: 128, block: kernel.AttentionSizes{Rows: 64, Keys: 64}},
	{op: "attention", engine: byFMA, sm: 80, room: 160, block: kernel.AttentionSizes{Rows: 32, Keys: 64}},
	{op: "attention", engine: byFMA, sm: 80, block: kernel.AttentionSizes{Rows: 16, Keys: 64}},

	// By fma the rows decide the order of sums: the same on every GPU.
	{op: "attention_backward_dq", engine: byMMA, sm: 80, dim: 64, block: kernel.AttentionSizes{Rows: 64, Stages: 2, Blocks: 2}},
	{op: "attention_backward_dq", engine: byMMA, sm: 80, room: 160, depth: 128, fill: 1, block: kernel.AttentionSizes{Rows: 128, Stages: 2, Blocks: 1}},
	{op: "attention_backward_dq", engine: byMMA, sm: 80, block: kernel.AttentionSizes{Rows: 64, Stages: 2, Blocks: 2}},
	{op: "attention_backward_dq", engine: byFMA, sm: 80, dim: 128, block: kernel.AttentionSizes{Rows: 32}},
	{op: "attention_backward_dq", engine: byFMA, sm: 80, block: kernel.AttentionSizes{Rows: 16}},
	{op: "attention_backward_dkdv", engine: byMMA, sm: 80, dim: 64, block: kernel.AttentionSizes{Rows: 64, Stages: 2, Blocks: 2}},
	{op: "attention_backward_dkdv", engine: byMMA, sm: 80, room: 160, depth: 128, fill: 1, block: kernel.AttentionSizes{Rows: 128, Stages: 2, Blocks: 1}},
	{op: "attention_backward_dkdv", engine: byMMA, sm: 80, block: kernel.AttentionSizes{Rows: 64, Stages: 2, Blocks: 2}},
	{op: "attention_backward_dkdv", engine: byFMA, sm: 80, dim: 128, block: kernel.AttentionSizes{Rows: 32}},
	{op: "attention_backward_dkdv", engine: byFMA, sm: 80, block: kernel.AttentionSizes{Rows: 16}},

	// Logits of the loss; a warp has 64 columns.
	{op: "loss_logits", engine: byMMA, sm: 80, rows: 64, tile: sizes(32, 128, 32, 1, 2, 3)},
	{op: "loss_logits", engine: byMMA, sm: 80, tile: sizes(128, 128, 64, 4, 2, 3)},
	{op: "loss_logits", engine: byFMA, sm: 80, rows: 64, tile: sizes(32, 128, 16, 1, 2, 3)},
	{op: "loss_logits", engine: byFMA, sm: 80, tile: sizes(128, 128, 16, 4, 2, 3)},

	// dx = g·w and dw = gᵀ·x of the loss.
	{op: "loss_input", engine: byMMA, sm: 80, rows: 64, tile: sizes(32, 64, 64, 1, 2, 3)},
	{op: "loss_input", engine: byMMA, sm: 80, tile: sizes(128, 128, 64, 4, 2, 3)},
	{op: "loss_input", engine: byFMA, sm: 80, rows: 64, tile: sizes(32, 64, 16, 1, 2, 3)},
	{op: "loss_input", engine: byFMA, sm: 80, tile: sizes(128, 128, 16, 4, 2, 3)},
	{op: "loss_weight", engine: byFMA, sm: 80, tile: sizes(64, 64, 16, 2, 2, 2)},
}

// shape is what the table asks of a launch.
type shape struct {
	rows, cols int // of the result
	depth      int // terms of a sum
	dim        int // elements of a head
	times      int // results of this kind: heads, segments; 0 is 1
}

// fits reports whether a row is for a launch on a GPU.
func (v variant) fits(info Info, s shape) bool {
	tiles := max(1, s.times)
	if v.block.Rows > 0 {
		tiles *= kernel.CeilDiv(s.rows, v.block.Rows)
	} else if v.tile.BM > 0 {
		tiles *= kernel.CeilDiv(s.rows, v.tile.BM) * kernel.CeilDiv(s.cols, v.tile.BN)
	}
	return info.SM >= v.sm && info.SharedPerBlock >= v.room<<10 && (v.rows == 0 || s.rows <= v.rows) && (v.dim == 0 || s.dim <= v.dim) &&
		s.depth >= v.depth && float64(tiles) >= v.fill*float64(info.SMs)
}

// choose returns the row for a launch of an op; shared is what a block needs with its sizes.
func choose(info Info, op string, e engine, s shape, shared func(variant) int) variant {
	for _, v := range variants {
		if v.op == op && v.engine == e && v.fits(info, s) && shared(v) <= info.SharedPerBlock {
			return v
		}
	}
	panic(fmt.Sprintf("kernels/cuda: no variant of %s by %s fits %s; the last row of the table must", op, e, info.Name))
}

// pick gives a product its sizes: operands as in t, sizes from the table, or those that
// are being tried.
func (b *Backend) pick(op string, t kernel.Tile, s shape) (kernel.Tile, int) {
	e := byFMA
	if t.Mma() {
		e = byMMA
	}
	v := b.choice(op, e, s, func(v variant) int { return v.of(t).sharedBytes() })
	own := v.of(t)
	return own.Tile, own.Warps
}

// of is a row's tile with the operands of t.
func (v variant) of(t kernel.Tile) product {
	own := v.tile
	own.A, own.B, own.AcrossA, own.AcrossB, own.VecA, own.VecB = t.A, t.B, t.AcrossA, t.AcrossB, t.VecA, t.VecB
	return product{kernel.SplitTile{Tile: own, Warps: v.split}}
}

// product is a tile that no warps, or so many, share a sum of.
type product struct{ kernel.SplitTile }

func (p product) sharedBytes() int {
	if p.Warps > 0 {
		return p.Shared()
	}
	return p.Tile.Shared()
}

// pickSizes gives a kernel of attention its sizes; shared is what a block of it needs.
func (b *Backend) pickSizes(op string, e engine, s shape, to *kernel.AttentionSizes, shared func() int) {
	*to = b.choice(op, e, s, func(v variant) int {
		*to = v.block
		return shared()
	}).block
}
