package nn

import (
	"fmt"
	"testing"

	"github.com/selkie-ml/selkie/tensor"
)

// TestPlanStep: a plan is to the byte what the same step takes.
func TestPlanStep(t *testing.T) {
	lora := func(rank int, targets ...Projection) LoRAConfig {
		return LoRAConfig{Rank: rank, Alpha: 1, Targets: targets}
	}
	shapes := []StepShape{
		{Lengths: []int{200}},
		{Lengths: []int{3, 120, 64, 9}, MaxTokens: 130},
		{Lengths: []int{70, 1}, Adapters: []LoRAConfig{lora(4, QProj, VProj)}},
		{Lengths: []int{70, 30, 50}, Adapters: []LoRAConfig{lora(2, AllProjections()...), lora(8, DownProj), lora(3, KProj, UpProj)}},
	}
	for _, device := range []string{"cpu", "ref"} {
		for kind, c := range kinds {
			for _, stored := range []tensor.DType{tensor.F32, tensor.BF16} {
				if device == "ref" && stored != tensor.F32 {
					continue
				}
				c.DType = stored
				dir := t.TempDir()
				if err := WriteRandom(dir, c, 1); err != nil {
					t.Fatal(err)
				}
				for _, compute := range []tensor.DType{tensor.F32, tensor.BF16} {
					for _, recompute := range []bool{false, true} {
						for i, shape := range shapes {
							opt := LoadOptions{Compute: compute, Recompute: recompute, Float32: shape.Adapters == nil}
							checkPlan(t, fmt.Sprint(device, " ", kind, " in ", stored, ", shape ", i, " ", opt), device, dir, c, opt, shape)
						}
					}
				}
			}
		}
	}
}

func checkPlan(t *testing.T, what, device, dir string, c Config, opt LoadOptions, shape StepShape) {
	dev, err := tensor.Open(device, tensor.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	plan, err := PlanStep(dev, c, opt, shape)
	if err != nil {
		t.Fatal(err)
	}
	if s := dev.Stats(); s.InUse != 0 || s.Peak != 0 {
		t.Errorf("%s: planning used %d bytes", what, s.Peak)
	}
	m, err := Load(dev, dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if again, err := m.PlanStep(shape); err != nil || again != plan {
		t.Errorf("%s: plan of the loaded model %+v (%v), before %+v", what, again, err, plan)
	}
	var tr *Trainer
	if shape.Adapters == nil {
		tr, err = NewFullTrainer(m, nil)
	} else {
		var own []*Adapter
		for i, a := range shape.Adapters {
			own = append(own, randomAdapter(m.Config, a, fmt.Sprint(i)))
		}
		pool := newPool(t, m, true, own...)
		defer pool.Free()
		tr, err = NewTrainer(m, pool)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	tr.MaxTokens = shape.MaxTokens
	dev.Backend().ResetPeak()
	for range 2 {
		var batch []Sequence
		for i, n := range shape.Lengths {
			adapter := NoAdapter
			if shape.Adapters != nil {
				adapter = i % len(shape.Adapters)
			}
			batch = append(batch, NextToken(textOf(m.Config, n, uint64(i)), n/2, 1, adapter))
		}
		forwardBackward(t, tr, batch)
		if _, err := tr.OptimStep([]Update{{LR: 1e-3, AdamW: DefaultAdamW()}}); err != nil {
			t.Fatal(err)
		}
	}
	s := dev.Stats()
	if s.Mapped != plan.Mapped || s.InUse != plan.Weights+plan.Training || s.Peak != plan.Peak() {
		t.Errorf("%s: %d bytes mapped, %d kept, %d at the peak; planned %+v", what, s.Mapped, s.InUse, s.Peak, plan)
	}
}

// TestLargestStep plans a finetuning whose steps all differ.
func TestLargestStep(t *testing.T) {
	c := kinds["qwen2"]
	var jobs []Job
	for j := range 3 {
		var examples []Example
		for i := range 5 {
			examples = append(examples, Example{Tokens: textOf(c, 10+13*i+7*j, uint64(i))})
		}
		jobs = append(jobs, Job{
			LoRA: LoRAConfig{Rank: 2 + j, Alpha: 4, Targets: []Projection{QProj, DownProj}}, Examples: examples, Epochs: 2 + j, Batch: 2,
			AdamW: DefaultAdamW(), Schedule: Schedule{Kind: "constant", LR: 1e-3}, Shuffle: Shuffled(uint64(j)),
		})
	}
	for _, maxTokens := range []int{0, 60} {
		m := benchModel(t, 2, c, tensor.F32)
		opt := FinetuneOptions{MaxTokens: maxTokens}
		plan, err := m.PlanStep(LargestStep(jobs, opt))
		if err != nil {
			t.Fatal(err)
		}
		m.dev.Backend().ResetPeak()
		if _, err := m.FinetuneAdapters(t.Context(), jobs, opt); err != nil {
			t.Fatal(err)
		}
		// Where batches are cut, the cuts matter beside the tokens.
		if peak := m.dev.Stats().Peak; peak > plan.Peak()*21/20 || maxTokens == 0 && peak != plan.Peak() {
			t.Errorf("at most %d tokens: %d bytes at the peak, planned %+v", maxTokens, peak, plan)
		}
	}
	if s := LargestStep(nil, FinetuneOptions{}); s.Lengths != nil {
		t.Errorf("largest step of nothing: %+v", s)
	}
}
