package ref

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
)

// Copy implements kernels.Backend. Between equal storages it keeps every bit.
func (d *Backend) Copy(a kernels.CopyArgs) {
	must(a.Rows <= 1 || a.DstStride >= a.Cols && a.SrcStride >= a.Cols, "Copy", "rows of %d columns, strides %d and %d", a.Cols, a.DstStride, a.SrcStride)
	must(a.Dst.DType == a.Src.DType || a.Dst.DType.IsFloat() && a.Src.DType.IsFloat(), "Copy", "%v to %v", a.Src.DType, a.Dst.DType)
	for r := range a.Rows {
		dst, src := a.Dst.At(r*a.DstStride), a.Src.At(r*a.SrcStride)
		if dst.DType == src.DType {
			n := a.Cols * dst.DType.Size()
			copy(host.Bytes(dst, n), host.Bytes(src, n))
		} else {
			store(dst, load(src, a.Cols))
		}
	}
}
