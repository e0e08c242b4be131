package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// Sequences describes a packed batch: sequences end to end in one row of
// tokens.
type Sequences struct {
	Starts    *Tensor // i32 [N+1]: sequence s owns rows Starts[s]…Starts[s+1]-1
	Positions *Tensor // i32 [Rows]: position of each row within its sequence
	N, Rows   int
}

// Tape records the ops of a forward pass and owns what they make. Work on a
// tape is: ops, Backward, Free. A tape that does not record (grad false) frees
// what a Scope made as soon as the scope ends.
type Tape struct {
	// Compute is the storage type of matmul outputs, q/k/v and saved
	// activations: F32 or BF16. The residual stream stays f32.
	Compute DType
	// Seqs is the packed batch the ops run on.
	Seqs Sequences

	dev   *Device
	grad  bool
	nodes []*node
	owned []*Tensor // of the current scope
}

// node is one recorded op. Its backward reads out's gradient and adds to the
// gradients of the op's inputs.
type node struct {
	op       string
	out      *Tensor
	saved    []*Tensor
	backward func(dy *Tensor)
}

// NewTape returns an empty tape. With grad false nothing is recorded.
func NewTape(d *Device, compute DType, grad bool) *Tape {
	if compute != F32 && compute != BF16 {
		panic(fmt.Sprintf("tensor: compute mode %v, want f32 or bf16", compute))
	}
	return &Tape{Compute: compute, dev: d, grad: grad}
}

// Recording reports whether the tape keeps what a backward pass needs.
func (tp *Tape) Recording() bool { return tp.grad }

// Device returns where the tape's tensors live.
func (tp *Tape) Device() *Device { return tp.dev }

// Own makes the tape free t when the current scope ends.
func (tp *Tape) Own(t *Tensor) *Tensor {
	tp.owned = append(tp.owned, t)
	return t
}

// new returns an op's output, owned by the current scope.
func (tp *Tape) new(dtype DType, shape ...int) *Tensor {
	return tp.Own(tp.dev.new(dtype, shape...))
}

// scratch runs f with n bytes of scratch memory.
func (tp *Tape) scratch(n int64, f func(kernels.Buffer)) {
	s := tp.dev.alloc(n)
	defer s.release()
	f(kernels.Buffer{Mem: s.mem, DType: F32})
}

// starts returns the batch's sequence starts, absent when it was not set.
func (tp *Tape) starts() kernels.Buffer {
	if tp.Seqs.Starts == nil {
		return kernels.Buffer{}
	}
	return tp.Seqs.Starts.buf
}

// mustBatch checks that an op on rows rows has the tape's batch.
func (tp *Tape) mustBatch(op string, rows int) {
	if tp.Seqs.Starts == nil || tp.Seqs.Rows != rows {
		panic(fmt.Sprintf("%s: %d rows, but the tape's batch has %d: set Tape.Seqs", op, rows, tp.Seqs.Rows))
	}
}

// mustWeight checks that the gradient of a weight is the caller's or not wanted:
// ops add to it in place, sequence by sequence.
func (tp *Tape) mustWeight(op string, w *Tensor, rows int) {
	switch {
	case w == nil || !tp.grad || !w.needsGrad:
	case !w.param:
		panic(fmt.Sprintf("%s: weight %v is the result of an op; want a parameter (SetGrad) or a constant", op, w.shape))
	default:
		tp.mustBatch(op, rows)
	}
}

// record notes an op on the tape when one of inputs needs a gradient. saved
// tensors stay alive until backward has run; nil entries are allowed.
func (tp *Tape) record(op string, out *Tensor, inputs, saved []*Tensor, backward func(dy *Tensor)) {
	if !tp.grad {
		return
	}
	for _, x := range inputs {
		if x != nil && x.needsGrad {
			out.needsGrad = true
		}
	}
	if !out.needsGrad {
		return
	}
	n := &node{op: op, out: out, backward: backward}
	for _, s := range saved {
		if s != nil {
			s.store.retain()
			n.saved = append(n.saved, s)
		}
	}
	tp.nodes = append(tp.nodes, n)
}

func (n *node) release() {
	for _, s := range n.saved {
		s.store.release()
	}
	n.saved = nil
	if n.out.grad != nil {
		n.out.grad.store.release()
		n.out.grad = nil
	}
}

