package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// LoRADown goes down to the rank, per segment: h = x·Aᵀ, or, Back, g = scale·dy·B.
// Back also leaves scale·h, for the gradient of B.
type LoRADown struct {
	SplitTile
	Back bool
	Vec  bool // the operands that the host places are aligned
}

// Name implements Any.
func (p LoRADown) Name() string { return name("lora_down", p.SplitTile, p.Back, p.Vec) }

// Launch is the launch for a batch.
func (p LoRADown) Launch(rows, nseg, maxRank int) Launch {
	return Launch{Grid: Dim3{rowTiles(rows, nseg, p.BM), CeilDiv(maxRank, p.BN), 1}, Block: Dim3{p.Threads(), 1, 1}, Shared: p.Shared()}
}

// Emit implements Any: lora_down(h, x, w, segments…, stride, …), or with Back
// lora_down(g, x, w, segments…, stride, h, scaled, …). The rows of g and of scaled
// are stride elements apart, and whole groups of 4 are written.
func (p LoRADown) Emit(k *ptx.Builder) {
	k.RequireThreads(p.Threads())
	h, x, w := k.ParamGlobal("h"), k.ParamGlobal("x"), k.ParamGlobal("w")
	s := newSegments(k)
	stride := k.ParamU32("stride")
	var saved, scaled ptx.GlobalPtr
	if p.Back {
		saved, scaled = k.ParamGlobal("saved"), k.ParamGlobal("scaled")
	}
	f := newFaults(k)
	s.refuse = &f
	shared := k.DynamicShared(tileAlign).Alloc(p.Shared(), tileAlign)
	r0 := k.CtaidY().Times(p.BN)

	s.eachTile(k.CtaidX(), p.BM, func(g segment, row0 ptx.RegU32) {
		rows, ranks := g.end.Sub(row0), g.rank.Sub(r0)
		width, offset, elements := s.in, g.a, g.a
		written := ranks
		if p.Back {
			width, offset, elements = s.out, g.b, g.b.Or(g.rank)
			written = ranks.CeilDivBy(4).Times(4)
		}
		product := func(vec bool) {
			t := p.SplitTile
			t.VecA, t.VecB = p.Vec, vec
			matrix := at(w, offset, kernels.F32)
			srcA := source{row(k, x, row0, width, p.A), width, rows}
			srcB := source{row(k, matrix, r0, width, kernels.F32), width, ranks}
			if p.Back {
				srcB = source{at(matrix, r0, kernels.F32), g.rank, ranks}
			}
			sum := t.begin(k, shared)
			sum.add(srcA, srcB, width)
			sum.each(func(of sums) {
				of.each(k, rows, written, wholeIf(p.Back, 4), func(r ptx.RegU32) func(c ptx.RegU32, v []ptx.RegF32) {
					i := row0.Add(r)
					to := at(row(k, h, i, stride, kernels.F32), r0, kernels.F32)
					if !p.Back {
						return func(c ptx.RegU32, v []ptx.RegF32) { stores(k, at(to, c, kernels.F32), kernels.F32, v) }
					}
					from, other := at(row(k, saved, i, s.maxRank, kernels.F32), r0, kernels.F32), at(row(k, scaled, i, stride, kernels.F32), r0, kernels.F32)
					return func(c ptx.RegU32, v []ptx.RegF32) {
						gs, hs := make([]ptx.RegF32, len(v)), make([]ptx.RegF32, len(v))
						for e := range v {
							gs[e], hs[e] = k.MulF32(v[e], g.scale), k.VarF32(ptx.F(0))
							k.If(k.SetpLtU32(c.Plus(e), ranks), func() { k.MulF32To(hs[e], k.LdF32(at(from, c, kernels.F32).Plus(4*e)), g.scale) })
						}
						stores(k, at(to, c, kernels.F32), kernels.F32, gs)
						stores(k, at(other, c, kernels.F32), kernels.F32, hs)
					}
				})
			})
		}
		k.If(k.SetpLtU32(r0, g.rank), func() { ifAligned(k, p.Vec, elements, product) })
	})
}

// ifAligned calls f with true where a number of elements is a multiple of a vector's
// and the host allows vectors, with false where not.
func ifAligned(k *ptx.Builder, vec bool, elements ptx.RegU32, f func(vec bool)) {
	if !vec {
		f(false)
		return
	}
	k.IfElse(k.SetpEqU32(elements.Mod(4), ptx.I(0)), func() { f(true) }, func() { f(false) })
}

