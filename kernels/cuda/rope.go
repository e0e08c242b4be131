package cuda

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// Rope implements kernels.Backend.
func (b *Backend) Rope(a kernels.RopeArgs) { b.rotate("Rope", a, false) }

// RopeBackward implements kernels.Backend.
func (b *Backend) RopeBackward(a kernels.RopeArgs) { b.rotate("RopeBackward", a, true) }

func (b *Backend) rotate(op string, a kernels.RopeArgs, back bool) {
	if a.HeadDim%2 != 0 {
		panic(fmt.Sprintf("%s: head dimension %d is odd", op, a.HeadDim))
	}
	k := kernel.Rope{Y: a.Y.DType, X: a.X.DType, HeadDim: a.HeadDim, Back: back, Pair: a.Heads2 > 0,
		Vec: dividing(vector(8, a.Y, a.X, a.Cos, a.Sin), a.HeadDim/2)}
	if k.Pair {
		k.Vec = dividing(vector(k.Vec, a.Y2, a.X2), k.Vec)
	}
	heads := a.Heads + a.Heads2
	at, tag := b.refusals(op, fmt.Sprintf("row %%d: position %%d, want 0…%d", a.MaxPos-1))
	b.launch(op, k, k.Launch(a.Rows, heads), ptr(a.Y), ptr(a.X), ptr(a.Y2), ptr(a.X2), ptr(a.Positions), ptr(a.Cos), ptr(a.Sin),
		num(a.Rows), num(k.Items(heads)), num(k.Items(a.Heads)), num(k.RowsPerBlock(heads)), num(a.MaxPos), at, tag)
}
