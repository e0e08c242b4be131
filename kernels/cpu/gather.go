package cpu

import (
	"github.com/selkie-ml/selkie/kernels"
)

// gatherTask serves Gather and Embedding.
type gatherTask struct {
	dst, src elems
	index    []int32
	cols     int
}

// Gather implements kernels.Backend.
func (b *Backend) Gather(a kernels.GatherArgs) {
	t := &b.ops.gather
	*t = gatherTask{
		dst:   floats("Gather", "Dst", a.Dst, a.Rows, a.Cols),
		src:   floats("Gather", "Src", a.Src, a.SrcRows, a.Cols),
		index: i32s("Gather", "Index", a.Index, a.Rows),
		cols:  a.Cols,
	}
	t.dst = t.dst.output(t.src)
	for i, v := range t.index {
		if v < 0 || int(v) >= a.SrcRows {
			b.Fail("Gather", "row %d takes row %d of a source of %d rows", i, v, a.SrcRows)
			return
		}
	}
	b.pool.run("Gather", t, a.Rows, rowGrain(a.Cols))
}

func (t *gatherTask) do(lo, hi int, w *worker) {
	c := copyTask{dst: t.dst, src: t.src}
	for i := lo; i < hi; i++ {
		c.span(i*t.cols, int(t.index[i])*t.cols, t.cols, w)
	}
	c.dst.fence()
}
