package cpu

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
	"github.com/selkie-ml/selkie/kernels/host"
)

// drawBySorting is the definition: all ids sorted.
func drawBySorting(z []float32, m, temperature, topP float32, topK int, u uint32) int {
	weights, order := make([]uint64, len(z)), make([]int, len(z))
	e := make([]float32, len(z))
	for v, x := range z {
		order[v], e[v] = v, (x-m)/temperature
	}
	vec.Exp(e, e)
	for v, x := range e {
		weights[v] = uint64(x * (1 << 30))
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(z[b], z[a]), cmp.Compare(a, b)) })
	if topK > 0 {
		order = order[:min(topK, len(order))]
	}
	sum := func(ids []int) (s uint64) {
		for _, v := range ids {
			s += weights[v]
		}
		return s
	}
	if topP < 1 {
		target := share(sum(order), uint64(math.Ceil(float64(topP)*(1<<24))), 24)
		reached := uint64(0)
		for n, v := range order {
			if reached += weights[v]; reached >= target {
				order = order[:n+1]
				break
			}
		}
	}
	limit := share(sum(order), uint64(u), 32)
	slices.Sort(order)
	for _, v := range order {
		if weights[v] > limit {
			return v
		}
		limit -= weights[v]
	}
	return -1
}

// Whatever is skipped on the way, the draw is that of the definition.
func TestDrawIsTheDefinitions(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 21))
	logits := map[string]func() float32{
		"normal":  func() float32 { return float32(rng.NormFloat64() * 4) },
		"flat":    func() float32 { return rng.Float32() },
		"peaked":  func() float32 { return float32(math.Pow(rng.Float64(), 30)) * 40 },
		"equal":   func() float32 { return 1.5 },
		"ties":    func() float32 { return float32(rng.IntN(4)) },
		"zeros":   func() float32 { return float32(math.Copysign(0, rng.Float64()-0.5)) },
		"large":   func() float32 { return float32(rng.NormFloat64() * 1e30) },
		"missing": func() float32 { return float32(math.Log(float64(rng.IntN(3)))) }, // with −Inf
	}
	for _, level := range vec.Levels() {
		t.Run(level, func(t *testing.T) {
			defer vec.ForceLevel(level)()
			c, w := &choice{}, &worker{}
			for name, logit := range logits {
				for _, n := range []int{1, 2, 15, 16, 17, 255, 256, 257, 1000, 4096, 4097, 20_000} {
					z := make([]float32, n)
					for i := range z {
						z[i] = logit()
					}
					z[rng.IntN(n)] = max(0, vec.Max(z)) // finite
					w.used = 0
					m, ok := c.scan(z, w)
					if !ok || m != vec.Max(z) {
						t.Fatalf("%s, n = %d: largest %v, %v", name, n, m, ok)
					}
					if got, want := c.greedy(z, m), slices.Index(z, m); got != want {
						t.Fatalf("%s, n = %d: greedy gives %d, want %d", name, n, got, want)
					}
					for range 6 {
						temperature := []float32{1, 0.7, 0.01, 30}[rng.IntN(4)]
						topP := []float32{1, 1, 0.9, 0.5, 0.999, 0.99999994, 0}[rng.IntN(7)]
						topK := []int{0, 0, 1, 5, 50, n / 20, n / 3, n - 1, n}[rng.IntN(9)]
						u := rng.Uint32()
						got := c.draw(z, m, []float32{temperature, topP, float32(topK)}, u)
						if want := drawBySorting(z, m, temperature, topP, topK, u); got != want {
							t.Fatalf("%s, n = %d, temperature %v, top-p %v, top-k %d, u = %d: id %d, want %d", name, n, temperature, topP, topK, u, got, want)
						}
					}
				}
			}
		})
	}
}

func TestKthLargest(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 22))
	for n := 1; n < 60; n++ {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rng.IntN(n))
		}
		sorted := slices.Clone(x)
		slices.Sort(sorted)
		for k := 1; k <= n; k++ {
			if got, want := kthLargest(slices.Clone(x), k), sorted[n-k]; got != want {
				t.Fatalf("number %d of %v is %v, want %v", k, x, got, want)
			}
		}
	}
}

// BenchmarkSampleRows draws from logits like a language model's: a broad bulk
// and a few tokens far above it; "flat" has no such tokens.
func BenchmarkSampleRows(b *testing.B) {
	const vocab = 151936
	m := newMaker(b, 0)
	for _, rows := range []int{1, 8, 32} {
		for _, flat := range []bool{false, true} {
			logits := m.random(kernels.F32, rows*vocab, 8)
			if !flat {
				z := host.F32(logits, rows*vocab)
				for i := range z {
					z[i] *= 0.5
				}
				for i := range rows * 20 {
					z[i/20*vocab+m.rng.IntN(vocab)] = 10 + 0.5*float32(i%20)
				}
			}
			ids, lp, draws := m.ints(make([]int32, rows)...), m.f32(rows), m.indices(rows*kernels.DrawColumns, math.MaxInt32)
			for _, s := range []struct {
				name    string
				setting []float32
			}{{"greedy", []float32{0, 1, 0}}, {"plain", []float32{1, 1, 0}}, {"topp", []float32{0.7, 0.9, 0}}, {"topk", []float32{1, 1, 50}}, {"topkp", []float32{0.7, 0.9, 50}}} {
				set := m.f32(rows * kernels.SampleColumns)
				for i := range rows {
					copy(host.F32(set, rows*kernels.SampleColumns)[i*kernels.SampleColumns:], s.setting)
				}
				bench(b, fmt.Sprintf("%s/rows=%d/flat=%v", s.name, rows, flat), 0, 4*float64(rows*vocab), func() {
					m.b.Sample(kernels.SampleArgs{IDs: ids, LogProb: lp, Logits: logits, Settings: set, Draws: draws, Rows: rows, Vocab: vocab})
				})
			}
		}
	}
}
