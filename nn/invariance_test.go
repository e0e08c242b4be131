package nn

import (
	"flag"
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/tensor"
)

// "A result does not depend on its company": every comparison here is of bits.

// Fewer draws than rapid's 100 keep the package quick; -rapid.checks asks for more.
func init() {
	flag.Set("rapid.checks", "25")
	flag.Set("rapid.nofailfile", "true")
}

// kinds are two small models that differ in all that a Config can say.
var kinds = map[string]Config{
	"llama": {
		ModelType: "llama", HiddenSize: 16, Intermediate: 24, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8, VocabSize: 50, MaxPositions: 256,
		NormEps: 1e-5, RopeTheta: 1e4, BOS: -1,
		RopeScaling: &tensor.RopeScaling{Factor: 4, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPosition: 64},
	},
	"qwen2": {
		ModelType: "qwen2", HiddenSize: 24, Intermediate: 20, Layers: 2, Heads: 3, KVHeads: 1, HeadDim: 6, VocabSize: 70, MaxPositions: 256,
		NormEps: 1e-6, RopeTheta: 1e4, BOS: -1, Tied: true, QKVBias: true,
	},
}

// lab makes models, one per place and form, all of the same weights per kind.
type lab struct {
	t      *testing.T
	models map[string]*Model
}

// places are where a result must be the same: any number of workers, for
// "ref" only among itself.
var places = []string{"cpu 1", "cpu 2", "cpu 3"}

func newLab(t *testing.T) *lab { return &lab{t, map[string]*Model{}} }

func (l *lab) model(place, kind string, compute tensor.DType) *Model {
	key := fmt.Sprint(place, kind, compute)
	if m := l.models[key]; m != nil {
		return m
	}
	var threads int
	var device string
	fmt.Sscan(place+" 0", &device, &threads)
	dev, err := tensor.Open(device, tensor.Options{Threads: threads, Poison: true})
	if err != nil {
		l.t.Fatal(err)
	}
	m, err := NewRandom(dev, kinds[kind], 1, LoadOptions{Compute: compute})
	if err != nil {
		l.t.Fatal(err)
	}
	randomBiases(m)
	l.t.Cleanup(func() {
		m.Close()
		if n := dev.Stats().InUse; n != 0 {
			l.t.Errorf("%s: %d bytes in use after the model was closed", key, n)
		}
		dev.Close()
	})
	l.models[key] = m
	return m
}

// randomBiases replaces what NewRandom makes zeros and ones.
func randomBiases(m *Model) {
	for _, p := range m.Params() {
		if !p.IsMatrix() {
			p.SetFloat32s(randomFloats(p.Len(), p.Name, 0.3, 1))
		}
	}
}

func randomFloats(n int, item string, spread, middle float32) []float32 {
	s := philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Item: item})
	out := make([]float32, n)
	for i := range out {
		out[i] = middle + spread*float32(2*s.Float64()-1)
	}
	return out
}

// randomAdapter has a B that is not zero.
func randomAdapter(c Config, lora LoRAConfig, name string) *Adapter {
	a := NewAdapter(c, lora, philox.ID{Purpose: philox.PurposeTest, Item: name}.Key())
	for l := range a.Weights {
		for _, p := range lora.Targets {
			w := &a.Weights[l][p]
			w.B = randomFloats(len(w.B), fmt.Sprint(name, l, p), 0.2, 0)
		}
	}
	return a
}

