package nn

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/internal/testdata"
	"github.com/selkie-ml/selkie/nn/safetensors"
	"github.com/selkie-ml/selkie/tensor"
)

// TestDataGolden compares with what PyTorch, PEFT and transformers computed.
func TestDataGolden(t *testing.T) { runGolden(t, filepath.Join(testdata.Dir(t), "golden")) }

// TestGolden is the same on the repository's own models.
func TestGolden(t *testing.T) { runGolden(t, filepath.Join("testdata", "golden")) }

func runGolden(t *testing.T, root string) {
	files, err := filepath.Glob(filepath.Join(root, "*", "golden.safetensors"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no model with golden.safetensors in %s (%v)", root, err)
	}
	cases := 0
	for _, device := range []string{"ref", "cpu", "emulated:unchecked"} {
		for _, f := range files {
			dir := filepath.Dir(f)
			t.Run(device+"/"+filepath.Base(dir), func(t *testing.T) {
				dev, err := tensor.Open(device, tensor.Options{Poison: true})
				if err != nil {
					t.Fatal(err)
				}
				defer dev.Close()
				g := readGolden(t, dir)
				t.Run("full", func(t *testing.T) { g.full(t, dev) })
				adapters, _ := filepath.Glob(filepath.Join(dir, "*", "golden.safetensors"))
				for _, a := range adapters {
					t.Run(filepath.Base(filepath.Dir(a)), func(t *testing.T) { g.lora(t, dev, filepath.Dir(a)) })
				}
				cases += 1 + len(adapters)
			})
		}
	}
	t.Logf("%d golden cases (models and adapters, on ref, cpu and an emulated GPU)", cases)
}

type goldenSettings struct {
	Rank         int      `json:"r"`
	Alpha        float64  `json:"alpha"`
	Targets      []string `json:"targets"`
	LR           float64  `json:"lr"`
	ScheduleText string   `json:"schedule"`
	Clip         *float64 `json:"clip"`
	Steps        int      `json:"steps"`
	WeightDecay  float64  `json:"weight_decay"`
	Beta1, Beta2 *float64
	Eps          *float64
}

// schedule reads texts such as "cosine with 3 warm-up steps".
func (s goldenSettings) schedule(t *testing.T) Schedule {
	kind, rest, _ := strings.Cut(s.ScheduleText, " ")
	out := Schedule{Kind: kind, LR: s.LR}
	if rest != "" {
		if _, err := fmt.Sscanf(rest, "with %d warm-up steps", &out.Warmup); err != nil {
			t.Fatalf("schedule %q: %v", s.ScheduleText, err)
		}
	}
	if err := out.Validate(); err != nil {
		t.Fatal(err)
	}
	return out
}

func (s goldenSettings) adamW() AdamW {
	a := AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: s.WeightDecay}
	if s.Clip != nil {
		a.ClipNorm = *s.Clip
	}
	if s.Beta1 != nil {
		a.Beta1 = *s.Beta1
	}
	if s.Beta2 != nil {
		a.Beta2 = *s.Beta2
	}
	if s.Eps != nil {
		a.Eps = *s.Eps
	}
	return a
}

type golden struct {
	dir      string
	base     *goldenFile
	settings struct {
		Full goldenSettings            `json:"full"`
		LoRA map[string]goldenSettings `json:"lora"`
	}
	ids, labels, starts []int32
}

type goldenFile struct {
	*safetensors.File
	t *testing.T
}

func openGolden(t *testing.T, path string) *goldenFile {
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &goldenFile{f, t}
}

