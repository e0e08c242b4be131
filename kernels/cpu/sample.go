package cpu

import (
	"math"
	"math/bits"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// sampleTask's items are rows.
type sampleTask struct {
	ids              []int32
	logProb          []float32
	logits, settings []float32
	draws            []int32
	vocab            int
}

// Sample implements kernels.Backend.
func (b *Backend) Sample(a kernels.SampleArgs) {
	const op = "Sample"
	t := &b.ops.sample
	*t = sampleTask{
		ids: i32s(op, "IDs", a.IDs, a.Rows), logits: f32s(op, "Logits", a.Logits, a.Rows, a.Vocab),
		settings: f32s(op, "Settings", a.Settings, a.Rows, kernels.SampleColumns),
		draws:    i32s(op, "Draws", a.Draws, a.Rows, kernels.DrawColumns), vocab: a.Vocab,
	}
	for i, v := range t.settings {
		if !(v >= 0 && v <= math.MaxFloat32) {
			b.Fail(op, "row %d: setting %d is %v, want a finite number from 0", i/kernels.SampleColumns, i%kernels.SampleColumns, v)
			return
		}
	}
	if !a.LogProb.IsNil() {
		t.logProb = f32s(op, "LogProb", a.LogProb, a.Rows)
	}
	b.pool.run(op, t, a.Rows, rowGrain(8*a.Vocab))
}

func (t *sampleTask) do(lo, hi int, w *worker) {
	c := &w.choice
	for i := lo; i < hi; i++ {
		w.used = 0
		z := t.logits[i*t.vocab:][:t.vocab]
		top, m := greedy(z)
		id := top
		if s := t.settings[i*kernels.SampleColumns:][:kernels.SampleColumns]; id >= 0 && s[kernels.SampleTemperature] != 0 {
			d := t.draws[i*kernels.DrawColumns:]
			key := philox.Key{uint32(d[kernels.DrawKey0]), uint32(d[kernels.DrawKey1])}
			u := philox.Block(key, philox.Counter{uint32(d[kernels.DrawCounter])})[0]
			id = c.draw(z, m, s, u, w)
		}
		t.ids[i] = int32(id)
		if t.logProb == nil {
			continue
		}
		if id < 0 {
			t.logProb[i] = float32(math.NaN())
			continue
		}
		e := w.floats(t.vocab)
		sum := 0.0
		const block = 4096
		for v := 0; v < t.vocab; v += block {
			end := min(v+block, t.vocab)
			sum += float64(vec.ExpSub(e[v:end], z[v:end], m))
		}
		t.logProb[i] = float32(float64(z[id]-m) - math.Log(sum))
	}
}

// greedy returns the lowest id of the largest logit, and that logit; −1 where
// there is a NaN or no finite largest.
func greedy(z []float32) (id int, m float32) {
	m = vec.Max(z)
	if m-m != 0 { // ±Inf, or no logits at all
		return -1, m
	}
	id = -1
	for v, x := range z {
		if x != x {
			return -1, m
		}
		if id < 0 && x == m {
			id = v
		}
	}
	return id, m
}

// choice draws from rows, with scratch of its own.
type choice struct {
	ids, keys []uint32 // of the candidates, in the order of ids
	weights   []uint32 // up to 2^30 each
	bins      [2048]uint64
}

// order maps a float to an integer of the same order; +0 and −0 are one.
func order(x float32) uint32 {
	if x == 0 {
		return 1 << 31
	}
	b := math.Float32bits(x)
	if b>>31 == 1 {
		return ^b
	}
	return b | 1<<31
}

// draw returns an id of z, whose largest element is m, by the uniform word u.
func (c *choice) draw(z []float32, m float32, s []float32, u uint32, w *worker) int {
	temperature, topP, topK := s[kernels.SampleTemperature], s[kernels.SampleTopP], s[kernels.SampleTopK]
	e := w.floats(len(z))
	for v, x := range z {
		e[v] = (x - m) / temperature
	}
	vec.Exp(e, e)
	restrictK := topK >= 1 && topK < float32(len(z))
	c.weights = resize(c.weights, len(z))
	for v, x := range e {
		c.weights[v] = uint32(int64(x * (1 << 30)))
	}
	if !restrictK && topP >= 1 {
		return pick(c.weights, u)
	}
	c.keys = resize(c.keys, len(z))
	c.ids = resize(c.ids, len(z))
	for v, x := range z {
		c.keys[v], c.ids[v] = order(x), uint32(v)
	}
	if restrictK {
		threshold, equal := c.largest(uint64(topK), false)
		c.keep(threshold, equal)
	}
	if topP < 1 {
		sum := uint64(0)
		for _, x := range c.weights {
			sum += uint64(x)
		}
		share := uint64(max(0, math.Ceil(float64(topP)*(1<<24))))
		hi, lo := bits.Mul64(share, sum)
		threshold, equal := c.largest(max(1, hi<<40|lo>>24), true)
		c.keep(threshold, equal)
	}
	return int(c.ids[pick(c.weights, u)])
}

// pick returns the first place whose running sum of weights exceeds the share
// u/2^32 of their total.
func pick(weights []uint32, u uint32) int {
	total := uint64(0)
	for _, x := range weights {
		total += uint64(x)
	}
	hi, lo := bits.Mul64(total, uint64(u))
	limit, sum := hi<<32|lo>>32, uint64(0)
	for i, x := range weights {
		if sum += uint64(x); sum > limit {
			return i
		}
	}
	panic("kernels/cpu: sample: no weight above zero")
}

// largest finds the smallest set of largest candidates whose weights (or whose
// number) reach target: all with keys above the threshold, and the first equal
// of those at it. Three rounds of counting, on 11, 11 and 10 bits of the key.
func (c *choice) largest(target uint64, weighted bool) (threshold uint32, equal int) {
	left := target
	var prefix uint32
	for _, round := range [...]struct{ shift, width uint }{{21, 11}, {10, 11}, {0, 10}} {
		bins := c.bins[:1<<round.width]
		clear(bins)
		mask := uint32(len(bins) - 1)
		above := round.shift + round.width // 32 in the first round: all match
		for i, k := range c.keys {
			if k>>above == prefix>>above {
				x := uint64(1)
				if weighted {
					x = uint64(c.weights[i])
				}
				bins[k>>round.shift&mask] += x
			}
		}
		bin := len(bins) - 1
		for ; bin > 0 && bins[bin] < left; bin-- {
			left -= bins[bin]
		}
		prefix |= uint32(bin) << round.shift
	}
	if !weighted {
		return prefix, int(left)
	}
	for i, k := range c.keys {
		if k == prefix {
			return prefix, int((left + uint64(c.weights[i]) - 1) / uint64(c.weights[i]))
		}
	}
	panic("kernels/cpu: sample: no logit at the threshold")
}

// keep reduces the candidates to those above the threshold and the first equal
// of those at it.
func (c *choice) keep(threshold uint32, equal int) {
	n := 0
	for i, k := range c.keys {
		if k < threshold {
			continue
		}
		if k == threshold {
			if equal == 0 {
				continue
			}
			equal--
		}
		c.keys[n], c.ids[n], c.weights[n] = k, c.ids[i], c.weights[i]
		n++
	}
	c.keys, c.ids, c.weights = c.keys[:n], c.ids[:n], c.weights[:n]
}
