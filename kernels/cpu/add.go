package cpu

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

type addTask struct{ dst, a, b elems }

// Add implements kernels.Backend.
func (b *Backend) Add(a kernels.AddArgs) {
	t := &b.ops.add
	*t = addTask{floats("Add", "Dst", a.Dst, a.N), floats("Add", "A", a.A, a.N), floats("Add", "B", a.B, a.N)}
	b.pool.run("Add", t, a.N, elemGrain)
}

func (t *addTask) do(lo, hi int, w *worker) {
	for block := blockOf(hi-lo, t.dst, t.a, t.b); lo < hi; lo += block {
		w.used = 0
		n := min(block, hi-lo)
		x, y, dst := t.a.load(w, lo, n), t.b.load(w, lo, n), t.dst.out(w, lo, n)
		vec.Add(dst, x, y)
		t.dst.flush(dst, lo)
	}
}
