package cuda

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// Linear implements kernels.Backend.
func (b *Backend) Linear(a kernels.LinearArgs) {
	k := linearForward(a)
	b.launch("Linear", k, k.Launch(a.Rows, a.Out), ptr(a.Y), ptr(a.X), ptr(a.W), ptr(a.Bias), num(a.Rows), num(a.Out), num(a.In))
}

func linearForward(a kernels.LinearArgs) kernel.Linear {
	k := kernel.Linear{Tile: tileFor(a.X.DType, a.W.DType, a.Rows, a.Out), Y: a.Y.DType, VecY: even(a.Y, a.Out, 16/a.Y.DType.Size()), Bias: a.Bias.DType}
	k.VecA, k.VecB = even(a.X, a.In, k.VecElements()), even(a.W, a.In, k.VecElements())
	return k
}

// LinearBackwardInput implements kernels.Backend.
func (b *Backend) LinearBackwardInput(a kernels.LinearBackwardInputArgs) {
	k := kernel.Linear{Tile: tileFor(a.DY.DType, a.W.DType, a.Rows, a.In), Y: a.DX.DType, VecY: even(a.DX, a.In, 4), Accumulate: a.Accumulate}
	k.AcrossB = true
	k.VecA, k.VecB = even(a.DY, a.Out, k.VecElements()), even(a.W, a.In, k.VecElements())
	b.launch("LinearBackwardInput", k, k.Launch(a.Rows, a.In), ptr(a.DX), ptr(a.DY), ptr(a.W), ptr(kernels.Buffer{}), num(a.Rows), num(a.In), num(a.Out))
}

// LinearBackwardWeight implements kernels.Backend.
func (b *Backend) LinearBackwardWeight(a kernels.LinearBackwardWeightArgs) {
	const op, refused = "LinearBackwardWeight", "starts: sequence %d ends at row %d, want ascending rows of the batch"
	if !a.DW.IsNil() {
		k := kernel.LinearWeight{Tile: tileFor(a.DY.DType, a.X.DType, a.Out, a.In), VecDW: even(a.DW, a.In, 4)}
		k.AcrossA, k.AcrossB = true, true
		k.VecA, k.VecB = even(a.DY, a.Out, k.VecElements()), even(a.X, a.In, k.VecElements())
		at, tag := b.refusals(op, refused)
		b.launch(op, k, k.Launch(a.Out, a.In), ptr(a.DW), ptr(a.DY), ptr(a.X), ptr(a.Starts), num(a.NSeq), num(a.Rows), num(a.In), num(a.Out), at, tag)
	}
	if !a.DBias.IsNil() {
		k := kernel.LinearBias{}
		at, tag := b.refusals(op, refused)
		b.launch(op, k, k.Launch(a.Out), ptr(a.DBias), ptr(a.DY), ptr(a.Starts), num(a.NSeq), num(a.Rows), num(a.Out), at, tag)
	}
}

// even reports whether rows of so many elements all begin at a multiple of n elements.
func even(buf kernels.Buffer, cols, n int) bool { return aligned(buf, n) == n && cols%n == 0 }

func tileFor(a, b kernels.DType, rows, cols int) kernel.Tile {
	t := kernel.Tile{A: a, B: b, BM: 32, BN: 32, BK: 32, WarpsM: 2, WarpsN: 2, Stages: 3}
	if !t.Mma() {
		t.BM, t.BN, t.BK, t.WarpsM, t.WarpsN, t.Stages = 32, 64, 16, 2, 2, 2
	}
	return t
}
