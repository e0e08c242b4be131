package kernel

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// attentionTile is what a block of attention works on: rows of queries that share
// their keys. Of packed sequences these are neighbouring positions of one head; of
// rows over a KV cache the heads of one row that share a KV head. All kernels of
// attention treat a row in the same way wherever it comes from, so that prefill and
// decoding have equal bits.
type attentionTile struct {
	q, o, lse ptx.GlobalPtr // of the first row
	stride    ptx.RegU32    // elements from row to row of q and o
	lseStride ptx.RegU32    // of lse, 0 if there is none
	rows      ptx.RegU32    // rows that exist
	pos       ptx.RegU32    // position of the first row: the last key that it sees
	causal    bool          // each row sees one key more than the one before; else all see the same
	keys      ptx.RegU32    // keys that the last row sees
	keyStride ptx.RegU32    // elements from key to key
	size      int           // the most rows that it may have, if causal
	scale     ptx.RegF32    // log2(e)·Scale

	// Of rows over a KV cache: the tile's number, the rows of a full tile, the most pages
	// of a sequence, and which part of a split the block has; see PagedSplit.
	k                             *ptx.Builder
	number, lines, maxPages, part ptx.RegU32

	// block gives the first key and the first value of a block of keys.
	block func(b ptx.RegU32) (key, value ptx.GlobalPtr)
}

// AttentionSizes is how a block of attention works, as far as bits do not depend on it.
type AttentionSizes struct {
	Rows   int // of its tile: queries or, in the backward's pass over queries, keys
	Keys   int // by fma: keys, or values, that lie in shared memory at once
	Stages int // of the backward by mma: tiles that pass in shared memory, all but one being filled
	Blocks int // by mma: of which registers must let a multiprocessor hold so many at once
}

// limit is the position of the row that lies at a distance from the first.
func (t *attentionTile) limit(row ptx.RegU32) ptx.RegU32 {
	if !t.causal {
		return t.pos
	}
	return t.pos.Add(row)
}

// blocks is the number of blocks of keys, and the keys of the last one.
func (t *attentionTile) blocks() ptx.RegU32 { return t.keys.CeilDivBy(kernels.KeyBlock) }

// left is the keys from a block on.
func (t *attentionTile) left(b ptx.RegU32) ptx.RegU32 { return t.keys.Sub(b.Times(kernels.KeyBlock)) }

// attentionGroup is the most heads of a tile of rows over a KV cache.
const attentionGroup = 16

// sequenceTile finds the sequence that tile number tile lies in, for tiles of size rows
// that are counted from each sequence's start: its first row, its length, and the tile's
// first row in it. Sequence s has the numbers from starts[s]/size+s on, so that
// rows/size+nseq numbers are enough. Threads without a tile return. Starts that are not
// ascending are reported by the first block.
func sequenceTile(k *ptx.Builder, refuse faults, starts ptx.GlobalPtr, nseq, rows, tile ptx.RegU32, size, threads int) (first, n, from ptx.RegU32) {
	start := func(s ptx.RegU32) ptx.RegU32 { return k.LdU32(starts.Elem(s, ptx.S32)) }
	k.If(k.SetpEqU32(k.CtaidX().Or(k.CtaidY()).Or(k.CtaidZ()), ptx.I(0)), func() {
		k.For(k.TidX(), nseq.Plus(1), ptx.I(threads), func(s ptx.RegU32) {
			v, before := start(s), k.VarU32(ptx.I(0))
			k.If(k.SetpGtU32(s, ptx.I(0)), func() { k.MinU32To(before, start(s.Plus(-1)), rows) })
			refuse.report(k.SetpLtU32(v, before).Or(k.SetpGtU32(v, rows)), s, v) // a negative one is a large one
		})
	})
	lo, hi := k.VarU32(ptx.I(0)), k.VarU32(nseq)
	k.While(func() ptx.RegPred { return k.SetpGtU32(hi.Sub(lo), ptx.I(1)) }, func() {
		mid := lo.Add(hi).Shr(1)
		before := k.SetpLeU32(k.MinU32(start(mid), rows).DivBy(size).Add(mid), tile)
		k.MovU32To(lo, k.SelpU32(mid, lo, before))
		k.MovU32To(hi, k.SelpU32(hi, mid, before))
	})
	first = start(lo)
	end := start(lo.Plus(1))
	bad := k.SetpGtU32(first, end).Or(k.SetpGtU32(end, rows))
	n = end.Sub(first)
	from = tile.Sub(first.DivBy(size).Add(lo)).Times(size)
	k.Return(bad.Or(k.SetpGeU32(from, n)))
	return first, n, from
}

