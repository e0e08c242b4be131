package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/gemm"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// Attention is done in tiles, products of up to tileRows queries and a block of
// keys. A query of a tile is a row and a head: the heads that read one KV head
// stand side by side and share its keys, packed once for all rows of an item.
// What a tile holds besides a query, and who else shares the keys, shows in no
// result: decoding and prefill come through the same tiles.
//
// An item has all heads where there are items enough: then it reads whole rows,
// which memory gives several times faster than every second piece of them.
const (
	tileRows = 64
	// tileLd is the distance of a tile's rows: an odd number of cache lines, so
	// that they do not fall into the same sets.
	tileLd = kernels.KeyBlock + 16
	// strip is how many queries are taken together where the diagonal cuts a tile.
	strip = 16
	// fewQueries is the most for which packing a block of keys does not pay.
	fewQueries = 8
	// overread is what a product in place may read behind its last row.
	overread = 32
)

// span is n rows of a batch at consecutive positions of a sequence. Its keys are
// found by seq: the row where the sequence starts, or its line in the page table.
type span struct{ row, pos, n, seq int32 }

// attentionItem is the rows of some spans, for the heads of some KV heads or for
// a part of those of one.
type attentionItem struct{ lo, hi, head, heads int32 }

type attentionTask struct {
	o, q, k, v            elems
	lse                   []float32
	heads, kvHeads, width int
	scale                 float32
	spans                 []span
	items                 []attentionItem

	// Paged form: keys and values in the cache.
	paged    bool
	cache    elems
	table    []int32
	shape    kernels.PagedShape
	pageSize int // elements of K, and of V, of one head in one page
}

// checkHeads panics unless query heads divide evenly among KV heads.
func checkHeads(op string, heads, kvHeads, headDim int) {
	if heads <= 0 || kvHeads <= 0 || headDim <= 0 || heads%kvHeads != 0 {
		panic(fmt.Sprintf("kernels/cpu: %s: %d query heads on %d KV heads of %d", op, heads, kvHeads, headDim))
	}
}

// Attention implements kernels.Backend.
func (b *Backend) Attention(a kernels.AttentionArgs) {
	const op = "Attention"
	checkHeads(op, a.Heads, a.KVHeads, a.HeadDim)
	starts, ok := b.starts(op, a.Starts, a.NSeq, a.Rows)
	if !ok {
		return
	}
	t := &b.ops.attention
	*t = attentionTask{
		o: floats(op, "O", a.O, a.Rows, a.Heads, a.HeadDim), q: floats(op, "Q", a.Q, a.Rows, a.Heads, a.HeadDim),
		k: floats(op, "K", a.K, a.Rows, a.KVHeads, a.HeadDim), v: floats(op, "V", a.V, a.Rows, a.KVHeads, a.HeadDim),
		heads: a.Heads, kvHeads: a.KVHeads, width: a.HeadDim, scale: a.Scale, spans: t.spans[:0], items: t.items[:0],
	}
	if !a.LSE.IsNil() {
		t.lse = f32s(op, "LSE", a.LSE, a.Rows, a.Heads)
	}
	n := int32(t.rowsPerItem(a.Rows*a.Heads/(4*b.Threads()), a.Heads))
	pieces := 0
	for s := range a.NSeq {
		pieces += int((starts[s+1] - starts[s] + n - 1) / n)
	}
	perItem := a.Heads
	if pieces < 4*b.Threads() {
		perItem = a.Heads / a.KVHeads
		n = int32(t.rowsPerItem(a.Rows*a.Heads/(4*b.Threads()), perItem))
	}
	for s := range a.NSeq {
		first := starts[s]
		// The last rows have the most to do: what is left for the end is short.
		for hi := starts[s+1]; hi > first; {
			lo := max(first, hi-n)
			t.spans = append(t.spans, span{row: lo, pos: lo - first, n: hi - lo, seq: first})
			at := int32(len(t.spans))
			t.share(at-1, at, perItem)
			hi = lo
		}
	}
	b.pool.run(op, t, len(t.items), attentionGrain(len(t.items), a.Rows*a.Heads*a.HeadDim))
}

// rowsPerItem is how many rows of some heads to give an item that should have so
// many queries: enough to pay for packing keys, and no more than stay in cache.
func (t *attentionTask) rowsPerItem(queries, heads int) int {
	least := 2 * tileRows * heads * t.kvHeads / t.heads
	return max(1, min(max(queries, least), 1<<16/t.width)/heads)
}

// share adds the items of some spans, with so many heads each.
func (t *attentionTask) share(lo, hi int32, heads int) {
	group := t.heads / t.kvHeads
	for h := 0; h < t.heads; {
		n := min(heads, t.heads-h)
		if heads < group {
			n = min(n, group-h%group)
		}
		t.items = append(t.items, attentionItem{lo, hi, int32(h), int32(n)})
		h += n
	}
}

// attentionGrain is how many of n items to take at a time, given the elements of Q.
func attentionGrain(n, elements int) int {
	return max(1, n*4096/max(1, elements))
}

