package cpu

import (
	"github.com/selkie-ml/selkie/internal/half"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// elemGrain is how many elements of cheap work are worth handing to a worker.
const elemGrain = 1 << 14

// rowGrain is elemGrain in rows of dim elements.
func rowGrain(dim int) int { return max(1, elemGrain/max(1, dim)) }

type copyTask struct {
	dst, src             elems
	dstInt, srcInt       []int32
	cols                 int
	dstStride, srcStride int
}

// Copy implements kernels.Backend.
func (b *Backend) Copy(a kernels.CopyArgs) {
	if a.Rows <= 0 || a.Cols <= 0 {
		return
	}
	rows, grain := a.Rows, rowGrain(a.Cols)
	t := &b.ops.copy
	*t = copyTask{cols: a.Cols, dstStride: a.DstStride, srcStride: a.SrcStride}
	if a.Rows == 1 || a.DstStride == a.Cols && a.SrcStride == a.Cols { // one run: cut it anywhere
		rows, grain = a.Rows*a.Cols, elemGrain
		t.cols, t.dstStride, t.srcStride = 1, 1, 1
	}
	nDst, nSrc := (rows-1)*t.dstStride+t.cols, (rows-1)*t.srcStride+t.cols
	if a.Dst.DType == kernels.I32 {
		t.dstInt, t.srcInt = i32s("Copy", "Dst", a.Dst, nDst), i32s("Copy", "Src", a.Src, nSrc)
	} else {
		t.dst, t.src = floats("Copy", "Dst", a.Dst, nDst), floats("Copy", "Src", a.Src, nSrc)
	}
	b.pool.run("Copy", t, rows, grain)
}

func (t *copyTask) do(lo, hi int, w *worker) {
	if t.cols == t.dstStride && t.cols == t.srcStride {
		t.span(lo*t.cols, lo*t.cols, (hi-lo)*t.cols, w)
		return
	}
	for r := lo; r < hi; r++ {
		w.used = 0
		t.span(r*t.dstStride, r*t.srcStride, t.cols, w)
	}
}

func (t *copyTask) span(dst, src, n int, w *worker) {
	switch {
	case t.dstInt != nil:
		copy(t.dstInt[dst:dst+n], t.srcInt[src:src+n])
	case t.dst.dtype == t.src.dtype && t.dst.dtype != kernels.F32:
		copy(t.dst.u16[dst:dst+n], t.src.u16[src:src+n])
	case t.dst.dtype == kernels.F32:
		t.src.widen(t.dst.f32[dst:dst+n], src)
	default:
		t.dst.narrow(t.src.load(w, src, n), dst)
	}
}

type fillTask struct {
	dst    elems
	ints   []int32
	value  float32
	bits   uint16
	intVal int32
}

// Fill implements kernels.Backend.
func (b *Backend) Fill(a kernels.FillArgs) {
	if a.N <= 0 {
		return
	}
	t := &b.ops.fill
	*t = fillTask{value: a.Value}
	switch a.Dst.DType {
	case kernels.I32:
		t.ints, t.intVal = i32s("Fill", "Dst", a.Dst, a.N), int32(a.Value)
	case kernels.F16:
		t.dst, t.bits = floats("Fill", "Dst", a.Dst, a.N), half.F16FromFloat32(a.Value)
	default:
		t.dst, t.bits = floats("Fill", "Dst", a.Dst, a.N), half.BF16FromFloat32(a.Value)
	}
	b.pool.run("Fill", t, a.N, 4*elemGrain)
}

func (t *fillTask) do(lo, hi int, _ *worker) {
	switch {
	case t.ints != nil:
		fill(t.ints[lo:hi], t.intVal)
	case t.dst.dtype == kernels.F32:
		fill(t.dst.f32[lo:hi], t.value)
	default:
		fill(t.dst.u16[lo:hi], t.bits)
	}
}

func fill[T any](x []T, v T) {
	for i := range x {
		x[i] = v
	}
}

// gatherTask serves Gather and Embedding.
type gatherTask struct {
	dst, src elems
	index    []int32
	cols     int
}

// Gather implements kernels.Backend.
func (b *Backend) Gather(a kernels.GatherArgs) {
	t := &b.ops.gather
	*t = gatherTask{
		dst:   floats("Gather", "Dst", a.Dst, a.Rows, a.Cols),
		src:   floats("Gather", "Src", a.Src, a.SrcRows, a.Cols),
		index: i32s("Gather", "Index", a.Index, a.Rows),
		cols:  a.Cols,
	}
	for i, v := range t.index {
		if v < 0 || int(v) >= a.SrcRows {
			b.Fail("Gather", "row %d takes row %d of a source of %d rows", i, v, a.SrcRows)
			return
		}
	}
	b.pool.run("Gather", t, a.Rows, rowGrain(a.Cols))
}

func (t *gatherTask) do(lo, hi int, w *worker) {
	c := copyTask{dst: t.dst, src: t.src}
	for i := lo; i < hi; i++ {
		w.used = 0
		c.span(i*t.cols, int(t.index[i])*t.cols, t.cols, w)
	}
}

type addTask struct{ dst, a, b elems }

// Add implements kernels.Backend.
func (b *Backend) Add(a kernels.AddArgs) {
	t := &b.ops.add
	*t = addTask{floats("Add", "Dst", a.Dst, a.N), floats("Add", "A", a.A, a.N), floats("Add", "B", a.B, a.N)}
	b.pool.run("Add", t, a.N, elemGrain)
}

func (t *addTask) do(lo, hi int, w *worker) {
	n := hi - lo
	x, y, dst := t.a.load(w, lo, n), t.b.load(w, lo, n), t.dst.out(w, lo, n)
	vec.Add(dst, x, y)
	t.dst.flush(dst, lo)
}

type swigluTask struct{ y, gate, up elems }

// SwiGLU implements kernels.Backend.
func (b *Backend) SwiGLU(a kernels.SwiGLUArgs) {
	t := &b.ops.swiglu
	*t = swigluTask{floats("SwiGLU", "Y", a.Y, a.N), floats("SwiGLU", "Gate", a.Gate, a.N), floats("SwiGLU", "Up", a.Up, a.N)}
	b.pool.run("SwiGLU", t, a.N, elemGrain/4)
}

func (t *swigluTask) do(lo, hi int, w *worker) {
	n := hi - lo
	gate, up, y := t.gate.load(w, lo, n), t.up.load(w, lo, n), t.y.out(w, lo, n)
	vec.SwiGLU(y, gate, up)
	t.y.flush(y, lo)
}

type swigluBackwardTask struct {
	dgate, dup, dy []float32
	gate, up       elems
}

// SwiGLUBackward implements kernels.Backend.
func (b *Backend) SwiGLUBackward(a kernels.SwiGLUBackwardArgs) {
	const op = "SwiGLUBackward"
	t := &b.ops.swigluBackward
	*t = swigluBackwardTask{
		dgate: f32s(op, "DGate", a.DGate, a.N), dup: f32s(op, "DUp", a.DUp, a.N), dy: f32s(op, "DY", a.DY, a.N),
		gate: floats(op, "Gate", a.Gate, a.N), up: floats(op, "Up", a.Up, a.N),
	}
	b.pool.run(op, t, a.N, elemGrain/8)
}

func (t *swigluBackwardTask) do(lo, hi int, w *worker) {
	n := hi - lo
	vec.SwiGLUBackward(t.dgate[lo:hi], t.dup[lo:hi], t.gate.load(w, lo, n), t.up.load(w, lo, n), t.dy[lo:hi])
}
