package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// Gather is dst[i, c] = src[index[i], c]. A row of dst with an index outside of src is
// refused. Embedding is this kernel too, over its table.
type Gather struct{ Dst, Src kernels.DType }

// Name implements Any.
func (p Gather) Name() string { return name("gather", p.Dst, p.Src) }

// Launch is the launch for a matrix of results.
func (p Gather) Launch(rows, cols int) Launch {
	l := elements(cols, 1)
	l.Grid[1] = min(rows, maxGridY)
	return l
}

// Emit implements Any: gather(dst, src, index, rows, cols, src_rows, fault, fault_tag).
func (p Gather) Emit(k *ptx.Builder) {
	k.RequireThreads(elementThreads)
	dst, src, index := k.ParamGlobal("dst"), k.ParamGlobal("src"), k.ParamGlobal("index")
	rows, cols, srcRows := k.ParamU32("rows"), k.ParamU32("cols"), k.ParamU32("src_rows")
	refuse := newFaults(k)
	forElements(k, cols, 1, func(c ptx.RegU32, _ int) {
		k.For(k.CtaidY(), rows, k.NctaidY(), func(r ptx.RegU32) {
			i := k.LdU32(index.Elem(r, ptx.S32))
			good := k.SetpLtU32(i, srcRows) // a negative one is a large one
			refuse.report(good.Not(), r, i)
			k.If(good, func() {
				store(k, at(row(k, dst, r, cols, p.Dst), c, p.Dst), p.Dst, load(k, at(row(k, src, i, cols, p.Src), c, p.Src), p.Src))
			})
		})
	})
}
