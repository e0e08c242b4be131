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
	t.y = t.y.output(t.gate, t.up)
	b.pool.run("SwiGLU", t, a.N, elemGrain/2)
}

func (t *swigluTask) do(lo, hi int, w *worker) {
	for block := blockOf(hi-lo, t.y, t.gate, t.up); lo < hi; lo += block {
		w.used = 0
		n := min(block, hi-lo)
		gate, up, y := t.gate.load(w, lo, n), t.up.load(w, lo, n), t.y.out(w, lo, n)
		vec.SwiGLU(y, gate, up)
		t.y.flush(y, lo)
	}
	t.y.fence()
}

type swigluBackwardTask struct{ dgate, dup, dy, gate, up elems }

// SwiGLUBackward implements kernels.Backend.
func (b *Backend) SwiGLUBackward(a kernels.SwiGLUBackwardArgs) {
	const op = "SwiGLUBackward"
	t := &b.ops.swigluBackward
	gradient := func(name string, buf kernels.Buffer) elems {
		return elems{f32: f32s(op, name, buf, a.N), dtype: kernels.F32}
	}
	*t = swigluBackwardTask{
		dgate: gradient("DGate", a.DGate), dup: gradient("DUp", a.DUp), dy: gradient("DY", a.DY),
		gate: floats(op, "Gate", a.Gate, a.N), up: floats(op, "Up", a.Up, a.N),
	}
	t.dgate, t.dup = t.dgate.output(t.dy, t.gate, t.up), t.dup.output(t.dy, t.gate, t.up)
	b.pool.run(op, t, a.N, elemGrain/4)
}

func (t *swigluBackwardTask) do(lo, hi int, w *worker) {
	for block := blockOf(hi-lo, t.dgate, t.dup, t.gate, t.up); lo < hi; lo += block {
		w.used = 0
		n := min(block, hi-lo)
		dgate, dup := t.dgate.out(w, lo, n), t.dup.out(w, lo, n)
		vec.SwiGLUBackward(dgate, dup, t.gate.load(w, lo, n), t.up.load(w, lo, n), t.dy.f32[lo:lo+n])
		t.dgate.flush(dgate, lo)
		t.dup.flush(dup, lo)
	}
	if t.dgate.past || t.dup.past {
		vec.Fence()
	}
}
