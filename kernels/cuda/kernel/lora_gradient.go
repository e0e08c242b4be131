package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// LoRAGradient adds to the gradient of A, dA = Σ g·x, or, OfB, of B: dB = Σ scale·h·dy,
// of each adapter segment by segment. A block has a tile of an adapter's matrix for all
// segments that use it.
type LoRAGradient struct {
	split
	OfB bool
	Vec bool // what the host places is aligned
}

// LoRAGradientFor is the kernel for activations x.
func LoRAGradientFor(x kernels.DType, ofB, vec bool, maxRank int) LoRAGradient {
	t := Tile{A: kernels.F32, B: x, AcrossA: true, AcrossB: true, BM: 32, BN: 64, BK: 16, Stages: 2, VecA: true, VecB: vec}
	if ofB {
		t.A, t.B, t.VecA, t.VecB = x, kernels.F32, vec, true
		if maxRank <= 32 {
			t.BM, t.BN = 64, 32
		}
	}
	return LoRAGradient{newSplit(t, 4), ofB, vec}
}

// Name implements Any.
func (p LoRAGradient) Name() string { return name("lora_gradient", p.split, p.OfB) }

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
	// each calls f for the thread's groups that lie in the matrix.
	each := func(g segment, f func(to ptx.GlobalPtr, count int, v []ptx.RegF32)) {
		lines, cols, m0, n0, base := place(g)
		sum.each(func(r, c ptx.RegU32, v [4]ptx.RegF32) {
			r, c = m0.Add(r), n0.Add(c)
			k.If(k.SetpLtU32(r, lines).And(k.SetpLtU32(c, cols)), func() {
				to := at(row(k, base, r, cols, kernels.F32), c, kernels.F32)
				single := func() {
					for e := range v {
						k.If(k.SetpLtU32(c.Plus(e), cols), func() { f(to.Plus(4*e), 1, v[e:e+1]) })
					}
				}
				whole := k.SetpEqU32(k.CvtU32U64(to.Value()).And(ptx.I(15)).AsU32(), ptx.I(0))
				k.IfElse(whole.And(k.SetpLeU32(c.Plus(4), cols)), func() { f(to, 4, v[:]) }, single)
			})
		})
	}
	chunks := k.VarU32(ptx.I(0)) // of this round
	inside := k.VarU32(ptx.I(0)) // whether the adapter's matrix has the block's tile
	key := func(g segment) ptx.RegU32 { return g.a }
	if p.OfB {
		key = func(g segment) ptx.RegU32 { return g.b }
	}
	owned := segment{}
	s.eachOfAdapter(k.CtaidY(), key, func(first segment) {
		owned = first
		lines, cols, m0, n0, _ := place(first)
		k.MovU32To(inside, k.SelpU32(ptx.I(1), ptx.I(0), k.SetpLtU32(m0, lines).And(k.SetpLtU32(n0, cols))))
		each(first, func(to ptx.GlobalPtr, count int, v []ptx.RegF32) {
			for e, old := range loads(k, to, kernels.F32, count) {
				ptx.Set(k, v[e], old)
			}
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
			sum.aim(srcA, srcB)
			k.For(ptx.I(0), depth, ptx.I(ChunkF32), func(k0 ptx.RegU32) {
				k.If(k.SetpEqU32(chunks, sum.warp), func() { sum.chunk(k0, depth) })
				k.AddU32To(chunks, chunks, ptx.I(1))
				k.If(k.SetpEqU32(chunks, ptx.I(p.Warps)), func() {
					sum.combine(chunks)
					k.MovU32To(chunks, ptx.I(0))
				})
			})
		})
	}, func() {
		k.If(k.SetpGtU32(chunks, ptx.I(0)), func() { sum.combine(chunks) })
		each(owned, func(to ptx.GlobalPtr, count int, v []ptx.RegF32) { stores(k, to, kernels.F32, v) })
	})
}
