package cpu

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/gemm"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// attentionBackwardTask goes over the tiles of a sequence and KV head by blocks
// of keys. DK and DV of a block add up its tiles in ascending order of queries,
// DQ of a tile's queries its blocks in ascending order of keys.
//
// A sequence is one item per KV head, or, where that would leave threads idle,
// one per KV head and block of keys: then an item keeps ds of its tiles in
// scratch, for a window of blocks at a time, and DQ is summed from there. Both
// ways take the same sums.
type attentionBackwardTask struct {
	dq, dk, dv, do_       []float32
	o, q, k, v            elems
	lse                   []float32
	starts                []int32
	heads, kvHeads, width int
	scale                 float32

	items   []backwardItem
	split   []splitSequence
	scratch []float32
	window  int
	summing bool // the items sum DQ
}

// backwardItem is the blocks of keys lo … hi-1 of a sequence, for some KV heads.
// With at ≥ 0 it has one block and one head, and its tiles of ds begin at tile at
// of scratch. When summing, it is tiles lo … hi-1 of queries, from block on.
type backwardItem struct{ seq, kvHead, kvHeads, lo, hi, at, block int32 }

// splitSequence is a sequence whose blocks are shared out, and its first tile in scratch.
type splitSequence struct{ seq, at int }

// AttentionBackwardScratch implements kernels.Backend: tiles of ds for a few
// blocks of keys of all queries, where sequences may have to be shared out.
func (b *Backend) AttentionBackwardScratch(a kernels.AttentionBackwardArgs) int64 {
	if b.Threads() <= a.KVHeads {
		return 0
	}
	tiles := b.backwardTiles(a)
	return 4 * int64(tiles) * int64(backwardWindow(tiles)) * tileRows * tileLd
}

// backwardTiles is how many tiles of queries the sequences that are split can have.
func (b *Backend) backwardTiles(a kernels.AttentionBackwardArgs) int {
	return a.Rows*a.Heads/tileRows + min(a.NSeq, b.Threads())*a.KVHeads
}

// backwardWindow is how many blocks of keys to have ds of at a time, for some
// number of tiles: as many as fit into 24 MiB, one at least.
func backwardWindow(tiles int) int {
	return max(1, min(8, 6<<20/(tiles*tileRows*tileLd+1)))
}

// AttentionBackward implements kernels.Backend.
func (b *Backend) AttentionBackward(a kernels.AttentionBackwardArgs) {
	const op = "AttentionBackward"
	checkHeads(op, a.Heads, a.KVHeads, a.HeadDim)
	starts, ok := b.starts(op, a.Starts, a.NSeq, a.Rows)
	if !ok {
		return
	}
	t := &b.ops.attentionBackward
	*t = attentionBackwardTask{
		dq: f32s(op, "DQ", a.DQ, a.Rows, a.Heads, a.HeadDim),
		dk: f32s(op, "DK", a.DK, a.Rows, a.KVHeads, a.HeadDim), dv: f32s(op, "DV", a.DV, a.Rows, a.KVHeads, a.HeadDim),
		do_: f32s(op, "DO", a.DO, a.Rows, a.Heads, a.HeadDim),
		o:   floats(op, "O", a.O, a.Rows, a.Heads, a.HeadDim), q: floats(op, "Q", a.Q, a.Rows, a.Heads, a.HeadDim),
		k: floats(op, "K", a.K, a.Rows, a.KVHeads, a.HeadDim), v: floats(op, "V", a.V, a.Rows, a.KVHeads, a.HeadDim),
		lse: f32s(op, "LSE", a.LSE, a.Rows, a.Heads), starts: starts,
		heads: a.Heads, kvHeads: a.KVHeads, width: a.HeadDim, scale: a.Scale,
		items: t.items[:0], split: t.split[:0], window: 1,
	}
	pairs := 0
	for s := range a.NSeq {
		n := t.length(s)
		pairs += n * n
	}
	worth := pairs * a.KVHeads / b.Threads()
	longest := 0
	for s, at := 0, 0; s < a.NSeq; s++ {
		if n := t.length(s); t.splits(n, worth) {
			t.split = append(t.split, splitSequence{s, at})
			at += t.tiles(n) * a.KVHeads
			longest = max(longest, t.blocks(n))
		}
	}
	if len(t.split) > 0 {
		tiles := b.backwardTiles(a)
		t.window = backwardWindow(tiles)
		a.Scratch.DType = kernels.F32
		t.scratch = f32s(op, "Scratch", a.Scratch, tiles*t.window, tileRows, tileLd)
	}
	for first := 0; first == 0 || first < longest; first += t.window {
		t.items, t.summing = t.items[:0], false
		for _, sp := range t.split {
			t.addBlocks(sp, first)
		}
		grain := 1
		if first == 0 {
			t.addWhole(worth, b.Threads())
		}
		if len(t.split) == 0 {
			grain = attentionGrain(len(t.items), 2*a.Rows*a.Heads*a.HeadDim)
		}
		b.pool.run(op, t, len(t.items), grain)
		t.items, t.summing = t.items[:0], true
		for _, sp := range t.split {
			t.addSums(sp, first)
		}
		b.pool.run(op, t, len(t.items), 1)
	}
}

