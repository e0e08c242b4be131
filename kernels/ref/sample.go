package ref

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/selkie-ml/selkie/internal/f32math"
	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
)

// Sample implements kernels.Backend. A temperature, top-p or top-k that is
// negative, infinite or NaN is an error.
func (d *Backend) Sample(a kernels.SampleArgs) {
	settings := host.F32(a.Settings, a.Rows*kernels.SampleColumns)
	for i, v := range settings {
		if !(v >= 0 && v <= math.MaxFloat32) {
			d.Fail("Sample", "row %d: setting %d is %v, want a finite number from 0", i/kernels.SampleColumns, i%kernels.SampleColumns, v)
			return
		}
	}
	draws := host.I32(a.Draws, a.Rows*kernels.DrawColumns)
	ids := host.I32(a.IDs, a.Rows)
	logProb := make([]float64, a.Rows)
	for i := range ids {
		logits := host.F32(a.Logits.At(i*a.Vocab), a.Vocab)
		s, draw := settings[i*kernels.SampleColumns:], draws[i*kernels.DrawColumns:]
		u := philox.Block(
			philox.Key{uint32(draw[kernels.DrawKey0]), uint32(draw[kernels.DrawKey1])},
			philox.Counter{uint32(draw[kernels.DrawCounter])})[0]
		ids[i], logProb[i] = -1, math.NaN()
		if id := choose(logits, s[kernels.SampleTemperature], s[kernels.SampleTopP], s[kernels.SampleTopK], u); id >= 0 {
			ids[i] = int32(id)
			z := make([]float64, a.Vocab)
			for v, l := range logits {
				z[v] = float64(l)
			}
			logProb[i] = z[id] - logSumExp(z)
		}
	}
	if !a.LogProb.IsNil() {
		store(a.LogProb, logProb)
	}
}

// choose draws an id with the random word u, or returns −1 when the logits have
// a NaN or no finite maximum.
func choose(logits []float32, temperature, topP, topK float32, u uint32) int {
	m := float32(math.Inf(-1))
	best := -1
	for v, z := range logits {
		switch {
		case z != z:
			return -1
		case z > m:
			m, best = z, v
		}
	}
	if best < 0 || math.IsInf(float64(m), 1) {
		return -1
	}
	if temperature == 0 {
		return best
	}

	weights := make([]uint64, len(logits))
	for v, z := range logits {
		weights[v] = uint64(f32math.Exp32((z-m)/temperature) * (1 << 30)) // the product is exact
	}
	if k := int(min(topK, 1<<30)); k > 0 && k < len(logits) || topP < 1 {
		drop(logits, weights, topP, k)
	}
	var total uint64
	for _, w := range weights {
		total += w
	}
	hi, lo := bits.Mul64(total, uint64(u))
	limit := hi<<32 | lo>>32
	var sum uint64
	for v, w := range weights {
		if sum += w; sum > limit {
			return v
		}
	}
	panic("kernels/ref: a sample beyond the sum of its weights") // limit < total
}

// drop sets to zero the weights that top-k (0: off) and top-p leave out.
func drop(logits []float32, weights []uint64, topP float32, topK int) {
	order := make([]int, len(logits))
	for v := range order {
		order[v] = v
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(logits[b], logits[a]), cmp.Compare(a, b))
	})
	kept := order
	if topK > 0 && topK < len(kept) {
		kept = kept[:topK]
	}
	if topP < 1 {
		var total, sum uint64
		for _, v := range kept {
			total += weights[v]
		}
		hi, lo := bits.Mul64(uint64(math.Ceil(float64(topP)*(1<<24))), total)
		enough := hi<<40 | lo>>24
		for n, v := range kept {
			if sum += weights[v]; sum >= enough {
				kept = kept[:n+1]
				break
			}
		}
	}
	for _, v := range order[len(kept):] {
		weights[v] = 0
	}
}
