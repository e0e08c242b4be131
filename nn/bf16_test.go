package nn

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/selkie-ml/selkie/tensor"
)

// TestBF16Training: with weights and activations in bf16, an adapter's gradients
// are those of f32 within bf16's precision, and keep their bits in any company.
func TestBF16Training(t *testing.T) {
	for _, device := range []string{"ref", "cpu", "emulated:unchecked"} {
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

// TestBF16FullTraining: all parameters are trained with products in bf16. Steps far
// smaller than bf16 can tell add up, and a saved state goes on with the same bits.
func TestBF16FullTraining(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			dev, err := tensor.Open("cpu", tensor.Options{Threads: 2, Poison: true})
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			config := kinds[kind]
			batch := []Sequence{NextToken(textOf(config, 40, 1), 0, 1./80, NoAdapter), NextToken(textOf(config, 41, 2), 0, 1./80, NoAdapter)}
			state := filepath.Join(t.TempDir(), "state.safetensors")
			// train returns the losses and what became of a matrix.
			train := func(compute tensor.DType, maxTokens int, lr float64, steps int, resume bool) (losses []float64, after []float32) {
				m, err := NewRandom(dev, config, 1, LoadOptions{Compute: compute, Float32: true})
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				tr, err := NewFullTrainer(m, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer tr.Close()
				tr.MaxTokens = maxTokens
				if resume {
					if err := tr.LoadState(state); err != nil {
						t.Fatal(err)
					}
				}
				for range steps {
					l, err := tr.ForwardBackward(batch)
					if err != nil {
						t.Fatal(err)
					}
					losses = append(losses, l.Sum[0])
					if _, err := tr.OptimStep([]Update{{LR: lr, AdamW: DefaultAdamW()}}); err != nil {
						t.Fatal(err)
					}
				}
				if steps == 2 && !resume {
					if err := tr.SaveState(state); err != nil {
						t.Fatal(err)
					}
				}
				if after, err = m.layers[0].weight[QProj].Float32s(); err != nil {
					t.Fatal(err)
				}
				return losses, after
			}
			exact, _ := train(tensor.F32, 0, 1e-3, 6, false)
			losses, after := train(tensor.BF16, 0, 1e-3, 6, false)
			for i, want := range exact {
				if d := math.Abs(losses[i]-want) / want; !(d < 0.01) {
					t.Errorf("loss %d is %v in bf16, %v in f32", i, losses[i], want)
				}
			}
			if losses[5] > 0.99*losses[0] {
				t.Errorf("losses %v do not fall", losses)
			}
			_, cut := train(tensor.BF16, 40, 1e-3, 6, false)
			sameBits(t, "weights, the batch cut in two", cut, after)
			train(tensor.BF16, 0, 1e-3, 2, false)
			_, resumed := train(tensor.BF16, 0, 1e-3, 4, true)
			sameBits(t, "weights after a resumed training", resumed, after)

			_, before := train(tensor.BF16, 0, 1e-7, 0, false)
			_, moved := train(tensor.BF16, 0, 1e-7, 1, false)
			n := 0
			for i := range before {
				if moved[i] != before[i] {
					n++
				}
			}
			if n < len(before)/2 {
				t.Errorf("%d of %d weights moved by a step of 1e-7", n, len(before))
			}
		})
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