func (t *attentionBackwardTask) length(seq int) int { return int(t.starts[seq+1] - t.starts[seq]) }

// blocks and tiles are how many there are of keys and of queries in n rows.
func (t *attentionBackwardTask) blocks(n int) int {
	return (n + kernels.KeyBlock - 1) / kernels.KeyBlock
}

func (t *attentionBackwardTask) tiles(n int) int {
	return (n*(t.heads/t.kvHeads) + tileRows - 1) / tileRows
}

// splits reports whether a sequence of n rows is shared out: if one of its KV
// heads would be more than a thread's part of the work. Going through scratch
// costs a quarter more.
func (t *attentionBackwardTask) splits(n, worth int) bool {
	return n > kernels.KeyBlock && n*n > worth
}

// addWhole adds the other sequences, the long ones first.
func (t *attentionBackwardTask) addWhole(worth, threads int) {
	heads := t.kvHeads
	if len(t.starts)-1 < 4*threads {
		heads = 1
	}
	for _, long := range []bool{true, false} {
		for s := range len(t.starts) - 1 {
			n := t.length(s)
			if n == 0 || t.splits(n, worth) || n*n > worth/4 != long {
				continue
			}
			for h := 0; h < t.kvHeads; h += heads {
				t.items = append(t.items, backwardItem{int32(s), int32(h), int32(heads), 0, int32(t.blocks(n)), -1, 0})
			}
		}
	}
}

// tile0 is where scratch has ds of a split sequence's KV head, a block of the window.
func (t *attentionBackwardTask) tile0(sp splitSequence, kvHead, block int) int32 {
	tiles := t.tiles(t.length(sp.seq))
	return int32((sp.at+kvHead*tiles)*t.window + block*tiles)
}

func (t *attentionBackwardTask) addBlocks(sp splitSequence, first int) {
	for j := first; j < min(first+t.window, t.blocks(t.length(sp.seq))); j++ {
		for h := range t.kvHeads {
			t.items = append(t.items, backwardItem{int32(sp.seq), int32(h), 1, int32(j), int32(j + 1), t.tile0(sp, h, j-first), 0})
		}
	}
}

func (t *attentionBackwardTask) addSums(sp splitSequence, first int) {
	const tilesPerItem = 6
	group := t.heads / t.kvHeads
	for hi := t.tiles(t.length(sp.seq)); hi > first*group; hi -= tilesPerItem {
		for h := range t.kvHeads {
			t.items = append(t.items, backwardItem{int32(sp.seq), int32(h), 1, int32(max(first*group, hi-tilesPerItem)), int32(hi), t.tile0(sp, h, 0), int32(first)})
		}
	}
}

func (t *attentionBackwardTask) do(lo, hi int, w *worker) {
	for i := lo; i < hi; i++ {
		w.used = 0
		if t.summing {
			t.sum(&t.items[i], w)
		} else {
			t.keys(&t.items[i], w)
		}
	}
}

// query returns where the queries of a row are, those of one KV head.
func (t *attentionBackwardTask) query(row, kvHead int) int {
	return (row*t.heads + kvHead*(t.heads/t.kvHeads)) * t.width
}

// rowsAhead is how many rows ahead of use a row's piece is asked for, where the pieces
// lie too far apart for the processor to see the next one coming.
const rowsAhead = 8

// ask asks for what an item reads of a row.
func (t *attentionBackwardTask) ask(row, kvHead, kvHeads int) {
	at, n := t.query(row, kvHead), kvHeads*(t.heads/t.kvHeads)*t.width
	t.q.prefetch(at, n)
	t.o.prefetch(at, n)
	vec.Prefetch(t.do_[at : at+n])
}

// backwardQueries are an item's queries of one KV head, heads of a row side by side.
type backwardQueries struct{ q, do, dq, lse, delta []float32 }

func (a *backwardQueries) part(c, n, d int) backwardQueries {
	lo, hi := c*n, (c+1)*n
	p := backwardQueries{q: a.q[lo*d:], do: a.do[lo*d:], lse: a.lse[lo:hi], delta: a.delta[lo:hi]}
	if a.dq != nil {
		p.dq = a.dq[lo*d : hi*d]
	}
	return p
}