func newPool(t fataler, m *Model, train bool, adapters ...*Adapter) *AdapterPool {
	configs := make([]LoRAConfig, len(adapters))
	for i, a := range adapters {
		configs[i] = a.LoRAConfig
	}
	pool, err := NewAdapterPool(m, configs, train)
	for j, a := range adapters {
		if err == nil {
			err = pool.Set(j, a)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

type fataler interface {
	Fatal(...any)
	Helper()
}

func drawLoRA(t *rapid.T) LoRAConfig {
	c := LoRAConfig{Rank: rapid.IntRange(1, 16).Draw(t, "rank"), Alpha: float64(rapid.IntRange(1, 32).Draw(t, "alpha"))}
	mask := rapid.IntRange(1, 127).Draw(t, "targets")
	for _, p := range AllProjections() {
		if mask>>p&1 != 0 {
			c.Targets = append(c.Targets, p)
		}
	}
	return c
}

func drawLength(t *rapid.T) int {
	return rapid.OneOf(rapid.IntRange(1, 12), rapid.IntRange(1, 200), rapid.SampledFrom([]int{1, 2, 63, 64, 65, 127, 128, 129, 192})).Draw(t, "length")
}

func drawTokens(t *rapid.T, c Config) []int32 {
	n, seed := drawLength(t), rapid.Uint64().Draw(t, "text")
	s := philox.NewStream(philox.ID{Seed: seed, Purpose: philox.PurposeTest})
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(s.IntN(c.VocabSize))
	}
	return out
}

// drawSequences draws n texts, some targets missing, of any adapter.
func drawSequences(t *rapid.T, c Config, most, adapters int) []Sequence {
	out := make([]Sequence, rapid.IntRange(1, most).Draw(t, "sequences"))
	for i := range out {
		tokens := drawTokens(t, c)
		out[i] = NextToken(tokens, rapid.IntRange(0, len(tokens)).Draw(t, "masked"), rapid.Float32Range(0.01, 1).Draw(t, "weight"),
			rapid.IntRange(NoAdapter, adapters-1).Draw(t, "adapter"))
	}
	return out
}

func sameBits(t fataler, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatal(fmt.Sprintf("%s: %d numbers, want %d", what, len(got), len(want)))
	}
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatal(fmt.Sprintf("%s: number %d is %v, want the bits of %v", what, i, got[i], want[i]))
		}
	}
}

// numbers returns all of an adapter's numbers.
func (a *Adapter) numbers() (out []float32) {
	for l := range a.Weights {
		for p := range a.Weights[l] {
			out = append(append(out, a.Weights[l][p].A...), a.Weights[l][p].B...)
		}
	}
	return out
}

func forwardBackward(t fataler, tr *Trainer, batch []Sequence) *Losses {
	t.Helper()
	losses, err := tr.ForwardBackward(batch)
	if err != nil {
		t.Fatal(err)
	}
	return losses
}

func adapterGradient(t fataler, tr *Trainer, j int) []float32 {
	t.Helper()
	g, err := tr.AdapterGradients(j)
	if err != nil {
		t.Fatal(err)
	}
	return g.numbers()
}

func newTrainer(t fataler, m *Model, pool *AdapterPool) *Trainer {
	t.Helper()
	tr, err := NewTrainer(m, pool)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func drawForm(t *rapid.T) (kind string, compute tensor.DType) {
	return rapid.SampledFrom([]string{"llama", "qwen2"}).Draw(t, "model"), rapid.SampledFrom([]tensor.DType{tensor.F32, tensor.BF16}).Draw(t, "compute")
}

func drawPlace(t *rapid.T) string { return rapid.SampledFrom(places).Draw(t, "place") }

// TestCompany: logits and log-probabilities of every sequence of a batch are
// those it has alone, in a pool of its adapter alone, on any number of workers;
// an adapter's gradient is what its sequences alone add up to, in order.
func TestCompany(t *testing.T) {
	l := newLab(t)
	rapid.Check(t, func(t *rapid.T) {
		kind, compute := drawForm(t)
		checkCompany(t, l.model(drawPlace(t), kind, compute), l.model(drawPlace(t), kind, compute))
	})
	t.Run("ref", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			kind, compute := drawForm(t)
			m := l.model("ref", kind, compute)
			checkCompany(t, m, m)
		})
	})
}

