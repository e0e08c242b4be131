package cuda

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// AttentionBackward implements kernels.Backend.
func (b *Backend) AttentionBackward(a kernels.AttentionBackwardArgs) {
	const op = "AttentionBackward"
	if !b.attentionShape(op, a.Heads, a.KVHeads, a.HeadDim, a.Scale) {
		return
	}
	if a.HeadDim > kernel.MaxHeadDimBackward {
		b.fail(op, fmt.Errorf("heads of %d elements, the GPU kernels of the backward take 1…%d", a.HeadDim, kernel.MaxHeadDimBackward))
		return
	}
	delta := kernel.AttentionDelta{O: a.O.DType, DO: a.DO.DType, HeadDim: a.HeadDim}
	none := arg{wide: true}
	b.launch(op, delta, delta.Launch(a.Rows*a.Heads), ptr(a.Scratch), none, none, ptr(a.DO), ptr(a.O), ptr(a.LSE), num(a.Rows*a.Heads))
	for _, keys := range []bool{false, true} {
		k := kernel.AttentionBackward{Q: a.Q.DType, KV: a.K.DType, DO: a.DO.DType, HeadDim: a.HeadDim, Keys: keys, Vec: floatVector(a.HeadDim, a.Q, a.K, a.V, a.DO)}
		first, second, heads := a.DQ, kernels.Buffer{}, a.Heads
		if keys {
			first, second, heads = a.DK, a.DV, a.KVHeads
		}
		at, tag := b.refusals(op, fmt.Sprintf("starts[%%d] is %%d, want ascending rows within 0…%d", a.Rows))
		b.launch(op, k, k.Launch(a.Rows, a.NSeq, heads), ptr(first), ptr(second), ptr(a.DO), ptr(a.Q), ptr(a.K), ptr(a.V), ptr(a.Starts), ptr(a.Scratch),
			num(a.NSeq), num(a.Rows), num(a.Heads), num(a.KVHeads), log2Scale(a.Scale), float(a.Scale), at, tag)
	}
}

// AttentionBackwardScratch implements kernels.Backend.
func (b *Backend) AttentionBackwardScratch(a kernels.AttentionBackwardArgs) int64 {
	return 8 * int64(a.Rows) * int64(a.Heads)
}