// Scope runs f and frees what it made, except its result and what a later
// backward pass needs.
func (tp *Tape) Scope(f func() *Tensor) *Tensor {
	var out *Tensor
	tp.temporaries(func() {
		out = f()
		out.store.retain()
	})
	return tp.Own(out)
}

// temporaries runs f and frees what it made, also when it panics for want of
// memory.
func (tp *Tape) temporaries(f func()) {
	outer := tp.owned
	tp.owned = nil
	defer func() {
		for _, t := range tp.owned {
			t.store.release()
		}
		tp.owned = outer
	}()
	f()
}

// Checkpoint is f(x) whose inside is not kept for backward but computed again
// there, with the same bits (Chen et al., "Training Deep Nets with Sublinear
// Memory Cost", 2016). f must depend on nothing but x and parameters.
func (tp *Tape) Checkpoint(x *Tensor, f func(tp *Tape, x *Tensor) *Tensor) *Tensor {
	if !tp.grad {
		return tp.Scope(func() *Tensor { return f(tp, x) })
	}
	quiet := &Tape{Compute: tp.Compute, Seqs: tp.Seqs, dev: tp.dev}
	defer quiet.Free()
	inner := f(quiet, x)
	inner.store.retain()
	out := tp.Own(&Tensor{shape: inner.shape, strides: inner.strides, buf: inner.buf, store: inner.store})
	// Whether a parameter inside needs a gradient shows only on the rerun.
	out.needsGrad = true
	tp.record("checkpoint", out, nil, []*Tensor{x}, func(dy *Tensor) {
		again := &Tape{Compute: tp.Compute, Seqs: tp.Seqs, dev: tp.dev, grad: true}
		defer again.Free()
		leaf := &Tensor{shape: x.shape, strides: x.strides, buf: x.buf, store: x.store, needsGrad: x.needsGrad}
		defer func() {
			if leaf.grad != nil {
				leaf.grad.store.release()
			}
		}()
		again.BackwardFrom(f(again, leaf), dy)
		if leaf.grad != nil {
			tp.addGrad(x, leaf.grad)
		}
	})
	return out
}

// Backward runs the backward pass of everything recorded, from the losses
// (CrossEntropy) to the parameters, freeing as it goes.
func (tp *Tape) Backward() {
	for i := len(tp.nodes) - 1; i >= 0; i-- {
		n := tp.nodes[i]
		if n.out.grad != nil || n.op == crossEntropyOp {
			tp.temporaries(func() { n.backward(n.out.grad) })
		}
		n.release()
		tp.nodes = tp.nodes[:i]
	}
}

// BackwardFrom runs the backward pass with dy, of t's shape, as the gradient of
// t. dy stays the caller's.
func (tp *Tape) BackwardFrom(t, dy *Tensor) {
	if !t.needsGrad {
		return
	}
	tp.addGrad(t, dy)
	tp.Backward()
}

// Free releases everything the tape still owns.
func (tp *Tape) Free() {
	for i := len(tp.nodes) - 1; i >= 0; i-- {
		tp.nodes[i].release()
	}
	for _, t := range tp.owned {
		t.store.release()
	}
	tp.nodes, tp.owned = nil, nil
}

// gradFor returns the gradient of x for an op to write. accumulate tells that
// it already holds the contribution of a later op, which must be added to.
func (tp *Tape) gradFor(x *Tensor) (g *Tensor, accumulate bool) {
	if x.grad == nil {
		x.grad = tp.dev.new(F32, x.shape...)
		return x.grad, false
	}
	if !x.param && x.grad.store.refs > 1 { // shared with another tensor's gradient
		own := tp.dev.new(F32, x.shape...)
		copyView(own, x.grad)
		x.grad.store.release()
		x.grad = own
	}
	return x.grad, true
}

// addGrad adds g to the gradient of x; the first contribution is shared, not
// copied.
func (tp *Tape) addGrad(x, g *Tensor) {
	if !x.needsGrad {
		return
	}
	if x.grad == nil {
		g.store.retain()
		x.grad = &Tensor{shape: x.shape, strides: dense(x.shape), buf: g.buf, store: g.store}
		return
	}
	dx, _ := tp.gradFor(x)
	tp.dev.backend.Add(kernels.AddArgs{Dst: dx.buf, A: dx.buf, B: g.buf, N: dx.Len()})
}
