package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// CrossEntropy returns the log-probability of each row's target under
// softmax(x·Wᵀ), without ever holding all logits: x [rows, dim], w [vocab, dim],
// targets i32 [rows] (< 0: none), weights f32 [rows]. It is the root of a
// backward pass, whose loss is Σ −weights·logprob over all rows: a sum, nothing
// is divided.
func CrossEntropy(tp *Tape, x, w, targets, weights *Tensor) *Tensor {
	if x.shape.n != 2 || w.shape.n != 2 || x.Dim(1) != w.Dim(1) || targets.Len() != x.Dim(0) || weights.Len() != x.Dim(0) {
		panic(fmt.Sprintf("crossentropy: x %v, w %v, targets %v, weights %v", x.shape, w.shape, targets.shape, weights.shape))
	}
	mustContiguous("crossentropy", x, w)
	rows := x.Dim(0)
	tp.mustBatch("crossentropy", rows)
	tp.mustWeight("crossentropy", w, rows)
	logprob := tp.new(F32, rows)
	args := kernels.CrossEntropyArgs{
		LogProb: logprob.buf, X: x.buf, W: w.buf, Targets: targets.buf, Weights: weights.buf,
		Starts: tp.Seqs.Starts.buf, NSeq: tp.Seqs.N, Rows: rows, Dim: x.Dim(1), Vocab: w.Dim(0),
	}
	// The gradients come from the same pass that has the logits at hand.
	var dx *Tensor
	if tp.wants(x) {
		dx = tp.like(x, F32)
		args.DX = dx.buf
	}
	if tp.grad && w.grad != nil {
		args.DW = w.grad.buf
	}
	before := len(tp.owned)
	args.Scratch = tp.scratch(tp.dev.backend.CrossEntropyScratch(args))
	tp.dev.backend.CrossEntropy(args)
	tp.freeSince(before)
	tp.record(node{out: logprob, inputs: inputs{x, w}, saved: saved{dx}, backward: crossEntropyBackward, root: true})
	if dx != nil {
		tp.Drop(dx)
	}
	return logprob
}

func crossEntropyBackward(tp *Tape, n *node, _ *Tensor) {
	if dx := n.saved[0]; dx != nil {
		tp.addGrad(n.inputs[0], dx)
	}
}
