package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// The order of the sum over k in every product: chunks of k from zero in ascending
// order, each a chain of its own, and their sums added to a running total in
// ascending order.
const (
	ChunkF32 = 64  // fma by fma, where an operand is f32 or the storages differ
	ChunkMMA = 512 // by mma of 16 k, where both operands are bf16, or both f16
)

// Linear is y[i, o] (+)= Σ_k a[i, k]·b[k, o] (+ bias[o]), b stored [o][k] or, across,
// [k][o]: the product of a linear layer, and that of its input's gradient.
type Linear struct {
	Tile
	Split      int           // if not 0, the Tile is that of one of so many warps, which share k
	Y, Bias    kernels.DType // Bias Invalid: there is none
	VecY       bool          // rows of y are aligned to 16 bytes
	Accumulate bool          // y f32 is added to
}

// Name implements Any.
func (p Linear) Name() string { return name("linear", p.tile(), p.Y, p.Bias, p.VecY, p.Accumulate) }

// tile is what a block multiplies by.
func (p Linear) tile() interface {
	Threads() int
	Shared() int
} {
	if p.Split > 0 {
		return SplitTile{p.Tile, p.Split}
	}
	return p.Tile
}

// Launch is the launch for y of so many rows and columns.
func (p Linear) Launch(rows, cols int) Launch {
	l := lines(CeilDiv(rows, p.BM)*CeilDiv(cols, p.BN), p.tile().Threads())
	l.Shared = p.tile().Shared()
	return l
}

// Emit implements Any: linear(y, a, b, bias, rows, cols, depth); bias is there only if it has a storage.
func (p Linear) Emit(k *ptx.Builder) {
	k.RequireThreads(p.tile().Threads())
	k.MinBlocks(1) // registers go before occupancy: no spills
	y, a, b, bias := k.ParamGlobal("y"), k.ParamGlobal("a"), k.ParamGlobal("b"), k.ParamGlobal("bias")
	rows, cols, depth := k.ParamU32("rows"), k.ParamU32("cols"), k.ParamU32("depth")
	shared := k.DynamicShared(tileAlign).Alloc(p.tile().Shared(), tileAlign)

	bm, bn := raster(k, k.CtaidX(), rows.CeilDivBy(p.BM), cols.CeilDivBy(p.BN))
	row0, col0 := bm.Times(p.BM), bn.Times(p.BN)
	rowsLeft, colsLeft := rows.Sub(row0), cols.Sub(col0)
	srcA := source{row(k, a, row0, depth, p.A), depth, rowsLeft}
	srcB := source{row(k, b, col0, depth, p.B), depth, colsLeft}
	if p.AcrossB {
		srcB = source{at(b, col0, p.B), cols, colsLeft}
	}
	finish := func(s sums) {
		p.finish(k, s, y, bias, row0, col0, rows, cols)
	}
	if p.Split > 0 {
		product := SplitTile{p.Tile, p.Split}.begin(k, shared)
		product.add(srcA, srcB, depth)
		product.each(finish)
		return
	}
	product := p.begin(k, shared)
	product.add(srcA, srcB, depth)
	finish(product.sums())
}

// finish writes a thread's sums to y.
func (p Linear) finish(k *ptx.Builder, s sums, y, bias ptx.GlobalPtr, row0, col0, rows, cols ptx.RegU32) {
	s.each(k, rows.Sub(row0), cols.Sub(col0), wholeIf(p.VecY, 16/p.Y.Size()), func(r ptx.RegU32) func(c ptx.RegU32, v []ptx.RegF32) {
		line := row(k, y, row0.Add(r), cols, p.Y)
		return func(c ptx.RegU32, v []ptx.RegF32) {
			c = col0.Add(c)
			to := at(line, c, p.Y)
			sum := append([]ptx.RegF32{}, v...)
			for i := range sum {
				if p.Bias != kernels.Invalid {
					sum[i] = k.AddF32(v[i], load(k, at(bias, c, p.Bias).Plus(i*p.Bias.Size()), p.Bias))
				}
			}
			if p.Accumulate {
				for i, old := range loads(k, to, p.Y, len(v)) {
					sum[i] = k.AddF32(old, sum[i])
				}
			}
			stores(k, to, p.Y, sum)
		}
	})
}

// rasterRows is how many rows of tiles neighbouring blocks go through together.
const rasterRows = 8

// raster gives block id its tile of c: groups of a few rows of tiles, down before
// across, so that blocks that run at once share operands in L2.
func raster(k *ptx.Builder, id, tilesM, tilesN ptx.RegU32) (m, n ptx.RegU32) {
	perGroup := tilesN.Times(rasterRows)
	group := k.DivU32(id, perGroup)
	first := group.Times(rasterRows)
	in := id.Sub(group.Mul(perGroup))
	height := k.MinU32(tilesM.Sub(first), ptx.I(rasterRows))
	n = k.DivU32(in, height)
	return first.Add(in.Sub(n.Mul(height))), n
}
