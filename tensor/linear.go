package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// Linear returns x·Wᵀ (+ bias) for x [rows, in], w [out, in], bias [out] or nil,
// in the tape's compute type. Sums are f32 whatever the storage.
func Linear(tp *Tape, x, w, bias *Tensor) *Tensor {
	return LoRALinear(tp, x, w, bias, nil)
}

// linearShapes checks shapes and returns rows, in, out.
func linearShapes(x, w, bias *Tensor) (rows, in, out int) {
	if x.shape.n != 2 || w.shape.n != 2 || x.Dim(1) != w.Dim(1) {
		panic(fmt.Sprintf("linear: x %v, w %v; want [rows, in] and [out, in]", x.shape, w.shape))
	}
	if bias != nil && (bias.shape.n != 1 || bias.Dim(0) != w.Dim(0)) {
		panic(fmt.Sprintf("linear: w %v, bias %v", w.shape, bias.shape))
	}
	mustContiguous("linear", x, w)
	return x.Dim(0), w.Dim(1), w.Dim(0)
}

func linearForward(tp *Tape, x, w, bias *Tensor) *Tensor {
	rows, in, out := linearShapes(x, w, bias)
	tp.mustWeight("linear", w, rows)
	tp.mustWeight("linear", bias, rows)
	y := tp.new(tp.Compute, rows, out)
	args := kernels.LinearArgs{Y: y.buf, X: x.buf, W: w.buf, Rows: rows, In: in, Out: out}
	if bias != nil {
		args.Bias = bias.buf
	}
	tp.dev.backend.Linear(args)
	return y
}

func linearBackward(tp *Tape, n *node, dy *Tensor) {
	x, w, bias := n.inputs[0], n.inputs[1], n.inputs[2]
	rows, in, out := dy.Dim(0), w.Dim(1), w.Dim(0)
	if x.needsGrad {
		before := len(tp.owned)
		dx, accumulate := tp.gradFor(x)
		tp.dev.backend.LinearBackwardInput(kernels.LinearBackwardInputArgs{
			DX: dx.buf, DY: tp.factor(dy, w).buf, W: w.buf, Rows: rows, In: in, Out: out, Accumulate: accumulate,
		})
		tp.freeSince(before)
	}
	args := kernels.LinearBackwardWeightArgs{
		DY: dy.buf, X: x.buf, Starts: tp.starts(), NSeq: tp.Seqs.N, Rows: rows, In: in, Out: out,
	}
	if w.grad != nil {
		args.DW = w.grad.buf
	}
	if bias != nil && bias.grad != nil {
		args.DBias = bias.grad.buf
	}
	if !args.DW.IsNil() || !args.DBias.IsNil() {
		tp.dev.backend.LinearBackwardWeight(args)
	}
}

// factor returns dy as a product with w takes it: in bf16 compute, inputs of
// products are bf16.
func (tp *Tape) factor(dy, w *Tensor) *Tensor {
	if tp.Compute != BF16 || w.DType() != BF16 {
		return dy
	}
	narrow := tp.like(dy, BF16)
	copyView(narrow, dy)
	return narrow
}
