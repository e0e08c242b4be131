package tensor

// Checkpoint is f(x) whose inside is not kept for backward but computed again
// there, with the same bits (Chen et al., "Training Deep Nets with Sublinear
// Memory Cost", 2016). f must depend on nothing but x and parameters.
func (tp *Tape) Checkpoint(x *Tensor, f func(tp *Tape, x *Tensor) *Tensor) *Tensor {
	if !tp.grad {
		return tp.Scope(func() *Tensor { return f(tp, x) })
	}
	quiet := tp.nested(false)
	out := tp.alias(f(quiet, x))
	quiet.Free()
	// Whether a parameter inside needs a gradient shows only on the rerun.
	out.needsGrad = true
	tp.record(node{out: out, saved: saved{x}, block: f, backward: checkpointBackward})
	return out
}

func checkpointBackward(tp *Tape, n *node, dy *Tensor) {
	again := tp.nested(true)
	leaf := again.alias(n.saved[0])
	again.record(node{out: leaf, inputs: inputs{n.saved[0]}, backward: leafBackward})
	out := again.Scope(func() *Tensor { return n.block(again, leaf) })
	if out.needsGrad {
		out.grad, n.out.grad = dy, nil // handed over: the block may add to it in place
		again.Backward()
	}
	again.Free()
}

// leafBackward passes the gradient of a checkpoint's input on to the tape that
// the checkpoint is on.
func leafBackward(tp *Tape, n *node, dy *Tensor) { tp.outer.addGrad(n.inputs[0], dy) }

// nested returns the tape for the inside of a checkpoint.
func (tp *Tape) nested(grad bool) *Tape {
	if tp.inner == nil {
		tp.inner = &Tape{dev: tp.dev, outer: tp}
	}
	tp.inner.Compute, tp.inner.Seqs, tp.inner.grad = tp.Compute, tp.Seqs, grad
	return tp.inner
}
