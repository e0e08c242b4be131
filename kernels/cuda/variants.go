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

// variant is a row of the table: for which launches of an op it is, and the sizes of
// its kernel. All variants of an op and engine give the same bits.
type variant struct {
	op     string
	engine engine
	sm     int     // least compute capability
	rows   int     // most rows of the result; 0: any
	depth  int     // least terms of a sum
	fill   float64 // least blocks per multiprocessor
	tile   kernel.Tile
	split  int // warps that share a sum; 0: none
}

// sizes is a tile without operands.
func sizes(bm, bn, bk, warpsM, warpsN, stages int) kernel.Tile {
	return kernel.Tile{BM: bm, BN: bn, BK: bk, WarpsM: warpsM, WarpsN: warpsN, Stages: stages}
}

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
}

// fits reports whether a row is for a launch whose result has so many rows and columns.
func (v variant) fits(info Info, rows, cols, depth int) bool {
	tiles := kernel.CeilDiv(rows, v.tile.BM) * kernel.CeilDiv(cols, v.tile.BN)
	return info.SM >= v.sm && (v.rows == 0 || rows <= v.rows) && depth >= v.depth && float64(tiles) >= v.fill*float64(info.SMs)
}

// choose returns the row for a launch: operands as in t, sizes from the table.
func choose(info Info, op string, t kernel.Tile, rows, cols, depth int) (kernel.Tile, int) {
	e := byFMA
	if t.Mma() {
		e = byMMA
	}
	for _, v := range variants {
		if v.op != op || v.engine != e || !v.fits(info, rows, cols, depth) {
			continue
		}
		own := v.tile
		own.A, own.B, own.AcrossA, own.AcrossB, own.VecA, own.VecB = t.A, t.B, t.AcrossA, t.AcrossB, t.VecA, t.VecB
		if v.shared(own) <= info.SharedPerBlock {
			return own, v.split
		}
	}
	panic(fmt.Sprintf("kernels/cuda: no variant of %s by %s fits %s; the last row of the table must", op, e, info.Name))
}

// shared is the bytes of shared memory of a block.
func (v variant) shared(t kernel.Tile) int {
	if v.split > 0 {
		return kernel.SplitTile{Tile: t, Warps: v.split}.Shared()
	}
	return t.Shared()
}
