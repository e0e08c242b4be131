package cpu

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

type rmsnormTask struct {
	y, w, add elems
	x, sum    []float32 // sum: x + add, or x
	dim       int
	eps       float32
}

// RMSNorm implements kernels.Backend.
func (b *Backend) RMSNorm(a kernels.RMSNormArgs) {
	t := &b.ops.rmsnorm
	*t = rmsnormTask{
		y: floats("RMSNorm", "Y", a.Y, a.Rows, a.Dim), x: f32s("RMSNorm", "X", a.X, a.Rows, a.Dim),
		w: floats("RMSNorm", "W", a.W, a.Dim), dim: a.Dim, eps: a.Eps,
	}
	t.sum = t.x
	if !a.Add.IsNil() {
		t.add, t.sum = floats("RMSNorm", "Add", a.Add, a.Rows, a.Dim), f32s("RMSNorm", "Sum", a.Sum, a.Rows, a.Dim)
	}
	t.y = t.y.output(elems{f32: t.x})
	b.pool.run("RMSNorm", t, a.Rows, rowGrain(a.Dim))
}

// inverseRMS returns 1/√(mean square + eps) of a row of dim elements.
func inverseRMS(squares float64, dim int, eps float32) float32 {
	return float32(1 / math.Sqrt(squares/float64(dim)+float64(eps)))
}

func (t *rmsnormTask) do(lo, hi int, w *worker) {
	weight := t.w.load(w, 0, t.dim)
	kept := w.used
	for i := lo; i < hi; i++ {
		w.used = kept
		x := t.sum[i*t.dim:][:t.dim]
		if t.add.dtype != 0 {
			vec.Add(x, t.x[i*t.dim:][:t.dim], t.add.load(w, i*t.dim, t.dim))
		}
		y := t.y.out(w, i*t.dim, t.dim)
		vec.RMSNormRow(y, x, weight, inverseRMS(vec.SumSquares(x), t.dim, t.eps))
		t.y.flush(y, i*t.dim)
	}
	t.y.fence()
}

type rmsnormBackwardTask struct {
	dx         elems
	dy, x      []float32
	w          elems
	dim        int
	eps        float32
	accumulate bool
	inv        []float32 // per row, kept for the weight's gradient
}

// RMSNormBackward implements kernels.Backend.
func (b *Backend) RMSNormBackward(a kernels.RMSNormBackwardArgs) {
	const op = "RMSNormBackward"
	t := &b.ops.rmsnormBackward
	*t = rmsnormBackwardTask{
		dx: elems{f32: f32s(op, "DX", a.DX, a.Rows, a.Dim), dtype: kernels.F32},
		dy: f32s(op, "DY", a.DY, a.Rows, a.Dim), x: f32s(op, "X", a.X, a.Rows, a.Dim),
		w: floats(op, "W", a.W, a.Dim), dim: a.Dim, eps: a.Eps, accumulate: a.Accumulate,
		inv: resize(t.inv, a.Rows),
	}
	if !t.accumulate {
		t.dx = t.dx.output(elems{f32: t.dy})
	}
	if a.DW.IsNil() {
		b.pool.run(op, t, a.Rows, rowGrain(a.Dim))
		return
	}
	from, ok := b.starts(op, a.Starts, a.NSeq, a.Rows)
	if !ok {
		return
	}
	u := &b.ops.rmsnormBackwardWeight
	*u = rmsnormBackwardWeightTask{t, f32s(op, "DW", a.DW, a.Dim), from}
	b.pool.run(op, t, a.Rows, rowGrain(a.Dim))
	b.pool.run(op, u, a.Dim, b.columns(a.Dim))
}

func (t *rmsnormBackwardTask) do(lo, hi int, w *worker) {
	weight := t.w.load(w, 0, t.dim)
	kept := w.used
	for i := lo; i < hi; i++ {
		w.used = kept
		x, dy := t.x[i*t.dim:][:t.dim], t.dy[i*t.dim:][:t.dim]
		squares, dot := vec.RMSNormSums(x, dy, weight)
		inv := inverseRMS(squares, t.dim, t.eps)
		t.inv[i] = inv
		slope := -inv * inv * inv * (dot / float32(t.dim))
		dx := t.dx.out(w, i*t.dim, t.dim)
		vec.RMSNormGrad(dx, dy, x, weight, inv, slope, t.accumulate)
		t.dx.flush(dx, i*t.dim)
	}
	t.dx.fence()
}

// columnGrain is how many columns of a sum over rows are worth a worker's while.
const columnGrain = 64

// columns is how many of them a worker takes at a time where it should be long
// stretches of a row, which memory likes: an equal part for every worker.
func (b *Backend) columns(dim int) int {
	return max(columnGrain, ((dim+len(b.pool.workers)-1)/len(b.pool.workers)+15)&^15)
}

// rmsnormBackwardWeightTask's items are the columns: every worker walks all
// sequences in order.
type rmsnormBackwardWeightTask struct {
	*rmsnormBackwardTask
	dw     []float32
	starts []int32
}

func (t *rmsnormBackwardWeightTask) do(lo, hi int, w *worker) {
	const rows = 8 // at a time: they stay in the first-level cache
	sum := w.floats(hi - lo)
	for s := range len(t.starts) - 1 {
		clear(sum)
		end := int(t.starts[s+1])
		for i := int(t.starts[s]); i < end; i += rows {
			to := min(i+rows, end)
			vec.RMSNormWeightRows(sum, t.x[i*t.dim+lo:], t.dy[i*t.dim+lo:], t.inv[i:to], t.dim)
		}
		vec.Add(t.dw[lo:hi], t.dw[lo:hi], sum)
	}
}
