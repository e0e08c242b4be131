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
	half := kernel.AttentionHalf(a.Q.DType, a.Cache.DType, a.HeadDim)
	split := kernel.PagedSplitOf(half, a.Rows, a.Heads, a.KVHeads, a.HeadDim, a.MaxPages, b.info.SMs)
	if b.pagedParts > 0 {
		split.Parts = b.pagedParts
	}
	step := func(s kernel.PagedStep, more ...arg) {
		var k kernel.Any
		var l kernel.Launch
		if half {
			p := kernel.AttentionPagedMMA{QKV: a.Q.DType, O: a.O.DType, HeadDim: a.HeadDim, Aligned: vector(8, a.Q, a.Cache) == 8, Step: s}
			k, l = p, p.LaunchStep(split)
		} else {
			p := kernel.Attention{O: a.O.DType, Q: a.Q.DType, KV: a.Cache.DType, HeadDim: a.HeadDim, Cached: true, Vec: floatVector(a.HeadDim, a.Q, a.Cache), Step: s}
			k, l = p, p.LaunchStep(split)
		}
		b.launch(op, k, l, append(args[:len(args):len(args)], more...)...)
	}
	topBytes, flagBytes, recordBytes := split.Bytes()
	var scratch kernels.Buffer
	if split.Parts > 1 {
		if m, err := b.Alloc(recordBytes + topBytes + flagBytes); err == nil { // or else go without: the bits are the same
			scratch = kernels.Buffer{Mem: m, DType: kernels.F32}
			defer b.Free(m)
		}
	}
	if scratch.IsNil() {
		step(kernel.PagedWhole, ptr(scratch))
		return
	}
	records, tops, flags := ptr(scratch), ptr(scratch.At(int(recordBytes/4))), ptr(scratch.At(int((recordBytes+topBytes)/4)))
	step(kernel.PagedTops, tops, records, num(split.Parts), flags)
	step(kernel.PagedParts, tops, records, num(split.Parts))
	sum, launch := split.Sum(a.O.DType)
	b.launch(op, sum, launch, append(args[:len(args):len(args)], records, flags)...)
	step(kernel.PagedWhole, flags)
}

// pagedArgs are the parameters that place rows in the cache.
func (b *Backend) pagedArgs(op string, c kernels.PagedShape, rowSeq, rowPos kernels.Buffer) []arg {
	at, tag := b.refusals(op, fmt.Sprintf("row %%d: %%d is out of range, want a sequence below %d, a position below %d, and pages below %d",
		c.NSeq, c.MaxPages*kernels.PageSize, c.Pages))
	return []arg{ptr(c.Cache), ptr(c.PageTable), num(c.Pages), num(c.Layers), num(c.Layer), num(c.MaxPages), num(c.NSeq), num(c.KVHeads), ptr(rowSeq), ptr(rowPos), at, tag}
}
