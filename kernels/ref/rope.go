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
		rotateHeads(a.Y, a.X, i, a.Heads, cos, sin, sign)
		if a.Heads2 > 0 {
			rotateHeads(a.Y2, a.X2, i, a.Heads2, cos, sin, sign)
		}
	}
}

// rotateHeads rotates the heads of row i of x.
func rotateHeads(dst, x kernels.Buffer, i, heads int, cos, sin []float64, sign float64) {
	h := len(cos)
	at := i * heads * 2 * h
	row := load(x.At(at), heads*2*h)
	for head := range heads {
		v := row[head*2*h:][:2*h]
		for j := range h {
			x, y := v[j], v[j+h]
			v[j] = x*cos[j] - y*sign*sin[j]
			v[j+h] = y*cos[j] + x*sign*sin[j]
		}
	}
	store(dst.At(at), row)
}
