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

// sumBlock is how many logits a partial sum takes: of exponentials by the
// log-probability's definition, of weights to find the drawn one sooner.
const sumBlock = 4096

func (t *sampleTask) do(lo, hi int, w *worker) {
	c := &w.choice
	for i := lo; i < hi; i++ {
		w.used = 0
		z := t.logits[i*t.vocab:][:t.vocab]
		id := -1
		if m, ok := c.scan(z, w); ok {
			if s := t.settings[i*kernels.SampleColumns:][:kernels.SampleColumns]; s[kernels.SampleTemperature] == 0 {
				id = c.greedy(z, m)
			} else {
				d := t.draws[i*kernels.DrawColumns:]
				key := philox.Key{uint32(d[kernels.DrawKey0]), uint32(d[kernels.DrawKey1])}
				u := philox.Block(key, philox.Counter{uint32(d[kernels.DrawCounter])})[0]
				id = c.draw(z, m, s, u)
			}
			if t.logProb != nil {
				t.logProb[i] = logProb(z, id, m, w)
			}
		} else if t.logProb != nil {
			t.logProb[i] = float32(math.NaN())
		}
		t.ids[i] = int32(id)
	}
}

// logProb is the log-softmax of z, whose largest element is m, at id.
func logProb(z []float32, id int, m float32, w *worker) float32 {
	e := w.floats(min(len(z), sumBlock))
	sum, of := 0.0, z
	for len(of) > 0 {
		n := min(len(of), sumBlock)
		sum += float64(vec.ExpSub(e[:n], of[:n], m))
		of = of[n:]
	}
	return float32(float64(z[id]-m) - math.Log(sum))
}

// choice draws from rows, with scratch of its own. A candidate is the order of
// its logit in the upper 32 bits and its weight, up to 2^30, in the lower.
//
// One pass finds the largest logit of every group of sixteen; what comes after
// looks only into groups that can hold what it seeks.
type choice struct {
	peaks      []float32 // per group, its largest logit
	logits     []float32 // some of them
	weights    []uint32  // of all ids, or of the candidates
	candidates []uint64  // ascending by id
	ids        []uint32  // of the candidates
	list       []uint64
	bins       [2048]uint64
}

// scan finds the groups' peaks and the largest of them. It reports false where
// there is a NaN or no finite largest.
func (c *choice) scan(z []float32, w *worker) (m float32, ok bool) {
	c.peaks = w.floats(vec.Groups(len(z)))
	if vec.GroupMax(c.peaks, z) {
		return 0, false
	}
	m = vec.Max(c.peaks)
	return m, m-m == 0
}

// greedy returns the lowest id of the logit m.
func (c *choice) greedy(z []float32, m float32) int {
	for g, peak := range c.peaks {
		if peak == m { // its span is the first with m, but perhaps another group's m comes sooner
			for v := g / 16 * vec.GroupSpan; ; v++ {
				if z[v] == m {
					return v
				}
			}
		}
	}
	panic("kernels/cpu: Sample: the largest logit is not found")
}

// order maps a float to an integer of the same order; +0 and −0 are one.
func order(x float32) uint32 {
	b := math.Float32bits(x + 0) // −0 + 0 = +0
	return b ^ (uint32(int32(b)>>31) | 1<<31)
}

// draw returns an id of z, whose largest element is m, by the uniform word u.
func (c *choice) draw(z []float32, m float32, s []float32, u uint32) int {
	temperature, topP, topK := s[kernels.SampleTemperature], s[kernels.SampleTopP], s[kernels.SampleTopK]
	few := topK >= 1 && topK < float32(len(z))
	var total uint64
	if few {
		c.gather(z, c.boundOfLargest(int(topK)))
		c.keep(c.largest(uint64(topK), false))
		total = c.weighCandidates(z, m, temperature)
	} else {
		total = c.weighAll(z, m, temperature)
	}
	if topP < 1 {
		target := max(1, share(total, uint64(math.Ceil(float64(topP)*(1<<24))), 24))
		if !few {
			c.gather(z, c.boundOfHeaviest(len(z), m, temperature, total, target))
			for i, v := range c.ids {
				c.candidates[i] |= uint64(c.weights[v])
			}
		}
		total = c.keep(c.largest(target, true))
	} else if !few {
		return c.pickOfAll(share(total, uint64(u), 32))
	}
	left := share(total, uint64(u), 32)
	for i, x := range c.candidates {
		weight := uint64(uint32(x))
		if weight > left {
			return int(c.ids[i])
		}
		left -= weight
	}
	panic("kernels/cpu: Sample: no weight above zero")
}

// share returns x·f >> shift, by a product of 128 bits.
func share(x, f uint64, shift uint) uint64 {
	hi, lo := bits.Mul64(x, f)
	return hi<<(64-shift) | lo>>shift
}

// weighAll sets the weights of all ids and returns their sum; the list gets
// the sums of blocks.
func (c *choice) weighAll(z []float32, m, temperature float32) (total uint64) {
	c.weights, c.list = resize(c.weights, len(z)), c.list[:0]
	for lo := 0; lo < len(z); lo += sumBlock {
		block := c.weights[lo:min(lo+sumBlock, len(z))]
		vec.Weights(block, z[lo:][:len(block)], m, temperature)
		sum := vec.SumAtLeast(block, 0)
		c.list = append(c.list, sum)
		total += sum
	}
	return total
}

