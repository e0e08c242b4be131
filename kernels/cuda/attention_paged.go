package cuda

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// KVStore implements kernels.Backend.
func (b *Backend) KVStore(a kernels.KVStoreArgs) {
	k := kernel.KVStore{Cache: a.Cache.DType, K: a.K.DType, V: a.V.DType, HeadDim: a.HeadDim, Vec: vector(8, a.Cache, a.K, a.V)}
	for a.HeadDim%k.Vec != 0 {
		k.Vec /= 2
	}
	b.launch("KVStore", k, k.Launch(a.Rows), append([]arg{ptr(a.K), ptr(a.V)}, b.pagedArgs("KVStore", a.PagedShape, a.RowSeq, a.RowPos)...)...)
}

// AttentionPaged implements kernels.Backend.
func (b *Backend) AttentionPaged(a kernels.AttentionPagedArgs) {
	const op = "AttentionPaged"
	if !b.attentionShape(op, a.Heads, a.KVHeads, a.HeadDim, a.Scale) {
		return
	}
	args := append([]arg{ptr(a.O), ptr(a.Q), num(a.Heads), log2Scale(a.Scale)}, b.pagedArgs(op, a.PagedShape, a.RowSeq, a.RowPos)...)
	if kernel.AttentionHalf(a.Q.DType, a.Cache.DType, a.HeadDim) {
		k := kernel.AttentionPagedMMA{QKV: a.Q.DType, O: a.O.DType, HeadDim: a.HeadDim, Aligned: vector(8, a.Q, a.Cache) == 8}
		b.launch(op, k, k.Launch(a.Rows, a.Heads, a.KVHeads), args...)
		return
	}
	k := kernel.Attention{O: a.O.DType, Q: a.Q.DType, KV: a.Cache.DType, HeadDim: a.HeadDim, Cached: true, Vec: floatVector(a.HeadDim, a.Q, a.Cache)}
	b.launch(op, k, k.LaunchCached(a.Rows, a.Heads, a.KVHeads), args...)
}

// pagedArgs are the parameters that place rows in the cache.
func (b *Backend) pagedArgs(op string, c kernels.PagedShape, rowSeq, rowPos kernels.Buffer) []arg {
	at, tag := b.refusals(op, fmt.Sprintf("row %%d: %%d is out of range, want a sequence below %d, a position below %d, and pages below %d",
		c.NSeq, c.MaxPages*kernels.PageSize, c.Pages))
	return []arg{ptr(c.Cache), ptr(c.PageTable), num(c.Pages), num(c.Layers), num(c.Layer), num(c.MaxPages), num(c.NSeq), num(c.KVHeads), ptr(rowSeq), ptr(rowPos), at, tag}
}
