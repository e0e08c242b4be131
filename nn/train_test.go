package nn

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/tensor"
)

func wantError(t *testing.T, what string, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%s: error %q, want %q in it", what, err, p)
		}
	}
}

// TestFullTrainerNeedsOwnWeights: weights mapped from a file cannot be written
// to, and weights shared by Merge are another model's.
func TestFullTrainerNeedsOwnWeights(t *testing.T) {
	m := newLab(t).model("cpu 1", "llama", tensor.F32)
	dir := t.TempDir()
	if err := m.Save(dir); err != nil {
		t.Fatal(err)
	}
	mapped, err := Load(m.Device(), dir, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer mapped.Close()
	_, err = NewFullTrainer(mapped, nil)
	wantError(t, "mapped weights", err, "model.embed_tokens.weight", "Float32")

	merged, err := m.Merge([]*Adapter{randomAdapter(m.Config, LoRAConfig{Rank: 1, Alpha: 1, Targets: []Projection{QProj}}, "a")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewFullTrainer(merged, nil)
	wantError(t, "shared weights", err, "shared")
	merged.Close()

	own, err := Load(m.Device(), dir, LoadOptions{Float32: true})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	tr, err := NewFullTrainer(own, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = NewFullTrainer(own, nil)
	wantError(t, "second trainer", err, "close the other trainer")
	tr.Close()

	if err := WriteRandom(dir, withDType(kinds["qwen2"], tensor.BF16), 1); err != nil {
		t.Fatal(err)
	}
	half, err := Load(m.Device(), dir, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	_, err = NewFullTrainer(half, nil)
	wantError(t, "bf16 weights", err, "bf16", "Float32")
}

func withDType(c Config, d tensor.DType) Config {
	c.DType = d
	return c
}

// TestOptimStepRefusals: a refused step names the fault and changes nothing.
func TestOptimStepRefusals(t *testing.T) {
	m := newLab(t).model("cpu 1", "llama", tensor.F32)
	a := randomAdapter(m.Config, LoRAConfig{Rank: 2, Alpha: 1, Targets: []Projection{VProj}}, "a")
	pool := newPool(t, m, true, a, a)
	defer pool.Free()
	tr := newTrainer(t, m, pool)
	defer tr.Close()
	forwardBackward(t, tr, []Sequence{NextToken(textOf(m.Config, 9, 1), 0, 1, 0)})
	before := adapterGradient(t, tr, 0)
	good := Update{LR: 1, AdamW: DefaultAdamW()}
	with := func(f func(u *Update)) Update {
		u := good
		f(&u)
		return u
	}
	for _, c := range []struct {
		want    string
		updates []Update
	}{
		{"adapter 2", []Update{good, with(func(u *Update) { u.Adapter = 2 })}},
		{"adapter -1", []Update{with(func(u *Update) { u.Adapter = NoAdapter })}},
		{"two updates name adapter 0", []Update{good, good}},
		{"learning rate of adapter 0 is NaN", []Update{with(func(u *Update) { u.LR = math.NaN() })}},
		{"beta1 is 1", []Update{good, with(func(u *Update) { u.Adapter, u.Beta1 = 1, 1 })}},
		{"eps is 0", []Update{with(func(u *Update) { u.Eps = 0 })}},
	} {
		_, err := tr.OptimStep(c.updates)
		wantError(t, c.want, err, c.want)
	}
	sameBits(t, "gradient", adapterGradient(t, tr, 0), before)
	if tr.steps[0] != 0 || tr.steps[1] != 0 {
		t.Errorf("steps %v after refusals", tr.steps)
	}
	// A gradient that is not finite changes nothing either, and counts no step.
	tr.pool.grad.Narrow(0, 0, 1).Fill(float32(math.Inf(1)))
	norms, err := tr.OptimStep([]Update{good})
	if err != nil {
		t.Fatal(err)
	}
	after, err := pool.Get(0)
	if err != nil {
		t.Fatal(err)
	}
	sameBits(t, "weights", after.numbers(), a.numbers())
	if finite(norms[0]) || tr.steps[0] != 0 {
		t.Errorf("norm %v, %d steps", norms[0], tr.steps[0])
	}
	for _, g := range adapterGradient(t, tr, 0) {
		if g != 0 {
			t.Fatalf("gradient %v after the step", g)
		}
	}
}

// TestPoolPlaces: a place takes only its own form of adapter, with that one's
// alpha, and starts anew.
func TestPoolPlaces(t *testing.T) {
	m := newLab(t).model("cpu 1", "llama", tensor.F32)
	lora := LoRAConfig{Rank: 2, Alpha: 4, Targets: []Projection{QProj, VProj}}
	a := randomAdapter(m.Config, lora, "a")
	pool := newPool(t, m, true, a)
	defer pool.Free()
	for _, other := range []LoRAConfig{
		{Rank: 3, Alpha: 4, Targets: lora.Targets}, {Rank: 2, Alpha: 4, Targets: []Projection{QProj, KProj}}, {Rank: 2, Alpha: 4, Targets: []Projection{QProj}},
	} {
		wantError(t, "other form", pool.Set(0, randomAdapter(m.Config, other, "b")), "does not fit the place")
	}
	wantError(t, "other model", pool.Set(0, randomAdapter(kinds["qwen2"], lora, "b")), "layer 0 q_proj has")
	_, err := NewAdapterPool(m, []LoRAConfig{{Rank: 1, Alpha: 1, Targets: []Projection{QProj, QProj}}}, false)
	wantError(t, "double target", err, "adapter 0", "named twice")
	_, err = NewAdapterPool(m, []LoRAConfig{{Alpha: 1, Targets: lora.Targets}}, false)
	wantError(t, "rank 0", err, "rank is 0")

	seqs := []Sequence{NextToken(textOf(m.Config, 9, 1), 0, 1, 0)}
	louder := *a
	louder.Alpha, louder.Targets = 8, []Projection{VProj, QProj}
	fresh := newPool(t, m, false, &louder)
	defer fresh.Free()
	want, err := m.Logits(seqs, fresh)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTrainer(t, m, pool)
	defer tr.Close()
	forwardBackward(t, tr, seqs)
	if _, err := tr.OptimStep([]Update{{LR: 1, AdamW: DefaultAdamW()}}); err != nil {
		t.Fatal(err)
	}
	forwardBackward(t, tr, seqs)
	if err := pool.Set(0, &louder); err != nil {
		t.Fatal(err)
	}
	got, err := m.Logits(seqs, pool)
	if err != nil {
		t.Fatal(err)
	}
	sameBits(t, "logits", got[0], want[0])
	for _, g := range adapterGradient(t, tr, 0) {
		if g != 0 || tr.steps[0] != 0 {
			t.Fatalf("a place's gradient is %v and its steps %d after Set", g, tr.steps[0])
		}
	}
}

func TestStateRefusals(t *testing.T) {
	m := newLab(t).model("cpu 1", "llama", tensor.F32)
	make1 := func(lora LoRAConfig) *Trainer {
		pool := newPool(t, m, true, randomAdapter(m.Config, lora, "a"))
		t.Cleanup(pool.Free)
		tr := newTrainer(t, m, pool)
		t.Cleanup(tr.Close)
		return tr
	}
	path := filepath.Join(t.TempDir(), "state")
	if err := make1(LoRAConfig{Rank: 2, Alpha: 1, Targets: []Projection{KProj}}).SaveState(path); err != nil {
		t.Fatal(err)
	}
	// As many numbers as k_proj has, elsewhere.
	err := make1(LoRAConfig{Rank: 2, Alpha: 1, Targets: []Projection{VProj}}).LoadState(path)
	wantError(t, "other targets", err, path, "k_proj", "v_proj")
	err = make1(LoRAConfig{Rank: 2, Alpha: 1, Targets: []Projection{KProj}}).LoadState(path + "x")
	wantError(t, "missing file", err, "does not exist")
}

func TestFinetuneRefusals(t *testing.T) {
	m := newLab(t).model("cpu 1", "llama", tensor.F32)
	good := Job{LoRA: LoRAConfig{Rank: 1, Alpha: 1, Targets: []Projection{QProj}}, Epochs: 1, Batch: 1, AdamW: DefaultAdamW(), Schedule: Schedule{Kind: "constant", LR: 1}}
	for want, change := range map[string]func(j *Job){
		"job 1: example 1: token 50":                func(j *Job) { j.Examples = []Example{{Tokens: []int32{1}}, {Tokens: []int32{1, 50}}} },
		"job 1: example 0: sequence has no tokens":  func(j *Job) { j.Examples = []Example{{}} },
		"job 1: example 0: sequence of 257 tokens":  func(j *Job) { j.Examples = []Example{{Tokens: make([]int32, 257)}} },
		"job 1: example 0 has 2 tokens and 1 marks": func(j *Job) { j.Examples = []Example{{Tokens: []int32{1, 2}, Train: []bool{true}}} },
		"job 1: batch of 0":                         func(j *Job) { j.Batch = 0 },
		"job 1: -1 epochs":                          func(j *Job) { j.Epochs = -1 },
		"job 1: LoRA rank is 0":                     func(j *Job) { j.LoRA.Rank = 0 },
		`job 1: schedule "steps"`:                   func(j *Job) { j.Schedule.Kind = "steps" },
		"job 1: learning rate is 0":                 func(j *Job) { j.Schedule.LR = 0 },
		"job 1: AdamW: eps":                         func(j *Job) { j.AdamW.Eps = 0 },
	} {
		bad := good
		change(&bad)
		_, err := m.FinetuneAdapters(t.Context(), []Job{good, bad}, FinetuneOptions{})
		wantError(t, want, err, want)
	}
	if r, err := m.FinetuneAdapters(t.Context(), nil, FinetuneOptions{}); err != nil || len(r) != 0 {
		t.Errorf("no jobs: %v, %v", r, err)
	}
}

// TestTooLittleMemory lets training and generation run into every limit on the
// way up to what they need: each time there is an error that says so, and
// nothing stays allocated.
func TestTooLittleMemory(t *testing.T) {
	c := kinds["qwen2"]
	for _, device := range []string{"ref", "cpu"} {
		ok := map[string]bool{}
		midway := 0 // runs that failed with pages in use
		for limit := int64(120 << 10); limit < 4<<20; limit += limit / 10 {
			dev, err := tensor.Open(device, tensor.Options{Threads: 1, MemoryLimit: limit, Poison: true})
			if err != nil {
				t.Fatal(err)
			}
			check := func(what string, err error) {
				var device *tensor.DeviceError
				if err == nil {
					ok[what] = true
				} else if !strings.Contains(err.Error(), "memory limit") {
					t.Errorf("%s at %d bytes: %v (%v)", what, limit, err, errors.As(err, &device))
				}
			}
			m, err := NewRandom(dev, c, 1, LoadOptions{})
			check("load", err)
			if err == nil {
				if _, err := m.ropeFor(200); err == nil { // kept by the model
					before := dev.Stats().InUse
					tr, err := NewFullTrainer(m, nil)
					check("trainer", err)
					if err == nil {
						in := dev.Stats().InUse
						_, err = tr.ForwardBackward([]Sequence{NextToken(textOf(c, 200, 1), 0, 1, NoAdapter)})
						check("train all", err)
						if n := dev.Stats().InUse; n != in {
							t.Errorf("training at %d bytes: %d in use, %d before", limit, n, in)
						}
						tr.Close()
					}
					_, err = m.FinetuneAdapters(t.Context(), []Job{{
						LoRA: LoRAConfig{Rank: 2, Alpha: 1, Targets: AllProjections()}, Examples: []Example{{Tokens: textOf(c, 200, 1)}}, Epochs: 1, Batch: 1,
						AdamW: DefaultAdamW(), Schedule: Schedule{Kind: "constant", LR: 1e-3},
					}}, FinetuneOptions{})
					check("finetune", err)
					g := NewGenerator(m, nil, GeneratorOptions{})
					_, err = g.Run(t.Context(), []Request{{Prompt: textOf(c, 150, 1), MaxNew: 3, Adapter: NoAdapter}})
					check("generate", err)
					g.checkIdle(t)
					if err != nil && g.cache != nil {
						midway++
					}
					g.Close()
					_, err = m.Logits([]Sequence{NextToken(textOf(c, 200, 1), 0, 1, NoAdapter)}, nil)
					check("logits", err)
					if n := dev.Stats().InUse; n != before {
						t.Errorf("at a limit of %d bytes: %d in use, %d before", limit, n, before)
					}
				}
				m.Close()
			}
			if n := dev.Stats().InUse; n != 0 {
				t.Errorf("at a limit of %d bytes: %d in use at the end", limit, n)
			}
			dev.Close()
		}
		if midway == 0 {
			t.Errorf("%s: no limit stopped a text midway: nothing is proved", device)
		}
		if len(ok) != 6 {
			t.Errorf("%s: even the largest limit allowed only %v", device, ok)
		}
	}
}
