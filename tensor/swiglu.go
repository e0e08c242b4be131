package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// SwiGLU returns silu(gate)·up elementwise (Shazeer, "GLU Variants Improve
// Transformer", 2020), in the tape's compute type.
func SwiGLU(tp *Tape, gate, up *Tensor) *Tensor {
	if gate.shape != up.shape {
		panic(fmt.Sprintf("swiglu: gate %v, up %v", gate.shape, up.shape))
	}
	mustContiguous("swiglu", gate, up)
	y := tp.like(gate, tp.Compute)
	tp.dev.backend.SwiGLU(kernels.SwiGLUArgs{Y: y.buf, Gate: gate.buf, Up: up.buf, N: y.Len()})
	tp.record(node{out: y, inputs: inputs{gate, up}, saved: saved{gate, up}, backward: swigluBackward})
	return y
}

func swigluBackward(tp *Tape, n *node, dy *Tensor) {
	gate, up := n.inputs[0], n.inputs[1]
	dgate, dup := tp.like(gate, F32), tp.like(up, F32)
	tp.dev.backend.SwiGLUBackward(kernels.SwiGLUBackwardArgs{
		DGate: dgate.buf, DUp: dup.buf, DY: dy.buf, Gate: gate.buf, Up: up.buf, N: dy.Len(),
	})
	tp.addGrad(gate, dgate)
	tp.addGrad(up, dup)
}
