package kernel

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// LossMerge merges the statistics of a chunk into those of the rows: top has the
// maximum and the sum of exponentials, after the last chunk the log of that. A warp has a row.
type LossMerge struct{ First, Last bool }

const lossMergeWarps = 8

// Name implements Any.
func (p LossMerge) Name() string { return name("loss_merge", p.First, p.Last) }

// Launch is the launch for at most so many rows.
func (p LossMerge) Launch(rows int) Launch {
	return lines(CeilDiv(rows, lossMergeWarps), 32*lossMergeWarps)
}

// Emit implements Any: loss_merge(top, stats, blocks, stride, before, rows, list, hit, logprob): rows of
// stats have blocks pairs, stride pairs apart.
func (p LossMerge) Emit(k *ptx.Builder) {
	k.RequireThreads(32 * lossMergeWarps)
	top, stats, blocks, stride := k.ParamGlobal("top"), k.ParamGlobal("stats"), k.ParamU32("blocks"), k.ParamU32("stride")
	before, rows := k.ParamGlobal("before"), k.ParamU32("rows")
	list, hit, logProb := k.ParamGlobal("list"), k.ParamGlobal("hit"), k.ParamGlobal("logprob")
	lane := k.TidX().Mod(32)
	r := k.MadLoU32(k.CtaidX(), ptx.I(lossMergeWarps), k.TidX().DivBy(32))
	k.Return(k.SetpGeU32(r, k.LdU32(before.Elem(rows, ptx.U32))))

	of, own := row(k, stats, r, stride.Times(2), kernels.F32), top.Elem(r.Times(2), ptx.F32)
	exp := func(x ptx.RegF32) ptx.RegF32 { return k.Ex2ApproxF32(k.MulF32(x, ptx.F(math.Log2E))) }
	most, old := k.VarF32(ptx.F(math.Inf(-1))), [2]ptx.RegF32{}
	if !p.First {
		old = k.LdV2F32(own)
		ptx.Set(k, most, old[0])
	}
	each := func(f func(b [2]ptx.RegF32)) {
		k.For(lane, blocks, ptx.I(32), func(b ptx.RegU32) { f(k.LdV2F32(of.Elem(b.Times(2), ptx.F32))) })
	}
	each(func(b [2]ptx.RegF32) { k.MaxF32To(most, most, b[0]) })
	most = ptx.WarpReduce(k, most, 32, func(a, b ptx.RegF32) ptx.RegF32 { return k.MaxF32(a, b) })
	sum := k.VarF32(ptx.F(0))
	each(func(b [2]ptx.RegF32) { k.FmaRnF32To(sum, b[1], exp(k.SubF32(b[0], most)), sum) })
	sum = ptx.WarpReduce(k, sum, 32, func(a, b ptx.RegF32) ptx.RegF32 { return k.AddF32(a, b) })
	if !p.First {
		sum = k.FmaRnF32(old[1], exp(k.SubF32(old[0], most)), sum)
		k.WarpSync(ptx.FullMask) // all lanes have read what is overwritten
	}
	k.If(k.SetpEqU32(lane, ptx.I(0)), func() {
		if p.Last {
			sum = k.MulF32(k.Lg2ApproxF32(sum), ptx.F(math.Ln2))
			z := k.LdF32(hit.Elem(r, ptx.F32))
			k.StF32(logProb.Elem(k.LdU32(list.Elem(r, ptx.U32)), ptx.F32), k.SubF32(k.SubF32(z, most), sum))
		}
		k.StV2F32(own, [2]ptx.RegF32{most, sum})
	})
}

// LossInput adds a chunk's part to the gradient of the rows: dx = Σ_v g·w, over chunks
// in order as if they were one.
type LossInput struct {
	Tile
	First bool
	Vec   bool // rows of dx are aligned
}

// Name implements Any.
func (p LossInput) Name() string { return name("loss_input", p.Tile, p.First, p.Vec) }

// Launch is the launch for at most so many rows.
func (p LossInput) Launch(rows, dim int) Launch {
	l := lines(CeilDiv(rows, p.BM)*CeilDiv(dim, p.BN), p.Threads())
	l.Shared = p.Shared()
	return l
}

