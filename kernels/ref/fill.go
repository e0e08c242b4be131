package ref

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
)

// Fill implements kernels.Backend.
func (d *Backend) Fill(a kernels.FillArgs) {
	if a.Dst.DType == kernels.I32 {
		y := host.I32(a.Dst, a.N)
		for i := range y {
			y[i] = int32(a.Value)
		}
		return
	}
	y := make([]float64, a.N)
	for i := range y {
		y[i] = float64(a.Value)
	}
	store(a.Dst, y)
}
