package cpu

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

type rmsnormTask struct {
	y, w elems
	x    []float32
	dim  int
	eps  float32
}

// RMSNorm implements kernels.Backend.
func (b *Backend) RMSNorm(a kernels.RMSNormArgs) {
	t := &b.ops.rmsnorm
	*t = rmsnormTask{
		y: floats("RMSNorm", "Y", a.Y, a.Rows, a.Dim), x: f32s("RMSNorm", "X", a.X, a.Rows, a.Dim),
		w: floats("RMSNorm", "W", a.W, a.Dim), dim: a.Dim, eps: a.Eps,
	}
	b.pool.run("RMSNorm", t, a.Rows, rowGrain(a.Dim))
}

// inverseRMS returns 1/√(mean square + eps).
func inverseRMS(x []float32, eps float32) float32 {
	return float32(1 / math.Sqrt(vec.SumSquares(x)/float64(len(x))+float64(eps)))
}

func (t *rmsnormTask) do(lo, hi int, w *worker) {
	weight := t.w.load(w, 0, t.dim)
	kept := w.used
	for i := lo; i < hi; i++ {
		w.used = kept
		x := t.x[i*t.dim:][:t.dim]
		y := t.y.out(w, i*t.dim, t.dim)
		vec.RMSNormRow(y, x, weight, inverseRMS(x, t.eps))
		t.y.flush(y, i*t.dim)
	}
}

// columnGrain is how many columns of a sum over rows a worker takes at a time.
const columnGrain = 64

type rmsnormBackwardTask struct {
	dx, dy, x  []float32
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
		dx: f32s(op, "DX", a.DX, a.Rows, a.Dim), dy: f32s(op, "DY", a.DY, a.Rows, a.Dim), x: f32s(op, "X", a.X, a.Rows, a.Dim),
		w: floats(op, "W", a.W, a.Dim), dim: a.Dim, eps: a.Eps, accumulate: a.Accumulate,
		inv: resize(t.inv, a.Rows),
	}
	if a.DW.IsNil() {
		b.pool.run(op, t, a.Rows, rowGrain(2*a.Dim))
		return
	}
	from, ok := b.starts(op, a.Starts, a.NSeq, a.Rows)
	if !ok {
		return
	}
	u := &b.ops.rmsnormBackwardWeight
	*u = rmsnormBackwardWeightTask{t, f32s(op, "DW", a.DW, a.Dim), from}
	b.pool.run(op, t, a.Rows, rowGrain(2*a.Dim))
	b.pool.run(op, u, a.Dim, columnGrain)
}

func (t *rmsnormBackwardTask) do(lo, hi int, w *worker) {
	weight := t.w.load(w, 0, t.dim)
	g := w.floats(t.dim)
	for i := lo; i < hi; i++ {
		x, dx := t.x[i*t.dim:][:t.dim], t.dx[i*t.dim:][:t.dim]
		inv := inverseRMS(x, t.eps)
		t.inv[i] = inv
		vec.RMSNormRow(g, t.dy[i*t.dim:][:t.dim], weight, 1)
		slope := -inv * inv * inv * (vec.Dot(g, x) / float32(t.dim))
		if t.accumulate {
			vec.Axpy(inv, g, dx)
		} else {
			vec.Scale(dx, inv, g)
		}
		vec.Axpy(slope, x, dx)
	}
}

// rmsnormBackwardWeightTask's items are the columns: every worker walks all
// sequences in order.
type rmsnormBackwardWeightTask struct {
	*rmsnormBackwardTask
	dw     []float32
	starts []int32
}

func (t *rmsnormBackwardWeightTask) do(lo, hi int, w *worker) {
	sum, term := w.floats(hi-lo), w.floats(hi-lo)
	for s := range len(t.starts) - 1 {
		clear(sum)
		for i := int(t.starts[s]); i < int(t.starts[s+1]); i++ {
			vec.RMSNormRow(term, t.x[i*t.dim+lo:i*t.dim+hi], t.dy[i*t.dim+lo:i*t.dim+hi], t.inv[i])
			vec.Add(sum, sum, term)
		}
		vec.Add(t.dw[lo:hi], t.dw[lo:hi], sum)
	}
}
