package kerneltest

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

// loraBatch is a packed batch whose sequences use the adapters of two slabs.
type loraBatch struct {
	starts        []int32
	segments      []kernels.Segment
	maxRank       int
	sizeA, sizeB  int
	rows, in, out int
	name          string
	ofSequence    []int // index of a sequence's segment, −1: none
	odd           bool  // with NaN and infinities
	infiniteX     bool  // behind rows, which are not to be read beyond their ends
	infiniteB     bool
}

// loraBatch lays out adapters of the given ranks with gaps between them, large ones in the
// first batch, and gives sequence s the adapter use[s]; −1 means the sequence has no segment.
func (t *trial) loraBatch(in, out int, lengths, ranks, use []int) *loraBatch {
	b := &loraBatch{starts: startsOf(lengths...), in: in, out: out,
		name: fmt.Sprintf("sequences %v, adapters %v of ranks %v, %d→%d", lengths, use, ranks, in, out)}
	b.rows = last(b.starts)
	b.maxRank = 1
	type place struct{ a, b int }
	places := make([]place, len(ranks))
	for i, r := range ranks {
		b.maxRank = max(b.maxRank, r)
		gap := 0
		if in == 7 && i > 0 {
			gap = beyond16
		}
		places[i] = place{b.sizeA + gap + t.between(0, 5), b.sizeB + gap + t.between(0, 5)}
		b.sizeA, b.sizeB = places[i].a+r*in+t.between(0, 5), places[i].b+r*out+t.between(0, 5)
	}
	for s, adapter := range use {
		if adapter < 0 {
			b.ofSequence = append(b.ofSequence, -1)
			continue
		}
		b.ofSequence = append(b.ofSequence, len(b.segments))
		b.segments = append(b.segments, kernels.Segment{RowStart: b.starts[s], RowEnd: b.starts[s+1], Rank: int32(ranks[adapter]),
			AOffset: int32(places[adapter].a), BOffset: int32(places[adapter].b), Scale: 0.25 + 2*float32(t.rng.Float64())})
	}
	return b
}

// table uploads the segments of the call's sequences and returns their number.
func (b *loraBatch) table(c *call) (kernels.Buffer, int) {
	var segs []kernels.Segment
	for s := c.lo; s < c.hi; s++ {
		if i := b.ofSequence[s]; i >= 0 {
			seg := b.segments[i]
			seg.RowStart -= int32(c.first)
			seg.RowEnd -= int32(c.first)
			segs = append(segs, seg)
		}
	}
	return c.table("segments", segmentInts(segs)...), len(segs)
}

func (t *trial) loraBatches() []*loraBatch {
	all := []*loraBatch{
		t.loraBatch(7, 5, []int{3, 1, 4}, []int{2, 3}, []int{0, 1, 0}),
		t.loraBatch(1, 1, []int{1}, []int{1}, []int{0}),
		t.loraBatch(8, 8, []int{0}, []int{4}, []int{0}),
		t.loraBatch(33, 17, []int{5, 0, 1, 1, 9}, []int{0, 8, 64}, []int{1, 1, 2, 0, 2}),
		t.loraBatch(64, 130, []int{2, 31, 7}, []int{16, 5}, []int{-1, 0, -1}),
		t.loraBatch(130, 64, []int{1, 1, 1, 1}, []int{32, 1, 0, 33}, []int{3, 1, 2, 0}),
		t.loraBatch(40, 70, []int{50, 1, 13, 2, 24, 12}, []int{128, 0, 256, 7}, []int{0, 1, 2, 1, 3, 0}),
		t.loraBatch(96, 72, []int{65, 11, 12, 13, 1, 1, 30}, []int{16, 31, 49}, []int{0, 1, 2, 0, 2, 2, 1}),
	}
	var lengths, use []int // more segments than a warp has lanes
	for i := range 45 {
		lengths, use = append(lengths, []int{2, 1, 3, 0}[i%4]), append(use, []int{0, 1, -1, 2, 1}[i%5])
	}
	all = append(all, t.loraBatch(6, 5, lengths, []int{2, 4, 1}, use),
		t.loraBatch(71, 23, []int{33, 1}, []int{5, 6}, []int{0, 1}), // more rows than a tile, a second chunk short of a vector
		t.loraBatch(5, 37, []int{10}, []int{71}, []int{0}),          // a rank of two chunks
		t.loraBatch(12, 64, []int{3, 2}, []int{3, 6}, []int{0, 1}),  // rows that vectors fit, ranks that they do not
		t.loraBatch(6, 5, []int{3}, []int{19}, []int{0}),            // a rank that ends in a second tile
		t.loraBatch(6, 5, []int{10}, []int{3}, []int{0}),            // few columns, a rank just short of a vector
		t.loraBatch(6, 5, []int{10, 10}, []int{2, 2}, []int{0, 1}))
	all[3].odd = true
	all[5].infiniteX = true
	all[len(all)-2].infiniteB = true
	if t.opt.Heavy {
		all = append(all, t.loraBatch(896, 1152, []int{70, 1, 65}, []int{64, 16}, []int{0, 1, 0}))
	}
	return all
}

