package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// RMSNorm normalises every row of x [rows, dim] to root mean square 1 and
// scales it by w [dim]. x is f32; the result is in the tape's compute type.
func RMSNorm(tp *Tape, x, w *Tensor, eps float32) *Tensor {
	dim := x.Dim(-1)
	if len(w.shape) != 1 || w.Dim(0) != dim {
		panic(fmt.Sprintf("rmsnorm: x %v, w %v", x.shape, w.shape))
	}
	mustContiguous("rmsnorm", x, w)
	rows := x.rows()
	tp.mustWeight("rmsnorm", w, rows)
	y := tp.new(tp.Compute, x.shape...)
	tp.dev.backend.RMSNorm(kernels.RMSNormArgs{Y: y.buf, X: x.buf, W: w.buf, Rows: rows, Dim: dim, Eps: eps})
	tp.record("rmsnorm", y, []*Tensor{x, w}, []*Tensor{x}, func(dy *Tensor) {
		args := kernels.RMSNormBackwardArgs{
			DY: dy.buf, X: x.buf, W: w.buf, Rows: rows, Dim: dim, Eps: eps,
			Starts: tp.starts(), NSeq: tp.Seqs.N,
		}
		if w.grad != nil {
			args.DW = w.grad.buf
		}
		if !x.needsGrad {
			tp.scratch(int64(x.Len())*4, func(s kernels.Buffer) {
				args.DX = s
				tp.dev.backend.RMSNormBackward(args)
			})
			return
		}
		dx, accumulate := tp.gradFor(x)
		args.DX, args.Accumulate = dx.buf, accumulate
		tp.dev.backend.RMSNormBackward(args)
	})
	return y
}
