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
	s := headsShape(a.Rows, a.NSeq, a.Heads, a.HeadDim)
	if kernel.AttentionHalf(a.Q.DType, a.K.DType, a.HeadDim) {
		k := kernel.AttentionMMA{QKV: a.Q.DType, O: a.O.DType, HeadDim: a.HeadDim, LSE: !a.LSE.IsNil(), Aligned: vector(8, a.Q, a.K, a.V) == 8 && aligned(a.O, 2) == 2}
		b.pickSizes("attention", byMMA, s, &k.Sizes, func() int { return k.Launch(1, 1, 1).Shared })
		b.launch(op, k, k.Launch(a.Rows, a.NSeq, a.Heads), args...)
		return
	}
	k := kernel.Attention{O: a.O.DType, Q: a.Q.DType, KV: a.K.DType, HeadDim: a.HeadDim, LSE: !a.LSE.IsNil(), Vec: floatVector(a.HeadDim, a.Q, a.K, a.V)}
	b.pickSizes("attention", byFMA, s, &k.Sizes, func() int { return k.Launch(1, 1, 1).Shared })
	b.launch(op, k, k.Launch(a.Rows, a.NSeq, a.Heads), args...)
}

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
	// Scratch: a pair for each head of a row, then the parts of the gradients.
	n, split := a.Rows*a.Heads, splitsGradient(a)
	hi := ptr(a.Scratch)
	hi.bits += uint64(halfScratch(n))
	lo := hi
	lo.bits += uint64(2 * n * a.HeadDim)
	delta := kernel.AttentionDelta{O: a.O.DType, DO: a.DO.DType, HeadDim: a.HeadDim, Split: split}
	b.launch(op, delta, delta.Launch(n), ptr(a.Scratch), hi, lo, ptr(a.DO), ptr(a.O), ptr(a.LSE), num(n))
	do := ptr(a.DO)
	if split {
		do = hi
	}
	for _, keys := range []bool{false, true} {
		first, second, n, row := a.DQ, kernels.Buffer{}, a.Heads, "attention_backward_dq"
		if keys {
			first, second, n, row = a.DK, a.DV, a.KVHeads, "attention_backward_dkdv"
		}
		s := headsShape(a.Rows, a.NSeq, n, a.HeadDim)
		at, tag := b.refusals(op, fmt.Sprintf("starts[%%d] is %%d, want ascending rows within 0…%d", a.Rows))
		args := []arg{ptr(first), ptr(second), do, ptr(a.Q), ptr(a.K), ptr(a.V), ptr(a.Starts), ptr(a.Scratch), num(a.NSeq), num(a.Rows), num(a.Heads), num(a.KVHeads),
			log2Scale(a.Scale), float(a.Scale), at, tag}
		if kernel.AttentionHalfBackward(a.Q.DType, a.K.DType, a.DO.DType, a.HeadDim) {
			even := vector(8, a.Q, a.K, a.V) == 8 && (split || aligned(a.DO, 8) == 8) && vector(2, a.DQ, a.DK, a.DV) == 2
			parts := []byte{0}
			if keys {
				parts = kernel.BackwardParts(a.HeadDim)
			}
			for _, only := range parts {
				k := kernel.AttentionBackwardMMA{HeadDim: a.HeadDim, Split: split, Keys: keys, Aligned: even, Only: only}
				b.pickSizes(row, byMMA, s, &k.Sizes, func() int { return k.Launch(1, 1, 1).Shared })
				b.launch(op, k, k.Launch(a.Rows, a.NSeq, n), append(args, lo)...)
			}
			continue
		}
		k := kernel.AttentionBackward{Q: a.Q.DType, KV: a.K.DType, DO: a.DO.DType, HeadDim: a.HeadDim, Keys: keys, Vec: floatVector(a.HeadDim, a.Q, a.K, a.V, a.DO)}
		b.pickSizes(row, byFMA, s, &k.Sizes, func() int { return k.Launch(1, 1, 1).Shared })
		b.launch(op, k, k.Launch(a.Rows, a.NSeq, n), args...)
	}
}

// AttentionBackwardScratch implements kernels.Backend.
func (b *Backend) AttentionBackwardScratch(a kernels.AttentionBackwardArgs) int64 {
	n := a.Rows * a.Heads
	size := halfScratch(n)
	if splitsGradient(a) {
		size += 4 * int64(n) * int64(a.HeadDim)
	}
	return size
}

// splitsGradient reports whether DO, in f32, is split in two for tensor cores.
func splitsGradient(a kernels.AttentionBackwardArgs) bool {
	return a.DO.DType == kernels.F32 && kernel.AttentionHalfBackward(a.Q.DType, a.K.DType, a.DO.DType, a.HeadDim)
}

// halfScratch is where the parts of the gradients begin, at a multiple of 16 bytes.
func halfScratch(rowHeads int) int64 { return (8*int64(rowHeads) + 15) &^ 15 }

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

// headsShape is what the table asks of attention: its rows and keys are those of a sequence, on average.
func headsShape(rows, nseq, heads, headDim int) shape {
	n := kernel.CeilDiv(rows, max(1, nseq))
	return shape{rows: n, depth: n, dim: headDim, times: nseq * heads}
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