func (t *attentionTask) do(lo, hi int, w *worker) {
	for i := lo; i < hi; i++ {
		w.used = 0
		t.item(&t.items[i], w)
	}
}

// queries are the rows and heads of an item that read one KV head, heads of a row side
// by side, and their softmax so far: o = Σ exp(s-m)·v and l = Σ exp(s-m) over the keys seen.
type queries struct {
	q, o, m, l []float32
	pos        []int32
	shift, sum []float32
}

// part returns those of the item's KV head c.
func (a *queries) part(c, n, d int) queries {
	lo, hi := c*n, (c+1)*n
	return queries{a.q[lo*d : hi*d], a.o[lo*d:], a.m[lo:hi], a.l[lo:hi], a.pos, a.shift[lo:hi], a.sum[lo:hi]}
}

// item takes the blocks of keys in ascending order, each for all rows that see it.
func (t *attentionTask) item(it *attentionItem, w *worker) {
	d, group := t.width, min(int(it.heads), t.heads/t.kvHeads)
	kvHeads := int(it.heads) / group
	spans := t.spans[it.lo:it.hi]
	n, last := 0, 0 // queries of each KV head
	for _, sp := range spans {
		n += int(sp.n) * group
		last = max(last, int(sp.pos+sp.n)-1)
	}
	all := n * kvHeads
	a := queries{q: w.floats(all * d), o: w.floats(all*d + overread), m: w.floats(all), l: w.floats(all),
		pos: w.ints(n), shift: w.floats(all), sum: w.floats(all)}
	fill(a.m, -math.MaxFloat32) // below every score that is not -Inf
	clear(a.l)
	x := 0
	for _, sp := range spans {
		if int(it.heads) == t.heads {
			t.q.prefetch(int(sp.row)*t.heads*d, int(sp.n)*t.heads*d)
		}
		for i := range sp.n {
			at := t.query(sp.row+i, it)
			for c := range kvHeads {
				t.q.widen(a.q[(c*n+x)*d:][:group*d], at+c*group*d)
			}
			for range group {
				a.pos[x] = sp.pos + i
				x++
			}
		}
	}
	kept := w.used
	for base := 0; base <= last; base += kernels.KeyBlock {
		x := 0
		for s := 0; s < len(spans); {
			// One span, from the first row that sees the block, and those after
			// it whose keys are the same.
			sp := spans[s]
			end := x + int(sp.n)*group
			from := x + max(0, base-int(sp.pos))*group
			seen := int(sp.pos+sp.n) - base
			s++
			if from < end {
				block := t.block(sp, base)
				for ; s < len(spans) && int(spans[s].pos) >= base && t.block(spans[s], base) == block; s++ {
					end += int(spans[s].n) * group
					seen = max(seen, int(spans[s].pos+spans[s].n)-base)
				}
				keys, next := min(seen, kernels.KeyBlock), -1
				if seen > kernels.KeyBlock {
					next = t.block(spans[s-1], base+kernels.KeyBlock)
				}
				t.prefetch(block, keys)
				for c := range kvHeads {
					w.used = kept
					part := a.part(c, n, d)
					t.attend(&part, from, end, base, block, next, int(it.head)/(t.heads/t.kvHeads)+c, keys, w)
				}
			}
			x = end
		}
	}
	t.finish(&a, it, n, group, kvHeads)
}

// query returns where the item's queries of a row are, and its outputs.
func (t *attentionTask) query(row int32, it *attentionItem) int {
	return (int(row)*t.heads + int(it.head)) * t.width
}

// prefetch asks for the keys and values of a block, which rows of several heads interleave.
func (t *attentionTask) prefetch(block, keys int) {
	if stride := t.kvHeads * t.width; !t.paged && t.kvHeads > 1 {
		t.k.prefetch(block*stride, keys*stride)
		t.v.prefetch(block*stride, keys*stride)
	}
}

// block tells which keys a span has from position base on.
func (t *attentionTask) block(sp span, base int) int {
	if t.paged {
		return int(t.table[int(sp.seq)*t.shape.MaxPages+base/kernels.PageSize])
	}
	return int(sp.seq) + base
}

// place returns where a block's keys of a KV head are, and its values, and how far
// apart their rows are.
func (t *attentionTask) place(block, kvHead int) (k, v elems, stride int) {
	if t.paged {
		p := &t.shape
		k = t.cache.tail(((block*p.Layers+p.Layer)*2*p.KVHeads + kvHead) * t.pageSize)
		return k, k.tail(p.KVHeads * t.pageSize), t.width
	}
	at := (block*t.kvHeads + kvHead) * t.width
	return t.k.tail(at), t.v.tail(at), t.kvHeads * t.width
}

