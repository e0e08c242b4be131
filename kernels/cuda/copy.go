package cuda

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// Copy implements kernels.Backend.
func (b *Backend) Copy(a kernels.CopyArgs) {
	if a.DstStride == a.Cols && a.SrcStride == a.Cols && a.Rows > 0 && a.Rows*a.Cols <= math.MaxUint32 {
		a.Cols *= a.Rows // one long row
		a.Rows, a.DstStride, a.SrcStride = 1, a.Cols, a.Cols
	}
	k := kernel.Copy{Dst: a.Dst.DType, Src: a.Src.DType, Vec: dividing(vector(8, a.Dst, a.Src), a.Cols, a.DstStride, a.SrcStride)}
	b.launch("Copy", k, k.Launch(a.Rows, a.Cols), ptr(a.Dst), ptr(a.Src), num(a.Rows), num(a.Cols/k.Vec), num(k.RowsPerBlock(a.Cols)),
		num(a.DstStride), num(a.SrcStride))
}
