package cpu

import "github.com/selkie-ml/selkie/kernels"

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
		cos, sin := t.cos[p*h:][:h], t.sin[p*h:][:h]
		xs := t.x.load(w, i*dim, dim)
		ys := t.y.out(w, i*dim, dim)
		for head := 0; head < dim; head += t.headDim {
			x1, x2 := xs[head:][:h], xs[head+h:][:h]
			y1, y2 := ys[head:][:h], ys[head+h:][:h]
			for j, c := range cos {
				s := t.sign * sin[j]
				x, y := x1[j], x2[j]
				// The conversions forbid fusing, so that all platforms agree.
				y1[j] = float32(x*c) - float32(y*s)
				y2[j] = float32(y*c) + float32(x*s)
			}
		}
		t.y.flush(ys, i*dim)
	}
}
