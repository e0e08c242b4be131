package tensor

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/selkie-ml/selkie/internal/half"
)

// model is what a view should be: its elements in row-major order, each a
// pointer into plain Go memory.
type model struct {
	shape []int
	at    []*float32
}

func (m model) narrow(dim, start, length int) model {
	inner := count(m.shape[dim+1:])
	out := model{shape: slices.Clone(m.shape)}
	out.shape[dim] = length
	for i, p := range m.at {
		if j := i / inner % m.shape[dim]; j >= start && j < start+length {
			out.at = append(out.at, p)
		}
	}
	return out
}

func (m model) transpose(i, j int) model {
	out := model{shape: slices.Clone(m.shape), at: make([]*float32, len(m.at))}
	out.shape[i], out.shape[j] = out.shape[j], out.shape[i]
	shape := dimsOf(m.shape)
	strides := shape.dense().size
	strides[i], strides[j] = strides[j], strides[i]
	for k := range out.at {
		rest, from := k, 0
		for d := len(out.shape) - 1; d >= 0; d-- {
			from += rest % out.shape[d] * strides[d]
			rest /= out.shape[d]
		}
		out.at[k] = m.at[from]
	}
	return out
}

func (m model) values() []float32 {
	out := make([]float32, len(m.at))
	for i, p := range m.at {
		out[i] = *p
	}
	return out
}

// TestViews draws random chains of narrow, transpose and reshape, and copies
// between the resulting views, against the model.
func TestViews(t *testing.T) {
	for _, device := range []string{"ref", "cpu"} {
		dev, err := Open(device, Options{Threads: 2, Poison: true})
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		t.Run(device, func(t *testing.T) { rapid.Check(t, func(rt *rapid.T) { checkViews(rt, dev) }) })
	}
}

func checkViews(t *rapid.T, dev *Device) {
	before := dev.Stats().InUse
	shape := rapid.SliceOfN(rapid.IntRange(1, 5), 1, 4).Draw(t, "shape")
	next := float32(0)
	base := func() (*Tensor, model) {
		m := model{shape: shape}
		data := make([]float32, count(shape))
		for i := range data {
			next++
			data[i] = next
			m.at = append(m.at, &data[i])
		}
		x, err := dev.FromFloat32s(data, shape...)
		if err != nil {
			t.Fatal(err)
		}
		return x, m
	}
	x, mx := base()
	y, my := base()
	defer func() {
		x.Free()
		y.Free()
		if after := dev.Stats().InUse; after != before {
			t.Fatalf("%d bytes in use, %d before", after, before)
		}
	}()
	vx, vy, mvx, mvy := x, y, mx, my
	for range rapid.IntRange(0, 5).Draw(t, "views") {
		dims := len(mvx.shape)
		switch d := rapid.IntRange(0, dims-1).Draw(t, "dimension"); rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			start := rapid.IntRange(0, mvx.shape[d]).Draw(t, "start")
			n := rapid.IntRange(0, mvx.shape[d]-start).Draw(t, "length")
			vx, mvx, vy, mvy = vx.Narrow(d, start, n), mvx.narrow(d, start, n), vy.Narrow(d, start, n), mvy.narrow(d, start, n)
		case 1:
			e := rapid.IntRange(0, dims-1).Draw(t, "other")
			vx, mvx, vy, mvy = vx.Transpose(d, e), mvx.transpose(d, e), vy.Transpose(d, e), mvy.transpose(d, e)
		case 2:
			if vx.IsContiguous() && vy.IsContiguous() && len(mvx.at) > 0 {
				s := []int{-1, mvx.shape[dims-1]}
				vx, vy = vx.Reshape(s...), vy.Reshape(s...)
				mvx.shape, mvy.shape = vx.Shape(), vy.Shape()
			}
		}
		// y's view sometimes lies otherwise in memory than x's.
		if i, j := 0, len(mvy.shape)-1; mvy.shape[i] == mvy.shape[j] && rapid.Bool().Draw(t, "twist") {
			vy, mvy = vy.Transpose(i, j), mvy.transpose(i, j)
		}
	}
	check := func(what string, x *Tensor, m model) {
		got, err := x.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(x.Shape(), m.shape) || !slices.Equal(got, m.values()) {
			t.Fatalf("%s: shape %v, %v; want %v, %v", what, x.Shape(), got, m.shape, m.values())
		}
	}
	check("view", vx, mvx)
	vy.CopyFrom(vx)
	for i, p := range mvy.at {
		*p = *mvx.at[i]
	}
	check("copied view", vy, mvy)
	check("all of the destination", y, my)
	check("all of the source", x, mx)

	// Through 16 bits and back.
	b, err := dev.New(BF16, vx.Shape()...)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Free()
	b.CopyFrom(vx)
	rounded := mvx.values()
	for i, v := range rounded {
		rounded[i] = half.RoundBF16(v)
	}
	if got, err := b.Float32s(); err != nil || !slices.Equal(got, rounded) {
		t.Fatalf("in bf16 %v (%v), want %v", got, err, rounded)
	}
}

func TestShareOutlivesOwner(t *testing.T) {
	b := newBench(t, "ref")
	before := b.dev.Stats().InUse
	x := b.random(3)
	want := fmt.Sprint(b.values(x))
	if !x.Exclusive() {
		t.Error("fresh tensor is not exclusive")
	}
	y := x.Share()
	if x.Exclusive() || y.Exclusive() {
		t.Error("shared tensor is exclusive")
	}
	x.Free()
	if got := fmt.Sprint(b.values(y)); got != want || !y.Exclusive() {
		t.Errorf("after the first owner's Free: %v, want %v", got, want)
	}
	y.Free()
	if after := b.dev.Stats().InUse; after != before {
		t.Errorf("%d bytes in use, %d before", after, before)
	}
}
