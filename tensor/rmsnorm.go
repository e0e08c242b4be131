package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// RMSNorm normalises every row of x [rows, dim] to root mean square 1 and
// scales it by w [dim]. x is f32; the result is in the tape's compute type.
func RMSNorm(tp *Tape, x, w *Tensor, eps float32) *Tensor {
	n := tp.rmsnorm(x, w, eps)
	rmsnormForward(tp, &n)
	tp.record(n)
	return n.out
}

// AddRMSNorm returns sum, [Add] of x and a, and y, [RMSNorm] of sum, in the same bits,
// by one pass over them: what a branch gave is added to the residual stream, which the
// next branch reads.
func AddRMSNorm(tp *Tape, x, a, w *Tensor, eps float32) (sum, y *Tensor) {
	add := tp.add(x, a)
	n := tp.rmsnorm(add.out, w, eps)
	args := rmsnormArgs(&n)
	args.X, args.Add, args.Sum = x.buf, a.buf, add.out.buf
	tp.dev.backend.RMSNorm(args)
	tp.record(add)
	tp.record(n)
	return add.out, n.out
}

// rmsnorm is the op, not yet done.
func (tp *Tape) rmsnorm(x, w *Tensor, eps float32) node {
	dim := x.Dim(-1)
	if w.shape.n != 1 || w.Dim(0) != dim {
		panic(fmt.Sprintf("rmsnorm: x %v, w %v", x.shape, w.shape))
	}
	mustContiguous("rmsnorm", x, w)
	tp.mustWeight("rmsnorm", w, x.rows())
	return node{
		out: tp.like(x, tp.Compute), inputs: inputs{x, w}, saved: saved{x}, factor: eps,
		forward: rmsnormForward, backward: rmsnormBackward,
	}
}

func rmsnormForward(tp *Tape, n *node) { tp.dev.backend.RMSNorm(rmsnormArgs(n)) }

func rmsnormArgs(n *node) kernels.RMSNormArgs {
	x, w := n.inputs[0], n.inputs[1]
	return kernels.RMSNormArgs{Y: n.out.buf, X: x.buf, W: w.buf, Rows: x.rows(), Dim: x.Dim(-1), Eps: n.factor}
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
