package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// Gather is dst[i, c] = src[index[i], c]. A row of dst with an index outside of src is
// refused. Embedding is this kernel too, over its table. Vec neighbours of a row, a
// divisor of cols, are taken at once.
type Gather struct {
	Dst, Src kernels.DType
	Vec      int
}

// Name implements Any.
func (p Gather) Name() string { return name("gather", p.Dst, p.Src, p.Vec) }

// Launch is the launch for a matrix of results.
func (p Gather) Launch(rows, cols int) Launch { return rowItems(rows, cols/p.Vec) }

// RowsPerBlock is the parameter rows_per_block.
func (p Gather) RowsPerBlock(cols int) int { return rowsPerBlock(cols / p.Vec) }

// Emit implements Any: gather(dst, src, index, rows, items, rows_per_block, src_rows, fault, fault_tag),
// items of Vec elements.
func (p Gather) Emit(k *ptx.Builder) {
	k.RequireThreads(elementThreads)
	dst, src, index := k.ParamGlobal("dst"), k.ParamGlobal("src"), k.ParamGlobal("index")
	rows, items, perBlock, srcRows := k.ParamU32("rows"), k.ParamU32("items"), k.ParamU32("rows_per_block"), k.ParamU32("src_rows")
	refuse := newFaults(k)
	cols := items.Times(p.Vec)
	eachRowItem(k, rows, items, perBlock, func(r, i ptx.RegU32) {
		from := k.LdU32(index.Elem(r, ptx.S32))
		good := k.SetpLtU32(from, srcRows) // a negative one is a large one
		refuse.report(good.Not(), r, from)
		k.If(good, func() {
			c := i.Times(p.Vec)
			convert(k, at(row(k, dst, r, cols, p.Dst), c, p.Dst), p.Dst, at(row(k, src, from, cols, p.Src), c, p.Src), p.Src, p.Vec)()
		})
	})
}
