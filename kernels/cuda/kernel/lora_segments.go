package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// segments is the table of a batch's segments (kernels.Segment), and what its rows
// must keep to. A warp walks it, 32 segments at a time.
type segments struct {
	k                                       *ptx.Builder
	table                                   ptx.GlobalPtr
	n, rows, in, out, maxRank, sizeA, sizeB ptx.RegU32
	lane                                    ptx.RegU32
	refuse                                  *faults // nil: another launch of the op reports
}

// newSegments declares the parameters table, nseg, rows, in, out, max_rank, size_a and
// size_b: the elements of the slabs.
func newSegments(k *ptx.Builder) *segments {
	s := &segments{k: k, table: k.ParamGlobal("segments"), n: k.ParamU32("nseg"), rows: k.ParamU32("rows"), in: k.ParamU32("in"), out: k.ParamU32("out"),
		maxRank: k.ParamU32("max_rank"), sizeA: k.ParamU32("size_a"), sizeB: k.ParamU32("size_b")}
	s.lane = k.TidX().Mod(32)
	return s
}

// segment is one of them; a and b are elements of the slabs.
type segment struct {
	start, end, rank, a, b ptx.RegU32
	scale                  ptx.RegF32
}

// load reads segment i, that exists.
func (s *segments) load(i ptx.RegU32) segment {
	k := s.k
	at := s.table.Elem(i.Times(kernels.SegmentColumns), ptx.U32)
	return segment{k.LdU32(at), k.LdU32(at.Plus(4)), k.LdU32(at.Plus(8)), k.LdU32(at.Plus(12)), k.LdU32(at.Plus(16)), k.LdF32(at.Plus(20))}
}

// lanes gives each lane of a warp segment first+lane, and whether it has rows with an
// adapter and fits; one that does not fit is reported. last is the end of the rows of
// the segments before, which it moves on.
func (s *segments) lanes(first, last ptx.RegU32) (g segment, good ptx.RegPred) {
	k := s.k
	i := first.Add(s.lane)
	exists := k.SetpLtU32(i, s.n)
	g = s.load(k.MinU32(i, s.n.Plus(-1)))
	// Negative numbers are large ones.
	inRange := k.SetpLeU32(g.start, g.end).And(k.SetpLeU32(g.end, s.rows))
	some := exists.And(inRange).And(k.SetpLtU32(g.start, g.end))
	ends := k.SelpU32(g.end, ptx.I(0), some)
	for d := 1; d < 32; d *= 2 {
		ends = k.MaxU32(ends, ptx.ShflUp(k, ends, ptx.I(d)))
	}
	before := k.SelpU32(ptx.I(0), ptx.ShflUp(k, ends, ptx.I(1)), k.SetpEqU32(s.lane, ptx.I(0)))
	before = k.MaxU32(before, last)
	k.MaxU32To(last, last, ptx.ShflIdx(k, ends, ptx.I(31)))

	ascends := k.SetpGeU32(g.start, before)
	rankFits := k.SetpLeU32(g.rank, s.maxRank)
	adapted := k.SetpGtU32(g.rank, ptx.I(0))
	holds := func(offset, width, size ptx.RegU32) ptx.RegPred {
		return k.SetpLeU64(k.MadWideU32(g.rank, width, offset.U64()), size.U64())
	}
	aFits, bFits := holds(g.a, s.in, s.sizeA), holds(g.b, s.out, s.sizeB)
	slabsFit := aFits.And(bFits).Or(adapted.Not())
	fits := ascends.And(rankFits).And(slabsFit)
	if s.refuse != nil {
		value := k.SelpU32(g.a, g.b, aFits.Not())
		value = k.SelpU32(value, g.rank, rankFits)
		value = k.SelpU32(value, g.start, ascends)
		value = k.SelpU32(value, g.end, inRange)
		s.refuse.report(exists.And(inRange.Not()).Or(some.And(fits.Not())), i, value)
	}
	return g, some.And(fits).And(adapted)
}

// from gives all lanes what one of them has.
func (g segment) from(k *ptx.Builder, lane ptx.RegU32) segment {
	get := func(x ptx.RegU32) ptx.RegU32 { return ptx.ShflIdx(k, x, lane) }
	return segment{get(g.start), get(g.end), get(g.rank), get(g.a), get(g.b), ptx.ShflIdx(k, g.scale, lane)}
}

