package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

const crossEntropyOp = "crossentropy"

// CrossEntropy returns the log-probability of each row's target under
// softmax(x·Wᵀ), without ever holding all logits: x [rows, dim], w [vocab, dim],
// targets i32 [rows] (< 0: none), weights f32 [rows]. It is the root of a
// backward pass, whose loss is Σ −weights·logprob over all rows: a sum, nothing
// is divided.
func CrossEntropy(tp *Tape, x, w, targets, weights *Tensor) *Tensor {
	if len(x.shape) != 2 || len(w.shape) != 2 || x.Dim(1) != w.Dim(1) || targets.Len() != x.Dim(0) || weights.Len() != x.Dim(0) {
		panic(fmt.Sprintf("crossentropy: x %v, w %v, targets %v, weights %v", x.shape, w.shape, targets.shape, weights.shape))
	}
	mustContiguous(crossEntropyOp, x, w)
	rows := x.Dim(0)
	tp.mustBatch(crossEntropyOp, rows)
	tp.mustWeight(crossEntropyOp, w, rows)
	logprob := tp.new(F32, rows)
	args := kernels.CrossEntropyArgs{
		LogProb: logprob.buf, X: x.buf, W: w.buf, Targets: targets.buf, Weights: weights.buf,
		Starts: tp.Seqs.Starts.buf, NSeq: tp.Seqs.N, Rows: rows, Dim: x.Dim(1), Vocab: w.Dim(0),
	}
	// The gradients come from the same pass that has the logits at hand.
	var dx *Tensor
	if tp.grad && x.needsGrad {
		dx = tp.new(F32, x.shape...)
		args.DX = dx.buf
	}
	if tp.grad && w.grad != nil {
		args.DW = w.grad.buf
	}
	tp.scratch(tp.dev.backend.CrossEntropyScratch(args), func(s kernels.Buffer) {
		args.Scratch = s
		tp.dev.backend.CrossEntropy(args)
	})
	tp.record(crossEntropyOp, logprob, []*Tensor{x, w}, []*Tensor{dx}, func(*Tensor) {
		if dx != nil {
			tp.addGrad(x, dx)
		}
	})
	return logprob
}