// Emit implements Any: loss_input(dx, g, w, list, before, rows, dim, v0, cols, width).
func (p LossInput) Emit(k *ptx.Builder) {
	k.RequireThreads(p.Threads())
	k.MinBlocks(1) // registers go before occupancy: no spills
	dx, g, w, list, before := k.ParamGlobal("dx"), k.ParamGlobal("g"), k.ParamGlobal("w"), k.ParamGlobal("list"), k.ParamGlobal("before")
	rows, dim := k.ParamU32("rows"), k.ParamU32("dim")
	v0, cols, width := k.ParamU32("v0"), k.ParamU32("cols"), k.ParamU32("width")
	shared := k.DynamicShared(tileAlign).Alloc(p.Shared(), tileAlign)
	count := k.LdU32(before.Elem(rows, ptx.U32))
	tilesM, tilesN := count.CeilDivBy(p.BM), dim.CeilDivBy(p.BN)
	k.If(k.SetpLtU32(k.CtaidX(), tilesM.Mul(tilesN)), func() {
		bm, bn := raster(k, k.CtaidX(), tilesM, tilesN)
		row0, col0 := bm.Times(p.BM), bn.Times(p.BN)
		product := p.begin(k, shared)
		each := func(f func(to ptx.GlobalPtr, v []ptx.RegF32)) {
			product.sums().each(k, count.Sub(row0), dim.Sub(col0), wholeIf(p.Vec, 4), func(r ptx.RegU32) func(c ptx.RegU32, v []ptx.RegF32) {
				line := row(k, dx, k.LdU32(list.Elem(row0.Add(r), ptx.U32)), dim, kernels.F32)
				return func(c ptx.RegU32, v []ptx.RegF32) { f(at(line, col0.Add(c), kernels.F32), v) }
			})
		}
		if !p.First {
			each(func(to ptx.GlobalPtr, v []ptx.RegF32) { resume(k, to, v) })
		}
		product.add(source{row(k, g, row0, width, p.A), width, count.Sub(row0)},
			source{at(row(k, w, v0, dim, p.B), col0, p.B), dim, dim.Sub(col0)}, cols)
		each(func(to ptx.GlobalPtr, v []ptx.RegF32) { stores(k, to, kernels.F32, v) })
	})
}

// LossWeight adds to the gradient of a chunk of W, dw = Σ_i g·x, sequence by sequence,
// in f32.
type LossWeight struct {
	Tile
	Vec bool // rows of dw are aligned
}

// Name implements Any.
func (p LossWeight) Name() string { return name("loss_weight", p.Tile, p.Vec) }

// Launch is the launch for a chunk of so many columns.
func (p LossWeight) Launch(cols, dim int) Launch {
	l := lines(CeilDiv(cols, p.BM)*CeilDiv(dim, p.BN), p.Threads())
	l.Shared = p.Shared()
	return l
}

// Emit implements Any: loss_weight(dw, g, x, starts, nseq, before, rows, dim, stride, v0, cols, width).
func (p LossWeight) Emit(k *ptx.Builder) {
	k.RequireThreads(p.Threads())
	dw, g, x, starts, nseq, before := k.ParamGlobal("dw"), k.ParamGlobal("g"), k.ParamGlobal("x"), k.ParamGlobal("starts"), k.ParamU32("nseq"), k.ParamGlobal("before")
	rows, dim, stride := k.ParamU32("rows"), k.ParamU32("dim"), k.ParamU32("stride")
	v0, cols, width := k.ParamU32("v0"), k.ParamU32("cols"), k.ParamU32("width")
	shared := k.DynamicShared(tileAlign).Alloc(p.Shared(), tileAlign)
	bm, bn := raster(k, k.CtaidX(), cols.CeilDivBy(p.BM), dim.CeilDivBy(p.BN))
	row0, col0 := bm.Times(p.BM), bn.Times(p.BN)
	product := p.begin(k, shared)
	each := func(f func(to ptx.GlobalPtr, v []ptx.RegF32)) {
		product.sums().each(k, cols.Sub(row0), dim.Sub(col0), wholeIf(p.Vec, 4), func(r ptx.RegU32) func(c ptx.RegU32, v []ptx.RegF32) {
			line := row(k, dw, v0.Add(row0).Add(r), dim, kernels.F32)
			return func(c ptx.RegU32, v []ptx.RegF32) { f(at(line, col0.Add(c), kernels.F32), v) }
		})
	}
	// Of refused starts all rows are without a target: then nothing is read by them.
	k.If(k.SetpNeU32(k.LdU32(before.Elem(rows, ptx.U32)), ptx.I(0)), func() {
		each(func(to ptx.GlobalPtr, v []ptx.RegF32) { resume(k, to, v) })
		product.again = true
		k.For(ptx.I(0), nseq, ptx.I(1), func(s ptx.RegU32) {
			of := starts.Elem(s, ptx.S32)
			first, end := k.LdU32(before.Elem(k.LdU32(of), ptx.U32)), k.LdU32(before.Elem(k.LdU32(of.Plus(4)), ptx.U32))
			k.If(k.SetpLtU32(first, end), func() {
				product.add(source{at(row(k, g, first, width, p.A), row0, p.A), width, cols.Sub(row0)},
					source{at(row(k, x, first, stride, p.B), col0, p.B), stride, dim.Sub(col0)}, end.Sub(first))
			})
		})
		each(func(to ptx.GlobalPtr, v []ptx.RegF32) { stores(k, to, kernels.F32, v) })
	})
}
