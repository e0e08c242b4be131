package tensor

import (
	"math"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
)

// Every fused op against the same result composed of plain parts.

// near compares with 2e-5 of the largest reference element.
func near(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	largest := 0.0
	for _, w := range want {
		largest = max(largest, math.Abs(w))
	}
	for i, w := range want {
		if !(math.Abs(float64(got[i])-w) <= 2e-5*largest) {
			t.Errorf("%s: element %d is %v, want %v (largest %v)", what, i, got[i], w, largest)
			return
		}
	}
}

func onBoth(t *testing.T, f func(b *bench)) {
	for _, device := range []string{"ref", "cpu"} {
		t.Run(device, func(t *testing.T) { f(newBench(t, device)) })
	}
}

// TestCrossEntropyTwin: logits of all rows, softmax, and its known gradient.
func TestCrossEntropyTwin(t *testing.T) {
	onBoth(t, func(b *bench) {
		const rows, dim, vocab = 67, 6, 2311 // more than a chunk, no round number
		x, w := b.param(rows, dim), b.param(vocab, dim)
		targets := make([]int32, rows)
		for i := range targets {
			targets[i] = int32(b.rng.IntN(vocab+100) - 100)
		}
		weights := b.random(rows)
		tp := NewTape(b.dev, F32, true)
		defer tp.Free()
		tp.Seqs = b.batch(64, 1, 2)
		logprob := b.values(CrossEntropy(tp, x, w, b.ints(targets...), weights))
		tp.Backward()

		logits := b.values(Logits(tp, x, w))
		wantLP, dx, dw := make([]float64, rows), make([]float64, rows*dim), make([]float64, vocab*dim)
		xs, ws, c := b.values(x), b.values(w), b.values(weights)
		for i, target := range targets {
			if target < 0 {
				continue
			}
			sum := 0.0
			for _, z := range logits[i*vocab : (i+1)*vocab] {
				sum += math.Exp(float64(z))
			}
			wantLP[i] = float64(logits[i*vocab+int(target)]) - math.Log(sum)
			for v := range vocab {
				g := math.Exp(float64(logits[i*vocab+v])) / sum
				if v == int(target) {
					g--
				}
				g *= float64(c[i])
				for k := range dim {
					dx[i*dim+k] += g * float64(ws[v*dim+k])
					dw[v*dim+k] += g * float64(xs[i*dim+k])
				}
			}
		}
		near(b.T, "log-probabilities", logprob, wantLP)
		near(b.T, "gradient of x", b.values(x.grad), dx)
		near(b.T, "gradient of w", b.values(w.grad), dw)
	})
}

// TestLoRATwin: a linear layer of the merged weight, per sequence.
func TestLoRATwin(t *testing.T) {
	onBoth(t, func(b *bench) {
		const in, out = 7, 9
		lengths := []int{65, 1, 30}
		seqs := b.batch(lengths...)
		x, w, l := b.param(seqs.Rows, in), b.random(out, in), b.lora(in, out, seqs)
		dy := b.random(seqs.Rows, out)
		tp := NewTape(b.dev, F32, true)
		defer tp.Free()
		tp.Seqs = seqs
		y := LoRALinear(tp, x, w, nil, l)
		tp.BackwardFrom(y, dy)
		wantDA, wantDB := make([]float64, l.A.Len()), make([]float64, l.B.Len())

		A, B, table := b.values(l.A), b.values(l.B), must[[]int32](b.T)(l.Segments.Int32s())
		row := 0
		for s, n := range lengths {
			seg := kernels.SegmentAt(table, s)
			rank := int(seg.Rank)
			merged := b.values(w)
			for o := range out {
				for k := range in {
					for r := range rank {
						merged[o*in+k] += seg.Scale * B[int(seg.BOffset)+o*rank+r] * A[int(seg.AOffset)+r*in+k]
					}
				}
			}
			own, mw := b.param(n, in), b.param(out, in)
			own.CopyFrom(x.Narrow(0, row, n))
			mw.SetFloat32s(merged)
			alone := NewTape(b.dev, F32, true)
			alone.Seqs = b.batch(n)
			twin := Linear(alone, own, mw, nil)
			near(b.T, "y", b.values(y.Narrow(0, row, n)), wide(b.values(twin)))
			alone.BackwardFrom(twin, dy.Narrow(0, row, n))
			near(b.T, "gradient of x", b.values(x.grad.Narrow(0, row, n)), wide(b.values(own.grad)))
			dW := b.values(mw.grad)
			for o := range out {
				for k := range in {
					g := float64(seg.Scale) * float64(dW[o*in+k])
					for r := range rank {
						wantDA[int(seg.AOffset)+r*in+k] += g * float64(B[int(seg.BOffset)+o*rank+r])
						wantDB[int(seg.BOffset)+o*rank+r] += g * float64(A[int(seg.AOffset)+r*in+k])
					}
				}
			}
			alone.Free()
			row += n
		}
		near(b.T, "gradient of A", b.values(l.DA), wantDA)
		near(b.T, "gradient of B", b.values(l.DB), wantDB)
	})
}

