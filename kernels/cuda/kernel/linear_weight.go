package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// LinearWeight is dw[o, k] += Σ_i dy[i, o]·x[i, k], sequence by sequence: chunks of
// ChunkRows rows from a sequence's start, whose sums are added to dw in order. dy is
// f32, so that the engine is fma, whose chunks these are.
type LinearWeight struct {
	Tile
	VecDW bool // rows of dw are aligned to 16 bytes
}

const _ = uint(ChunkRows-ChunkF32) + uint(ChunkF32-ChunkRows) // they are the same

// Name implements Any.
func (p LinearWeight) Name() string { return name("linear_weight", p.Tile, p.VecDW) }

// Launch is the launch for dw of so many rows and columns.
func (p LinearWeight) Launch(out, in int) Launch { return Linear{Tile: p.Tile}.Launch(out, in) }

// Emit implements Any: linear_weight(dw, dy, x, starts, nseq, rows, in, out, fault, fault_tag).
func (p LinearWeight) Emit(k *ptx.Builder) {
	k.RequireThreads(p.Threads())
	k.MinBlocks(1) // registers go before occupancy: no spills
	dw, dy, x, starts := k.ParamGlobal("dw"), k.ParamGlobal("dy"), k.ParamGlobal("x"), k.ParamGlobal("starts")
	nseq, rows, in, out := k.ParamU32("nseq"), k.ParamU32("rows"), k.ParamU32("in"), k.ParamU32("out")
	refuse := newFaults(k)
	shared := k.DynamicShared(tileAlign).Alloc(p.Shared(), tileAlign)

	bm, bn := raster(k, k.CtaidX(), out.CeilDivBy(p.BM), in.CeilDivBy(p.BN))
	row0, col0 := bm.Times(p.BM), bn.Times(p.BN)
	rowsLeft, colsLeft := out.Sub(row0), in.Sub(col0)
	product := p.begin(k, shared)
	each := func(f func(to ptx.GlobalPtr, v []ptx.RegF32)) {
		product.sums().each(k, rowsLeft, colsLeft, wholeIf(p.VecDW, 4), func(r ptx.RegU32) func(c ptx.RegU32, v []ptx.RegF32) {
			line := at(row(k, dw, row0.Add(r), in, kernels.F32), col0, kernels.F32)
			return func(c ptx.RegU32, v []ptx.RegF32) { f(at(line, c, kernels.F32), v) }
		})
	}
	each(func(from ptx.GlobalPtr, v []ptx.RegF32) { resume(k, from, v) })
	product.again = true
	forSequences(k, starts, nseq, rows, refuse, firstThread(k), func(first, count ptx.RegU32) {
		a := source{at(row(k, dy, first, out, p.A), row0, p.A), out, rowsLeft}
		b := source{at(row(k, x, first, in, p.B), col0, p.B), in, colsLeft}
		product.add(a, b, count)
	})
	each(func(to ptx.GlobalPtr, v []ptx.RegF32) { stores(k, to, kernels.F32, v) })
}

// LinearBias is dbias[o] += Σ_i dy[i, o] in the same order.
type LinearBias struct{ ColumnSums }

// Name implements Any.
func (p LinearBias) Name() string { return name("linear_bias", p.Chunks) }

// Emit implements Any: linear_bias(dbias, dy, starts, nseq, rows, out, fault, fault_tag).
func (p LinearBias) Emit(k *ptx.Builder) {
	dbias, dy, starts := k.ParamGlobal("dbias"), k.ParamGlobal("dy"), k.ParamGlobal("starts")
	nseq, rows, out := k.ParamU32("nseq"), k.ParamU32("rows"), k.ParamU32("out")
	refuse := newFaults(k)
	p.emit(k, dbias, starts, nseq, rows, out, refuse, func(i, c ptx.RegU32) ptx.RegF32 {
		return k.LdF32(at(row(k, dy, i, out, kernels.F32), c, kernels.F32))
	})
}
