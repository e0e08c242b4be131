package cpu

import (
	"math"
	"math/bits"
	"slices"

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

// choice draws from rows, with scratch of its own. A candidate is the order of
// its logit in the upper 32 bits and its weight, up to 2^30, in the lower.
type choice struct {
	candidates []uint64 // ascending by id
	ids        []uint32 // of the candidates, where some were left out
	list       []uint64
	bins       [2048]uint64
}

// order maps a float to an integer of the same order; +0 and −0 are one.
func order(x float32) uint32 {
	b := math.Float32bits(x + 0) // −0 + 0 = +0
	return b ^ (uint32(int32(b)>>31) | 1<<31)
}

// draw returns an id of z, whose largest element is m, by the uniform word u.
func (c *choice) draw(z []float32, m float32, s []float32, u uint32, w *worker) int {
	temperature, topP, topK := s[kernels.SampleTemperature], s[kernels.SampleTopP], s[kernels.SampleTopK]
	e := w.floats(len(z))
	for v, x := range z {
		e[v] = (x - m) / temperature
	}
	vec.Exp(e, e)
	c.candidates, c.ids = resize(c.candidates, len(z)), c.ids[:0]
	restrictK := topK >= 1 && topK < float32(len(z))
	if !restrictK && topP >= 1 {
		for v, x := range e {
			c.candidates[v] = weight(x)
		}
		return pick(c.candidates, u)
	}
	for v, x := range e {
		c.candidates[v] = uint64(order(z[v]))<<32 | weight(x)
		c.ids = append(c.ids, uint32(v))
	}
	if restrictK {
		c.keep(c.largest(uint64(topK), false))
	}
	if topP < 1 {
		sum := uint64(0)
		for _, x := range c.candidates {
			sum += uint64(uint32(x))
		}
		hi, lo := bits.Mul64(uint64(math.Ceil(float64(topP)*(1<<24))), sum)
		c.keep(c.largest(max(1, hi<<40|lo>>24), true))
	}
	return int(c.ids[pick(c.candidates, u)])
}

// weight is e^x in units of 2^-30, rounded down.
func weight(e float32) uint64 { return uint64(int64(e * (1 << 30))) }

// pick returns the first place whose running sum of weights exceeds the share
// u/2^32 of their total.
func pick(candidates []uint64, u uint32) int {
	total := uint64(0)
	for _, x := range candidates {
		total += uint64(uint32(x))
	}
	hi, lo := bits.Mul64(total, uint64(u))
	limit, sum := hi<<32|lo>>32, uint64(0)
	for i, x := range candidates {
		if sum += uint64(uint32(x)); sum > limit {
			return i
		}
	}
	panic("kernels/cpu: Sample: no weight above zero")
}

// largest finds the smallest set of largest candidates whose weights (or whose
// number) reach target: all of an order above the threshold, and the first equal
// of those at it. Rounds of counting, on 11, 11 and 10 bits of the order, narrow
// the search to few candidates, which are sorted.
func (c *choice) largest(target uint64, weighted bool) (threshold uint32, equal int) {
	const few = 64
	c.list = append(c.list[:0], c.candidates...)
	left := target
	for _, shift := range [...]uint{32 + 21, 32 + 10, 32} {
		if len(c.list) <= few {
			break
		}
		clear(c.bins[:])
		for _, x := range c.list {
			n := uint64(1)
			if weighted {
				n = uint64(uint32(x))
			}
			c.bins[x>>shift&2047] += n
		}
		bin := uint64(len(c.bins) - 1)
		for ; bin > 0 && c.bins[bin] < left; bin-- {
			left -= c.bins[bin]
		}
		n := 0
		for _, x := range c.list {
			if x>>shift&2047 == bin {
				c.list[n] = x
				n++
			}
		}
		c.list = c.list[:n]
	}
	slices.Sort(c.list)
	for i := len(c.list) - 1; i >= 0; i-- {
		x := c.list[i]
		if key := uint32(x >> 32); key != threshold || equal == 0 {
			threshold, equal = key, 0
		}
		equal++
		n := uint64(1)
		if weighted {
			n = uint64(uint32(x))
		}
		if n >= left {
			break
		}
		left -= n
	}
	return threshold, equal
}

// keep reduces the candidates to those above the threshold and the first equal
// of those at it.
func (c *choice) keep(threshold uint32, equal int) {
	n := 0
	for i, x := range c.candidates {
		key := uint32(x >> 32)
		if key < threshold {
			continue
		}
		if key == threshold {
			if equal == 0 {
				continue
			}
			equal--
		}
		c.candidates[n], c.ids[n] = x, c.ids[i]
		n++
	}
	c.candidates, c.ids = c.candidates[:n], c.ids[:n]
}
