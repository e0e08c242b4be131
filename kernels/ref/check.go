package ref

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
)

// indices reads n indices and checks that each lies in 0…limit-1.
func (d *Backend) indices(op, what string, b kernels.Buffer, n, limit int) (ids []int32, ok bool) {
	ids = host.I32(b, n)
	for i, id := range ids {
		if id < 0 || int(id) >= limit {
			d.Fail(op, "row %d: %s %d, want 0…%d", i, what, id, limit-1)
			return nil, false
		}
	}
	return ids, true
}

// sequences reads starts and checks that they ascend within the rows.
func (d *Backend) sequences(op string, b kernels.Buffer, nseq, rows int) (starts []int32, ok bool) {
	starts = host.I32(b, nseq+1)
	last := int32(0)
	for s, start := range starts {
		if start < last || int(start) > rows {
			d.Fail(op, "starts[%d] is %d, want %d…%d", s, start, last, rows)
			return nil, false
		}
		last = start
	}
	return starts, true
}

// segments reads a segment table and checks rows, ranks and the places in the
// slabs of adapters. Empty segments may stand anywhere.
func (d *Backend) segments(op string, table kernels.Buffer, nseg, rows, in, out, maxRank int, slabsA, slabsB []kernels.Buffer) (segs []kernels.Segment, ok bool) {
	raw := host.I32(table, nseg*kernels.SegmentColumns)
	last := int32(0)
	for i := range nseg {
		s := kernels.SegmentAt(raw, i)
		switch {
		case s.RowStart < 0 || s.RowEnd < s.RowStart || int(s.RowEnd) > rows:
			d.Fail(op, "segment %d: rows %d to %d, want an ascending range within 0…%d", i, s.RowStart, s.RowEnd, rows)
			return nil, false
		case s.RowStart == s.RowEnd:
			continue
		case s.RowStart < last:
			d.Fail(op, "segment %d: starts at row %d, but the one before it ends at %d", i, s.RowStart, last)
			return nil, false
		case s.Rank < 0 || int(s.Rank) > maxRank:
			d.Fail(op, "segment %d: rank %d, want 0…%d", i, s.Rank, maxRank)
			return nil, false
		}
		last = s.RowEnd
		if s.Rank == 0 {
			continue
		}
		for _, b := range slabsA {
			if !holds(b, s.AOffset, int(s.Rank)*in) {
				d.Fail(op, "segment %d: A at element %d with %d×%d elements lies outside its slab", i, s.AOffset, s.Rank, in)
				return nil, false
			}
		}
		for _, b := range slabsB {
			if !holds(b, s.BOffset, int(s.Rank)*out) {
				d.Fail(op, "segment %d: B at element %d with %d×%d elements lies outside its slab", i, s.BOffset, out, s.Rank)
				return nil, false
			}
		}
		segs = append(segs, s)
	}
	return segs, true
}

// params reads a parameter table and checks groups and the places in the slabs.
// Runs of a negative group are left out.
func (d *Backend) params(op string, table kernels.Buffer, nparam, groups int, slabs ...kernels.Buffer) (runs []kernels.Param, ok bool) {
	raw := host.I32(table, nparam*kernels.ParamColumns)
	for i := range nparam {
		p := kernels.ParamAt(raw, i)
		if p.Group < 0 {
			continue
		}
		if int(p.Group) >= groups {
			d.Fail(op, "table row %d: group %d, want one below %d", i, p.Group, groups)
			return nil, false
		}
		for _, b := range slabs {
			if p.Count < 0 || !holds(b, p.Offset, int(p.Count)) {
				d.Fail(op, "table row %d: %d elements at %d lie outside their slab", i, p.Count, p.Offset)
				return nil, false
			}
		}
		runs = append(runs, p)
	}
	return runs, true
}

// holds reports whether n elements from element offset lie in the buffer's memory.
func holds(b kernels.Buffer, offset int32, n int) bool {
	return offset >= 0 && b.At(int(offset)+n).Offset <= b.Mem.Size()
}

// must panics, naming the op, when the caller's shapes do not fit.
func must(ok bool, op, format string, args ...any) {
	if !ok {
		panic(op + ": " + fmt.Sprintf(format, args...))
	}
}
