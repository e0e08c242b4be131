package tensor

import (
	"fmt"
	"slices"

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
// tape is: ops, Backward, Free; then it is as new. One that is kept for the next
// step reuses its records: a step of a form seen before allocates nothing on the
// Go heap. A tape that does not record (grad false) frees what a Scope made as
// soon as the scope ends.
type Tape struct {
	// Compute is the storage type of matmul outputs, q/k/v and saved
	// activations: F32 or BF16. The residual stream stays f32.
	Compute DType
	// Seqs is the packed batch the ops run on; Free forgets it.
	Seqs Sequences

	dev     *Device
	grad    bool
	nodes   []node
	owned   []*Tensor // the current scope's last
	tensors slab
	inner   *Tape // of checkpoints, one after the other
	outer   *Tape
}

// node is one recorded op.
type node struct {
	out    *Tensor
	inputs inputs
	saved  saved
	// backward reads dy, out's gradient, and adds to the gradients of inputs.
	backward func(tp *Tape, n *node, dy *Tensor)
	root     bool // runs without a gradient of out
	// forward, of a cheap op, computes out from saved. Nodes that save out do not
	// keep it: the first that needs it makes it again.
	forward func(tp *Tape, n *node)
	remade  bool

	factor float32 // what else backward needs
	lora   *LoRA
	block  func(tp *Tape, x *Tensor) *Tensor
}

// inputs are what an op passes gradients to, saved what stays alive until its
// backward has run. nil entries are allowed.
type (
	inputs [3]*Tensor
	saved  [5]*Tensor
)

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
	t.owner = byTape
	tp.owned = append(tp.owned, t)
	return t
}

// Drop tells that the caller needs t, of the current scope, no more: its memory
// is freed as soon as no backward pass needs it.
func (tp *Tape) Drop(t *Tensor) {
	for i := len(tp.owned) - 1; i >= 0; i-- {
		if tp.owned[i] == t {
			tp.owned = slices.Delete(tp.owned, i, i+1)
			t.disown()
			return
		}
	}
	panic(fmt.Sprintf("drop: %v of shape %v is not the tape's, or was dropped before", t.DType(), t.shape))
}

// FromFloat32s returns an f32 tensor of the tape with a copy of data.
func (tp *Tape) FromFloat32s(data []float32, shape ...int) *Tensor {
	return tp.fromBytes(F32, asBytes(data), dimsOf(shape))
}

// FromInt32s returns an i32 tensor of the tape with a copy of data.
func (tp *Tape) FromInt32s(data []int32, shape ...int) *Tensor {
	return tp.fromBytes(I32, asBytes(data), dimsOf(shape))
}

func (tp *Tape) fromBytes(dtype DType, data []byte, shape dims) *Tensor {
	mustBytes(dtype, len(data), shape)
	t := tp.Own(tp.loose(dtype, shape))
	tp.dev.backend.CopyIn(t.buf, data)
	return t
}

// loose returns a tensor that nobody frees yet.
func (tp *Tape) loose(dtype DType, shape dims) *Tensor {
	t := tp.tensors.next()
	t.init(tp.dev, dtype, shape)
	t.owner = byTape
	return t
}

// new returns an op's output, owned by the current scope.
func (tp *Tape) new(dtype DType, shape ...int) *Tensor { return tp.Own(tp.loose(dtype, dimsOf(shape))) }

// like is new with the shape of x.
func (tp *Tape) like(x *Tensor, dtype DType) *Tensor { return tp.Own(tp.loose(dtype, x.shape)) }

// alias returns another owner of t's memory, with a gradient of its own.
func (tp *Tape) alias(t *Tensor) *Tensor {
	t.store.retain()
	a := tp.tensors.next()
	a.shape, a.strides, a.buf, a.store = t.shape, t.strides, t.buf, t.store
	return tp.Own(a)
}

// scratch returns n bytes that live until the current scope ends; that of a
// backward function is its own.
func (tp *Tape) scratch(n int64) kernels.Buffer { return tp.new(F32, int(n+3)/4).buf }

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

// wants tells whether a backward pass will ask for the gradient of one of xs.
func (tp *Tape) wants(xs ...*Tensor) bool {
	return tp.grad && slices.ContainsFunc(xs, func(x *Tensor) bool { return x != nil && x.needsGrad })
}

