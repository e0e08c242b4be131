package ref

import "github.com/selkie-ml/selkie/kernels"

// Rope implements kernels.Backend.
func (d *Backend) Rope(a kernels.RopeArgs) { d.rotate("Rope", a, 1) }

// RopeBackward implements kernels.Backend.
func (d *Backend) RopeBackward(a kernels.RopeArgs) { d.rotate("RopeBackward", a, -1) }

func (d *Backend) rotate(op string, a kernels.RopeArgs, sign float64) {
	must(a.HeadDim%2 == 0, op, "head dimension %d is odd", a.HeadDim)
	positions, ok := d.indices(op, "position", a.Positions, a.Rows, a.MaxPos)
	if !ok {
		return
	}
	h := a.HeadDim / 2
	for i, p := range positions {
		cos, sin := load(a.Cos.At(int(p)*h), h), load(a.Sin.At(int(p)*h), h)
		row := load(a.X.At(i*a.Heads*a.HeadDim), a.Heads*a.HeadDim)
		for head := range a.Heads {
			v := row[head*a.HeadDim:][:a.HeadDim]
			for j := range h {
				x, y := v[j], v[j+h]
				v[j] = x*cos[j] - y*sign*sin[j]
				v[j+h] = y*cos[j] + x*sign*sin[j]
			}
		}
		store(a.Y.At(i*a.Heads*a.HeadDim), row)
	}
}