// keys does blocks of keys.
func (t *attentionBackwardTask) keys(it *backwardItem, w *worker) {
	d, group, stride := t.width, t.heads/t.kvHeads, t.kvHeads*t.width
	first := int(it.lo) * kernels.KeyBlock // the position of the first query
	b, kvHead, kvHeads := int(t.starts[it.seq])+first, int(it.kvHead), int(it.kvHeads)
	rows := int(t.starts[it.seq+1]) - b
	n := rows * group
	all := n * kvHeads
	a := backwardQueries{q: w.floats(all*d + overread), do: w.floats(all*d + overread), lse: w.floats(all), delta: w.floats(all)}
	if it.at < 0 {
		a.dq = w.floats(all * d)
	}
	kept := w.used
	apart := kvHeads < t.kvHeads
	for i := range rows {
		at := t.query(b+i, kvHead)
		if ahead := i + rowsAhead; apart && ahead < rows {
			t.ask(b+ahead, kvHead, kvHeads)
		}
		w.used = kept
		o := t.o.load(w, at, kvHeads*group*d)
		for c := range kvHeads {
			x, part := c*n+i*group, c*group*d
			q, do := a.q[x*d:(x+group)*d], a.do[x*d:(x+group)*d]
			t.q.widen(q, at+part)
			copy(do, t.do_[at+part:])
			copy(a.lse[x:x+group], t.lse[at/d+c*group:])
			vec.RowDots(a.delta[x:x+group], do, o[part:], d, d)
		}
	}
	for j := int(it.lo); j < int(it.hi); j++ {
		w.used = kept
		base := j*kernels.KeyBlock - first
		keys := min(kernels.KeyBlock, rows-base)
		at := (b+base)*stride + kvHead*d
		if kvHeads > 1 {
			t.k.prefetch(at, keys*stride)
			t.v.prefetch(at, keys*stride)
		}
		size := keys * d
		dk, dv := w.floats(kvHeads*size), w.floats(kvHeads*size)
		clear(dk)
		clear(dv)
		loaded := w.used
		for c := range kvHeads {
			w.used = loaded
			part := a.part(c, n, d)
			t.block(it, &part, dk[c*size:][:size], dv[c*size:][:size], at+c*d, base, keys, j > 0, w)
		}
		for i := range keys {
			for c := range kvHeads {
				copy(t.dk[at+i*stride+c*d:], dk[c*size+i*d:][:d])
				copy(t.dv[at+i*stride+c*d:], dv[c*size+i*d:][:d])
			}
		}
	}
	if it.at < 0 {
		for i := range rows {
			for c := range kvHeads {
				copy(t.dq[t.query(b+i, kvHead)+c*group*d:], a.dq[(c*n+i*group)*d:][:group*d])
			}
		}
	}
}

// block adds to dk and dv of the keys at at, base rows after the item's first
// query, and to dq or else to scratch.
func (t *attentionBackwardTask) block(it *backwardItem, a *backwardQueries, dk, dv []float32, at, base, keys int, accumulate bool, w *worker) {
	d, group, stride := t.width, t.heads/t.kvHeads, t.kvHeads*t.width
	kt, vt := w.floats(gemm.PanelFloats(keys, d)), w.floats(gemm.PanelFloats(keys, d))
	gemm.PackPanels(kt, t.k.tail(at).matrix(stride), gemm.FormNT, keys, d)
	gemm.PackPanels(vt, t.v.tail(at).matrix(stride), gemm.FormNT, keys, d)
	var k []float32
	if a.dq != nil {
		k = t.k.rows(at, stride, keys, d, w)
	}
	p, ds := w.floats(tileRows*tileLd), w.floats(tileRows*tileLd)
	var counts [tileRows]int32
	for x := base * group; x < len(a.lse); x += tileRows {
		seen := seenFrom(&counts, x, min(x+tileRows, len(a.lse)), group, base, keys)
		if a.dq == nil {
			tile := int(it.at) + (x+int(it.lo)*kernels.KeyBlock*group)/tileRows
			ds = t.scratch[tile*tileRows*tileLd:][:tileRows*tileLd]
		}
		q, do := a.q[x*d:], a.do[x*d:]
		for r := 0; r < len(seen); {
			n, most := band(seen[r:], keys, strip)
			s := r * tileLd
			scores(p[s:], q[r*d:], d, kt, n, most, keys, d)
			scores(ds[s:], do[r*d:], d, vt, n, most, keys, d)
			vec.SoftmaxGrad(p[s:], ds[s:], tileLd, ceil16(most), seen[r:r+n], t.scale, a.lse[x+r:x+r+n], a.delta[x+r:x+r+n])
			r += n
		}
		if a.dq != nil {
			mulMasked(a.dq[x*d:], ds, k, seen, keys, d, accumulate)
		}
		mulMaskedTransposed(dk, d, ds, q, seen, d)
		mulMaskedTransposed(dv, d, p, do, seen, d)
	}
}

