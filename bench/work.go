package bench

import "github.com/selkie-ml/selkie/nn"

// Work is what an implementation without any waste must do: the
// multiplications and additions of products, and the bytes that must come from
// or go to memory. exp, norms, activations, the optimiser's arithmetic and the
// embedding are not counted as floating-point operations; they cost time, and
// so lower the fraction of the peak that is reached. The same figures divide
// the times of other libraries.
type Work struct {
	FLOPs  float64
	BF16   bool    // FLOPs are products of bf16 pairs summed in f32
	Bytes  float64 // 0 where operands are expected in cache
	Tokens float64
}

// Times returns the work done n times.
func (w Work) Times(n int) Work {
	w.FLOPs *= float64(n)
	w.Bytes *= float64(n)
	w.Tokens *= float64(n)
	return w
}

// Peak is what the machine was measured to do in the same run, per second.
type Peak struct {
	FMA      float64 // f32 operations: a multiplication and an addition are two
	FMA256   float64 // the same in vectors of 256 bits, where there are wider ones
	FMALoads float64 // FMA on operands read from the L1 cache: what a product could reach; 0 if not measured
	BF16     float64 // operations of bf16 dot products; FMA where the processor has none
	Read     float64 // bytes of a streaming read
}

// TwoUnits says whether a core has two units of 512 bits. Feeding both leaves less
// room for everything else.
func (p Peak) TwoUnits() bool { return p.FMA256 > 0 && p.FMA > 1.5*p.FMA256 }

// Seconds returns the least time that work can take at the peak: the longer of
// computing and moving bytes.
func (p Peak) Seconds(w Work) float64 {
	rate := p.FMA
	if w.BF16 {
		rate = p.BF16
	}
	return max(w.FLOPs/rate, w.Bytes/p.Read)
}

// product counts an [m, k]·[k, n] product.
func product(m, k, n int) float64 { return 2 * float64(m) * float64(k) * float64(n) }

// pairs counts the (query, key) pairs of causal sequences, the diagonal
// included.
func pairs(lengths []int) float64 {
	n := 0.0
	for _, l := range lengths {
		n += float64(l) * float64(l+1) / 2
	}
	return n
}

// attentionFLOPs counts causal attention over sequences: two products forward
// (scores, outputs), five backward (scores again, dP, dV, dQ, dK).
func attentionFLOPs(heads, headDim int, lengths []int, backward bool) float64 {
	products := 2.0
	if backward {
		products += 5
	}
	return products * 2 * pairs(lengths) * float64(heads*headDim)
}

// loraFLOPs counts an adapter's part of a linear layer: two products forward,
// two for the weights' gradients and two for the input's.
func loraFLOPs(rows, in, out, rank int, backward, inputGrad bool) float64 {
	one := product(rows, in, rank) + product(rows, rank, out) // x·Aᵀ, h·Bᵀ
	n := one
	if backward {
		n += product(rows, out, rank) // g = dy·B, needed by dA and dx
		n += product(rank, rows, in)  // dA = gᵀ·x
		n += product(out, rows, rank) // dB = dyᵀ·h
		if inputGrad {
			n += product(rows, rank, in) // dx = g·A
		}
	}
	return n
}

// stepWork counts a training step over sequences whose every token but the last
// has a target: forward and backward of all layers over all rows, logits over
// the rows with a target. With targets and rank, LoRA adapters are trained and
// the base is frozen; without, all parameters are.
//
// Gradients of inputs are counted where something beneath is trained: all but
// those of the first layer's q, k and v when the embedding is frozen. The
// gradient of the embedding itself is a sum, not a product.
func stepWork(c nn.Config, lengths []int, rank int, targets []nn.Projection, bf16 bool) Work {
	rows := 0
	for _, n := range lengths {
		rows += n
	}
	full := len(targets) == 0
	adapted := map[nn.Projection]bool{}
	for _, t := range targets {
		adapted[t] = true
	}
	w := Work{BF16: bf16, Tokens: float64(rows)}
	for layer := range c.Layers {
		for _, p := range nn.AllProjections() {
			in, out := c.Shape(p)
			inputGrad := full || layer > 0 || p > nn.VProj
			w.FLOPs += product(rows, in, out)
			if inputGrad {
				w.FLOPs += product(rows, out, in)
			}
			if full {
				w.FLOPs += product(out, rows, in)
			}
			if adapted[p] {
				w.FLOPs += loraFLOPs(rows, in, out, rank, true, inputGrad)
			}
		}
		w.FLOPs += attentionFLOPs(c.Heads, c.HeadDim, lengths, true)
	}
	logits := product(rows-len(lengths), c.HiddenSize, c.VocabSize)
	w.FLOPs += 2 * logits // and the gradient of the hidden states
	if full {
		w.FLOPs += logits
	}
	return w
}

// weightBytes is what one pass over a model reads of its weights: the
// projections and the output matrix. Rows of the embedding, norms and biases
// are small beside them.
func weightBytes(c nn.Config, size int) float64 {
	n := c.HiddenSize * c.VocabSize
	for _, p := range nn.AllProjections() {
		in, out := c.Shape(p)
		n += c.Layers * in * out
	}
	return float64(n) * float64(size)
}

// decodeWork counts one generated token for each of batch sequences of context
// tokens: weights are read once, keys and values of every sequence once.
func decodeWork(c nn.Config, batch, context, weightSize, cacheSize int, bf16 bool) Work {
	w := Work{BF16: bf16, Tokens: float64(batch), Bytes: weightBytes(c, weightSize)}
	w.FLOPs = 2 * float64(batch) * weightBytes(c, 1)
	w.FLOPs += float64(c.Layers*batch) * 4 * float64(context*c.Heads*c.HeadDim)
	w.Bytes += float64(c.Layers*batch) * 2 * float64(context*c.KVHeads*c.HeadDim) * float64(cacheSize)
	return w
}

// promptWork counts the forward pass over one prompt, with the logits of its
// last token: the last layer computes keys and values of all rows, and the rest
// for that one.
func promptWork(c nn.Config, tokens int, bf16 bool) Work {
	w := Work{BF16: bf16, Tokens: float64(tokens)}
	w.FLOPs = product(1, c.HiddenSize, c.VocabSize)
	for layer := range c.Layers {
		last := layer == c.Layers-1
		for _, p := range nn.AllProjections() {
			in, out := c.Shape(p)
			rows := tokens
			if last && p != nn.KProj && p != nn.VProj {
				rows = 1
			}
			w.FLOPs += product(rows, in, out)
		}
		if !last {
			w.FLOPs += attentionFLOPs(c.Heads, c.HeadDim, []int{tokens}, false)
		}
	}
	w.FLOPs += 4 * float64(tokens*c.Heads*c.HeadDim)
	return w
}
