package tensor

// Reshape is Tensor.Reshape as an op: gradients flow through it. The result
// shares x's memory.
func Reshape(tp *Tape, x *Tensor, shape ...int) *Tensor {
	y := x.Reshape(shape...)
	y.store.retain()
	tp.Own(y)
	tp.record("reshape", y, []*Tensor{x}, nil, func(dy *Tensor) {
		tp.addGrad(x, dy)
	})
	return y
}
