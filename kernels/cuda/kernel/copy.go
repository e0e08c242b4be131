package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// Copy is dst[r·dstStride+c] = src[r·srcStride+c], converted between float storages
// or i32 as it is. A block takes elements of a row; blocks in y take the rows.
type Copy struct{ Dst, Src kernels.DType }

// Name implements Any.
func (p Copy) Name() string { return name("copy", p.Dst, p.Src) }

// Launch is the launch for a matrix.
func (p Copy) Launch(rows, cols int) Launch {
	l := elements(cols, 1)
	l.Grid[1] = min(rows, maxGridY)
	return l
}

// maxGridY is the most blocks that a grid has in y.
const maxGridY = 65535

// Emit implements Any: copy(dst, src, rows, cols, dst_stride, src_stride).
func (p Copy) Emit(k *ptx.Builder) {
	k.RequireThreads(elementThreads)
	dst, src := k.ParamGlobal("dst"), k.ParamGlobal("src")
	rows, cols := k.ParamU32("rows"), k.ParamU32("cols")
	dstStride, srcStride := k.ParamU32("dst_stride"), k.ParamU32("src_stride")
	forElements(k, cols, 1, func(c ptx.RegU32, _ int) {
		k.For(k.CtaidY(), rows, k.NctaidY(), func(r ptx.RegU32) {
			to, from := at(row(k, dst, r, dstStride, p.Dst), c, p.Dst), at(row(k, src, r, srcStride, p.Src), c, p.Src)
			if p.Dst == kernels.I32 {
				k.StB32(to, k.LdB32(from))
			} else {
				store(k, to, p.Dst, load(k, from, p.Src))
			}
		})
	})
}
