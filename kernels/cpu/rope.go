package cpu

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

type ropeTask struct {
	y, x           elems
	positions      []int32
	cos, sin       []float32
	heads, headDim int
	sign           float32
}

// Rope implements kernels.Backend.
func (b *Backend) Rope(a kernels.RopeArgs) { b.rotate("Rope", a, 1) }

// RopeBackward implements kernels.Backend.
func (b *Backend) RopeBackward(a kernels.RopeArgs) { b.rotate("RopeBackward", a, -1) }

func (b *Backend) rotate(op string, a kernels.RopeArgs, sign float32) {
	if a.HeadDim%2 != 0 {
		panic("kernels/cpu: " + op + ": HeadDim is odd")
	}
	t := &b.ops.rope
	*t = ropeTask{
		y: floats(op, "Y", a.Y, a.Rows, a.Heads, a.HeadDim), x: floats(op, "X", a.X, a.Rows, a.Heads, a.HeadDim),
		positions: i32s(op, "Positions", a.Positions, a.Rows),
		cos:       f32s(op, "Cos", a.Cos, a.MaxPos, a.HeadDim/2), sin: f32s(op, "Sin", a.Sin, a.MaxPos, a.HeadDim/2),
		heads: a.Heads, headDim: a.HeadDim, sign: sign,
	}
	t.y = t.y.output(t.x)
	for i, p := range t.positions {
		if p < 0 || int(p) >= a.MaxPos {
			b.Fail(op, "row %d has position %d, outside 0…%d", i, p, a.MaxPos-1)
			return
		}
	}
	b.pool.run(op, t, a.Rows, rowGrain(2*a.Heads*a.HeadDim))
}

func (t *ropeTask) do(lo, hi int, w *worker) {
	h := t.headDim / 2
	dim := t.heads * t.headDim
	for i := lo; i < hi; i++ {
		w.used = 0
		p := int(t.positions[i])
		x, y := t.x.load(w, i*dim, dim), t.y.out(w, i*dim, dim)
		vec.Rope(y, x, t.cos[p*h:][:h], t.sin[p*h:][:h], t.heads, t.sign)
		t.y.flush(y, i*dim)
	}
	t.y.fence()
}
