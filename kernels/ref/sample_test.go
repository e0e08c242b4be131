package ref

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
)

// TestSampleDistribution draws many tokens and asks by a chi-square test
// whether they follow softmax(z/T) over the ids that may be drawn.
func TestSampleDistribution(t *testing.T) {
	const vocab, draws = 30, 40_000
	rng := philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Item: t.Name()})
	z := make([]float64, vocab)
	for i := range z {
		z[i] = float64(float32(4 * rng.Float64()))
	}
	for _, c := range []struct{ temperature, topP, topK float64 }{{1, 1, 0}, {0.6, 1, 0}, {1.7, 1, 9}, {1, 0.8, 0}, {0.9, 0.7, 12}} {
		d := New()
		var logits, settings, identity []float64
		for i := range draws {
			logits = append(logits, z...)
			settings = append(settings, c.temperature, c.topP, c.topK)
			identity = append(identity, 7, 11, float64(i))
		}
		ids := put(t, d, kernels.I32, make([]float64, draws)...)
		d.Sample(kernels.SampleArgs{IDs: ids, Logits: put(t, d, kernels.F32, logits...), Settings: put(t, d, kernels.F32, settings...),
			Draws: put(t, d, kernels.I32, identity...), Rows: draws, Vocab: vocab})
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		counts := make([]float64, vocab)
		for _, id := range host.I32(ids, draws) {
			counts[id]++
		}

		// The probabilities, by way of sorting them.
		order := make([]int, vocab)
		p := make([]float64, vocab)
		for v := range p {
			order[v], p[v] = v, math.Exp(z[v]/c.temperature)
		}
		slices.SortFunc(order, func(a, b int) int { return int(math.Copysign(1, p[b]-p[a])) })
		if c.topK > 0 {
			order = order[:int(c.topK)]
		}
		var total, kept float64
		for _, v := range order {
			total += p[v]
		}
		for n, v := range order {
			if kept += p[v]; kept >= c.topP*total {
				order = order[:n+1]
				break
			}
		}
		var chi2, drawn float64
		for _, v := range order {
			want := draws * p[v] / kept
			chi2 += (counts[v] - want) * (counts[v] - want) / want
			drawn += counts[v]
		}
		if drawn != draws {
			t.Errorf("%+v: %v of %d draws gave ids that may not be drawn", c, draws-drawn, draws)
		}
		freedom := float64(len(order) - 1)
		if limit := freedom + 4*math.Sqrt(2*freedom) + 6; chi2 > limit {
			t.Errorf("%+v: chi-square %.1f with %v degrees of freedom, want at most %.1f", c, chi2, freedom, limit)
		}
	}
}

// TestKeptIDs compares what top-k and top-p leave out with their definition,
// id by id and in big integers.
func TestKeptIDs(t *testing.T) {
	rng := philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Item: t.Name()})
	for range 3000 {
		n := 1 + rng.IntN(12)
		logits, weights := make([]float32, n), make([]uint64, n)
		for v := range logits {
			logits[v] = float32(rng.IntN(4))
			weights[v] = (1 << 30) >> (3 * (3 - int(logits[v])))
		}
		topP, topK := float32(rng.IntN(21))/20, rng.IntN(n+2)
		before := func(u, v int) bool { return logits[u] > logits[v] || logits[u] == logits[v] && u < v }
		inTopK := func(v int) bool {
			rank := 0
			for u := range logits {
				if before(u, v) {
					rank++
				}
			}
			return topK == 0 || rank < topK
		}
		sum := new(big.Int)
		for u, w := range weights {
			if inTopK(u) {
				sum.Add(sum, new(big.Int).SetUint64(w))
			}
		}
		enough := new(big.Int).Mul(sum, big.NewInt(int64(math.Ceil(float64(topP)*(1<<24)))))
		enough.Rsh(enough, 24)
		want := slices.Clone(weights)
		for v := range want {
			ahead := new(big.Int)
			first := true
			for u, w := range weights {
				if before(u, v) && inTopK(u) {
					ahead.Add(ahead, new(big.Int).SetUint64(w))
					first = false
				}
			}
			if !inTopK(v) || topP < 1 && !first && ahead.Cmp(enough) >= 0 {
				want[v] = 0
			}
		}
		got := slices.Clone(weights)
		drop(logits, got, topP, topK)
		if !slices.Equal(got, want) {
			t.Fatalf("logits %v, top-p %v, top-k %d: kept %v, want %v", logits, topP, topK, got, want)
		}
	}
}

func TestChooseEnds(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		logits []float32
		u      uint32
		want   int
	}{
		{[]float32{-inf, 0, 0, -inf}, 0, 1},
		{[]float32{-inf, 0, 0, -inf}, 1<<31 - 1, 1},
		{[]float32{-inf, 0, 0, -inf}, 1 << 31, 2},
		{[]float32{-inf, 0, 0, -inf}, math.MaxUint32, 2},
		{[]float32{0, -100}, math.MaxUint32, 0}, // a weight of zero is never drawn
		{[]float32{0, nan}, 0, -1},
		{[]float32{0, inf}, 0, -1},
		{[]float32{-inf, -inf}, 0, -1},
	} {
		if got := choose(c.logits, 1, 1, 0, c.u); got != c.want {
			t.Errorf("choose(%v, u = %#x) = %d, want %d", c.logits, c.u, got, c.want)
		}
	}
}
