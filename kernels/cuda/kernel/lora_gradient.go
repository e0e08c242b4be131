package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// LoRAGradient adds to the gradient of A, dA = Σ g·x, or, OfB, of B: dB = Σ scale·h·dy,
// of each adapter segment by segment. A block has a tile of an adapter's matrix for all
// segments that use it.
type LoRAGradient struct {
	SplitTile
	OfB bool
}

// LoRAGradientOf has the operands for activations x, whose rows are aligned or not, and no sizes yet.
func LoRAGradientOf(x kernels.DType, ofB, vec bool) LoRAGradient {
	t := Tile{A: kernels.F32, B: x, AcrossA: true, AcrossB: true, VecA: true, VecB: vec}
	if ofB {
		t.A, t.B, t.VecA, t.VecB = x, kernels.F32, vec, true
	}
	return LoRAGradient{SplitTile{Tile: t}, ofB}
}

// Name implements Any.
func (p LoRAGradient) Name() string { return name("lora_gradient", p.SplitTile, p.OfB) }

// Launch is the launch for the gradients of matrices of at most this rank, and of so
// many columns (rows, for those of B).
func (p LoRAGradient) Launch(nseg, maxRank, width int) Launch {
	m, n := maxRank, width
	if p.OfB {
		m, n = width, maxRank
	}
	return Launch{Grid: Dim3{CeilDiv(m, p.BM) * CeilDiv(n, p.BN), nseg, 1}, Block: Dim3{p.Threads(), 1, 1}, Shared: p.Shared()}
}

// Emit implements Any: lora_gradient(d, h, x, segments…, stride): the rows of h (g, or
// h scaled) are stride elements apart, and stride is a multiple of 4.
func (p LoRAGradient) Emit(k *ptx.Builder) {
	k.RequireThreads(p.Threads())
	k.MinBlocks(3) // left to itself, ptxas aims at more for sm_120, and spills
	d, h, x := k.ParamGlobal("d"), k.ParamGlobal("h"), k.ParamGlobal("x")
	s := newSegments(k)
	stride := k.ParamU32("stride")
	shared := k.DynamicShared(tileAlign).Alloc(p.Shared(), tileAlign)

	sum := p.begin(k, shared)
	place := func(g segment) (lines, cols ptx.RegU32, m0, n0 ptx.RegU32, to ptx.GlobalPtr) {
		lines, cols, offset := g.rank, s.in, g.a
		tilesN := s.in.CeilDivBy(p.BN)
		if p.OfB {
			lines, cols, offset = s.out, g.rank, g.b
			tilesN = s.maxRank.CeilDivBy(p.BN)
		}
		m := k.DivU32(k.CtaidX(), tilesN)
		n := k.CtaidX().Sub(m.Mul(tilesN))
		return lines, cols, m.Times(p.BM), n.Times(p.BN), at(d, offset, kernels.F32)
	}
	// each calls f for the thread's sums that lie in the matrix.
	each := func(g segment, f func(to ptx.GlobalPtr, v []ptx.RegF32)) {
		lines, cols, m0, n0, base := place(g)
		ifAligned(k, true, k.CvtU32U64(base.Value()).Shr(2).Or(cols), func(vec bool) {
			sum.each(func(of sums) {
				of.each(k, lines.Sub(m0), cols.Sub(n0), wholeIf(vec, 4), func(r ptx.RegU32) func(c ptx.RegU32, v []ptx.RegF32) {
					line := at(row(k, base, m0.Add(r), cols, kernels.F32), n0, kernels.F32)
					return func(c ptx.RegU32, v []ptx.RegF32) { f(at(line, c, kernels.F32), v) }
				})
			})
		})
	}
	chunks, buffer := k.VarU32(ptx.I(0)), k.VarU32(ptx.I(0)) // of this round
	inside := k.VarU32(ptx.I(0))                             // whether the adapter's matrix has the block's tile
	key := func(g segment) ptx.RegU32 { return g.a }
	if p.OfB {
		key = func(g segment) ptx.RegU32 { return g.b }
	}
	owned := segment{}
	s.eachOfAdapter(k.CtaidY(), key, func(first segment) {
		owned = first
		lines, cols, m0, n0, _ := place(first)
		k.MovU32To(inside, k.SelpU32(ptx.I(1), ptx.I(0), k.SetpLtU32(m0, lines).And(k.SetpLtU32(n0, cols))))
		k.If(k.SetpEqU32(inside, ptx.I(1)), func() {
			each(first, func(to ptx.GlobalPtr, v []ptx.RegF32) { resume(k, to, v) })
		})
	}, func(g segment) {
		lines, cols, m0, n0, _ := place(g)
		k.If(k.SetpEqU32(inside, ptx.I(1)), func() {
			depth := g.end.Sub(g.start)
			ofH := source{row(k, h, g.start, stride, kernels.F32), stride, g.rank}
			wide := s.in
			if p.OfB {
				wide = s.out
			}
			dt := p.B
			if p.OfB {
				dt = p.A
			}
			ofX := source{row(k, x, g.start, wide, dt), wide, wide}
			srcA, srcB := ofH, ofX
			if p.OfB {
				srcA, srcB = ofX, ofH
			}
			srcA.at, srcA.lines = at(srcA.at, m0, p.A), lines.Sub(m0)
			srcB.at, srcB.lines = at(srcB.at, n0, p.B), cols.Sub(n0)
			sum.stream.a.aim(srcA)
			sum.stream.b.aim(srcB)
			k.For(ptx.I(0), depth, ptx.I(ChunkF32), func(k0 ptx.RegU32) {
				k.If(k.SetpEqU32(chunks, sum.warp), func() { sum.chunk(k0, depth) })
				k.AddU32To(chunks, chunks, ptx.I(1))
				k.If(k.SetpEqU32(chunks, ptx.I(p.Warps)), func() {
					sum.combine(buffer)
					k.MovU32To(chunks, ptx.I(0))
				})
			})
		})
	}, func() {
		k.If(k.SetpEqU32(inside, ptx.I(1)), func() {
			k.If(k.SetpGtU32(chunks, ptx.I(0)), func() { sum.combine(buffer) })
			each(owned, func(to ptx.GlobalPtr, v []ptx.RegF32) { stores(k, to, kernels.F32, v) })
		})
	})
}

// chunk multiplies a chunk of the operands that the warp aims at.
func (p *splitProduct) chunk(k0, depth ptx.RegU32) {
	k := p.k
	tiles := k.MinU32(depth.Sub(k0), ptx.I(p.Tile.chunk())).CeilDivBy(p.BK)
	k.WarpSync(ptx.FullMask) // the stages of the chunk before
	ring := p.stream.ring(tiles, func(tile ptx.RegU32) ptx.RegU32 { return k0.Add(tile.Times(p.BK)) }, depth, func() { k.WarpSync(ptx.FullMask) })
	k.For(ptx.I(0), tiles, ptx.I(1), func(tile ptx.RegU32) { ring.turn(tile) })
}
