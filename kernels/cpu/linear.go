package cpu

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/gemm"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// Activations in 16 bits are widened in panels of at most this many elements
// (forward, X and Y together) or columns (weight gradient).
const (
	panelElems = 1 << 21
	panelCols  = 256
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
	y, x := floats("Linear", "Y", a.Y, a.Rows, a.Out), floats("Linear", "X", a.X, a.Rows, a.In)
	w := floats("Linear", "W", a.W, a.Out, a.In).matrix(a.In)
	p := b.products("Linear")
	// What a row, and the bias, need of scratch.
	var rowX, rowY, nBias int
	if x.dtype != kernels.F32 {
		rowX = a.In
	}
	if y.dtype != kernels.F32 {
		rowY = a.Out
	}
	panel := a.Rows
	if n := rowX + rowY; n > 0 {
		panel = min(panel, max(32, panelElems/n))
	}
	if !a.Bias.IsNil() && a.Bias.DType != kernels.F32 {
		nBias = a.Out
	}
	b.scratch = resize(b.scratch, panel*(rowX+rowY)+nBias)
	xs, ys := b.scratch[:panel*rowX], b.scratch[panel*rowX:][:panel*rowY]
	var bias []float32
	if !a.Bias.IsNil() {
		e := floats("Linear", "Bias", a.Bias, a.Out)
		if bias = e.f32; nBias > 0 {
			bias = b.scratch[panel*(rowX+rowY):]
			e.widen(bias, 0)
		}
	}
	for lo := 0; lo < a.Rows; lo += panel {
		n := min(panel, a.Rows-lo)
		px, py := xs, ys
		if rowX == 0 {
			px = x.f32[lo*a.In:][:n*a.In]
		} else {
			b.widen("Linear", px, x, lo*a.In, n*a.In)
		}
		if rowY == 0 {
			py = y.f32[lo*a.Out:][:n*a.Out]
		}
		gemm.NT(p, py, a.Out, px, a.In, w, bias, n, a.Out, a.In, false)
		if rowY > 0 {
			b.narrow("Linear", y, lo*a.Out, py[:n*a.Out])
		}
	}
}

// LinearBackwardInput implements kernels.Backend.
func (b *Backend) LinearBackwardInput(a kernels.LinearBackwardInputArgs) {
	const op = "LinearBackwardInput"
	dx, dy := f32s(op, "DX", a.DX, a.Rows, a.In), floats(op, "DY", a.DY, a.Rows, a.Out)
	w := floats(op, "W", a.W, a.Out, a.In).matrix(a.In)
	if dy.dtype != kernels.F32 {
		b.scratch = resize(b.scratch, a.Rows*a.Out)
		b.widen(op, b.scratch, dy, 0, a.Rows*a.Out)
		dy.f32 = b.scratch
	}
	gemm.NN(b.products(op), dx, a.In, dy.f32, a.Out, w, nil, a.Rows, a.In, a.Out, a.Accumulate)
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
	if x.dtype == kernels.F32 {
		gemm.TNSegments(b.products(op), dw, a.In, dy, a.Out, x.f32, a.In, a.Out, a.In, from, true)
		return
	}
	b.scratch = resize(b.scratch, a.Rows*min(panelCols, a.In))
	for c := 0; c < a.In; c += panelCols {
		n := min(panelCols, a.In-c)
		b.widenColumns(op, b.scratch, x, a.Rows, a.In, c, n)
		gemm.TNSegments(b.products(op), dw[c:], a.In, dy, a.Out, b.scratch, n, a.Out, n, from, true)
	}
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

// widenTask copies a block of a view to f32 rows of cols elements.
type widenTask struct {
	dst          []float32
	src          elems
	at, ld, cols int
}

func (t *widenTask) do(lo, hi int, _ *worker) {
	if t.cols == 1 {
		t.src.widen(t.dst[lo:hi], t.at+lo)
		return
	}
	for i := lo; i < hi; i++ {
		t.src.widen(t.dst[i*t.cols:(i+1)*t.cols], t.at+i*t.ld)
	}
}

// widen copies n elements of src from at on to dst.
func (b *Backend) widen(op string, dst []float32, src elems, at, n int) {
	b.ops.widen = widenTask{dst, src, at, 1, 1}
	b.pool.run(op, &b.ops.widen, n, elemGrain)
}

// widenColumns copies n columns from c on of src [rows, ld] to dst [rows, n].
func (b *Backend) widenColumns(op string, dst []float32, src elems, rows, ld, c, n int) {
	b.ops.widen = widenTask{dst, src, c, ld, n}
	if n == 1 && ld > 1 {
		for i := range rows {
			src.widen(dst[i:i+1], c+i*ld)
		}
		return
	}
	b.pool.run(op, &b.ops.widen, rows, rowGrain(n))
}

type narrowTask struct {
	dst elems
	src []float32
	at  int
}

func (t *narrowTask) do(lo, hi int, _ *worker) { t.dst.narrow(t.src[lo:hi], t.at+lo) }

// narrow rounds src to dst from at on.
func (b *Backend) narrow(op string, dst elems, at int, src []float32) {
	b.ops.narrow = narrowTask{dst, src, at}
	b.pool.run(op, &b.ops.narrow, len(src), elemGrain)
}