func checkCompany(t *rapid.T, m, other *Model) {
	adapters := make([]*Adapter, rapid.IntRange(1, 4).Draw(t, "adapters"))
	for j := range adapters {
		adapters[j] = randomAdapter(m.Config, drawLoRA(t), fmt.Sprint(j))
	}
	batch := drawSequences(t, m.Config, 5, len(adapters))
	pool := newPool(t, m, true, adapters...)
	defer pool.Free()
	tr := newTrainer(t, m, pool)
	defer tr.Close()
	logits, err := m.Logits(batch, pool)
	if err != nil {
		t.Fatal(err)
	}
	losses := forwardBackward(t, tr, batch)
	// Every adapter's sequences again, one at a time, in a pool of its own.
	totals := make([]float64, len(adapters))
	for j := NoAdapter; j < len(adapters); j++ {
		single := newPool(t, other, true, adapters[max(0, j)])
		defer single.Free()
		own := newTrainer(t, other, single)
		defer own.Close()
		for i, s := range batch {
			if s.Adapter != j {
				continue
			}
			s.Adapter = min(j, 0)
			alone := []Sequence{s}
			one, err := other.Logits(alone, single)
			if err != nil {
				t.Fatal(err)
			}
			sameBits(t, fmt.Sprintf("logits of sequence %d", i), logits[i], one[0])
			l := forwardBackward(t, own, alone)
			sameBits(t, fmt.Sprintf("log-probabilities of sequence %d", i), losses.LogProbs[i], l.LogProbs[0])
			if j >= 0 {
				totals[j] += l.Sum[0]
			} else if l.Sum[0] != 0 {
				t.Fatal("a sequence without adapter counts as adapter 0's")
			}
		}
		if j >= 0 {
			sameBits(t, fmt.Sprintf("gradient of adapter %d", j), adapterGradient(t, tr, j), adapterGradient(t, own, 0))
			if d := math.Abs(losses.Sum[j] - totals[j]); d > 1e-9*(1+totals[j]) {
				t.Fatalf("loss of adapter %d is %v, of its sequences alone %v", j, losses.Sum[j], totals[j])
			}
		}
	}
}

