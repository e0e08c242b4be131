package demo

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selkie-ml/selkie/nn/safetensors"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/arc"
	"github.com/selkie-ml/selkie/seal/arc/gridworld"
	"github.com/selkie-ml/selkie/seal/settings"
	"github.com/selkie-ml/selkie/seal/world"
)

// The embedded model is one of the recipe's shape, and its files fit together.
func TestEmbeddedFewshot(t *testing.T) {
	m, tok, err := EmbeddedFewshot(open(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c, want := m.Config, gridworld.Recipe.Model
	got := world.Shape{
		Vocabulary: want.Vocabulary, Hidden: c.HiddenSize, Layers: c.Layers, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Intermediate: c.Intermediate,
		RopeTheta: c.RopeTheta, NormEpsilon: want.NormEpsilon, InitStd: want.InitStd, EmbeddingStd: want.EmbeddingStd,
	}
	if got != want || c.NormEps != float32(want.NormEpsilon) || tok.VocabSize() != c.VocabSize || c.VocabSize > want.Vocabulary {
		t.Errorf("the model's shape is %+v with %d words, the recipe has %+v", got, c.VocabSize, want)
	}
	if _, id, ok := tok.EOS(); !ok || !slices.Contains(c.EOS, id) {
		t.Errorf("a turn ends with token %d (%v) for the tokenizer, with one of %v for the model", id, ok, c.EOS)
	}
	data, err := fewshotFiles.ReadFile("fewshot/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Parse("embedded", data)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range f.Names() {
		if x, err := f.Tensor(name); err != nil || x.DType != safetensors.BF16 {
			t.Errorf("%s is stored as %v (%v), want bf16", name, x.DType, err)
		}
	}
	if len(data) > 8<<20 {
		t.Errorf("the weights take %d bytes, at most 8 MiB are to be embedded", len(data))
	}
	// A cell is one token, so is the break between rows.
	g := arc.Grid{{1, 2, 3}, {4, 5, 6}}
	if ids := tok.Encode(g.String()+"#", false); len(ids) != 9 {
		t.Errorf("%q has %d tokens, want 9", g, len(ids))
	}
	text, err := tok.ApplyChat(gridworld.Prompts.EditMessages(gridworld.Tasks(1, gridworld.Tuning, 0, 1)[0].Train), tokenizer.ChatOptions{AddGenerationPrompt: true})
	if err != nil || text == "" {
		t.Errorf("%q, %v", text, err)
	}
}

// No two seeds share a task, and tuning is not evaluation.
func TestFewshotInputsAreDisjoint(t *testing.T) {
	owner := map[string]string{}
	for _, split := range []gridworld.Split{gridworld.Evaluation, gridworld.Tuning} {
		for seed := range Fewshot.Seeds {
			s := FewshotSettings(Fewshot, seed)
			if err := s.Validate(); err != nil {
				t.Error(err)
			}
			in := FewshotInputs(split, s, Fewshot.Evaluation, seed)
			if len(in.Eval) != Fewshot.Evaluation || len(in.Train) != s.Outer.Rounds*s.Outer.Tasks {
				t.Errorf("seed %d: %d and %d tasks", seed, len(in.Train), len(in.Eval))
			}
			all := in.Eval
			if split == gridworld.Evaluation {
				all = append(all, in.Train...) // the same under both
			}
			for _, c := range all {
				who := fmt.Sprintf("%v of seed %d", split, seed)
				key := fmt.Sprint(c.Train, c.Tests)
				if other, taken := owner[key]; taken {
					t.Errorf("%s: %s also stands in %s", who, c.ID, other)
				}
				owner[key] = who
			}
		}
	}
}

// The smallest whole demo: all rows are there, the model writes self-edits that
// parse, and the oracle's training helps.
func TestRunFewshot(t *testing.T) {
	dev := open(t)
	opt := FewshotOptions{Scale: Scale{Seeds: 1, Evaluation: 4, Permutations: 1}, Device: dev, Split: gridworld.Tuning}
	opt.Adjust = func(s *settings.Fewshot) error {
		s.Outer.Rounds, s.Outer.Tasks, s.Edits.PerTask, s.Edits.EvalPerTask, s.Outer.Epochs = 1, 2, 2, 1, 1
		return s.Validate()
	}
	phases := map[string]bool{}
	opt.Progress = func(_ int, phase string, _, _ int) { phases[phase] = true }
	r, err := RunFewshot(context.Background(), t.TempDir(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Experiments) != 1 || len(phases) == 0 {
		t.Fatalf("%d experiments, progress of %v", len(r.Experiments), phases)
	}
	e := r.Experiments[0]
	mean := map[string]float64{}
	for _, name := range []string{"in_context", "base_self_edits", "oracle", "seal_round_1", "shuffled_control"} {
		row := e.Row(name)
		if row == nil {
			t.Errorf("row %s is missing", name)
			continue
		}
		for _, x := range row.PerArticle() {
			mean[name] += x / 4
		}
		for _, edits := range row.Edits {
			for _, edit := range edits {
				if _, err := arc.ParseEdit(edit.Text); err != nil {
					t.Errorf("row %s: self-edit %q: %v", name, edit.Text, err)
				}
			}
		}
	}
	if mean["oracle"] < mean["in_context"] {
		t.Errorf("trained as the oracle says %v is solved, in context %v", mean["oracle"], mean["in_context"])
	}
	t.Log(mean)
}

// The embedded model's answers do not depend on how many tasks are answered
// together.
func TestFewshotBatchInvariance(t *testing.T) {
	dev := open(t)
	run := func(adapters, decodes int) *FewshotResult {
		opt := FewshotOptions{Scale: Scale{Seeds: 1, Evaluation: 2, Permutations: 1}, Device: dev, Split: gridworld.Tuning}
		opt.Adjust = func(s *settings.Fewshot) error {
			s.Outer.Rounds, s.Edits.EvalPerTask = 0, 1
			s.Run.MaxAdapters, s.Run.MaxDecodes = adapters, decodes
			return nil
		}
		r, err := RunFewshot(t.Context(), t.TempDir(), opt)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	a, b := run(64, 256), run(1, 3)
	for i, row := range a.Experiments[0].Rows {
		if d := cmp.Diff(row, b.Experiments[0].Rows[i]); d != "" {
			t.Errorf("row %s (-together +alone)\n%s", row.Name, d)
		}
	}
}
