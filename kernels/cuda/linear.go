package cuda

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// Linear implements kernels.Backend.
func (b *Backend) Linear(a kernels.LinearArgs) {
	t := kernel.Tile{A: a.X.DType, B: a.W.DType}
	t.VecA, t.VecB = even(a.X, a.In, t.VecElements()), even(a.W, a.In, t.VecElements())
	k := kernel.Linear{Y: a.Y.DType, Bias: a.Bias.DType, VecY: even(a.Y, a.Out, 16/a.Y.DType.Size())}
	k.Tile, k.Split = b.pick("linear", t, shape{rows: a.Rows, cols: a.Out, depth: a.In})
	b.launch("Linear", k, k.Launch(a.Rows, a.Out), ptr(a.Y), ptr(a.X), ptr(a.W), ptr(a.Bias), num(a.Rows), num(a.Out), num(a.In))
}

// LinearBackwardInput implements kernels.Backend.
func (b *Backend) LinearBackwardInput(a kernels.LinearBackwardInputArgs) {
	t := kernel.Tile{A: a.DY.DType, B: a.W.DType, AcrossB: true}
	t.VecA, t.VecB = even(a.DY, a.Out, t.VecElements()), even(a.W, a.In, t.VecElements())
	k := kernel.Linear{Y: a.DX.DType, VecY: even(a.DX, a.In, 4), Accumulate: a.Accumulate}
	k.Tile, k.Split = b.pick("linear_backward_input", t, shape{rows: a.Rows, cols: a.In, depth: a.Out})
	b.launch("LinearBackwardInput", k, k.Launch(a.Rows, a.In), ptr(a.DX), ptr(a.DY), ptr(a.W), ptr(kernels.Buffer{}), num(a.Rows), num(a.In), num(a.Out))
}

// LinearBackwardWeight implements kernels.Backend.
func (b *Backend) LinearBackwardWeight(a kernels.LinearBackwardWeightArgs) {
	const op, refused = "LinearBackwardWeight", "starts: sequence %d ends at row %d, want ascending rows of the batch"
	if !a.DW.IsNil() {
		t := kernel.Tile{A: a.DY.DType, B: a.X.DType, AcrossA: true, AcrossB: true}
		t.VecA, t.VecB = even(a.DY, a.Out, t.VecElements()), even(a.X, a.In, t.VecElements())
		k := kernel.LinearWeight{VecDW: even(a.DW, a.In, 4)}
		k.Tile, _ = b.pick("linear_backward_weight", t, shape{rows: a.Out, cols: a.In, depth: a.Rows})
		at, tag := b.refusals(op, refused)
		b.launch(op, k, k.Launch(a.Out, a.In), ptr(a.DW), ptr(a.DY), ptr(a.X), ptr(a.Starts), num(a.NSeq), num(a.Rows), num(a.In), num(a.Out), at, tag)
	}
	if !a.DBias.IsNil() {
		k := kernel.LinearBias{ColumnSums: kernel.ColumnSumsOf(a.Rows)}
		at, tag := b.refusals(op, refused)
		b.launch(op, k, k.Launch(a.Out), ptr(a.DBias), ptr(a.DY), ptr(a.Starts), num(a.NSeq), num(a.Rows), num(a.Out), at, tag)
	}
}

// even reports whether rows of so many elements all begin at a multiple of n elements.
func even(buf kernels.Buffer, cols, n int) bool { return aligned(buf, n) == n && cols%n == 0 }
