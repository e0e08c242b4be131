package nn

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/selkie-ml/selkie/tensor"
)

// What a long run may not do: leave a trace of each of its steps.

// steadySteps calls f with steps of every kind on small models.
func steadySteps(t *testing.T, threads int, compute tensor.DType, f func(t *testing.T, step func())) {
	run := func(name string, kind string, g func(t *testing.T, m *Model)) {
		t.Run(fmt.Sprintf("%s/%v/%d threads", name, compute, threads), func(t *testing.T) {
			g(t, benchModel(t, threads, kinds[kind], compute))
		})
	}
	for adapters, name := range map[int]string{0: "all parameters", 3: "three adapters"} {
		run(name, "qwen2", func(t *testing.T, m *Model) {
			step, done := trainStep(t, m, adapters, 20)
			defer done()
			f(t, step)
		})
		run(name+", recomputing", "llama", func(t *testing.T, m *Model) {
			m.Recompute = true
			step, done := trainStep(t, m, adapters, 20)
			defer done()
			f(t, step)
		})
	}
	run("self-edits", "qwen2", func(t *testing.T, m *Model) { selfEdits(t, m, f) })
	run("generation", "qwen2", func(t *testing.T, m *Model) { decoding(t, m, nil, f) })
	run("generation with adapters", "llama", func(t *testing.T, m *Model) {
		lora := LoRAConfig{Rank: 2, Alpha: 4, Targets: AllProjections()}
		pool := newPool(t, m, false, randomAdapter(m.Config, lora, "a"), randomAdapter(m.Config, lora, "b"))
		defer pool.Free()
		decoding(t, m, pool, f)
	})
}

// selfEdits is the inner loop's work: three jobs whose batches are shuffled in
// every epoch, so that the lengths in a batch keep changing.
func selfEdits(t *testing.T, m *Model, f func(t *testing.T, step func())) {
	var jobs []Job
	for j := range 3 {
		var examples []Example
		for i := range 6 {
			examples = append(examples, Example{Tokens: textOf(m.Config, 10+7*i, uint64(10*j+i)), Masked: i})
		}
		jobs = append(jobs, Job{
			LoRA: LoRAConfig{Rank: 4, Alpha: 8, Targets: AllProjections()}, Init: Key{uint32(j)}, Examples: examples, Epochs: 1000, Batch: 2,
			AdamW: DefaultAdamW(), Schedule: Schedule{Kind: "linear", LR: 1e-3}, Shuffle: Shuffled(uint64(j)),
		})
	}
	w, err := m.newFinetuning(jobs, FinetuneOptions{Progress: func(int) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	i := 0
	step := func() {
		if err := w.step(i); err != nil {
			t.Fatal(err)
		}
		i++
	}
	for range 150 { // until all forms of batch were seen
		step()
	}
	f(t, step)
}

// decoding is generation begun anew whenever its texts are near their ends.
func decoding(t *testing.T, m *Model, pool *AdapterPool, f func(t *testing.T, step func())) {
	g := NewGenerator(m, pool, GeneratorOptions{})
	defer g.Close()
	const texts, most = 5, 180
	startTexts(t, g, texts, most)
	f(t, func() {
		if len(g.run.active) < texts || len(g.run.active[0].logprobs) > most-2 {
			g.abandon()
			startTexts(t, g, texts, most)
		}
		decodeStep(t, g)
	})
	g.abandon()
}

// TestSteadyStepsAllocateNothing: training and decoding leave the Go heap alone.
func TestSteadyStepsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, threads := range []int{1, 2} {
		for _, compute := range []tensor.DType{tensor.F32, tensor.BF16} {
			steadySteps(t, threads, compute, func(t *testing.T, step func()) {
				for range 3 {
					step()
				}
				if n := testing.AllocsPerRun(20, step); n > 0 {
					t.Errorf("%v allocations in a step", n)
				}
			})
		}
	}
}

// TestNoGoroutinesGrow runs a thousand steps of every kind.
func TestNoGoroutinesGrow(t *testing.T) {
	if raceEnabled {
		t.Skip("too slow under the race detector")
	}
	steadySteps(t, 2, tensor.F32, func(t *testing.T, step func()) {
		step()
		before := runtime.NumGoroutine()
		for range 1000 {
			step()
		}
		if after := runtime.NumGoroutine(); after > before {
			t.Errorf("%d goroutines after 1,000 steps, %d before", after, before)
		}
	})
}
