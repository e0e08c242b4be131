package cpu

import "github.com/selkie-ml/selkie/kernels"

// Forward and the gradient of the input treat each row alone, so that rows of an
// adapter may be worked on in any company: pieces of loraRows, or fewer where a
// batch is small, but no less than loraLeast unless the segment is.
const (
	loraRows  = 132
	loraLeast = 36
	loraFew   = 12 // pieces shorter than this are gathered: rows in decoding
	loraTall  = 12 // the rows of a tile: pieces are whole tiles
	loraPack  = 25 // rows from which on packing A and B pays
)

// loraSegments is a batch's segment table cut into pieces of work.
type loraSegments struct {
	all []kernels.Segment
	// pieces are rows of one adapter, cut from the segments with those that
	// follow one another joined.
	joined, pieces []kernels.Segment
	// Chains of the segments that share an adapter's A, or its B, ascending:
	// the first of each chain, and per segment the next (-1: none).
	firstA, firstB []int32
	nextA, nextB   []int32
	last           map[int32]int32
	// heads are the pieces that start an item of forward. An item that gathers
	// has more than one, linked by more (-1: none); count is its rows.
	heads             []int32
	more, tail, count []int32 // per piece; tail and count of a head
}

// segments reads a table for matrices of in and out in slabs of sizeA and sizeB
// elements. It keeps the error and reports false on a segment that does not fit.
func (b *Backend) segments(op string, table kernels.Buffer, nseg, rows, maxRank, in, out, sizeA, sizeB int) (s *loraSegments, ok bool) {
	t := i32s(op, "Segments", table, nseg, kernels.SegmentColumns)
	s = &b.ops.loraSegments
	if s.last == nil {
		s.last = map[int32]int32{}
	}
	s.all, s.pieces = s.all[:0], s.pieces[:0]
	joined := s.joined[:0]
	end, adapted := int32(0), 0
	for i := range nseg {
		g := kernels.SegmentAt(t, i)
		switch {
		case g.RowStart < 0 || g.RowEnd < g.RowStart || int(g.RowEnd) > rows:
			b.Fail(op, "segment %d: rows %d to %d, want an ascending range within 0…%d", i, g.RowStart, g.RowEnd, rows)
			return nil, false
		case g.RowStart == g.RowEnd:
			continue
		case g.RowStart < end:
			b.Fail(op, "segment %d: starts at row %d, but the one before it ends at %d", i, g.RowStart, end)
			return nil, false
		case g.Rank < 0 || int(g.Rank) > maxRank:
			b.Fail(op, "segment %d: rank %d, want 0…%d", i, g.Rank, maxRank)
			return nil, false
		}
		end = g.RowEnd
		rank := int(g.Rank)
		switch {
		case rank == 0:
			continue
		case g.AOffset < 0 || int(g.AOffset)+rank*in > sizeA:
			b.Fail(op, "segment %d: A at element %d with %d×%d elements lies outside its slab of %d", i, g.AOffset, rank, in, sizeA)
			return nil, false
		case g.BOffset < 0 || int(g.BOffset)+rank*out > sizeB:
			b.Fail(op, "segment %d: B at element %d with %d×%d elements lies outside its slab of %d", i, g.BOffset, out, rank, sizeB)
			return nil, false
		}
		s.all = append(s.all, g)
		if last := len(joined) - 1; last >= 0 && g.RowStart == joined[last].RowEnd && sameAdapter(&g, &joined[last]) {
			joined[last].RowEnd = g.RowEnd
		} else {
			joined = append(joined, g)
		}
		adapted += int(g.RowEnd - g.RowStart)
	}
	s.joined = joined
	limit := loraRows
	if threads := len(b.pool.workers); threads > 1 {
		limit = max(loraLeast, min(loraRows, adapted/(4*threads)/loraTall*loraTall))
	}
	for _, g := range joined {
		s.cut(g, limit)
	}
	return s, true
}

func sameAdapter(a, b *kernels.Segment) bool {
	return a.AOffset == b.AOffset && a.BOffset == b.BOffset && a.Rank == b.Rank && a.Scale == b.Scale
}

// cut makes pieces of at most limit rows of g.
func (s *loraSegments) cut(g kernels.Segment, limit int) {
	n := int(g.RowEnd - g.RowStart)
	parts := (n + limit - 1) / limit
	rows := ((n+parts-1)/parts + loraTall - 1) / loraTall * loraTall
	for ; n > 0; n -= rows {
		p := g
		p.RowEnd = g.RowStart + int32(min(rows, n))
		s.pieces = append(s.pieces, p)
		g.RowStart = p.RowEnd
	}
}

// chain links the segments of each adapter.
func (s *loraSegments) chain() {
	s.firstA, s.nextA = s.link(s.firstA, s.nextA, func(g *kernels.Segment) int32 { return g.AOffset })
	s.firstB, s.nextB = s.link(s.firstB, s.nextB, func(g *kernels.Segment) int32 { return g.BOffset })
}

func (s *loraSegments) link(first, next []int32, key func(*kernels.Segment) int32) (_, _ []int32) {
	clear(s.last)
	first, next = first[:0], resize(next, len(s.all))
	for i := range s.all {
		k := key(&s.all[i])
		if prev, ok := s.last[k]; ok {
			next[prev] = int32(i)
		} else {
			first = append(first, int32(i))
		}
		s.last[k], next[i] = int32(i), -1
	}
	return first, next
}

// gather makes items of the pieces: short ones of one adapter share one.
func (s *loraSegments) gather() {
	n := len(s.pieces)
	s.heads, s.more, s.tail, s.count = s.heads[:0], resize(s.more, n), resize(s.tail, n), resize(s.count, n)
	clear(s.last)
	for i := range s.pieces {
		p := &s.pieces[i]
		rows := p.RowEnd - p.RowStart
		s.more[i], s.tail[i], s.count[i] = -1, int32(i), rows
		if rows < loraFew {
			if h, ok := s.last[p.AOffset]; ok && sameAdapter(&s.pieces[h], p) && s.count[h]+rows <= loraRows {
				s.more[s.tail[h]] = int32(i)
				s.tail[h] = int32(i)
				s.count[h] += rows
				continue
			}
			s.last[p.AOffset] = int32(i)
		}
		s.heads = append(s.heads, int32(i))
	}
}

// loraGrain is how many of n items to take at a time when all of them together
// are work multiply-adds.
func loraGrain(n, work int) int {
	const worth = 1 << 17
	return max(1, n/max(1, work/worth))
}
