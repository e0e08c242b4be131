package nn

import (
	"fmt"
	"testing"

	"github.com/selkie-ml/selkie/tensor"
)

// Steps of whole models, for what lies above the kernels: the Go heap's share
// (allocs/op) and the device's peak (peak-B, without weights). Package bench
// has the speeds.

var benchMini = Config{
	ModelType: "llama", HiddenSize: 256, Intermediate: 688, Layers: 6, Heads: 4, KVHeads: 2, HeadDim: 64, VocabSize: 4096, MaxPositions: 1024,
	NormEps: 1e-5, RopeTheta: 1e4, BOS: -1, Tied: true,
}

func benchModel(b testing.TB, threads int, c Config, compute tensor.DType) *Model {
	b.Helper()
	dev, err := tensor.Open("cpu", tensor.Options{Threads: threads})
	if err != nil {
		b.Fatal(err)
	}
	m, err := NewRandom(dev, c, 1, LoadOptions{Compute: compute})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		m.Close()
		dev.Close()
	})
	return m
}

// benchSteps times steps after a warm-up.
func benchSteps(b *testing.B, m *Model, tokens int, step func()) {
	for range 2 {
		step()
	}
	m.dev.Backend().ResetPeak()
	before := m.dev.Stats().InUse
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(m.dev.Stats().Peak-before), "peak-B")
	b.ReportMetric(float64(tokens)*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}

var benchLoRA = LoRAConfig{Rank: 32, Alpha: 64, Targets: []Projection{QProj, VProj}}

// BenchmarkTrainLoRA is a step of one adapter on one sequence.
func BenchmarkTrainLoRA(b *testing.B) {
	for _, recompute := range []bool{false, true} {
		b.Run(fmt.Sprintf("mini/1x128/recompute=%v", recompute), func(b *testing.B) {
			m := benchModel(b, 0, benchMini, tensor.F32)
			m.Recompute = recompute
			benchTrain(b, m, 1, 128)
		})
	}
}

// BenchmarkTrainTogether is a step of 16 adapters, each with a sequence of its
// own, the shape of self-edits.
func BenchmarkTrainTogether(b *testing.B) {
	benchTrain(b, benchModel(b, 0, benchMini, tensor.F32), 16, 100)
}

func benchTrain(b *testing.B, m *Model, adapters, length int) {
	step, done := trainStep(b, m, adapters, length)
	defer done()
	benchSteps(b, m, max(adapters, 1)*length, step)
}

// trainStep returns a training step of so many adapters (0: all parameters),
// each with a sequence of its own, and what ends it.
func trainStep(t fataler, m *Model, adapters, length int) (step, done func()) {
	sequence := func(j int) Sequence {
		return NextToken(textOf(m.Config, length, uint64(j+1)), 0, 1/float32(length), j)
	}
	update := func(j int) Update { return Update{Adapter: j, LR: 1e-4, AdamW: DefaultAdamW()} }
	var tr *Trainer
	batch, updates := []Sequence{sequence(NoAdapter)}, []Update{update(0)}
	if adapters == 0 {
		var err error
		if tr, err = NewFullTrainer(m, nil); err != nil {
			t.Fatal(err)
		}
		done = tr.Close
	} else {
		var own []*Adapter
		batch, updates = nil, nil
		for j := range adapters {
			own = append(own, randomAdapter(m.Config, benchLoRA, fmt.Sprint(j)))
			batch, updates = append(batch, sequence(j)), append(updates, update(j))
		}
		pool := newPool(t, m, true, own...)
		tr = newTrainer(t, m, pool)
		done = func() {
			tr.Close()
			pool.Free()
		}
	}
	var losses Losses
	norms := make([]float64, len(updates))
	return func() {
		if err := tr.ForwardBackwardInto(&losses, batch); err != nil {
			t.Fatal(err)
		}
		if err := tr.OptimStepInto(norms, updates); err != nil {
			t.Fatal(err)
		}
	}, done
}

// BenchmarkTrainFull is a step of all parameters.
func BenchmarkTrainFull(b *testing.B) { benchTrain(b, benchModel(b, 0, benchMini, tensor.F32), 0, 128) }

// BenchmarkDecode is one token of every running text.
func BenchmarkDecode(b *testing.B) {
	for _, texts := range []int{1, 8, 32} {
		b.Run(fmt.Sprint("mini/", texts), func(b *testing.B) {
			m := benchModel(b, 0, benchMini, tensor.F32)
			g := NewGenerator(m, nil, GeneratorOptions{})
			defer g.Close()
			startTexts(b, g, texts, 400)
			b.ReportAllocs()
			for b.Loop() {
				if len(g.run.active[0].tokens) > 300 {
					b.StopTimer()
					g.abandon()
					startTexts(b, g, texts, 400)
					b.StartTimer()
				}
				decodeStep(b, g)
			}
			g.abandon()
			b.ReportMetric(float64(texts)*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}

// startTexts brings texts with prompts of 50 tokens, each with the adapter of its
// index if there are any, to where each step gives each a token.
func startTexts(t fataler, g *Generator, texts, most int) {
	var requests []Request
	for i := range texts {
		adapter := NoAdapter
		if g.pool != nil {
			adapter = i % g.pool.Len()
		}
		requests = append(requests, Request{
			Prompt: textOf(g.model.Config, 50, uint64(i)), MaxNew: most, Adapter: adapter, Key: Key{uint32(i)},
			Sampling: Sampling{Temperature: 1, TopP: 0.95},
		})
	}
	if err := g.prepare(requests); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		decodeStep(t, g)
	}
}

func decodeStep(t fataler, g *Generator) {
	g.admit()
	if err := g.step(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkPrefill is prompts of 100 tokens until each has its first token.
func BenchmarkPrefill(b *testing.B) {
	m := benchModel(b, 0, benchMini, tensor.F32)
	g := NewGenerator(m, nil, GeneratorOptions{})
	defer g.Close()
	const texts, length = 16, 100
	key := uint64(0)
	benchSteps(b, m, texts*length, func() {
		var requests []Request
		for range texts {
			key++ // no prompt is found in the cache
			requests = append(requests, Request{Prompt: textOf(m.Config, length, key), MaxNew: 1, Adapter: NoAdapter})
		}
		if _, err := g.Run(b.Context(), requests); err != nil {
			b.Fatal(err)
		}
	})
}
