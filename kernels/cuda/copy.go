package cuda

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// Copy implements kernels.Backend.
func (b *Backend) Copy(a kernels.CopyArgs) {
	k := kernel.Copy{Dst: a.Dst.DType, Src: a.Src.DType}
	b.launch("Copy", k, k.Launch(a.Rows, a.Cols), ptr(a.Dst), ptr(a.Src), num(a.Rows), num(a.Cols), num(a.DstStride), num(a.SrcStride))
}