// lowest is the number of the lowest bit that is set.
func lowest(k *ptx.Builder, bits ptx.RegB32) ptx.RegU32 { return k.ClzB32(k.BrevB32(bits)) }

// rowTiles is how many tiles of bm rows, counted from the start of their segments,
// there can be. There are less where there are segments, so that who looks for the last
// has seen them all.
func rowTiles(rows, nseg, bm int) int { return CeilDiv(rows, bm) + nseg }

// eachTile finds row tile number t, of bm rows counted from the start of its segment,
// and calls f for it with its first row: not at all beyond the last.
func (s *segments) eachTile(t ptx.RegU32, bm int, f func(g segment, row0 ptx.RegU32)) {
	k := s.k
	zero := ptx.I(0)
	found, row0, last, tile := k.VarU32(zero), k.VarU32(zero), k.VarU32(zero), k.VarU32(t)
	of := segment{k.VarU32(zero), k.VarU32(zero), k.VarU32(zero), k.VarU32(zero), k.VarU32(zero), k.VarF32(ptx.F(0))}
	k.For(zero, s.n, ptx.I(32), func(first ptx.RegU32) {
		g, good := s.lanes(first, last)
		tiles := k.SelpU32(g.end.Sub(g.start).CeilDivBy(bm), zero, good)
		upTo := tiles
		for d := 1; d < 32; d *= 2 {
			lower := ptx.ShflUp(k, upTo, ptx.I(d))
			upTo = upTo.Add(k.SelpU32(lower, zero, k.SetpGeU32(s.lane, ptx.I(d))))
		}
		hit := k.Ballot(k.SetpLtU32(tile, upTo), ptx.FullMask)
		k.If(k.SetpNeB32(hit, zero), func() {
			lane := lowest(k, hit)
			h := g.from(k, lane)
			for i, to := range []ptx.RegU32{of.start, of.end, of.rank, of.a, of.b} {
				ptx.Set(k, to, []ptx.RegU32{h.start, h.end, h.rank, h.a, h.b}[i])
			}
			ptx.Set(k, of.scale, h.scale)
			k.MadLoU32To(row0, tile.Sub(ptx.ShflIdx(k, upTo.Sub(tiles), lane)), ptx.I(bm), h.start)
			k.MovU32To(found, ptx.I(1))
		})
		k.Break(k.SetpEqU32(found, ptx.I(1)))
		k.SubU32To(tile, tile, ptx.ShflIdx(k, upTo, ptx.I(31)))
	})
	k.If(k.SetpEqU32(found, ptx.I(1)), func() { f(of, row0) })
}

// eachOfAdapter calls f for the segments that use the matrices of segment i, ascending,
// if that is the first of them: not at all otherwise. key is the field that tells
// adapters apart. begin is called once before f.
func (s *segments) eachOfAdapter(i ptx.RegU32, key func(segment) ptx.RegU32, begin func(first segment), f func(segment), end func()) {
	k := s.k
	mine := s.load(i)
	last, state := k.VarU32(ptx.I(0)), k.VarU32(ptx.I(searching))
	k.For(ptx.I(0), s.n, ptx.I(32), func(first ptx.RegU32) {
		g, good := s.lanes(first, last)
		same := k.VarB32(k.Ballot(good.And(k.SetpEqU32(key(g), key(mine))), ptx.FullMask))
		k.If(k.SetpNeB32(same, ptx.I(0)).And(k.SetpEqU32(state, ptx.I(searching))), func() {
			isFirst := k.SetpEqU32(first.Add(lowest(k, same)), i)
			k.MovU32To(state, k.SelpU32(ptx.I(owner), ptx.I(other), isFirst))
			k.If(isFirst, func() { begin(mine) })
		})
		k.Break(k.SetpEqU32(state, ptx.I(other)))
		k.While(func() ptx.RegPred { return k.SetpNeB32(same, ptx.I(0)) }, func() {
			f(g.from(k, lowest(k, same)))
			k.AndB32To(same, same, same.AsU32().Plus(-1))
		})
	})
	k.If(k.SetpEqU32(state, ptx.I(owner)), end)
}

// What a block knows of the adapter of its segment: nothing yet; that it is the
// block's; that a segment before has it.
const (
	searching = iota
	owner
	other
)
