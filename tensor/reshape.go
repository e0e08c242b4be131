package tensor

// Reshape is Tensor.Reshape as an op: gradients flow through it. The result
// shares x's memory.
func Reshape(tp *Tape, x *Tensor, shape ...int) *Tensor {
	sizes := x.reshaped(shape)
	y := tp.alias(x)
	y.shape, y.strides = sizes, sizes.dense()
	tp.record(node{out: y, inputs: inputs{x}, backward: reshapeBackward})
	return y
}

func reshapeBackward(tp *Tape, n *node, dy *Tensor) { tp.addGrad(n.inputs[0], dy) }
