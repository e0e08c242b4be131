package cpu

import (
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
		spans: t.spans[:0], heads: a.Heads, kvHeads: a.KVHeads, width: a.HeadDim, scale: a.Scale,
		paged: true, rowPos: i32s(op, "RowPos", a.RowPos, a.Rows), shape: a.PagedShape,
		pageSize: kernels.PageSize * a.HeadDim,
	}
	t.cache, t.table = pagedOpen(op, a.PagedShape)
	rowSeq := i32s(op, "RowSeq", a.RowSeq, a.Rows)
	if !b.rowsWithin(op, a.PagedShape, t.table, rowSeq, t.rowPos, true) {
		return
	}
	keys := 0
	for lo := 0; lo < a.Rows; {
		hi := lo + 1
		for hi < a.Rows && hi-lo < queryBlock && rowSeq[hi] == rowSeq[lo] {
			hi++
		}
		if rowSeq[lo] >= 0 {
			t.spans = append(t.spans, span{rowSeq[lo], int32(lo), int32(hi)})
			keys += (hi - lo) * (1 + int(t.rowPos[hi-1]))
		}
		lo = hi
	}
	items := len(t.spans) * a.KVHeads
	b.pool.run(op, t, items, attentionGrain(items, keys*a.Heads*a.HeadDim/32))
}
