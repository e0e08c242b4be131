package tensor

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/kernels"
)

// bench makes random tensors on a device that is closed with the test.
type bench struct {
	*testing.T
	dev *Device
	rng *philox.Stream
}

func newBench(t *testing.T, device string) *bench {
	dev, err := Open(device, Options{Threads: 2, Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return &bench{t, dev, philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Item: t.Name()})}
}

func must[T any](t *testing.T) func(x T, err error) T {
	return func(x T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
}

func count(shape []int) int {
	d := dimsOf(shape)
	return d.count()
}

func (b *bench) floats(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(2*b.rng.Float64() - 1)
	}
	return x
}

// random returns a constant of numbers within ±1.
func (b *bench) random(shape ...int) *Tensor {
	b.Helper()
	return must[*Tensor](b.T)(b.dev.FromFloat32s(b.floats(count(shape)), shape...))
}

// param returns a parameter with a gradient of zeros.
func (b *bench) param(shape ...int) *Tensor {
	b.Helper()
	p := b.random(shape...)
	p.SetGrad(must[*Tensor](b.T)(b.dev.Zeros(F32, shape...)))
	return p
}

func (b *bench) ints(x ...int32) *Tensor {
	b.Helper()
	return must[*Tensor](b.T)(b.dev.FromInt32s(x, len(x)))
}

func (b *bench) values(x *Tensor) []float32 {
	b.Helper()
	return must[[]float32](b.T)(x.Float32s())
}

// batch returns sequences of the given lengths.
func (b *bench) batch(lengths ...int) Sequences {
	starts, positions := []int32{0}, []int32{}
	for _, n := range lengths {
		for i := range n {
			positions = append(positions, int32(i))
		}
		starts = append(starts, int32(len(positions)))
	}
	return Sequences{Starts: b.ints(starts...), Positions: b.ints(positions...), N: len(lengths), Rows: len(positions)}
}

// gradients checks the gradients of Σ c·f for random c, in every element of the
// parameters, against differences.
func (b *bench) gradients(seqs Sequences, params []*Tensor, f func(tp *Tape) *Tensor) {
	b.Helper()
	tape := func(grad bool) *Tape {
		tp := NewTape(b.dev, F32, grad)
		tp.Seqs = seqs
		return tp
	}
	for _, p := range params {
		p.grad.Fill(0)
	}
	tp := tape(true)
	y := f(tp)
	c := b.random(y.Shape()...)
	tp.BackwardFrom(y, c)
	tp.Free()
	weights := b.values(c)
	loss := func() (sum float64) {
		tp := tape(false)
		defer tp.Free()
		for i, v := range b.values(f(tp)) {
			sum += float64(weights[i]) * float64(v)
		}
		return sum
	}
	for i, p := range params {
		b.differences(fmt.Sprintf("parameter %d %v", i, p.shape), p, loss)
	}
}

// differences compares a parameter's gradient with five-point differences of
// loss: their own error is h⁴·f⁽⁵⁾/30 plus f32's rounding over h, both below 1e-5
// for h = 1/32 and values near 1.
func (b *bench) differences(what string, p *Tensor, loss func() float64) {
	b.Helper()
	const h = 1.0 / 32
	got, x := b.values(p.grad), b.values(p)
	nonzero := false
	for i, old := range x {
		at := func(d float32) float64 {
			x[i] = old + d
			p.SetFloat32s(x)
			return loss()
		}
		want := (8*(at(h)-at(-h)) - (at(2*h) - at(-2*h))) / (12 * h)
		x[i] = old
		p.SetFloat32s(x)
		if d := math.Abs(float64(got[i]) - want); !(d <= 1e-4*(1+math.Abs(want))) {
			b.Errorf("gradient of %s: element %d is %v, by differences %v", what, i, got[i], want)
			return
		}
		nonzero = nonzero || got[i] != 0
	}
	if !nonzero {
		b.Errorf("gradient of %s: all zero, nothing is proved", what)
	}
}

// lora returns adapters of ranks 2, none and 3 for three sequences, the last two
// sharing a slab with the first.
func (b *bench) lora(in, out int, seqs Sequences) *LoRA {
	const ranks = 2 + 3
	var table []int32
	starts := must[[]int32](b.T)(seqs.Starts.Int32s())
	for i, s := range []kernels.Segment{{Rank: 2, Scale: 0.5}, {}, {Rank: 3, AOffset: int32(2 * in), BOffset: int32(2 * out), Scale: 2}} {
		s.RowStart, s.RowEnd = starts[i], starts[i+1]
		table = s.AppendTo(table)
	}
	l := &LoRA{A: b.param(ranks * in), B: b.param(ranks * out), MaxRank: 3}
	l.DA, l.DB = l.A.grad, l.B.grad
	l.Segments = must[*Tensor](b.T)(b.dev.FromInt32s(table, 3, kernels.SegmentColumns))
	return l
}

