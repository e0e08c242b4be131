package cpu

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

type ropeTask struct {
	parts     [2]ropePart
	positions []int32
	cos, sin  []float32
	headDim   int
	sign      float32
}

// ropePart is heads of every row that lie side by side.
type ropePart struct {
	y, x  elems
	heads int
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
		positions: i32s(op, "Positions", a.Positions, a.Rows),
		cos:       f32s(op, "Cos", a.Cos, a.MaxPos, a.HeadDim/2), sin: f32s(op, "Sin", a.Sin, a.MaxPos, a.HeadDim/2),
		headDim: a.HeadDim, sign: sign,
	}
	t.parts[0] = ropePart{floats(op, "Y", a.Y, a.Rows, a.Heads, a.HeadDim), floats(op, "X", a.X, a.Rows, a.Heads, a.HeadDim), a.Heads}
	if a.Heads2 > 0 {
		t.parts[1] = ropePart{floats(op, "Y2", a.Y2, a.Rows, a.Heads2, a.HeadDim), floats(op, "X2", a.X2, a.Rows, a.Heads2, a.HeadDim), a.Heads2}
	}
	for i := range t.parts {
		t.parts[i].y = t.parts[i].y.output(t.parts[i].x)
	}
	for i, p := range t.positions {
		if p < 0 || int(p) >= a.MaxPos {
			b.Fail(op, "row %d has position %d, outside 0…%d", i, p, a.MaxPos-1)
			return
		}
	}
	b.pool.run(op, t, a.Rows, rowGrain(2*(a.Heads+a.Heads2)*a.HeadDim))
}

func (t *ropeTask) do(lo, hi int, w *worker) {
	h := t.headDim / 2
	for i := lo; i < hi; i++ {
		p := int(t.positions[i])
		for j := range t.parts {
			part := &t.parts[j]
			if part.heads == 0 {
				continue
			}
			w.used = 0
			dim := part.heads * t.headDim
			x, y := part.x.load(w, i*dim, dim), part.y.out(w, i*dim, dim)
			vec.Rope(y, x, t.cos[p*h:][:h], t.sin[p*h:][:h], part.heads, t.sign)
			part.y.flush(y, i*dim)
		}
	}
	t.parts[0].y.fence()
	t.parts[1].y.fence()
}
