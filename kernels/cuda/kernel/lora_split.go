package kernel

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx"
)

// split shares a sum over k out among the warps of a block: each multiplies chunks of
// ChunkF32 on its own, as engine fma does, and the chunks' sums are added in order.
// It is for long sums of which there are few.
type split struct {
	Tile  // of a warp
	Warps int
}

// newSplit shares bm×bn sums out.
func newSplit(t Tile, warps int) split {
	t.WarpsM, t.WarpsN = 1, 1
	return split{t, warps}
}

// String is the split as part of a kernel's name.
func (s split) String() string { return fmt.Sprintf("%v_of%d", s.Tile, s.Warps) }

// Threads of a block.
func (s split) Threads() int { return 32 * s.Warps }

// Shared is the bytes of shared memory of a block: a warp's stages, where its sums go too.
func (s split) Shared() int { return s.Warps * s.part() }

func (s split) part() int { return max(s.Tile.Shared(), 4*s.BM*s.BN) }

// quads are how many groups of 4 neighbouring sums a lane has for its warp, and how
// many of all its block's a thread has in the end.
func (s split) quads() (lane, thread int) {
	lane = s.BM * s.BN / 32 / 4
	return lane, CeilDiv(lane, s.Warps)
}

// splitSum is a block's split under way.
type splitSum struct {
	split
	k          *ptx.Builder
	parts      ptx.SharedPtr // of all warps
	stages     ptx.SharedPtr // of this one
	warp, lane ptx.RegU32
	a, b       *copier
	engine     *fmaTile
	acc        []ptx.RegF32
	total      [][4]ptx.RegF32 // by the thread's groups
}

// begin prepares the sums, that start from zero.
func (s split) begin(k *ptx.Builder, shared ptx.SharedPtr) *splitSum {
	p := &splitSum{split: s, k: k, parts: shared}
	p.warp, p.lane = k.TidX().DivBy(32), k.TidX().Mod(32)
	p.stages = shared.At(p.warp.Times(s.part()))
	p.engine = newFMA(k, s.Tile, p.lane)
	la, lb := s.layouts()
	p.a = newCopier(k, s.Tile, s.A, s.AcrossA, s.VecA, la, p.lane, nil)
	p.b = newCopier(k, s.Tile, s.B, s.AcrossB, s.VecB, lb, p.lane, s.columnOrder())
	p.acc = k.VarsF32(p.engine.count(), ptx.F(0))
	_, n := s.quads()
	for range n {
		p.total = append(p.total, [4]ptx.RegF32(k.VarsF32(4, ptx.F(0))))
	}
	return p
}

// aim sets the warp's operands.
func (p *splitSum) aim(a, b source) {
	p.a.aim(a)
	p.b.aim(b)
}

// chunk multiplies the warp's operands from k0 on, to the end of the chunk or to depth.
func (p *splitSum) chunk(k0, depth ptx.RegU32) {
	k := p.k
	la, lb := p.layouts()
	bytes, ahead := la.Bytes()+lb.Bytes(), p.Stages-1
	left := depth.Sub(k0)
	tiles := k.MinU32(left, ptx.I(ChunkF32)).CeilDivBy(p.BK)
	fetch := func(tile ptx.RegU32, stage ptx.SharedPtr) {
		off := tile.Times(p.BK)
		p.a.fetch(k0.Add(off), left.Sub(off), stage)
		p.b.fetch(k0.Add(off), left.Sub(off), stage.Plus(la.Bytes()))
	}
	put := func(stage ptx.SharedPtr) {
		p.a.put(stage)
		p.b.put(stage.Plus(la.Bytes()))
	}
	for _, r := range p.acc {
		k.MovF32To(r, ptx.F(0))
	}
	for s := range ahead {
		tile := k.VarU32(ptx.I(s))
		k.If(k.SetpLtU32(tile, tiles), func() {
			fetch(tile, p.stages.Plus(s*bytes))
			put(p.stages.Plus(s * bytes))
		})
		k.CpAsyncCommitGroup()
	}
	use, fill := k.VarU32(ptx.I(0)), k.VarU32(ptx.I(ahead*bytes))
	k.For(ptx.I(0), tiles, ptx.I(1), func(tile ptx.RegU32) {
		k.CpAsyncWaitGroup(ahead - 1)
		k.WarpSync(ptx.FullMask)
		next := tile.Plus(ahead)
		more := k.SetpLtU32(next, tiles)
		k.If(more, func() { fetch(next, p.stages.At(fill)) })
		k.CpAsyncCommitGroup()
		stage := p.stages.At(use)
		p.engine.multiply(stage, stage.Plus(la.Bytes()), p.acc)
		if !p.a.async || !p.b.async {
			k.If(more, func() { put(p.stages.At(fill)) })
		}
		for _, off := range []ptx.RegU32{use, fill} {
			k.AddU32To(off, off, ptx.I(bytes))
			k.Guard(k.SetpEqU32(off, ptx.I(p.Stages*bytes)), func() { k.MovU32To(off, ptx.I(0)) })
		}
	})
}

// combine adds the chunks of the first warps, in their order, to the totals. All
// threads of the block take part.
func (p *splitSum) combine(warps ptx.RegU32) {
	k := p.k
	lanes, mine := p.quads()
	k.WarpSync(ptx.FullMask) // the others read the stages to the end
	to := p.stages.At(p.lane.Times(16))
	for q := range lanes {
		k.StV4F32(to.Plus(512*q), [4]ptx.RegF32(p.acc[4*q:]))
	}
	k.BarSync(0)
	for n := range mine {
		p.ifMine(n, func(quad ptx.RegU32) {
			from := p.parts.At(quad.Times(512)).At(p.lane.Times(16))
			for w := range p.Warps {
				k.If(k.SetpLtU32(k.VarU32(ptx.I(w)), warps), func() {
					for i, v := range k.LdV4F32(from.Plus(w * p.part())) {
						k.AddF32To(p.total[n][i], p.total[n][i], v)
					}
				})
			}
		})
	}
	k.BarSync(0)
}

// ifMine calls f for the thread's n-th group, if it has that many.
func (p *splitSum) ifMine(n int, f func(quad ptx.RegU32)) {
	lanes, _ := p.quads()
	quad := p.warp.Plus(n * p.Warps)
	if (n+1)*p.Warps <= lanes {
		f(quad)
		return
	}
	p.k.If(p.k.SetpLtU32(quad, ptx.I(lanes)), func() { f(quad) })
}

// each calls f for every group of 4 neighbours in a row of the thread's sums.
func (p *splitSum) each(f func(row, col ptx.RegU32, v [4]ptx.RegF32)) {
	e := p.engine
	for n := range p.total {
		p.ifMine(n, func(quad ptx.RegU32) {
			i, j := quad.DivBy(e.tn/4), quad.Mod(e.tn/4)
			row := e.ty.Add(i.Times(4))
			if p.AcrossA {
				row = e.ty.Times(4).Add(i.DivBy(4).Times(16)).Add(i.Mod(4))
			}
			col := e.tx.Times(e.tn).Add(j.Times(4))
			if p.AcrossB {
				col = e.tx.Times(4).Add(j.Times(32))
			}
			f(row, col, p.total[n])
		})
	}
}