func (f *goldenFile) floats(name string) []float32 {
	f.t.Helper()
	x, err := f.Tensor(name)
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := safetensors.Float32s(x)
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

func (f *goldenFile) ints(name string) []int32 {
	x, err := f.Tensor(name)
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := safetensors.Int32s(x)
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// prefixed returns the names that begin with prefix, without it.
func (f *goldenFile) prefixed(prefix string) []string {
	var out []string
	for _, n := range f.Names() {
		if rest, ok := strings.CutPrefix(n, prefix); ok {
			out = append(out, rest)
		}
	}
	return out
}

func readGolden(t *testing.T, dir string) *golden {
	g := &golden{dir: dir, base: openGolden(t, filepath.Join(dir, "golden.safetensors"))}
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g.settings); err != nil {
		t.Fatal(err)
	}
	g.ids, g.labels, g.starts = g.base.ints("input_ids"), g.base.ints("labels"), g.base.ints("seq_starts")
	return g
}

// sequences returns the batch, weighted so that the loss is the mean over all
// counted positions.
func (g *golden) sequences(adapter int) []Sequence {
	counted := 0
	var seqs []Sequence
	for s := 0; s+1 < len(g.starts); s++ {
		a, b := g.starts[s], g.starts[s+1]
		q := Sequence{Tokens: g.ids[a:b], Targets: make([]int32, b-a), Weights: make([]float32, b-a), Adapter: adapter}
		for i := range q.Targets {
			q.Targets[i] = -1
			if i+1 < len(q.Targets) && g.labels[int(a)+i+1] != -100 {
				q.Targets[i] = g.labels[int(a)+i+1]
				counted++
			}
		}
		seqs = append(seqs, q)
	}
	for _, q := range seqs {
		for i := range q.Weights {
			q.Weights[i] = float32(1 / float64(counted))
		}
	}
	return seqs
}

func (g *golden) load(t *testing.T, dev *tensor.Device, f32 bool) *Model {
	m, err := Load(dev, g.dir, LoadOptions{Compute: tensor.F32, Float32: f32})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func (g *golden) full(t *testing.T, dev *tensor.Device) {
	m := g.load(t, dev, false)
	g.logits(t, m, nil, g.base.floats("logits"))
	g.greedy(t, m)

	m = g.load(t, dev, true)
	trainer, err := NewFullTrainer(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer trainer.Close()
	trainer.MaxTokens = 40 // cuts the batch: no bit may change
	g.losses(t, trainer, NoAdapter, g.base)
	grads, err := trainer.Gradients()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range g.base.prefixed("grad.") {
		compareGradient(t, name, grads[name], g.base.floats("grad."+name))
	}
	s := g.settings.Full
	updates := func(i int) []Update { return []Update{{LR: s.schedule(t).At(i, s.Steps), AdamW: s.adamW()}} }
	norms, err := trainer.OptimStep(updates(0))
	if err != nil {
		t.Fatal(err)
	}
	near(t, "grad_norm", norms[0], float64(g.base.floats("grad_norm")[0]), 0, 1e-4)
	for i, want := range g.base.floats("full.losses") {
		if i > 0 {
			step(t, trainer, g.sequences(NoAdapter), updates(i), 0, i, want, 1e-3)
		}
	}
	beyond, n := 0, 0
	for _, name := range g.base.prefixed("full.after.") {
		got, err := m.Param(name).Float32s()
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range g.base.floats("full.after." + name) {
			d := math.Abs(float64(got[i]) - float64(want))
			if !(d <= 5*s.LR) {
				t.Fatalf("%s[%d] after training is %v, want %v", name, i, got[i], want)
			}
			n++
			if d > 1e-4 {
				beyond++
			}
		}
	}
	if float64(beyond) > 0.001*float64(n) {
		t.Errorf("%d of %d weights differ by more than 1e-4 after training", beyond, n)
	}
}

// step checks the loss before an update, then updates.
func step(t *testing.T, trainer *Trainer, seqs []Sequence, updates []Update, group, i int, want float32, tol float64) float64 {
	t.Helper()
	losses, err := trainer.ForwardBackward(seqs)
	if err != nil {
		t.Fatal(err)
	}
	near(t, fmt.Sprintf("loss %d", i), losses.Sum[group], float64(want), 0, tol)
	norms, err := trainer.OptimStep(updates)
	if err != nil {
		t.Fatal(err)
	}
	return norms[group]
}

func (g *golden) lora(t *testing.T, dev *tensor.Device, dir string) {
	m := g.load(t, dev, false)
	want := openGolden(t, filepath.Join(dir, "golden.safetensors"))
	adapter, err := LoadPEFT(dir, m.Config)
	if err != nil {
		t.Fatal(err)
	}
	// The adapter sits between two others, which must not matter.
	other := NewAdapter(m.Config, LoRAConfig{Rank: 3, Alpha: 5, Targets: AllProjections()}, philox.Key{1})
	pool, err := NewAdapterPool(m, []LoRAConfig{other.LoRAConfig, adapter.LoRAConfig, other.LoRAConfig}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Free()
	for j, a := range []*Adapter{other, adapter, other} {
		if err := pool.Set(j, a); err != nil {
			t.Fatal(err)
		}
	}
	g.logits(t, m, pool, want.floats("logits"))
	trainer, err := NewTrainer(m, pool)
	if err != nil {
		t.Fatal(err)
	}
	defer trainer.Close()
	g.losses(t, trainer, 1, want)
	grads, err := trainer.AdapterGradients(1)
	if err != nil {
		t.Fatal(err)
	}
	compareAdapter(t, want, "grad.", grads, func(name string, got, ref []float32) { compareGradient(t, name, got, ref) })

	s := g.settings.LoRA[filepath.Base(dir)]
	var norms []float32 // only where gradients are clipped
	if want.Has("train.grad_norms") {
		norms = want.floats("train.grad_norms")
	}
	for i, loss := range want.floats("train.losses") {
		u := []Update{{Adapter: 1, LR: s.schedule(t).At(i, s.Steps), AdamW: s.adamW()}}
		seqs := g.sequences(1)
		if i == 0 {
			seqs = nil // the gradients are there already
			n, err := trainer.OptimStep(u)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "grad_norm", n[1], float64(want.floats("grad_norm")[0]), 0, 1e-4)
			continue
		}
		norm := step(t, trainer, seqs, u, 1, i, loss, 1e-5)
		if i < len(norms) {
			near(t, fmt.Sprintf("gradient norm %d", i), norm, float64(norms[i]), 0, 1e-3)
		}
	}
	after, err := pool.Get(1)
	if err != nil {
		t.Fatal(err)
	}
	compareAdapter(t, want, "after.", after, func(name string, got, ref []float32) {
		for i := range ref {
			if !(math.Abs(float64(got[i])-float64(ref[i])) <= 2e-4) {
				t.Fatalf("%s[%d] after training is %v, want %v", name, i, got[i], ref[i])
			}
		}
	})
	base := g.load(t, dev, true)
	merged, err := base.Merge([]*Adapter{after})
	if err != nil {
		t.Fatal(err)
	}
	defer merged.Close()
	g.logits(t, merged, nil, want.floats("after.merged_logits"))
}

// compareAdapter calls compare for every lora_A and lora_B tensor under prefix.
func compareAdapter(t *testing.T, f *goldenFile, prefix string, a *Adapter, compare func(name string, got, want []float32)) {
	t.Helper()
	n := 0
	for l := range a.Weights {
		for _, p := range a.Targets {
			for _, matrix := range []struct {
				name string
				got  []float32
			}{{"A", a.Weights[l][p].A}, {"B", a.Weights[l][p].B}} {
				suffix := strings.TrimSuffix(strings.TrimPrefix(peftName(l, p, matrix.name), peftPrefix), ".weight")
				i := slices.IndexFunc(f.Names(), func(n string) bool {
					return strings.HasPrefix(n, prefix) && strings.Contains(strings.Replace(n, ".default", "", 1), suffix)
				})
				if i < 0 {
					t.Fatalf("%s has no %s…%s; it has %v", f.Path(), prefix, suffix, f.Names()[:min(5, len(f.Names()))])
				}
				compare(f.Names()[i], matrix.got, f.floats(f.Names()[i]))
				n++
			}
		}
	}
	if n == 0 {
		t.Fatal("nothing compared")
	}
}

func (g *golden) losses(t *testing.T, trainer *Trainer, adapter int, want *goldenFile) {
	t.Helper()
	seqs := g.sequences(adapter)
	losses, err := trainer.ForwardBackward(seqs)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "loss", losses.Sum[max(0, adapter)], float64(want.floats("loss")[0]), 0, 1e-5)
	for i, ref := range want.floats("loss_per_sequence") {
		sum, n := 0.0, 0
		for j, lp := range losses.LogProbs[i] {
			if seqs[i].Targets[j] >= 0 {
				sum -= float64(lp)
				n++
			}
		}
		near(t, fmt.Sprintf("loss of sequence %d", i), sum/float64(max(1, n)), float64(ref), 1e-9, 1e-5)
	}
}

func (g *golden) logits(t *testing.T, m *Model, pool *AdapterPool, want []float32) {
	t.Helper()
	adapter := NoAdapter
	if pool != nil {
		adapter = 1
	}
	got, err := m.Logits(g.sequences(adapter), pool)
	if err != nil {
		t.Fatal(err)
	}
	flat := slices.Concat(got...)
	if len(flat) != len(want) {
		t.Fatalf("%d logits, want %d", len(flat), len(want))
	}
	for i := range want {
		if d := math.Abs(float64(flat[i]) - float64(want[i])); !(d <= 1e-4+1e-4*math.Abs(float64(want[i]))) {
			t.Fatalf("logit %d of row %d is %v, want %v", i%m.Config.VocabSize, i/m.Config.VocabSize, flat[i], want[i])
		}
	}
}

func (g *golden) greedy(t *testing.T, m *Model) {
	t.Helper()
	want := g.base.ints("greedy.tokens")
	gen := NewGenerator(m, nil, GeneratorOptions{})
	defer gen.Close()
	out, err := gen.Run(t.Context(), []Request{{Prompt: g.base.ints("greedy.prompt"), MaxNew: len(want), Adapter: NoAdapter}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out[0].Tokens, want) {
		t.Errorf("greedy tokens\n%v, want\n%v", out[0].Tokens, want)
	}
}

func near(t *testing.T, what string, got, want, atol, rtol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= atol+rtol*math.Abs(want)) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// compareGradient allows 1e-5 of the tensor's largest element plus 1e-4 of each.
func compareGradient(t *testing.T, name string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("gradient of %s has %d elements, want %d", name, len(got), len(want))
	}
	largest := 0.0
	for _, w := range want {
		largest = max(largest, math.Abs(float64(w)))
	}
	for i, w := range want {
		if !(math.Abs(float64(got[i])-float64(w)) <= 1e-5*largest+1e-4*math.Abs(float64(w))) {
			t.Fatalf("gradient of %s[%d] is %v, want %v (largest %v)", name, i, got[i], w, largest)
		}
	}
}
