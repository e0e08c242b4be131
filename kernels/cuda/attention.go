package cuda

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// Attention implements kernels.Backend.
func (b *Backend) Attention(a kernels.AttentionArgs) {
	const op = "Attention"
	if !b.attentionShape(op, a.Heads, a.KVHeads, a.HeadDim, a.Scale) {
		return
	}
	at, tag := b.refusals(op, fmt.Sprintf("starts[%%d] is %%d, want ascending rows within 0…%d", a.Rows))
	args := []arg{ptr(a.O), ptr(a.LSE), ptr(a.Q), ptr(a.K), ptr(a.V), ptr(a.Starts), num(a.NSeq), num(a.Rows), num(a.Heads), num(a.KVHeads), log2Scale(a.Scale), at, tag}
	if kernel.AttentionHalf(a.Q.DType, a.K.DType, a.HeadDim) {
		k := kernel.AttentionMMA{QKV: a.Q.DType, O: a.O.DType, HeadDim: a.HeadDim, LSE: !a.LSE.IsNil(), Aligned: vector(8, a.Q, a.K, a.V) == 8 && aligned(a.O, 2) == 2}
		b.launch(op, k, k.Launch(a.Rows, a.NSeq, a.Heads), args...)
		return
	}
	k := kernel.Attention{O: a.O.DType, Q: a.Q.DType, KV: a.K.DType, HeadDim: a.HeadDim, LSE: !a.LSE.IsNil(), Vec: floatVector(a.HeadDim, a.Q, a.K, a.V)}
	b.launch(op, k, k.Launch(a.Rows, a.NSeq, a.Heads), args...)
}

// attentionShape checks what the kernels cannot.
func (b *Backend) attentionShape(op string, heads, kvHeads, headDim int, scale float32) bool {
	switch {
	case kvHeads <= 0 || heads%kvHeads != 0:
		panic(fmt.Sprintf("%s: %d heads do not divide into %d KV heads", op, heads, kvHeads))
	case headDim < 1 || headDim > kernel.MaxHeadDim:
		b.fail(op, fmt.Errorf("heads of %d elements, the GPU kernels take 1…%d", headDim, kernel.MaxHeadDim))
	case !(scale > 0):
		b.fail(op, fmt.Errorf("scale %v, want a positive number", scale))
	default:
		return true
	}
	return false
}

// log2Scale turns scores into exponents of 2.
func log2Scale(scale float32) arg { return float(float32(float64(scale) * math.Log2E)) }

// floatVector is how many elements the kernels in f32 read at once.
func floatVector(headDim int, bufs ...kernels.Buffer) int {
	if headDim%4 == 0 && vector(4, bufs...) == 4 {
		return 4
	}
	return 1
}