// record notes an op on the tape when a gradient of one of its inputs is wanted.
func (tp *Tape) record(n node) {
	if !tp.grad || !n.out.needsGrad && !tp.wants(n.inputs[:]...) {
		return
	}
	n.out.needsGrad = true
	for _, s := range n.saved {
		if s != nil && s.maker == 0 {
			s.store.retain()
		}
	}
	tp.nodes = append(tp.nodes, n)
	if n.forward != nil {
		n.out.maker = len(tp.nodes)
	}
}

// remake computes what was not kept of n.saved.
func (tp *Tape) remake(n *node) {
	for _, s := range n.saved {
		if s != nil && s.store == nil {
			maker := &tp.nodes[s.maker-1]
			tp.remake(maker)
			s.init(tp.dev, s.DType(), s.shape)
			maker.remade = true
			maker.forward(tp, maker)
		}
	}
}

func (n *node) release() {
	for _, s := range n.saved {
		if s != nil && s.maker == 0 {
			s.store.release()
		}
	}
	if n.remade {
		n.out.disown()
	}
	n.out.maker = 0
	if n.out.grad != nil {
		n.out.grad.store.release()
		n.out.grad = nil
	}
	*n = node{}
}

// Scope runs f and frees what it made, except its result and what a later
// backward pass needs.
func (tp *Tape) Scope(f func() *Tensor) *Tensor {
	before := len(tp.owned)
	out := f()
	if i := slices.Index(tp.owned[before:], out); i >= 0 {
		tp.owned = slices.Delete(tp.owned, before+i, before+i+1)
	} else {
		out.store.retain()
	}
	tp.freeSince(before)
	return tp.Own(out)
}

// freeSince frees what the tape has come to own since it owned n tensors.
func (tp *Tape) freeSince(n int) {
	for i := len(tp.owned) - 1; i >= n; i-- {
		tp.owned[i].disown()
		tp.owned = tp.owned[:i]
	}
}

// disown ends a tape's ownership of t. Nodes may go on to use t, except when it is
// to be made again.
func (t *Tensor) disown() {
	t.store.release()
	if t.maker > 0 {
		t.store = nil
	}
}

// Backward runs the backward pass of everything recorded, from the losses
// (CrossEntropy) to the parameters, freeing as it goes.
func (tp *Tape) Backward() {
	for i := len(tp.nodes) - 1; i >= 0; i-- {
		n := &tp.nodes[i]
		if n.out.grad != nil || n.root {
			before := len(tp.owned)
			tp.remake(n)
			n.backward(tp, n, n.out.grad)
			tp.freeSince(before)
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

// Free releases everything the tape owns and makes it ready for another step.
// Tensors that its ops made must not be used afterwards.
func (tp *Tape) Free() {
	if tp.inner != nil {
		tp.inner.Free()
	}
	for i := len(tp.nodes) - 1; i >= 0; i-- {
		tp.nodes[i].release()
	}
	tp.nodes = tp.nodes[:0]
	tp.freeSince(0)
	tp.tensors.reset()
	tp.Seqs = Sequences{}
}

// gradFor returns the gradient of x for an op to write. accumulate tells that
// it already holds the contribution of a later op, which must be added to.
func (tp *Tape) gradFor(x *Tensor) (g *Tensor, accumulate bool) {
	if x.grad == nil {
		x.grad = tp.loose(F32, x.shape)
		return x.grad, false
	}
	if !x.param && x.grad.store.refs > 1 { // shared with another tensor's gradient
		own := tp.loose(F32, x.shape)
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
		x.grad = tp.tensors.next()
		x.grad.shape, x.grad.strides, x.grad.buf, x.grad.store = x.shape, x.shape.dense(), g.buf, g.store
		return
	}
	dx, _ := tp.gradFor(x)
	tp.dev.backend.Add(kernels.AddArgs{Dst: dx.buf, A: dx.buf, B: g.buf, N: dx.Len()})
}

// slab hands out zero Tensors and takes all back at once.
type slab struct {
	blocks []*[64]Tensor
	used   int
}

func (s *slab) next() *Tensor {
	block, i := s.used/64, s.used%64
	if block == len(s.blocks) {
		s.blocks = append(s.blocks, new([64]Tensor))
	}
	s.used++
	return &s.blocks[block][i]
}

func (s *slab) reset() {
	for block := 0; block*64 < s.used; block++ {
		clear(s.blocks[block][:])
	}
	s.used = 0
}
