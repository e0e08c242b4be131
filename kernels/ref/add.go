package ref

import "github.com/selkie-ml/selkie/kernels"

// Add implements kernels.Backend.
func (d *Backend) Add(a kernels.AddArgs) {
	y := load(a.A, a.N)
	axpy(y, 1, load(a.B, a.N))
	store(a.Dst, y)
}