func testLoRA(t *trial) {
	for i, b := range t.loraBatches() {
		t.combos(2, i == 0, func(dt []kernels.DType) {
			y := t.floats("y", dt[0], b.rows*b.out, 1).per(b.out).as(sum)
			h := t.output("h", kernels.F32, b.rows*b.maxRank).per(b.maxRank)
			x := t.floats("x", dt[1], b.rows*b.in, 1).per(b.in)
			wa := t.floats("a", kernels.F32, b.sizeA, 1/math.Sqrt(float64(b.in))).sparseIf(b.in == 7)
			wb := t.floats("b", kernels.F32, b.sizeB, 1/math.Sqrt(float64(b.maxRank))).sparseIf(b.in == 7)
			b.spoilGaps(wa, wb)
			switch {
			case b.odd && dt[0] == kernels.F32:
				t.sprinkle(x)
			case b.infiniteX:
				x.behindRows(b.in)
			case b.infiniteB:
				wb.set(int(b.segments[0].BOffset)+int(b.segments[0].Rank), math.Inf(1)) // the second row's first
			}
			t.check(&problem{op: "LoRA", shape: b.name, rows: b.rows, starts: b.starts, arrays: []*array{y, h, x, wa, wb},
				call: func(c *call) {
					table, n := b.table(c)
					c.LoRA(kernels.LoRAArgs{Y: c.at(y), H: c.at(h), X: c.at(x), A: c.at(wa), B: c.at(wb), Segments: table, NSeg: n,
						Rows: c.rows, In: b.in, Out: b.out, MaxRank: b.maxRank})
				}})
		})
	}
}

func testLoRABackward(t *trial) {
	for _, b := range t.loraBatches() {
		t.combos(1, true, func(dt []kernels.DType) {
			for _, withDX := range []bool{true, false} {
				var dx *array
				if withDX {
					dx = t.floats("dx", kernels.F32, b.rows*b.in, 1).per(b.in).as(sum)
				}
				da := t.floats("da", kernels.F32, b.sizeA, 1).as(sum).sparseIf(b.in == 7)
				db := t.floats("db", kernels.F32, b.sizeB, 1).as(sum).sparseIf(b.in == 7)
				dy := t.floats("dy", kernels.F32, b.rows*b.out, 1/math.Sqrt(float64(b.out))).per(b.out)
				x := t.floats("x", dt[0], b.rows*b.in, 1).per(b.in)
				h := t.floats("h", kernels.F32, b.rows*b.maxRank, 1).per(b.maxRank)
				b.spoil(h)
				wa := t.floats("a", kernels.F32, b.sizeA, 1/math.Sqrt(float64(b.in))).sparseIf(b.in == 7)
				wb := t.floats("b", kernels.F32, b.sizeB, 1).sparseIf(b.in == 7)
				b.spoilGaps(wa, wb)
				if b.odd && withDX {
					t.sprinkle(dy)
				}
				t.check(&problem{op: "LoRABackward", shape: b.name, rows: b.rows, starts: b.starts, arrays: []*array{dx, da, db, dy, x, h, wa, wb},
					call: func(c *call) {
						table, n := b.table(c)
						a := kernels.LoRABackwardArgs{DX: c.at(dx), DA: c.at(da), DB: c.at(db), DY: c.at(dy), X: c.at(x), H: c.at(h), A: c.at(wa), B: c.at(wb),
							Segments: table, NSeg: n, Rows: c.rows, In: b.in, Out: b.out, MaxRank: b.maxRank}
						a.Scratch = c.scratch(c.LoRABackwardScratch(a))
						c.LoRABackward(a)
					}})
			}
		})
	}
}

// spoilGaps writes NaN to what belongs to no adapter.
func (b *loraBatch) spoilGaps(wa, wb *array) {
	for _, of := range []struct {
		*array
		place func(s kernels.Segment) (from, n int)
	}{
		{wa, func(s kernels.Segment) (int, int) { return int(s.AOffset), int(s.Rank) * b.in }},
		{wb, func(s kernels.Segment) (int, int) { return int(s.BOffset), int(s.Rank) * b.out }},
	} {
		taken := make([]bool, of.len())
		for _, s := range b.segments {
			from, n := of.place(s)
			for i := range n {
				taken[from+i] = true
			}
		}
		for i, is := range taken {
			if !is {
				of.set(i, math.NaN())
			}
		}
	}
}

// spoil writes NaN where h is never written by the forward op: beyond a
// segment's rank, and in rows without an adapter.
func (b *loraBatch) spoil(h *array) {
	for row := range b.rows {
		rank := 0
		for _, s := range b.segments {
			if row >= int(s.RowStart) && row < int(s.RowEnd) {
				rank = int(s.Rank)
			}
		}
		for r := rank; r < b.maxRank; r++ {
			h.set(row*b.maxRank+r, math.NaN())
		}
	}
}

func testLoRAMerge(t *trial) {
	for _, s := range [][3]int{{7, 5, 3}, {1, 1, 1}, {33, 17, 0}, {64, 130, 64}, {130, 64, 9}} {
		in, out, rank := s[0], s[1], s[2]
		w := t.floats("w", kernels.F32, out*in, 1).as(sum)
		wa := t.floats("a", kernels.F32, rank*in, 1)
		wb := t.floats("b", kernels.F32, out*rank, 1/math.Sqrt(float64(max(1, rank))))
		t.check(&problem{op: "LoRAMerge", shape: fmt.Sprintf("%d→%d, rank %d", in, out, rank), whole: true, arrays: []*array{w, wa, wb},
			call: func(c *call) {
				c.LoRAMerge(kernels.LoRAMergeArgs{W: c.at(w), A: c.at(wa), B: c.at(wb), In: in, Out: out, Rank: rank, Scale: 0.75})
			}})
	}
}
