package cpu

import (
	"math"

	"github.com/selkie-ml/selkie/internal/half"
	"github.com/selkie-ml/selkie/kernels"
)

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
	case t.dst.dtype == kernels.F32 && math.Float32bits(t.value) == 0:
		clear(t.dst.f32[lo:hi])
	case t.dst.dtype == kernels.F32:
		fill(t.dst.f32[lo:hi], t.value)
	default:
		fill(t.dst.u16[lo:hi], t.bits)
	}
}

// fill writes a block and copies it over the rest.
func fill[T any](x []T, v T) {
	for i := range min(len(x), blockLen) {
		x[i] = v
	}
	for n := blockLen; n < len(x); n += blockLen {
		copy(x[n:], x[:blockLen])
	}
}