// LoRAUp goes up from the rank, per segment: y += scale·h·Bᵀ, or, Back, dx += g·A.
// Merge is w += scale·B·A, of one adapter.
type LoRAUp struct {
	Tile
	Y           kernels.DType
	Back, Merge bool
	Vec         bool // what the host places is aligned
}

// Name implements Any.
func (p LoRAUp) Name() string { return name("lora_up", p.Tile, p.Y, p.Back, p.Merge, p.Vec) }

// Launch is the launch for a batch whose result has so many columns.
func (p LoRAUp) Launch(rows, nseg, cols int) Launch {
	tiles := rowTiles(rows, nseg, p.BM)
	if p.Merge {
		tiles = CeilDiv(rows, p.BM)
	}
	return Launch{Grid: Dim3{tiles, CeilDiv(cols, p.BN), 1}, Block: Dim3{p.Threads(), 1, 1}, Shared: p.Shared()}
}

// Emit implements Any: lora_up(y, h, w, segments…, stride), the rows of h stride
// elements apart, or with Merge lora_up(w, b, a, in, out, rank, scale).
func (p LoRAUp) Emit(k *ptx.Builder) {
	k.RequireThreads(p.Threads())
	k.MinBlocks(3) // left to itself, ptxas aims at more, and spills
	y, h, w := k.ParamGlobal("y"), k.ParamGlobal("h"), k.ParamGlobal("w")
	if p.Merge {
		s := &segments{k: k, in: k.ParamU32("in"), out: k.ParamU32("out")}
		rank, scale := k.ParamU32("rank"), k.ParamF32("scale")
		zero := k.VarU32(ptx.I(0))
		p.tile(k, s, y, h, w, rank, segment{start: zero, end: s.out, rank: rank, a: zero, b: zero, scale: scale}, k.CtaidX().Times(p.BM))
		return
	}
	s := newSegments(k)
	stride := k.ParamU32("stride")
	s.eachTile(k.CtaidX(), p.BM, func(g segment, row0 ptx.RegU32) { p.tile(k, s, y, h, w, stride, g, row0) })
}

func (p LoRAUp) tile(k *ptx.Builder, s *segments, y, h, w ptx.GlobalPtr, stride ptx.RegU32, g segment, row0 ptx.RegU32) {
	shared := k.DynamicShared(tileAlign).Alloc(p.Shared(), tileAlign)
	rows, c0 := g.end.Sub(row0), k.CtaidY().Times(p.BN)
	cols, offset, elements := s.out, g.b, g.b.Or(g.rank)
	switch {
	case p.Merge:
		cols, offset, elements = s.in, g.a, g.rank
	case p.Back:
		cols, offset, elements = s.in, g.a, g.a
	}
	ifAligned(k, p.Vec, elements, func(vec bool) {
		t := p.Tile
		t.VecA, t.VecB = vec, vec
		matrix := at(w, offset, kernels.F32)
		srcA := source{row(k, h, row0, stride, kernels.F32), stride, rows}
		srcB := source{row(k, matrix, c0, g.rank, kernels.F32), g.rank, cols.Sub(c0)}
		if t.AcrossB {
			srcB = source{at(matrix, c0, kernels.F32), cols, cols.Sub(c0)}
		}
		product := t.begin(k, shared)
		product.add(srcA, srcB, g.rank)
		product.sums().each(k, rows, cols.Sub(c0), wholeIf(p.Vec, 4), func(r ptx.RegU32) func(c ptx.RegU32, v []ptx.RegF32) {
			line := row(k, y, row0.Add(r), cols, p.Y)
			return func(c ptx.RegU32, v []ptx.RegF32) {
				to := at(line, c0.Add(c), p.Y)
				sum := make([]ptx.RegF32, len(v))
				for i, old := range loads(k, to, p.Y, len(v)) {
					if p.Back && !p.Merge {
						sum[i] = k.AddF32(old, v[i])
					} else {
						sum[i] = k.FmaRnF32(g.scale, v[i], old)
					}
				}
				stores(k, to, p.Y, sum)
			}
		})
	})
}
