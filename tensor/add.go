package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// Add returns a + b, of one shape, in f32: the residual stream.
func Add(tp *Tape, a, b *Tensor) *Tensor {
	n := tp.add(a, b)
	tp.dev.backend.Add(kernels.AddArgs{Dst: n.out.buf, A: a.buf, B: b.buf, N: n.out.Len()})
	tp.record(n)
	return n.out
}

// add is the op, not yet done.
func (tp *Tape) add(a, b *Tensor) node {
	if a.shape != b.shape {
		panic(fmt.Sprintf("add: a %v, b %v", a.shape, b.shape))
	}
	mustContiguous("add", a, b)
	return node{out: tp.like(a, F32), inputs: inputs{a, b}, backward: addBackward}
}

func addBackward(tp *Tape, n *node, dy *Tensor) {
	tp.addGrad(n.inputs[0], dy)
	tp.addGrad(n.inputs[1], dy)
}