func TestGradients(t *testing.T) {
	for _, device := range []string{"ref", "cpu"} {
		run := func(name string, f func(b *bench)) {
			t.Run(device+"/"+name, func(t *testing.T) { f(newBench(t, device)) })
		}
		run("add", func(b *bench) {
			x, y := b.param(2, 3), b.param(2, 3)
			b.gradients(Sequences{}, []*Tensor{x, y}, func(tp *Tape) *Tensor { return Add(tp, x, y) })
		})
		run("reshape", func(b *bench) {
			x := b.param(2, 6)
			b.gradients(Sequences{}, []*Tensor{x}, func(tp *Tape) *Tensor { return Reshape(tp, x, -1, 3) })
		})
		run("swiglu", func(b *bench) {
			x, y := b.param(2, 5), b.param(2, 5)
			b.gradients(Sequences{}, []*Tensor{x, y}, func(tp *Tape) *Tensor { return SwiGLU(tp, x, y) })
		})
		run("rmsnorm", func(b *bench) {
			x, w := b.param(5, 6), b.param(6)
			b.gradients(b.batch(2, 3), []*Tensor{x, w}, func(tp *Tape) *Tensor { return RMSNorm(tp, x, w, 0.1) })
		})
		run("rmsnorm of a constant", func(b *bench) {
			x, w := b.random(5, 6), b.param(6)
			b.gradients(b.batch(2, 3), []*Tensor{w}, func(tp *Tape) *Tensor { return RMSNorm(tp, x, w, 0.1) })
		})
		run("add and rmsnorm", func(b *bench) {
			x, a, w := b.param(5, 6), b.param(5, 6), b.param(6)
			b.gradients(b.batch(2, 3), []*Tensor{x, a, w}, func(tp *Tape) *Tensor {
				sum, y := AddRMSNorm(tp, x, a, w, 0.1)
				return Add(tp, sum, y)
			})
		})
		run("rope of a pair", func(b *bench) {
			table := must[*RopeTable](b.T)(NewRopeTable(b.dev, InverseFrequencies(6, 100, nil), 8))
			q, k := b.param(5, 2, 6), b.param(5, 2, 6)
			b.gradients(b.batch(2, 3), []*Tensor{q, k}, func(tp *Tape) *Tensor {
				rq, rk := RopePairAt(tp, q, k, table, tp.Seqs.Positions)
				return Add(tp, rq, Add(tp, rk, rk))
			})
		})
		run("rope", func(b *bench) {
			table := must[*RopeTable](b.T)(NewRopeTable(b.dev, InverseFrequencies(6, 100, nil), 8))
			x := b.param(5, 2, 6)
			b.gradients(b.batch(2, 3), []*Tensor{x}, func(tp *Tape) *Tensor { return Rope(tp, x, table) })
		})
		run("embedding", func(b *bench) {
			table, ids := b.param(4, 3), b.ints(3, 1, 3, 3, 0)
			b.gradients(b.batch(2, 3), []*Tensor{table}, func(tp *Tape) *Tensor { return Embedding(tp, table, ids) })
		})
		run("linear", func(b *bench) {
			x, w, bias := b.param(5, 3), b.param(4, 3), b.param(4)
			b.gradients(b.batch(2, 3), []*Tensor{x, w, bias}, func(tp *Tape) *Tensor { return Linear(tp, x, w, bias) })
		})
		run("lora", func(b *bench) {
			seqs := b.batch(2, 1, 3)
			x, w, l := b.param(6, 4), b.param(5, 4), b.lora(4, 5, b.batch(2, 1, 3))
			b.gradients(seqs, []*Tensor{x, w, l.A, l.B}, func(tp *Tape) *Tensor { return LoRALinear(tp, x, w, nil, l) })
		})
		run("lora on frozen weights", func(b *bench) {
			seqs := b.batch(2, 1, 3)
			x, w, l := b.random(6, 4), b.random(5, 4), b.lora(4, 5, b.batch(2, 1, 3))
			b.gradients(seqs, []*Tensor{l.A, l.B}, func(tp *Tape) *Tensor { return LoRALinear(tp, x, w, nil, l) })
		})
		run("attention", func(b *bench) {
			q, k, v := b.param(5, 4, 2), b.param(5, 2, 2), b.param(5, 2, 2)
			b.gradients(b.batch(2, 3), []*Tensor{q, k, v}, func(tp *Tape) *Tensor { return Attention(tp, q, k, v, 0.7) })
		})
		run("attention on itself", func(b *bench) {
			x := b.param(5, 2, 2)
			b.gradients(b.batch(2, 3), []*Tensor{x}, func(tp *Tape) *Tensor { return Attention(tp, x, x, x, 0.7) })
		})
		run("crossentropy", crossEntropyGradient)
		// Gradients that meet: of a parameter, and of an op's output, whose first
		// contribution is shared and not copied.
		run("x + x", func(b *bench) {
			x := b.param(2, 3)
			b.gradients(Sequences{}, []*Tensor{x}, func(tp *Tape) *Tensor { return Add(tp, x, x) })
		})
		run("y + y, then more", func(b *bench) {
			x := b.param(2, 3)
			b.gradients(Sequences{}, []*Tensor{x}, func(tp *Tape) *Tensor {
				y := SwiGLU(tp, x, x)
				z := Add(tp, y, y)
				return Add(tp, SwiGLU(tp, y, z), Add(tp, z, y))
			})
		})
		run("residual stream", func(b *bench) {
			x, w, n := b.param(5, 3), b.param(3, 3), b.param(3)
			b.gradients(b.batch(2, 3), []*Tensor{x, w, n}, func(tp *Tape) *Tensor {
				block := func(x *Tensor) *Tensor {
					h := RMSNorm(tp, x, n, 1)
					return Add(tp, x, SwiGLU(tp, Linear(tp, h, w, nil), Linear(tp, h, w, nil)))
				}
				return block(tp.Scope(func() *Tensor { return block(block(x)) }))
			})
		})
		run("reshaped and used twice", func(b *bench) {
			x := b.param(2, 6)
			b.gradients(Sequences{}, []*Tensor{x}, func(tp *Tape) *Tensor {
				y := SwiGLU(tp, x, x)
				r := Reshape(tp, y, 6, 2)
				return Add(tp, Reshape(tp, Add(tp, r, r), 2, 6), y)
			})
		})
	}
}