// packedTile declares the parameters (o, lse, q, k, v, starts, nseq, rows, heads,
// kv_heads, scale, fault, fault_tag) of attention over packed sequences and finds the
// block's tile. Long sequences' last tiles have most to do: they come first.
func packedTile(k *ptx.Builder, o, q, kv kernels.DType, dim, size, threads int, lse bool) *attentionTile {
	t := &attentionTile{causal: true, size: size}
	op, lsep, qp, kp, vp := k.ParamGlobal("o"), k.ParamGlobal("lse"), k.ParamGlobal("q"), k.ParamGlobal("k"), k.ParamGlobal("v")
	starts, nseq, rows := k.ParamGlobal("starts"), k.ParamU32("nseq"), k.ParamU32("rows")
	heads, kvHeads := k.ParamU32("heads"), k.ParamU32("kv_heads")
	t.scale = k.ParamF32("scale")
	refuse := newFaults(k)
	tile := k.NctaidX().Plus(-1).Sub(k.CtaidX())
	first, n, from := sequenceTile(k, refuse, starts, nseq, rows, tile, size, threads)
	t.pos, t.rows = from, k.MinU32(n.Sub(from), ptx.I(size))
	t.keys = from.Add(t.rows)
	head := k.CtaidY()
	kvHead := k.DivU32(head, k.DivU32(heads, kvHeads))
	row0 := k.MadWideU32(first.Add(from), heads, head.U64())
	t.stride, t.keyStride = heads.Times(dim), kvHeads.Times(dim)
	t.q, t.o = at(qp, row0.Mul(ptx.I(dim)), q), at(op, row0.Mul(ptx.I(dim)), o)
	if lse {
		t.lse, t.lseStride = at(lsep, row0, kernels.F32), heads
	}
	t.block = func(b ptx.RegU32) (key, value ptx.GlobalPtr) {
		off := k.MadWideU32(first.Add(b.Times(kernels.KeyBlock)), kvHeads, kvHead.U64()).Mul(ptx.I(dim))
		return at(kp, off, kv), at(vp, off, kv)
	}
	return t
}

// pagedPlace is where the cache is and what lies in it.
type pagedPlace struct {
	cache, table, rowSeq, rowPos         ptx.GlobalPtr
	pages, layers, layer, maxPages, nseq ptx.RegU32
	kvHeads, seq, pos, row               ptx.RegU32
	dt                                   kernels.DType
	dim                                  int
	refuse                               faults
	k                                    *ptx.Builder
}

// newPagedPlace declares the parameters (cache, page_table, pages, layers, layer,
// max_pages, nseq, kv_heads, row_seq, row_pos, fault, fault_tag) and reads where row
// ctaid.x lies. Blocks of a row that is skipped or refused return.
func newPagedPlace(k *ptx.Builder, dt kernels.DType, dim int) *pagedPlace {
	c := &pagedPlace{cache: k.ParamGlobal("cache"), table: k.ParamGlobal("page_table"), pages: k.ParamU32("pages"), layers: k.ParamU32("layers"),
		layer: k.ParamU32("layer"), maxPages: k.ParamU32("max_pages"), nseq: k.ParamU32("nseq"), kvHeads: k.ParamU32("kv_heads"), dt: dt, dim: dim, k: k}
	c.rowSeq, c.rowPos = k.ParamGlobal("row_seq"), k.ParamGlobal("row_pos")
	c.refuse = newFaults(k)
	c.row = k.CtaidX()
	c.seq = k.LdU32(c.rowSeq.Elem(c.row, ptx.S32))
	k.Return(k.SetpLtS32(c.seq, ptx.I(0)))
	c.pos = k.LdU32(c.rowPos.Elem(c.row, ptx.S32))
	badSeq := k.SetpGeU32(c.seq, c.nseq)
	badPos := k.SetpGeU32(c.pos.DivBy(kernels.PageSize), c.maxPages)
	c.refuse.report(badSeq, c.row, c.seq)
	c.refuse.report(badPos, c.row, c.pos)
	k.Return(badSeq.Or(badPos))
	return c
}

// page reads which page holds a block of keys of a sequence.
func (c *pagedPlace) page(seq, b ptx.RegU32) ptx.RegU32 {
	return c.k.LdU32(c.table.Elem(c.k.MulWideU32(seq, c.maxPages), ptx.S32).Elem(b, ptx.S32))
}

// at is the address of the first key or value (kv 0 or 1) of a KV head in a page.
func (c *pagedPlace) at(page, kvHead ptx.RegU32) (key, value ptx.GlobalPtr) {
	k := c.k
	n := k.MadLoU64(k.MadWideU32(page, c.layers, c.layer.U64()), c.kvHeads.Times(2).U64(), kvHead.U64())
	key = at(c.cache, n.Mul(ptx.I(kernels.PageSize*c.dim)), c.dt)
	return key, at(key, c.kvHeads.Times(kernels.PageSize*c.dim), c.dt)
}

