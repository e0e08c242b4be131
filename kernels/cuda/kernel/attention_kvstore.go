package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// KVStore writes rows of keys and values into a KV cache, converted to its storage. A
// block takes a row: its threads Vec neighbouring elements each, of the keys, then of
// the values. Of rows that have the same place in the cache the last one stays.
type KVStore struct {
	Cache, K, V kernels.DType
	HeadDim     int
	Vec         int // every array is aligned to as many elements, and so is HeadDim
}

// Name implements Any.
func (p KVStore) Name() string { return name("kvstore", p.Cache, p.K, p.V, p.HeadDim, p.Vec) }

const kvStoreThreads = 128

// Launch is the launch for so many rows.
func (p KVStore) Launch(rows int) Launch { return lines(rows, kvStoreThreads) }

// Emit implements Any: kvstore(k, v, cache, page_table, pages, layers, layer, max_pages,
// nseq, kv_heads, row_seq, row_pos, fault, fault_tag).
func (p KVStore) Emit(k *ptx.Builder) {
	k.RequireThreads(kvStoreThreads)
	from := [2]ptx.GlobalPtr{k.ParamGlobal("k"), k.ParamGlobal("v")}
	c := newPagedPlace(k, p.Cache, p.HeadDim)
	page := c.page(c.seq, c.pos.DivBy(kernels.PageSize))
	bad := k.SetpGeU32(page, c.pages)
	c.refuse.report(bad, c.row, page)
	k.Return(bad.Or(c.overwritten(page, k.Shared("scratch", ptx.U32, kvStoreThreads/32, 0))))
	per := p.HeadDim / p.Vec
	inPage := c.pos.Mod(kernels.PageSize).Times(p.HeadDim)
	k.For(k.TidX(), c.kvHeads.Times(per), ptx.I(kvStoreThreads), func(u ptx.RegU32) {
		head, col := u.DivBy(per), u.Mod(per).Times(p.Vec)
		key, value := c.at(page, head)
		source := k.MadWideU32(c.row, c.kvHeads, head.U64()).Mul(ptx.I(p.HeadDim)).Add(col.U64())
		for i, to := range []ptx.GlobalPtr{key, value} {
			dt := []kernels.DType{p.K, p.V}[i]
			stores(k, at(at(to, inPage, p.Cache), col, p.Cache), p.Cache, loads(k, at(from[i], source, dt), dt, p.Vec))
		}
	})
}

// overwritten reports, to the whole block, whether a later row has the same place in the
// cache, whose page is known.
func (c *pagedPlace) overwritten(page ptx.RegU32, scratch ptx.SharedPtr) ptx.RegPred {
	k := c.k
	found := k.VarU32(ptx.I(0))
	k.For(c.row.Add(k.TidX()).Plus(1), k.NctaidX(), ptx.I(kvStoreThreads), func(row ptx.RegU32) {
		pos := k.LdU32(c.rowPos.Elem(row, ptx.S32))
		k.Continue(k.SetpNeU32(pos.Xor(c.pos).And(ptx.I(kernels.PageSize-1)), ptx.I(0)))
		seq, block := k.LdU32(c.rowSeq.Elem(row, ptx.S32)), pos.DivBy(kernels.PageSize)
		k.Continue(k.SetpGeU32(seq, c.nseq).Or(k.SetpGeU32(block, c.maxPages)))
		k.Guard(k.SetpEqU32(c.page(seq, block), page), func() { k.MovU32To(found, ptx.I(1)) })
	})
	found = ptx.BlockReduce(k, found, kvStoreThreads/32, k.VarU32(ptx.I(0)), scratch, false, func(a, b ptx.RegU32) ptx.RegU32 { return k.MaxU32(a, b) })
	return k.SetpNeU32(found, ptx.I(0))
}
