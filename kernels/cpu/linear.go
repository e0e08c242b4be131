package cpu

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/gemm"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// matrix is the view as gemm takes it.
func (e elems) matrix(ld int) gemm.Matrix {
	switch e.dtype {
	case kernels.BF16:
		return gemm.Matrix{Bits: e.u16, Kind: gemm.KindBF16, Ld: ld}
	case kernels.F16:
		return gemm.Matrix{Bits: e.u16, Kind: gemm.KindF16, Ld: ld}
	}
	return gemm.Matrix{F32: e.f32, Kind: gemm.KindF32, Ld: ld}
}

// Linear implements kernels.Backend.
func (b *Backend) Linear(a kernels.LinearArgs) {
	const op = "Linear"
	y, x := floats(op, "Y", a.Y, a.Rows, a.Out), floats(op, "X", a.X, a.Rows, a.In)
	w := floats(op, "W", a.W, a.Out, a.In)
	var bias []float32
	if !a.Bias.IsNil() {
		e := floats(op, "Bias", a.Bias, a.Out)
		if bias = e.f32; e.dtype != kernels.F32 {
			b.scratch = resize(b.scratch, a.Out)
			bias = b.scratch
			e.widen(bias, 0)
		}
	}
	gemm.Product(b.products(op), gemm.FormNT, y.matrix(a.Out), x.matrix(a.In), w.matrix(a.In), bias, a.Rows, a.Out, a.In, false)
}

// LinearBackwardInput implements kernels.Backend.
func (b *Backend) LinearBackwardInput(a kernels.LinearBackwardInputArgs) {
	const op = "LinearBackwardInput"
	dx, dy := f32s(op, "DX", a.DX, a.Rows, a.In), floats(op, "DY", a.DY, a.Rows, a.Out)
	w := floats(op, "W", a.W, a.Out, a.In)
	gemm.Product(b.products(op), gemm.FormNN, gemm.Matrix{F32: dx, Ld: a.In}, dy.matrix(a.Out), w.matrix(a.In), nil, a.Rows, a.In, a.Out, a.Accumulate)
}

// LinearBackwardWeight implements kernels.Backend.
func (b *Backend) LinearBackwardWeight(a kernels.LinearBackwardWeightArgs) {
	const op = "LinearBackwardWeight"
	dy := f32s(op, "DY", a.DY, a.Rows, a.Out)
	from, ok := b.starts(op, a.Starts, a.NSeq, a.Rows)
	if !ok {
		return
	}
	if !a.DBias.IsNil() {
		t := &b.ops.colsum
		*t = colsumTask{f32s(op, "DBias", a.DBias, a.Out), dy, from, a.Out}
		b.pool.run(op, t, a.Out, columnGrain)
	}
	if a.DW.IsNil() {
		return
	}
	dw, x := f32s(op, "DW", a.DW, a.Out, a.In), floats(op, "X", a.X, a.Rows, a.In)
	gemm.TNSegmentsOf(b.products(op), dw, a.In, dy, a.Out, x.matrix(a.In), a.Out, a.In, from, true)
}

// colsumTask adds every sequence's sum of rows to sum; its items are columns.
type colsumTask struct {
	sum, x []float32
	starts []int32
	ld     int
}

func (t *colsumTask) do(lo, hi int, w *worker) {
	part, sum := w.floats(hi-lo), t.sum[lo:hi]
	for s := range len(t.starts) - 1 {
		clear(part)
		for i := int(t.starts[s]); i < int(t.starts[s+1]); i++ {
			vec.Add(part, part, t.x[i*t.ld+lo:i*t.ld+hi])
		}
		vec.Add(sum, sum, part)
	}
}
