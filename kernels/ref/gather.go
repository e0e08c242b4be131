package ref

import "github.com/selkie-ml/selkie/kernels"

// Gather implements kernels.Backend.
func (d *Backend) Gather(a kernels.GatherArgs) {
	index, ok := d.indices("Gather", "index", a.Index, a.Rows, a.SrcRows)
	if !ok {
		return
	}
	for i, r := range index {
		store(a.Dst.At(i*a.Cols), load(a.Src.At(int(r)*a.Cols), a.Cols))
	}
}
