package cpu

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

type swigluTask struct{ y, gate, up elems }

// SwiGLU implements kernels.Backend.
func (b *Backend) SwiGLU(a kernels.SwiGLUArgs) {
	t := &b.ops.swiglu
	*t = swigluTask{floats("SwiGLU", "Y", a.Y, a.N), floats("SwiGLU", "Gate", a.Gate, a.N), floats("SwiGLU", "Up", a.Up, a.N)}
	b.pool.run("SwiGLU", t, a.N, elemGrain/2)
}

func (t *swigluTask) do(lo, hi int, w *worker) {
	if t.y.dtype == kernels.BF16 && t.gate.dtype == kernels.BF16 && t.up.dtype == kernels.BF16 {
		vec.SwiGLUBF16(t.y.u16[lo:hi], t.gate.u16[lo:hi], t.up.u16[lo:hi])
		return
	}
	for block := blockOf(hi-lo, t.y, t.gate, t.up); lo < hi; lo += block {
		w.used = 0
		n := min(block, hi-lo)
		gate, up, y := t.gate.load(w, lo, n), t.up.load(w, lo, n), t.y.out(w, lo, n)
		vec.SwiGLU(y, gate, up)
		t.y.flush(y, lo)
	}
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
	b.pool.run(op, t, a.N, elemGrain/4)
}

func (t *swigluBackwardTask) do(lo, hi int, w *worker) {
	if t.gate.dtype == kernels.BF16 && t.up.dtype == kernels.BF16 {
		vec.SwiGLUBackwardBF16(t.dgate[lo:hi], t.dup[lo:hi], t.gate.u16[lo:hi], t.up.u16[lo:hi], t.dy[lo:hi])
		return
	}
	for block := blockOf(hi-lo, t.gate, t.up); lo < hi; lo += block {
		w.used = 0
		n := min(block, hi-lo)
		vec.SwiGLUBackward(t.dgate[lo:lo+n], t.dup[lo:lo+n], t.gate.load(w, lo, n), t.up.load(w, lo, n), t.dy[lo:lo+n])
	}
}
