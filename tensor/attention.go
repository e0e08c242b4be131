package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// Attention is causal self-attention within each sequence of the tape's batch:
// q [rows, heads, headDim], k and v [rows, kvHeads, headDim], the result like q.
// Scores are multiplied by scale.
func Attention(tp *Tape, q, k, v *Tensor, scale float32) *Tensor {
	if q.shape.n != 3 || k.shape.n != 3 || k.shape != v.shape ||
		q.Dim(0) != k.Dim(0) || q.Dim(2) != k.Dim(2) || k.Dim(1) == 0 || q.Dim(1)%k.Dim(1) != 0 {
		panic(fmt.Sprintf("attention: q %v, k %v, v %v; want [rows, heads, headDim] with heads a multiple of the KV heads", q.shape, k.shape, v.shape))
	}
	mustContiguous("attention", q, k, v)
	tp.mustBatch("attention", q.Dim(0))
	o := tp.like(q, tp.Compute)
	args := kernels.AttentionArgs{
		O: o.buf, Q: q.buf, K: k.buf, V: v.buf, Starts: tp.Seqs.Starts.buf, NSeq: tp.Seqs.N,
		Rows: q.Dim(0), Heads: q.Dim(1), KVHeads: k.Dim(1), HeadDim: q.Dim(2), Scale: scale,
	}
	var lse *Tensor
	if tp.wants(q, k, v) {
		lse = tp.new(F32, q.Dim(0), q.Dim(1))
		args.LSE = lse.buf
	}
	tp.dev.backend.Attention(args)
	tp.record(node{out: o, inputs: inputs{q, k, v}, saved: saved{q, k, v, o, lse}, factor: scale, backward: attentionBackward})
	return o
}

func attentionBackward(tp *Tape, n *node, do *Tensor) {
	q, k, v, o, lse := n.saved[0], n.saved[1], n.saved[2], n.saved[3], n.saved[4]
	dq, dk, dv := tp.like(q, F32), tp.like(k, F32), tp.like(v, F32)
	args := kernels.AttentionBackwardArgs{
		DQ: dq.buf, DK: dk.buf, DV: dv.buf, DO: do.buf, O: o.buf, LSE: lse.buf, Q: q.buf, K: k.buf, V: v.buf,
		Starts: tp.Seqs.Starts.buf, NSeq: tp.Seqs.N,
		Rows: q.Dim(0), Heads: q.Dim(1), KVHeads: k.Dim(1), HeadDim: q.Dim(2), Scale: n.factor,
	}
	args.Scratch = tp.scratch(tp.dev.backend.AttentionBackwardScratch(args))
	tp.dev.backend.AttentionBackward(args)
	tp.addGrad(q, dq)
	tp.addGrad(k, dk)
	tp.addGrad(v, dv)
}

// PagedCache is a KV cache of pages of kernels.PageSize positions:
// [pages][layers][K, V][kvHeads][PageSize][headDim].
type PagedCache struct {
	Data                            *Tensor // in the compute type
	Pages, Layers, KVHeads, HeadDim int
}

// PagedRows tells which sequence and position each row of a step has.
type PagedRows struct {
	Seq, Pos  *Tensor // i32 [rows]
	PageTable *Tensor // i32 [sequences, maxPages]
}

func (c *PagedCache) shape(layer int, r PagedRows) kernels.PagedShape {
	return kernels.PagedShape{
		Cache: c.Data.buf, PageTable: r.PageTable.buf, Pages: c.Pages, Layers: c.Layers, Layer: layer,
		MaxPages: r.PageTable.Dim(1), NSeq: r.PageTable.Dim(0), KVHeads: c.KVHeads, HeadDim: c.HeadDim,
	}
}

// PageElements returns the number of elements of one page.
func (c *PagedCache) PageElements() int {
	return c.Layers * 2 * c.KVHeads * kernels.PageSize * c.HeadDim
}

// KVStore writes k and v [rows, kvHeads, headDim] to a layer of the cache, at each
// row's sequence and position.
func KVStore(tp *Tape, k, v *Tensor, cache *PagedCache, layer int, r PagedRows) {
	if k.shape.n != 3 || k.shape != v.shape || k.Dim(1) != cache.KVHeads || k.Dim(2) != cache.HeadDim {
		panic(fmt.Sprintf("kvstore: k %v, v %v, cache of %d KV heads × %d", k.shape, v.shape, cache.KVHeads, cache.HeadDim))
	}
	mustContiguous("kvstore", k, v, cache.Data)
	r.mustFit("kvstore", k)
	tp.dev.backend.KVStore(kernels.KVStoreArgs{
		PagedShape: cache.shape(layer, r), K: k.buf, V: v.buf, RowSeq: r.Seq.buf, RowPos: r.Pos.buf, Rows: k.Dim(0),
	})
}

// AttentionPaged returns the attention of q [rows, heads, headDim] over what the
// cache holds of each row's sequence up to its own position, with the bits of
// Attention. It records no gradient.
func AttentionPaged(tp *Tape, q *Tensor, cache *PagedCache, layer int, r PagedRows, scale float32) *Tensor {
	if q.shape.n != 3 || q.Dim(2) != cache.HeadDim || q.Dim(1)%cache.KVHeads != 0 {
		panic(fmt.Sprintf("attention: q %v, cache of %d KV heads × %d", q.shape, cache.KVHeads, cache.HeadDim))
	}
	mustContiguous("attention", q, cache.Data)
	r.mustFit("attention", q)
	o := tp.like(q, tp.Compute)
	tp.dev.backend.AttentionPaged(kernels.AttentionPagedArgs{
		PagedShape: cache.shape(layer, r), O: o.buf, Q: q.buf, RowSeq: r.Seq.buf, RowPos: r.Pos.buf, Rows: q.Dim(0), Heads: q.Dim(1), Scale: scale,
	})
	return o
}

// mustFit checks that the rows are those of x.
func (r PagedRows) mustFit(op string, x *Tensor) {
	if r.Seq.Len() != x.Dim(0) || r.Pos.Len() != x.Dim(0) || r.PageTable.shape.n != 2 {
		panic(fmt.Sprintf("%s: rows of %v, sequences %v, positions %v, page table %v", op, x.shape, r.Seq.shape, r.Pos.shape, r.PageTable.shape))
	}
}
