package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// Gather returns rows index [n] of src [rows, cols] as [n, cols] in
// its storage type. It records no gradient.
func Gather(tp *Tape, src, index *Tensor) *Tensor {
	if src.shape.n != 2 || index.shape.n != 1 {
		panic(fmt.Sprintf("gather: src %v, index %v", src.shape, index.shape))
	}
	mustContiguous("gather", src, index)
	y := tp.new(src.DType(), index.Dim(0), src.Dim(1))
	tp.dev.backend.Gather(kernels.GatherArgs{
		Dst: y.buf, Src: src.buf, Index: index.buf, Rows: index.Dim(0), Cols: src.Dim(1), SrcRows: src.Dim(0),
	})
	return y
}

// Logits returns x·Wᵀ in f32 whatever the compute type. It records no gradient.
func Logits(tp *Tape, x, w *Tensor) *Tensor {
	rows, in, out := linearShapes(x, w, nil)
	y := tp.new(F32, rows, out)
	tp.dev.backend.Linear(kernels.LinearArgs{Y: y.buf, X: x.buf, W: w.buf, Rows: rows, In: in, Out: out})
	return y
}

// Sample draws one token per row of logits [rows, vocab] and returns ids i32
// and their log-probabilities [rows]; settings f32 [rows,
// kernels.SampleColumns], draws i32 [rows, kernels.DrawColumns].
func Sample(tp *Tape, logits, settings, draws *Tensor) (ids, logprob *Tensor) {
	rows := logits.Dim(0)
	if logits.DType() != F32 || settings.Len() != rows*kernels.SampleColumns || draws.Len() != rows*kernels.DrawColumns {
		panic(fmt.Sprintf("sample: logits %v of shape %v, settings %v, draws %v", logits.DType(), logits.shape, settings.shape, draws.shape))
	}
	ids, logprob = tp.new(I32, rows), tp.new(F32, rows)
	tp.dev.backend.Sample(kernels.SampleArgs{
		IDs: ids.buf, LogProb: logprob.buf, Logits: logits.buf, Settings: settings.buf, Draws: draws.buf, Rows: rows, Vocab: logits.Dim(1),
	})
	return ids, logprob
}