func crossEntropyGradient(b *bench) {
	seqs := b.batch(2, 3)
	x, w := b.param(5, 3), b.param(7, 3)
	targets := b.ints(6, -1, 2, 0, 2)
	weights := must[*Tensor](b.T)(b.dev.FromFloat32s([]float32{1, 1, 0.5, 0, -2}, 5))
	loss := func(grad bool) (sum float64) {
		tp := NewTape(b.dev, F32, grad)
		tp.Seqs = seqs
		defer tp.Free()
		lp := b.values(CrossEntropy(tp, x, w, targets, weights))
		tp.Backward()
		for i, c := range b.values(weights) {
			sum -= float64(c) * float64(lp[i])
		}
		return sum
	}
	loss(true)
	for _, p := range []*Tensor{x, w} {
		b.differences(fmt.Sprint("parameter ", p.shape), p, func() float64 { return loss(false) })
	}
}

// TestGradientsAccumulate: a second backward pass adds, to the bit.
func TestGradientsAccumulate(t *testing.T) {
	b := newBench(t, "cpu")
	x, w := b.random(5, 3), b.param(4, 3)
	dy := b.random(5, 4)
	pass := func() {
		tp := NewTape(b.dev, F32, true)
		tp.Seqs = b.batch(2, 3)
		defer tp.Free()
		tp.BackwardFrom(Linear(tp, x, w, nil), dy)
	}
	pass()
	once := b.values(w.grad)
	w.grad.Fill(0)
	pass()
	pass()
	for i, g := range b.values(w.grad) {
		if math.Abs(float64(g-2*once[i])) > 1e-5 {
			t.Fatalf("element %d is %v after two passes, %v after one", i, g, once[i])
		}
	}
}

// TestCheckpointGivesTheSameBits compares every gradient with and without.
func TestCheckpointGivesTheSameBits(t *testing.T) {
	for _, compute := range []DType{F32, BF16} {
		t.Run(compute.String(), func(t *testing.T) {
			b := newBench(t, "cpu")
			seqs := b.batch(70, 3)
			x, w, n := b.param(73, 8), b.param(8, 8), b.param(8)
			table := must[*RopeTable](t)(NewRopeTable(b.dev, InverseFrequencies(4, 100, nil), 80))
			dy := b.random(73, 8)
			block := func(tp *Tape, x *Tensor) *Tensor {
				h := Linear(tp, RMSNorm(tp, x, n, 1e-5), w, nil)
				q := Rope(tp, Reshape(tp, h, -1, 2, 4), table)
				o := Attention(tp, q, q, Reshape(tp, h, -1, 2, 4), 0.5)
				return Add(tp, x, Reshape(tp, o, -1, 8))
			}
			run := func(checkpoint bool) (out [][]float32) {
				tp := NewTape(b.dev, compute, true)
				tp.Seqs = seqs
				y := x
				for range 3 {
					if checkpoint {
						y = tp.Checkpoint(y, block)
					} else {
						z := y
						y = tp.Scope(func() *Tensor { return block(tp, z) })
					}
				}
				out = append(out, b.values(y))
				tp.BackwardFrom(y, dy)
				tp.Free()
				for _, p := range []*Tensor{x, w, n} {
					out = append(out, b.values(p.grad))
					p.grad.Fill(0)
				}
				return out
			}
			for i, with := range run(true) {
				if without := run(false)[i]; !slices.Equal(with, without) {
					t.Errorf("result %d differs", i)
				}
			}
		})
	}
}
