package cpu

import (
	"github.com/selkie-ml/selkie/kernels"
)

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
		t.dst = t.dst.output(t.src)
	}
	b.pool.run("Copy", t, rows, grain)
}

func (t *copyTask) do(lo, hi int, w *worker) {
	defer t.dst.fence()
	if t.cols == t.dstStride && t.cols == t.srcStride {
		t.span(lo*t.cols, lo*t.cols, (hi-lo)*t.cols, w)
		return
	}
	for r := lo; r < hi; r++ {
		t.span(r*t.dstStride, r*t.srcStride, t.cols, w)
	}
}

// span copies n elements. The caller owes the fence.
func (t *copyTask) span(dst, src, n int, w *worker) {
	switch {
	case t.dstInt != nil:
		copy(t.dstInt[dst:dst+n], t.srcInt[src:src+n])
	case t.dst.dtype == t.src.dtype && t.dst.dtype != kernels.F32:
		copy(t.dst.u16[dst:dst+n], t.src.u16[src:src+n])
	case t.dst.dtype == kernels.F32 && !t.dst.past:
		t.src.widen(t.dst.f32[dst:dst+n], src)
	case t.src.dtype == kernels.F32:
		t.dst.flush(t.src.f32[src:src+n], dst)
	default:
		for ; n > 0; n -= blockLen {
			w.used = 0
			m := min(n, blockLen)
			t.dst.flush(t.src.load(w, src, m), dst)
			src, dst = src+m, dst+m
		}
	}
}
