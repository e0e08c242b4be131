package ref

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

// SwiGLU implements kernels.Backend.
func (d *Backend) SwiGLU(a kernels.SwiGLUArgs) {
	gate, up := load(a.Gate, a.N), load(a.Up, a.N)
	y := make([]float64, a.N)
	for i, g := range gate {
		y[i] = g / (1 + math.Exp(-g)) * up[i]
	}
	store(a.Y, y)
}

// SwiGLUBackward implements kernels.Backend.
func (d *Backend) SwiGLUBackward(a kernels.SwiGLUBackwardArgs) {
	gate, up, dy := load(a.Gate, a.N), load(a.Up, a.N), load(a.DY, a.N)
	dgate, dup := make([]float64, a.N), make([]float64, a.N)
	for i, g := range gate {
		s := 1 / (1 + math.Exp(-g))
		dup[i] = dy[i] * g * s
		dgate[i] = dy[i] * up[i] * s * (1 + g*(1-s))
	}
	store(a.DUp, dup)
	store(a.DGate, dgate)
}
