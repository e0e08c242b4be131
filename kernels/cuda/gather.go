package cuda

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// Gather implements kernels.Backend.
func (b *Backend) Gather(a kernels.GatherArgs) { b.gather("Gather", "index", a) }

// gather is Gather under the name of the op that it serves.
func (b *Backend) gather(op, what string, a kernels.GatherArgs) {
	k := kernel.Gather{Dst: a.Dst.DType, Src: a.Src.DType, Vec: dividing(vector(8, a.Dst, a.Src), a.Cols)}
	at, tag := b.refusals(op, fmt.Sprintf("row %%d: %s %%d, want 0…%d", what, a.SrcRows-1))
	b.launch(op, k, k.Launch(a.Rows, a.Cols), ptr(a.Dst), ptr(a.Src), ptr(a.Index), num(a.Rows), num(a.Cols/k.Vec), num(k.RowsPerBlock(a.Cols)),
		num(a.SrcRows), at, tag)
}
