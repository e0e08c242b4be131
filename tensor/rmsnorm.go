package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// RMSNorm normalises every row of x [rows, dim] to root mean square 1 and
// scales it by w [dim]. x is f32; the result is in the tape's compute type.
func RMSNorm(tp *Tape, x, w *Tensor, eps float32) *Tensor {
	dim := x.Dim(-1)
	if w.shape.n != 1 || w.Dim(0) != dim {
		panic(fmt.Sprintf("rmsnorm: x %v, w %v", x.shape, w.shape))
	}
	mustContiguous("rmsnorm", x, w)
	tp.mustWeight("rmsnorm", w, x.rows())
	n := node{
		out: tp.like(x, tp.Compute), inputs: inputs{x, w}, saved: saved{x}, factor: eps,
		forward: rmsnormForward, backward: rmsnormBackward,
	}
	rmsnormForward(tp, &n)
	tp.record(n)
	return n.out
}

func rmsnormForward(tp *Tape, n *node) {
	x, w := n.inputs[0], n.inputs[1]
	tp.dev.backend.RMSNorm(kernels.RMSNormArgs{Y: n.out.buf, X: x.buf, W: w.buf, Rows: x.rows(), Dim: x.Dim(-1), Eps: n.factor})
}

func rmsnormBackward(tp *Tape, n *node, dy *Tensor) {
	x, w := n.inputs[0], n.inputs[1]
	args := kernels.RMSNormBackwardArgs{
		DY: dy.buf, X: x.buf, W: w.buf, Rows: x.rows(), Dim: x.Dim(-1), Eps: n.factor,
		Starts: tp.starts(), NSeq: tp.Seqs.N,
	}
	if w.grad != nil {
		args.DW = w.grad.buf
	}
	if x.needsGrad {
		dx, accumulate := tp.gradFor(x)
		args.DX, args.Accumulate = dx.buf, accumulate
	} else {
		args.DX = tp.scratch(int64(x.Len()) * 4)
	}
	tp.dev.backend.RMSNormBackward(args)
}