// attend takes in a block of keys for queries x0 … x1. What the cache holds of
// values, and then of the next block's keys, is asked for ahead of use.
func (t *attentionTask) attend(a *queries, x0, x1, base, block, next, kvHead, keys int, w *worker) {
	d := t.width
	storedK, storedV, stride := t.place(block, kvHead)
	if t.paged {
		storedV.prefetch(0, keys*d)
	}
	var k, v []float32
	few := x1-x0 <= fewQueries
	if !few {
		k = w.floats(gemm.PanelFloats(keys, d))
		gemm.PackPanels(k, storedK.matrix(stride), gemm.FormNT, keys, d)
	}
	s := w.floats(tileRows * tileLd)
	var seen [tileRows]int32
	for x := x0; x < x1; {
		rows, least, most := tile(&seen, a.pos[x:x1], base, keys)
		q := a.q[x*d:]
		if few {
			gemm.NT(nil, s, tileLd, q, d, storedK.matrix(stride), nil, rows, most, d, false)
		} else {
			scores(s, q, d, k, rows, most, keys, d)
		}
		if x == x0 {
			if next >= 0 && t.paged {
				nextK, _, _ := t.place(next, kvHead)
				nextK.prefetch(0, t.pageSize)
			}
			v = storedV.rows(0, stride, keys, d, w)
		}
		if least < most && !finite(v[:most*d]) {
			// A masked 0 must not meet the Inf or NaN of a later value.
			for rows, most = 1, int(seen[0]); int(seen[rows]) == most; rows++ {
			}
		}
		shift := a.shift[x : x+rows]
		vec.Softmax(s, tileLd, ceil16(most), seen[:rows], t.scale, a.m[x:x+rows], shift, a.sum[x:x+rows])
		vec.Exp(shift, shift)
		moved := false
		for i, c := range shift {
			a.l[x+i] = float32(a.l[x+i]*c) + a.sum[x+i]
			moved = moved || c != 1
		}
		if moved && base > 0 {
			vec.ScaleRows(a.o[x*d:], d, d, shift)
		}
		gemm.MulRows(a.o[x*d:], d, s, tileLd, 1, v, d, rows, d, most, base > 0)
		x += rows
	}
}

// tile chooses how many of the queries at pos to take together, and says how
// many of the keys from base on each of them sees: all, if the first one does.
func tile(seen *[tileRows]int32, pos []int32, base, keys int) (rows, least, most int) {
	limit := strip
	least = keys
	for rows < min(limit, len(pos)) {
		n := min(int(pos[rows])+1-base, keys)
		if rows == 0 && n == keys {
			limit = tileRows
		}
		if limit == tileRows && n < keys {
			break
		}
		seen[rows] = int32(n)
		least, most = min(least, n), max(most, n)
		rows++
	}
	return rows, least, most
}

// scores sets s[i][j] = a[i]·b[j] for j < n; b is packed for keys columns.
func scores(s, a []float32, lda int, b []float32, rows, n, keys, d int) {
	for d0 := 0; d0 < d; d0 += gemm.KC {
		gemm.MulPanels(s, tileLd, a[d0:], lda, 1, b[gemm.PanelFloats(keys, d0):], rows, n, min(gemm.KC, d-d0), d0 > 0)
	}
}

// finite reports whether there is no Inf or NaN in x. It may take very large values for such.
func finite(x []float32) bool {
	s := vec.Sum(x)
	return s-s == 0
}

func ceil16(n int) int { return (n + 15) &^ 15 }

// finish divides by the sums and stores. Adding 0 makes -0 to +0: which zero it
// is depends on how many masked keys were taken in.
func (t *attentionTask) finish(a *queries, it *attentionItem, n, group, kvHeads int) {
	d := t.width
	for x, l := range a.l {
		a.shift[x] = 1 / l
	}
	vec.ScaleRows(a.o, d, d, a.shift)
	if t.lse != nil {
		vec.LogSumExp(a.sum, a.m, a.l)
	}
	x := 0
	for _, sp := range t.spans[it.lo:it.hi] {
		for i := range sp.n {
			at := t.query(sp.row+i, it)
			for c := range kvHeads {
				y := c*n + x
				t.o.narrow(a.o[y*d:][:group*d], at+c*group*d)
				if t.lse != nil {
					copy(t.lse[at/d+c*group:], a.sum[y:y+group])
				}
			}
			x += group
		}
	}
}

// prefetch asks for n elements from at on.
func (e elems) prefetch(at, n int) {
	if e.dtype == kernels.F32 {
		vec.Prefetch(e.f32[at : at+n])
	} else {
		vec.Prefetch(e.u16[at : at+n])
	}
}

// tail returns the elements from at on.
func (e elems) tail(at int) elems {
	if e.dtype == kernels.F32 {
		e.f32 = e.f32[at:]
	} else {
		e.u16 = e.u16[at:]
	}
	return e
}

// rows returns n rows of d elements, stride apart from at on, side by side and
// with what a product in place may read behind them: where they are, if they are so.
func (e elems) rows(at, stride, n, d int, w *worker) []float32 {
	if stride == d && e.dtype == kernels.F32 && d%overread == 0 {
		return e.f32[at : at+n*d]
	}
	x := w.floats(n*d + overread)
	if stride == d {
		e.widen(x[:n*d], at)
		return x
	}
	for i := range n {
		e.widen(x[i*d:(i+1)*d], at+i*stride)
	}
	return x
}

// ints is floats for integers.
func (w *worker) ints(n int) []int32 {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*int32)(unsafe.Pointer(&w.floats(n)[0])), n)
}