// TestBF16LinearTwin: in bf16 compute, the gradient of a linear's input is the
// product of rounded factors, and those of weights keep the f32 gradient.
func TestBF16LinearTwin(t *testing.T) {
	onBoth(t, func(b *bench) {
		const rows, in, out = 70, 9, 13
		seqs := b.batch(65, 5)
		dy := b.random(rows, out)
		rounded := must[*Tensor](b.T)(b.dev.New(BF16, rows, out))
		rounded.CopyFrom(dy)
		half := must[*Tensor](b.T)(b.dev.New(BF16, out, in))
		half.CopyFrom(b.random(out, in))
		run := func(compute DType, w *Tensor, dy *Tensor) (dx, dbias []float32) {
			x, bias := b.param(rows, in), b.param(out)
			tp := NewTape(b.dev, compute, true)
			defer tp.Free()
			tp.Seqs = seqs
			tp.BackwardFrom(Linear(tp, x, w, bias), dy)
			return b.values(x.grad), b.values(bias.grad)
		}
		f32 := func(x *Tensor) *Tensor {
			y := must[*Tensor](b.T)(b.dev.New(F32, x.Shape()...))
			y.CopyFrom(x)
			return y
		}
		dx, dbias := run(BF16, half, dy)
		want, _ := run(F32, f32(half), f32(rounded))
		near(b.T, "gradient of x", dx, wide(want))
		_, want = run(F32, half, dy)
		near(b.T, "gradient of the bias", dbias, wide(want))
	})
}

// TestAttentionTwin: scores, softmax and weighted sum on the host in float64,
// gradients by differences of it.
func TestAttentionTwin(t *testing.T) {
	onBoth(t, func(b *bench) {
		const heads, kvHeads, headDim, scale = 4, 2, 2, 0.9
		lengths := []int{66, 3}
		seqs := b.batch(lengths...)
		q, k, v := b.param(seqs.Rows, heads, headDim), b.param(seqs.Rows, kvHeads, headDim), b.param(seqs.Rows, kvHeads, headDim)
		do := b.random(seqs.Rows, heads, headDim)
		tp := NewTape(b.dev, F32, true)
		defer tp.Free()
		tp.Seqs = seqs
		o := Attention(tp, q, k, v, scale)
		got := b.values(o)
		tp.BackwardFrom(o, do)

		host := [3][]float64{wide(b.values(q)), wide(b.values(k)), wide(b.values(v))}
		c := wide(b.values(do))
		attend := func(seq int) (out []float64) { // of one sequence
			first := 0
			for _, n := range lengths[:seq] {
				first += n
			}
			for i := range lengths[seq] {
				for h := range heads {
					kv := h / (heads / kvHeads)
					o, sum := make([]float64, headDim), 0.0
					for j := range i + 1 {
						s := 0.0
						for d := range headDim {
							s += host[0][((first+i)*heads+h)*headDim+d] * host[1][((first+j)*kvHeads+kv)*headDim+d]
						}
						p := math.Exp(float64(float32(scale)) * s)
						sum += p
						for d := range headDim {
							o[d] += p * host[2][((first+j)*kvHeads+kv)*headDim+d]
						}
					}
					for d := range headDim {
						out = append(out, o[d]/sum)
					}
				}
			}
			return out
		}
		near(b.T, "attention", got, append(attend(0), attend(1)...))
		loss := func(seq int) (sum float64) {
			from := seq * lengths[0] * heads * headDim
			for i, x := range attend(seq) {
				sum += x * c[from+i]
			}
			return sum
		}
		for i, p := range []*Tensor{q, k, v} {
			want := make([]float64, p.Len())
			for e := range want {
				seq := 0
				if e/(p.Len()/seqs.Rows) >= lengths[0] {
					seq = 1
				}
				const step = 1e-5
				old := host[i][e]
				host[i][e] = old + step
				up := loss(seq)
				host[i][e] = old - step
				want[e] = (up - loss(seq)) / (2 * step)
				host[i][e] = old
			}
			near(b.T, "gradient of "+[]string{"q", "k", "v"}[i], b.values(p.grad), want)
		}
	})
}

func wide(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}
