package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// Copy is dst[r·dstStride+c] = src[r·srcStride+c], converted between float storages,
// equal storages bit by bit. Vec neighbours of a row are taken at once: cols and both
// strides are multiples of it then.
type Copy struct {
	Dst, Src kernels.DType
	Vec      int
}

// Name implements Any.
func (p Copy) Name() string { return name("copy", p.Dst, p.Src, p.Vec) }

// Launch is the launch for a matrix.
func (p Copy) Launch(rows, cols int) Launch { return rowItems(rows, cols/p.Vec) }

// RowsPerBlock is the parameter rows_per_block.
func (p Copy) RowsPerBlock(cols int) int { return rowsPerBlock(cols / p.Vec) }

// Emit implements Any: copy(dst, src, rows, items, rows_per_block, dst_stride, src_stride),
// items of Vec elements.
func (p Copy) Emit(k *ptx.Builder) {
	k.RequireThreads(elementThreads)
	dst, src := k.ParamGlobal("dst"), k.ParamGlobal("src")
	rows, items, perBlock := k.ParamU32("rows"), k.ParamU32("items"), k.ParamU32("rows_per_block")
	dstStride, srcStride := k.ParamU32("dst_stride"), k.ParamU32("src_stride")
	eachRowItem(k, rows, items, perBlock, func(r, i ptx.RegU32) {
		c := i.Times(p.Vec)
		to, from := at(row(k, dst, r, dstStride, p.Dst), c, p.Dst), at(row(k, src, r, srcStride, p.Src), c, p.Src)
		convert(k, to, p.Dst, from, p.Src, p.Vec)()
	})
}
