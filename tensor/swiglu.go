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
	n := node{
		out: tp.like(gate, tp.Compute), inputs: inputs{gate, up}, saved: saved{gate, up},
		forward: swigluForward, backward: swigluBackward,
	}
	swigluForward(tp, &n)
	tp.record(n)
	return n.out
}

func swigluForward(tp *Tape, n *node) {
	y, gate, up := n.out, n.saved[0], n.saved[1]
	tp.dev.backend.SwiGLU(kernels.SwiGLUArgs{Y: y.buf, Gate: gate.buf, Up: up.buf, N: y.Len()})
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