// TestMicroBatches: any MaxTokens, and activation recomputation, change no bit
// of losses and gradients: of adapters, and of all parameters.
func TestMicroBatches(t *testing.T) {
	l := newLab(t)
	rapid.Check(t, func(t *rapid.T) {
		kind, compute := drawForm(t)
		m := l.model(drawPlace(t), kind, compute)
		defer func() { m.Recompute = false }()
		full := rapid.Bool().Draw(t, "all parameters")
		maxTokens := rapid.IntRange(1, 400).Draw(t, "MaxTokens")
		var tr *Trainer
		adapters := 0
		var err error
		if full {
			tr, err = NewFullTrainer(m, nil)
		} else {
			pool := newPool(t, m, true, randomAdapter(m.Config, drawLoRA(t), "a"), randomAdapter(m.Config, drawLoRA(t), "b"))
			defer pool.Free()
			adapters = 2
			tr, err = NewTrainer(m, pool)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		batch := drawSequences(t, m.Config, 5, adapters)
		run := func(maxTokens int, recompute bool) (losses *Losses, gradients map[string][]float32) {
			tr.MaxTokens, m.Recompute = maxTokens, recompute
			tr.ZeroGrad()
			losses = forwardBackward(t, tr, batch)
			if !full {
				return losses, map[string][]float32{"a": adapterGradient(t, tr, 0), "b": adapterGradient(t, tr, 1)}
			}
			g, err := tr.Gradients()
			if err != nil {
				t.Fatal(err)
			}
			return losses, g
		}
		want, wantG := run(0, false)
		for _, recompute := range []bool{false, true} {
			got, gotG := run(maxTokens, recompute)
			for i := range batch {
				sameBits(t, fmt.Sprintf("log-probabilities of sequence %d", i), got.LogProbs[i], want.LogProbs[i])
			}
			for j := range want.Sum {
				if got.Sum[j] != want.Sum[j] {
					t.Fatalf("loss %d is %v, want %v", j, got.Sum[j], want.Sum[j])
				}
			}
			for name := range wantG {
				sameBits(t, "gradient of "+name, gotG[name], wantG[name])
			}
		}
	})
}

func drawJob(t *rapid.T, c Config) Job {
	j := Job{
		LoRA: drawLoRA(t), Init: philox.Key{rapid.Uint32().Draw(t, "init")}, Epochs: rapid.IntRange(0, 3).Draw(t, "epochs"),
		Batch: rapid.IntRange(1, 3).Draw(t, "batch"), AdamW: DefaultAdamW(),
		Schedule: Schedule{Kind: rapid.SampledFrom(ScheduleKinds).Draw(t, "schedule"), LR: rapid.Float64Range(1e-4, 3e-2).Draw(t, "lr"), Warmup: rapid.IntRange(0, 2).Draw(t, "warm-up")},
	}
	j.AdamW.WeightDecay = rapid.SampledFrom([]float64{0, 0.1}).Draw(t, "decay")
	j.AdamW.ClipNorm = rapid.SampledFrom([]float64{0, 0.1, 1}).Draw(t, "clip")
	for range rapid.IntRange(0, 4).Draw(t, "examples") {
		j.Examples = append(j.Examples, Example{Tokens: drawTokens(t, c), Masked: rapid.IntRange(0, 10).Draw(t, "masked")})
	}
	if seed := rapid.Uint64().Draw(t, "shuffle"); seed%2 == 0 {
		j.Shuffle = func(epoch int) *philox.Stream {
			return philox.NewStream(philox.ID{Seed: seed, Purpose: philox.PurposeTest, Round: epoch})
		}
	}
	return j
}

// TestTogether: adapters trained in one batch are those trained one by one.
func TestTogether(t *testing.T) {
	l := newLab(t)
	rapid.Check(t, func(rt *rapid.T) {
		kind, compute := drawForm(rt)
		m, other := l.model(drawPlace(rt), kind, compute), l.model(drawPlace(rt), kind, compute)
		jobs := make([]Job, rapid.IntRange(1, 4).Draw(rt, "jobs"))
		for j := range jobs {
			jobs[j] = drawJob(rt, m.Config)
		}
		together, err := m.FinetuneAdapters(t.Context(), jobs, FinetuneOptions{
			MaxTokens: rapid.IntRange(1, 1000).Draw(rt, "MaxTokens"), MaxAdapters: rapid.IntRange(0, 3).Draw(rt, "MaxAdapters"),
		})
		if err != nil {
			rt.Fatal(err)
		}
		for j, job := range jobs {
			alone, err := other.FinetuneAdapters(t.Context(), []Job{job}, FinetuneOptions{})
			if err != nil {
				rt.Fatal(err)
			}
			got, want := together[j], alone[0]
			sameBits(rt, fmt.Sprintf("adapter %d", j), got.Adapter.numbers(), want.Adapter.numbers())
			if fmt.Sprint(got.Losses, got.GradNorms, got.Diverged) != fmt.Sprint(want.Losses, want.GradNorms, want.Diverged) || len(want.Losses) != job.Steps() {
				rt.Fatalf("job %d: losses %v, norms %v; alone %v, %v", j, got.Losses, got.GradNorms, want.Losses, want.GradNorms)
			}
		}
	})
}

// TestDivergence: an adapter whose loss stops being a number ends and is
// reported; the others do not notice.
func TestDivergence(t *testing.T) {
	l := newLab(t)
	m := l.model("cpu 2", "llama", tensor.F32)
	tokens := make([]int32, 70)
	for i := range tokens {
		tokens[i] = int32(i * i % 50)
	}
	job := Job{
		LoRA: LoRAConfig{Rank: 4, Alpha: 8, Targets: AllProjections()}, Examples: []Example{{Tokens: tokens}, {Tokens: tokens[:9]}},
		Epochs: 3, Batch: 1, AdamW: DefaultAdamW(), Schedule: Schedule{Kind: "constant", LR: 1e-2},
	}
	mad := job
	mad.Schedule.LR = 1e30
	mad.LoRA.Rank = 3
	results, err := m.FinetuneAdapters(t.Context(), []Job{job, mad, job}, FinetuneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	alone, err := m.FinetuneAdapters(t.Context(), []Job{job}, FinetuneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range []int{0, 2} {
		sameBits(t, fmt.Sprintf("adapter %d", j), results[j].Adapter.numbers(), alone[0].Adapter.numbers())
		if results[j].Diverged != nil || len(results[j].Losses) != 6 {
			t.Errorf("job %d: %v, %v", j, results[j].Diverged, results[j].Losses)
		}
	}
	r := results[1]
	if r.Diverged == nil || len(r.Losses) >= 6 {
		t.Fatalf("diverged: %v, losses %v", r.Diverged, r.Losses)
	}
	for _, x := range r.Adapter.numbers() {
		if !finite(float64(x)) {
			t.Fatalf("diverged adapter holds %v, want its last finite weights", x)
		}
	}
	t.Log(r.Diverged)
}

// TestState: a training saved in the middle of gradient accumulation and loaded
// elsewhere goes on with the same bits.
func TestState(t *testing.T) {
	l := newLab(t)
	for kind, c := range kinds {
		for _, full := range []bool{false, true} {
			t.Run(fmt.Sprint(kind, " all parameters ", full), func(t *testing.T) {
				adapters := []*Adapter{
					randomAdapter(c, LoRAConfig{Rank: 3, Alpha: 2, Targets: []Projection{QProj, DownProj}}, "a"),
					randomAdapter(c, LoRAConfig{Rank: 5, Alpha: 9, Targets: AllProjections()}, "b"),
				}
				start := func(place string) (*Model, *Trainer) {
					m := l.model(place, kind, tensor.F32)
					var tr *Trainer
					var err error
					if full {
						tr, err = NewFullTrainer(m, (*Param).IsMatrix)
					} else {
						pool := newPool(t, m, true, adapters...)
						t.Cleanup(pool.Free)
						tr, err = NewTrainer(m, pool)
					}
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(tr.Close)
					return m, tr
				}
				batch := func(i int) (out []Sequence) {
					for j := range 2 {
						s := NextToken(textOf(c, 40+10*i, uint64(i)), 0, 0.1, j)
						if full {
							s.Adapter = NoAdapter
						}
						out = append(out, s)
					}
					return out
				}
				step := func(tr *Trainer, i int) {
					updates := []Update{{LR: 1e-2, AdamW: DefaultAdamW()}}
					if !full && i != 1 { // adapter 1 does one step less
						updates = append(updates, Update{Adapter: 1, LR: 1e-3, AdamW: DefaultAdamW()})
					}
					if _, err := tr.OptimStep(updates); err != nil {
						t.Fatal(err)
					}
				}
				_, a := start("cpu 1")
				path := filepath.Join(t.TempDir(), "state.safetensors")
				for i := range 3 {
					forwardBackward(t, a, batch(i))
					if i == 2 {
						if err := a.SaveState(path); err != nil {
							t.Fatal(err)
						}
					}
					forwardBackward(t, a, batch(i+10))
					step(a, i)
				}
				_, b := start("cpu 2")
				forwardBackward(t, b, batch(7)) // to be forgotten
				step(b, 0)
				if err := b.LoadState(path); err != nil {
					t.Fatal(err)
				}
				forwardBackward(t, b, batch(12))
				step(b, 2)
				forwardBackward(t, a, batch(3))
				step(a, 3)
				forwardBackward(t, b, batch(3))
				step(b, 3)
				for name, x := range a.stateTensors() {
					want, err := x.Float32s()
					if err != nil {
						t.Fatal(err)
					}
					got, err := b.stateTensors()[name].Float32s()
					if err != nil {
						t.Fatal(err)
					}
					sameBits(t, name, got, want)
				}
			})
		}
	}
}

func textOf(c Config, n int, seed uint64) []int32 {
	s := philox.NewStream(philox.ID{Seed: seed, Purpose: philox.PurposeTest, Item: "text"})
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(s.IntN(c.VocabSize))
	}
	return out
}
