package cuda

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// Add implements kernels.Backend.
func (b *Backend) Add(a kernels.AddArgs) {
	k := kernel.Add{Dst: a.Dst.DType, A: a.A.DType, B: a.B.DType, Vec: vector(8, a.Dst, a.A, a.B)}
	b.launch("Add", k, k.Launch(a.N), ptr(a.Dst), ptr(a.A), ptr(a.B), num(a.N))
}
