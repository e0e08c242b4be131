package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// Add returns a + b, of one shape, in f32: the residual stream.
func Add(tp *Tape, a, b *Tensor) *Tensor {
	if a.shape != b.shape {
		panic(fmt.Sprintf("add: a %v, b %v", a.shape, b.shape))
	}
	mustContiguous("add", a, b)
	y := tp.like(a, F32)
	tp.dev.backend.Add(kernels.AddArgs{Dst: y.buf, A: a.buf, B: b.buf, N: y.Len()})
	tp.record(node{out: y, inputs: inputs{a, b}, backward: addBackward})
	return y
}

func addBackward(tp *Tape, n *node, dy *Tensor) {
	tp.addGrad(n.inputs[0], dy)
	tp.addGrad(n.inputs[1], dy)
}