// cachedTile declares the parameters (o, q, then those of newPagedPlace, heads, scale)
// of attention over a KV cache and finds the block's tile: of row ctaid.x and KV head
// ctaid.y a group of heads, which which says, of so many groups. Threads of a refused
// row return.
func cachedTile(k *ptx.Builder, o, q, kv kernels.DType, dim, threads int, flag ptx.SharedPtr, which func(groups ptx.RegU32) ptx.RegU32) *attentionTile {
	t := &attentionTile{k: k}
	op, qp := k.ParamGlobal("o"), k.ParamGlobal("q")
	heads := k.ParamU32("heads")
	t.scale = k.ParamF32("scale")
	c := newPagedPlace(k, kv, dim)
	t.pos, t.keys = c.pos, c.pos.Plus(1)

	// A page that is none spoils the row for all its threads.
	good := k.VarU32(ptx.I(1))
	k.For(k.TidX(), t.blocks(), ptx.I(threads), func(b ptx.RegU32) {
		page := c.page(c.seq, b)
		bad := k.SetpGeU32(page, c.pages)
		c.refuse.report(bad, c.row, page)
		k.Guard(bad, func() { k.MovU32To(good, ptx.I(0)) })
	})
	good = ptx.BlockReduce(k, good, threads/32, k.VarU32(ptx.I(1)), flag, false, func(a, b ptx.RegU32) ptx.RegU32 { return k.MinU32(a, b) })
	k.Return(k.SetpEqU32(good, ptx.I(0)))

	group := k.DivU32(heads, c.kvHeads)
	groups := group.CeilDivBy(attentionGroup)
	n := which(groups)
	from := n.Times(attentionGroup)
	t.number = k.MadLoU32(k.MadLoU32(c.row, c.kvHeads, k.CtaidY()), groups, n)
	t.lines, t.maxPages = k.MinU32(group, ptx.I(attentionGroup)), c.maxPages
	t.rows = k.MinU32(group.Sub(from), ptx.I(attentionGroup))
	head := k.MadLoU32(k.CtaidY(), group, from)
	row0 := k.MadWideU32(c.row, heads, head.U64()).Mul(ptx.I(dim))
	t.q, t.o = at(qp, row0, q), at(op, row0, o)
	t.stride, t.keyStride = k.VarU32(ptx.I(dim)), k.VarU32(ptx.I(dim))
	t.block = func(b ptx.RegU32) (key, value ptx.GlobalPtr) { return c.at(c.page(c.seq, b), k.CtaidY()) }
	return t
}

// wholeTile is cachedTile where ctaid.z counts groups, and splitTile where it counts parts
// of the keys too.
func wholeTile(k *ptx.Builder, o, q, kv kernels.DType, dim, threads int, flag ptx.SharedPtr) *attentionTile {
	return cachedTile(k, o, q, kv, dim, threads, flag, func(ptx.RegU32) ptx.RegU32 { return k.CtaidZ() })
}

func splitTile(k *ptx.Builder, o, q, kv kernels.DType, dim, threads int, flag ptx.SharedPtr) *attentionTile {
	var part ptx.RegU32
	t := cachedTile(k, o, q, kv, dim, threads, flag, func(groups ptx.RegU32) ptx.RegU32 {
		part = k.DivU32(k.CtaidZ(), groups)
		return k.CtaidZ().Sub(part.Mul(groups))
	})
	t.part = part
	return t
}

// packedLaunch is the launch over tiles of packed sequences; cachedLaunch over rows.
func packedLaunch(rows, nseq, heads, size, threads int) Launch {
	return Launch{Grid: Dim3{rows/size + nseq, heads, 1}, Block: Dim3{threads, 1, 1}}
}

func cachedLaunch(rows, heads, kvHeads, threads int) Launch {
	return Launch{Grid: Dim3{rows, kvHeads, CeilDiv(heads/kvHeads, attentionGroup)}, Block: Dim3{threads, 1, 1}}
}

// storeLSE writes the log of the sum of exponentials of a row, from its largest score
// and the sum relative to it.
func (t *attentionTile) storeLSE(k *ptx.Builder, row ptx.RegU32, largest, sum ptx.RegF32) {
	log2 := k.FmaRnF32(largest, t.scale, k.Lg2ApproxF32(sum))
	k.StF32(t.lse.Elem(k.MulWideU32(row, t.lseStride), ptx.F32), k.MulF32(log2, ptx.F(math.Ln2)))
}
