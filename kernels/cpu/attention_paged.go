package cpu

import (
	"cmp"
	"slices"

	"github.com/selkie-ml/selkie/kernels"
)

type kvstoreTask struct {
	cache, k, v    elems
	table          []int32
	rowSeq, rowPos []int32
	shape          kernels.PagedShape
}

// pagedOpen opens the cache and the page table.
func pagedOpen(op string, p kernels.PagedShape) (cache elems, table []int32) {
	return floats(op, "Cache", p.Cache, p.Pages, p.Layers, 2, p.KVHeads, kernels.PageSize, p.HeadDim),
		i32s(op, "PageTable", p.PageTable, p.NSeq, p.MaxPages)
}

// rowsWithin reports whether every row names a sequence, a position with a page
// and, where all is set, a page for all positions before; it keeps the error if not.
func (b *Backend) rowsWithin(op string, p kernels.PagedShape, table, rowSeq, rowPos []int32, all bool) bool {
	for i, s := range rowSeq {
		if s < 0 {
			continue
		}
		pos := int(rowPos[i])
		if int(s) >= p.NSeq || pos < 0 || pos >= p.MaxPages*kernels.PageSize {
			b.Fail(op, "row %d is position %d of sequence %d, with %d sequences of up to %d pages", i, pos, s, p.NSeq, p.MaxPages)
			return false
		}
		last := pos / kernels.PageSize
		first := last
		if all {
			first = 0
		}
		for n := first; n <= last; n++ {
			if page := table[int(s)*p.MaxPages+n]; page < 0 || int(page) >= p.Pages {
				b.Fail(op, "page %d of sequence %d is %d, outside a cache of %d pages", n, s, page, p.Pages)
				return false
			}
		}
	}
	return true
}

// KVStore implements kernels.Backend.
func (b *Backend) KVStore(a kernels.KVStoreArgs) {
	const op = "KVStore"
	t := &b.ops.kvstore
	*t = kvstoreTask{
		k: floats(op, "K", a.K, a.Rows, a.KVHeads, a.HeadDim), v: floats(op, "V", a.V, a.Rows, a.KVHeads, a.HeadDim),
		rowSeq: i32s(op, "RowSeq", a.RowSeq, a.Rows), rowPos: i32s(op, "RowPos", a.RowPos, a.Rows), shape: a.PagedShape,
	}
	t.cache, t.table = pagedOpen(op, a.PagedShape)
	if b.rowsWithin(op, a.PagedShape, t.table, t.rowSeq, t.rowPos, false) {
		b.pool.run(op, t, a.Rows, rowGrain(a.KVHeads*a.HeadDim))
	}
}

func (t *kvstoreTask) do(lo, hi int, w *worker) {
	p := &t.shape
	for i := lo; i < hi; i++ {
		if t.rowSeq[i] < 0 {
			continue
		}
		pos := int(t.rowPos[i])
		page := int(t.table[int(t.rowSeq[i])*p.MaxPages+pos/kernels.PageSize])
		for h := range p.KVHeads {
			w.used = 0
			at := (((page*p.Layers+p.Layer)*2*p.KVHeads+h)*kernels.PageSize + pos%kernels.PageSize) * p.HeadDim
			k := copyTask{dst: t.cache, src: t.k}
			k.span(at, (i*p.KVHeads+h)*p.HeadDim, p.HeadDim, w)
			v := copyTask{dst: t.cache, src: t.v}
			v.span(at+p.KVHeads*kernels.PageSize*p.HeadDim, (i*p.KVHeads+h)*p.HeadDim, p.HeadDim, w)
		}
	}
}

// AttentionPaged implements kernels.Backend.
func (b *Backend) AttentionPaged(a kernels.AttentionPagedArgs) {
	const op = "AttentionPaged"
	checkHeads(op, a.Heads, a.KVHeads, a.HeadDim)
	t := &b.ops.attention
	*t = attentionTask{
		o: floats(op, "O", a.O, a.Rows, a.Heads, a.HeadDim), q: floats(op, "Q", a.Q, a.Rows, a.Heads, a.HeadDim),
		heads: a.Heads, kvHeads: a.KVHeads, width: a.HeadDim, scale: a.Scale, spans: t.spans[:0], items: t.items[:0],
		paged: true, shape: a.PagedShape, pageSize: kernels.PageSize * a.HeadDim,
	}
	t.cache, t.table = pagedOpen(op, a.PagedShape)
	rowSeq, rowPos := i32s(op, "RowSeq", a.RowSeq, a.Rows), i32s(op, "RowPos", a.RowPos, a.Rows)
	if !b.rowsWithin(op, a.PagedShape, t.table, rowSeq, rowPos, true) {
		return
	}
	group := a.Heads / a.KVHeads
	limit := t.rowsPerItem(a.Rows*group, group)
	keys := 0
	for lo := 0; lo < a.Rows; {
		hi := lo + 1
		for hi < a.Rows && hi-lo < limit && rowSeq[hi] == rowSeq[lo] && rowPos[hi] == rowPos[hi-1]+1 {
			hi++
		}
		if rowSeq[lo] >= 0 {
			t.spans = append(t.spans, span{row: int32(lo), pos: rowPos[lo], n: int32(hi - lo), seq: rowSeq[lo]})
			keys += (hi - lo) * (1 + int(rowPos[hi-1]))
		}
		lo = hi
	}
	t.family(limit, b.Threads())
	b.pool.run(op, t, len(t.items), attentionGrain(len(t.items), keys*a.Heads*a.HeadDim/32))
}

// family makes items of spans whose first page is the same, so that pages which
// sequences share are read once for up to limit rows.
func (t *attentionTask) family(limit, threads int) {
	slices.SortFunc(t.spans, t.comparePages)
	families := 0
	each := func(f func(lo, hi int32)) {
		for lo := 0; lo < len(t.spans); {
			hi, n := lo+1, int(t.spans[lo].n)
			for hi < len(t.spans) && t.block(t.spans[hi], 0) == t.block(t.spans[lo], 0) && n+int(t.spans[hi].n) <= limit {
				n += int(t.spans[hi].n)
				hi++
			}
			f(int32(lo), int32(hi))
			lo = hi
		}
	}
	each(func(lo, hi int32) { families++ })
	// With fewer items than threads, heads do not share their keys.
	parts := max(1, threads/max(1, families*t.kvHeads))
	heads := (t.heads/t.kvHeads + parts - 1) / parts
	each(func(lo, hi int32) { t.share(lo, hi, heads) })
}

// comparePages orders spans by the pages that they see, so that those with the
// longest common prefix stand side by side, and by position.
func (t *attentionTask) comparePages(a, b span) int {
	lastA, lastB := int(a.pos+a.n)-1, int(b.pos+b.n)-1
	if a.seq != b.seq {
		x := t.table[int(a.seq)*t.shape.MaxPages:][:lastA/kernels.PageSize+1]
		y := t.table[int(b.seq)*t.shape.MaxPages:][:lastB/kernels.PageSize+1]
		if c := slices.Compare(x, y); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(lastA, lastB), cmp.Compare(a.row, b.row))
}
