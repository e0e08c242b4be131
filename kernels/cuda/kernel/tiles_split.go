package kernel

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx"
)

// SplitTile is a Tile of one warp, whose sum over k several warps of a block share: warp
// w takes chunks w, w+Warps, … and the sums of chunks are added in order, so that the
// bits are those of any other Tile. For few rows: a warp streams its operands through
// stages of its own and waits for the others only once a chunk.
type SplitTile struct {
	Tile
	Warps int
}

// String is the tile as part of a kernel's name.
func (s SplitTile) String() string { return fmt.Sprintf("%v_of%d", s.Tile, s.Warps) }

// Threads of a block.
func (s SplitTile) Threads() int { return 32 * s.Warps }

// partBytes is a warp's sums in shared memory, and stageBytes its stages.
func (s SplitTile) partBytes() int  { return 4 * s.BM * s.BN }
func (s SplitTile) stageBytes() int { return (s.Tile.Shared() + tileAlign - 1) &^ (tileAlign - 1) }

// Shared is the bytes of shared memory that a block needs.
func (s SplitTile) Shared() int { return s.Warps * (s.stageBytes() + 2*s.partBytes()) }

// splitProduct is a block's product by a SplitTile.
type splitProduct struct {
	SplitTile
	k          *ptx.Builder
	warp, lane ptx.RegU32
	parts      ptx.SharedPtr // sums of the warps' chunks, twice
	stages     ptx.SharedPtr // of this warp
	stream     *product      // of this warp
	quads      []run         // four neighbours each of a warp's sums; acc's registers
	total      [][4]ptx.RegF32
}

// begin prepares the product in a block whose shared memory lies at shared.
func (s SplitTile) begin(k *ptx.Builder, shared ptx.SharedPtr) *splitProduct {
	p := &splitProduct{SplitTile: s, k: k, warp: k.TidX().DivBy(32), lane: k.TidX().Mod(32)}
	p.stages = shared.At(p.warp.Times(s.stageBytes()))
	p.parts = shared.Plus(s.Warps * s.stageBytes())
	p.stream = s.Tile.beginAs(k, p.stages, p.lane)
	for _, r := range p.stream.engine.sums(p.stream.acc).runs {
		for i := 0; i < len(r.v); i += 4 {
			p.quads = append(p.quads, run{r.row, r.col + i, r.v[i : i+4]})
		}
	}
	for range CeilDiv(len(p.quads), s.Warps) {
		p.total = append(p.total, [4]ptx.RegF32(k.VarsF32(4, ptx.F(0))))
	}
	return p
}

// add adds Σ_k a·b over k < depth to the totals. All threads of the block take part.
func (p *splitProduct) add(a, b source, depth ptx.RegU32) {
	k, s := p.k, p.stream
	s.a.aim(a)
	s.b.aim(b)
	chunk := s.chunk()
	per := chunk / p.BK // tiles of a chunk
	tiles := depth.CeilDivBy(p.BK)
	chunks := tiles.CeilDivBy(per)
	rounds := chunks.CeilDivBy(p.Warps)
	// The warp's tiles: those of its chunks, of which the last may be short.
	mine := k.SubU32(chunks.Plus(p.Warps-1), k.MinU32(p.warp, chunks)).DivBy(p.Warps)
	mine = k.SelpU32(mine, ptx.I(0), k.SetpLtU32(p.warp, chunks)).Times(per)
	missing := chunks.Times(per).Sub(tiles)
	hasLast := k.SetpEqU32(chunks.Plus(p.Warps-1).Mod(p.Warps), p.warp)
	mine = mine.Sub(k.SelpU32(missing, ptx.I(0), hasLast))
	at := func(tile ptx.RegU32) ptx.RegU32 { // its first k
		return tile.DivBy(per).Times(p.Warps).Add(p.warp).Times(chunk).Add(tile.Mod(per).Times(p.BK))
	}
	ring := s.ring(mine, at, depth, func() { k.WarpSync(ptx.FullMask) })
	buffer := k.VarU32(ptx.I(0))
	k.For(ptx.I(0), rounds, ptx.I(1), func(round ptx.RegU32) {
		first := round.Times(per)
		k.For(first, k.MinU32(first.Plus(per), mine), ptx.I(1), func(tile ptx.RegU32) {
			ring.turn(tile)
		})
		p.combine(buffer)
	})
}

// combine adds the chunks of the warps to the totals, warp by warp, and clears them; one
// that had none adds zeros. buffer says which half of parts is used, and changes.
func (p *splitProduct) combine(buffer ptx.RegU32) {
	k := p.k
	parts := p.parts.At(buffer).At(p.lane.Times(16))
	to := parts.At(p.warp.Times(p.partBytes()))
	for i, q := range p.quads {
		k.StV4F32(to.Plus(512*i), [4]ptx.RegF32(q.v))
	}
	for _, r := range p.stream.acc {
		k.MovF32To(r, ptx.F(0))
	}
	k.BarSync(0)
	for n := range p.total {
		add := func() {
			from := parts.At(p.warp.Plus(n * p.Warps).Times(512))
			for w := range p.Warps {
				for i, v := range k.LdV4F32(from.Plus(w * p.partBytes())) {
					k.AddF32To(p.total[n][i], p.total[n][i], v)
				}
			}
		}
		if (n+1)*p.Warps <= len(p.quads) {
			add()
		} else {
			k.If(k.SetpLtU32(p.warp, ptx.I(len(p.quads)-n*p.Warps)), add)
		}
	}
	k.XorB32To(buffer, buffer, ptx.I(p.Warps*p.partBytes())) // the other half, while this is read
}

// each calls use with the sums of every warp, where it runs.
func (p *splitProduct) each(use func(s sums)) {
	k := p.k
	of := p.stream.engine.sums(p.stream.acc)
	for w := range min(p.Warps, len(p.quads)) {
		k.If(k.SetpEqU32(p.warp, ptx.I(w)), func() {
			s := sums{row: of.row, col: of.col}
			for n := 0; w+n*p.Warps < len(p.quads); n++ {
				q := p.quads[w+n*p.Warps]
				s.runs = append(s.runs, run{q.row, q.col, p.total[n][:]})
			}
			use(s)
		})
	}
}