// sum adds up DQ of tiles over a window's blocks of keys.
func (t *attentionBackwardTask) sum(it *backwardItem, w *worker) {
	d, group, stride := t.width, t.heads/t.kvHeads, t.kvHeads*t.width
	b, n, kvHead := int(t.starts[it.seq]), t.length(int(it.seq)), int(it.kvHead)
	x0, x1 := int(it.lo)*tileRows, min(int(it.hi)*tileRows, n*group)
	dq := w.floats((x1 - x0) * d)
	// Tiles begin and end within a row's heads.
	each := func(f func(dq, out []float32)) {
		for x := x0; x < x1; x++ {
			f(dq[(x-x0)*d:][:d], t.dq[t.query(b+x/group, kvHead)+x%group*d:][:d])
		}
	}
	if it.block > 0 {
		each(func(dq, out []float32) { copy(dq, out) })
	}
	kept := w.used
	for j := int(it.block); j < min(int(it.block)+t.window, ((x1-1)/group)/kernels.KeyBlock+1); j++ {
		w.used = kept
		base := j * kernels.KeyBlock
		keys := min(kernels.KeyBlock, n-base)
		k := t.k.rows((b+base)*stride+kvHead*d, stride, keys, d, w)
		at := int(it.at) + (j-int(it.block))*t.tiles(n)
		var seen [tileRows]int32
		for x := max(x0, base*group); x < x1; x += tileRows {
			seen := seenFrom(&seen, x, min(x+tileRows, x1), group, base, keys)
			ds := t.scratch[(at+x/tileRows)*tileRows*tileLd:][:tileRows*tileLd]
			mulMasked(dq[(x-x0)*d:], ds, k, seen, keys, d, j > 0)
		}
	}
	each(func(dq, out []float32) { copy(out, dq) })
}

// seenFrom says how many of the keys from position base on the queries x0 … x1-1 see.
func seenFrom(seen *[tileRows]int32, x0, x1, group, base, keys int) []int32 {
	for x := x0; x < x1; {
		row := x / group
		n := int32(min(row+1-base, keys))
		for ; x < min((row+1)*group, x1); x++ {
			seen[x-x0] = n
		}
	}
	return seen[:x1-x0]
}

// band chooses how many queries to take together, given the keys that each sees,
// in ascending order, and says how many keys the last one sees. With height 0,
// all of them see the same.
func band(seen []int32, keys, height int) (rows, most int) {
	switch {
	case int(seen[0]) == keys:
		return len(seen), keys
	case height > 0:
		rows = min(height, len(seen))
	default:
		for rows = 1; rows < len(seen) && seen[rows] == seen[0]; rows++ {
		}
	}
	return rows, int(seen[rows-1])
}

// height is how many queries may share a product in which masked keys of x come as 0:
// one where x has an Inf or a NaN, which no 0 may meet.
func height(x []float32) int {
	if finite(x) {
		return strip
	}
	return 0
}

// mulMasked sets dst (+)= s·b, row by row over the keys seen.
func mulMasked(dst, s, b []float32, seen []int32, keys, d int, accumulate bool) {
	h := strip
	if int(seen[0]) < keys {
		h = height(b[:keys*d])
	}
	for r := 0; r < len(seen); {
		n, most := band(seen[r:], keys, h)
		gemm.MulRows(dst[r*d:], d, s[r*tileLd:], tileLd, 1, b, d, n, d, most, accumulate)
		r += n
	}
}

// mulMaskedTransposed adds sᵀ·b to dst: to the row of each key, over the queries that see it.
func mulMaskedTransposed(dst []float32, ldd int, s, b []float32, seen []int32, d int) {
	rows, most := len(seen), int(seen[len(seen)-1])
	all := int(seen[0])
	h := strip
	if all < most {
		if h = height(b[:rows*d]); h > 0 {
			all &^= strip - 1
		} else {
			h = 1
		}
	}
	for j, r := 0, 0; j < most; {
		n := min(h, most-j)
		if j < all {
			n = all
		}
		for int(seen[r]) <= j {
			r++
		}
		gemm.MulRows(dst[j*ldd:], ldd, s[r*tileLd+j:], 1, tileLd, b[r*d:], d, n, d, rows-r, true)
		j += n
	}
}
