package nn

import (
	"fmt"
	"math"
	"testing"

	"github.com/selkie-ml/selkie/tensor"
)

// TestBF16Training: with weights and activations in bf16, an adapter's gradients
// are those of f32 within bf16's precision, and keep their bits in any company.
func TestBF16Training(t *testing.T) {
	for _, device := range []string{"ref", "cpu"} {
		for kind := range kinds {
			t.Run(device+"/"+kind, func(t *testing.T) {
				dev, err := tensor.Open(device, tensor.Options{Threads: 2, Poison: true})
				if err != nil {
					t.Fatal(err)
				}
				defer dev.Close()
				dir := t.TempDir()
				if err := WriteRandom(dir, withDType(kinds[kind], tensor.BF16), 1); err != nil {
					t.Fatal(err)
				}
				gradients := func(compute tensor.DType, maxTokens int, recompute bool) (out [][]float32) {
					m, err := Load(dev, dir, LoadOptions{Compute: compute, Recompute: recompute})
					if err != nil {
						t.Fatal(err)
					}
					defer m.Close()
					var own []*Adapter
					var batch []Sequence
					for j := range 3 {
						own = append(own, randomAdapter(m.Config, LoRAConfig{Rank: 2 + j, Alpha: 4, Targets: AllProjections()}, fmt.Sprint(j)))
						batch = append(batch, NextToken(textOf(m.Config, 30+40*j, uint64(j)), 0, 1./30, j))
					}
					pool := newPool(t, m, true, own...)
					defer pool.Free()
					tr := newTrainer(t, m, pool)
					defer tr.Close()
					tr.MaxTokens = maxTokens
					forwardBackward(t, tr, batch)
					for j := range own {
						out = append(out, adapterGradient(t, tr, j))
					}
					return out
				}
				want, got := gradients(tensor.F32, 0, false), gradients(tensor.BF16, 0, false)
				alone, again := gradients(tensor.BF16, 1, false), gradients(tensor.BF16, 0, true)
				for j := range want {
					sameBits(t, fmt.Sprintf("gradient of adapter %d alone", j), alone[j], got[j])
					sameBits(t, fmt.Sprintf("gradient of adapter %d, recomputing", j), again[j], got[j])
					if d := distance(got[j], want[j]); !(d > 0 && d < 0.03) {
						t.Errorf("gradient of adapter %d is %.4f of its norm away from that in f32", j, d)
					}
				}
			})
		}
	}
}

// distance is |a − b| / |b|.
func distance(a, b []float32) float64 {
	var diff, norm float64
	for i := range b {
		d := float64(a[i]) - float64(b[i])
		diff += d * d
		norm += float64(b[i]) * float64(b[i])
	}
	return math.Sqrt(diff / norm)
}
