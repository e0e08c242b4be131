package tensor

import (
	"fmt"
	"slices"

	"github.com/selkie-ml/selkie/kernels"
)

// SwiGLU returns silu(gate)·up elementwise (Shazeer, "GLU Variants Improve
// Transformer", 2020), in the tape's compute type.
func SwiGLU(tp *Tape, gate, up *Tensor) *Tensor {
	if !slices.Equal(gate.shape, up.shape) {
		panic(fmt.Sprintf("swiglu: gate %v, up %v", gate.shape, up.shape))
	}
	mustContiguous("swiglu", gate, up)
	y := tp.new(tp.Compute, gate.shape...)
	tp.dev.backend.SwiGLU(kernels.SwiGLUArgs{Y: y.buf, Gate: gate.buf, Up: up.buf, N: y.Len()})
	tp.record("swiglu", y, []*Tensor{gate, up}, []*Tensor{gate, up}, func(dy *Tensor) {
		dgate, dup := tp.new(F32, gate.shape...), tp.new(F32, up.shape...)
		tp.dev.backend.SwiGLUBackward(kernels.SwiGLUBackwardArgs{
			DGate: dgate.buf, DUp: dup.buf, DY: dy.buf, Gate: gate.buf, Up: up.buf, N: y.Len(),
		})
		tp.addGrad(gate, dgate)
		tp.addGrad(up, dup)
	})
	return y
}