// pickOfAll returns the first id whose running sum of weights exceeds limit.
func (c *choice) pickOfAll(limit uint64) int {
	block := 0
	for ; c.list[block] <= limit; block++ {
		limit -= c.list[block]
	}
	id := block * sumBlock
	for uint64(c.weights[id]) <= limit {
		limit -= uint64(c.weights[id])
		id++
	}
	return id
}

// weighCandidates adds their weights to the candidates and returns the sum.
func (c *choice) weighCandidates(z []float32, m, temperature float32) (total uint64) {
	c.logits, c.weights = resize(c.logits, len(c.ids)), resize(c.weights, len(c.ids))
	for i, v := range c.ids {
		c.logits[i] = z[v]
	}
	vec.Weights(c.weights, c.logits, m, temperature)
	for i, weight := range c.weights {
		c.candidates[i] |= uint64(weight)
		total += uint64(weight)
	}
	return total
}

// boundOfLargest returns a number that at least k logits reach and, where k is
// no large part of the vocabulary, not many more: the k-th largest of groups' peaks.
func (c *choice) boundOfLargest(k int) float32 {
	c.logits = resize(c.logits, vec.Groups(len(c.peaks)))
	vec.GroupMax(c.logits, c.peaks)
	if k > len(c.logits)/2 {
		c.logits = append(c.logits[:0], c.peaks...)
	}
	if k > len(c.logits) {
		return float32(math.Inf(-1))
	}
	return kthLargest(c.logits, k)
}

// kthLargest finds it by partitioning x.
func kthLargest(x []float32, k int) float32 {
	for len(x) > 1 {
		pivot := x[len(x)/2]
		i, j := 0, len(x)-1
		for i <= j {
			for x[i] > pivot {
				i++
			}
			for x[j] < pivot {
				j--
			}
			if i <= j {
				x[i], x[j] = x[j], x[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case k <= j+1:
			x = x[:j+1]
		case k > i:
			x, k = x[i:], k-i
		default:
			return pivot
		}
	}
	return x[0]
}

// boundOfHeaviest returns a logit such that the weights of it and all larger
// ones reach target. What weighs less than 1/n of all that may be left out can be left out
// altogether; if that leaves many groups, a few sums tell more.
func (c *choice) boundOfHeaviest(n int, m, temperature float32, total, target uint64) float32 {
	// The logit that weighs least, a little lower for what rounding may do.
	bound := func(least uint64) float32 {
		return float32(float64(m) + float64(temperature)*(math.Log(float64(least)/(1<<30))-1e-4))
	}
	least := (total - target) / uint64(n)
	b, many := bound(least), 0
	for _, peak := range c.peaks {
		if peak >= b {
			many++
		}
	}
	if many < 512 {
		return b
	}
	// The largest power of two whose sum suffices.
	lo, hi := bits.Len64(least), 31 // 2^(lo-1) is at most least, 2^hi above every weight
	for lo < hi {
		mid := (lo + hi) / 2
		if vec.SumAtLeast(c.weights, 1<<mid) >= target {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return bound(max(least, 1<<lo>>1))
}

// gather makes all logits from bound on the candidates, without weights.
func (c *choice) gather(z []float32, bound float32) {
	c.candidates, c.ids = resize(c.candidates, len(z)), resize(c.ids, len(z))
	n, least := 0, order(bound)
	for at := 0; at < len(z); at += vec.GroupSpan {
		lanes := uint(0)
		for l, peak := range c.peaks[at/vec.GroupSize:][:16] {
			if peak >= bound {
				lanes |= 1 << l
			}
		}
		if lanes == 0 {
			continue
		}
		for row := at; row < min(at+vec.GroupSpan, len(z)); row += 16 {
			for left := lanes; left != 0; left &= left - 1 {
				v := row + bits.TrailingZeros(left)
				if v >= len(z) {
					break
				}
				// Written always and counted if it is one: no guess goes wrong.
				key := order(z[v])
				c.candidates[n], c.ids[n] = uint64(key)<<32, uint32(v)
				n += 1 - int((uint64(key)-uint64(least))>>63)
			}
		}
	}
	c.candidates, c.ids = c.candidates[:n], c.ids[:n]
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
// of those at it, and returns the sum of their weights.
func (c *choice) keep(threshold uint32, equal int) (sum uint64) {
	n, least := 0, uint64(threshold)
	for i, x := range c.candidates {
		if uint32(x>>32) == threshold {
			if equal == 0 {
				continue
			}
			equal--
		}
		kept := 1 - int((x>>32-least)>>63) // 1 from the threshold on
		c.candidates[n], c.ids[n] = x, c.ids[i]
		sum += uint64(uint32(x)) * uint64(kept)
		n += kept
	}
	c.candidates, c.ids = c.candidates[:n], c.ids[:n]
	return sum
}
