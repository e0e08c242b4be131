package demo

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/safetensors"
	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/settings"
	"github.com/selkie-ml/selkie/seal/world"
	"github.com/selkie-ml/selkie/tensor"
)

func open(t *testing.T) *tensor.Device {
	t.Helper()
	dev, err := tensor.Open("cpu", tensor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

// The embedded model is one of the recipe's shape, and its files fit together.
func TestEmbedded(t *testing.T) {
	m, tok, err := Embedded(open(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c, want := m.Config, world.Recipe.Model
	got := world.Shape{
		Vocabulary: c.VocabSize, Hidden: c.HiddenSize, Layers: c.Layers, Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Intermediate: c.Intermediate,
		RopeTheta: c.RopeTheta, NormEpsilon: want.NormEpsilon, InitStd: want.InitStd, EmbeddingStd: want.EmbeddingStd,
	}
	if got != want || c.NormEps != float32(want.NormEpsilon) {
		t.Errorf("the model's shape is %+v, the recipe has %+v", got, want)
	}
	if tok.VocabSize() != c.VocabSize {
		t.Errorf("the tokenizer has %d entries, the model a vocabulary of %d", tok.VocabSize(), c.VocabSize)
	}
	if _, id, ok := tok.EOS(); !ok || !slices.Contains(c.EOS, id) {
		t.Errorf("a text ends with token %d (%v) for the tokenizer, with one of %v for the model", id, ok, c.EOS)
	}
	data, err := files.ReadFile("model/model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Parse("embedded", data)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		if x.DType != safetensors.BF16 {
			t.Errorf("%s is stored as %v, want bf16", name, x.DType)
		}
	}
	if len(data) > 8<<20 {
		t.Errorf("the weights take %d bytes, at most 8 MiB are to be embedded", len(data))
	}
	for _, p := range m.Params() {
		if p.DType() != tensor.F32 {
			t.Errorf("%s is %v in memory: merging would round", p.Name, p.DType())
		}
	}
}

// No two seeds and no two splits share an article, and no two splits a name.
// Within a split a name may come again, of a person with other facts: every
// article is learnt and tested on its own.
func TestInputsAreDisjoint(t *testing.T) {
	const seeds = 3
	articleOf, splitOf := map[string]string{}, map[string]world.Split{}
	claim := func(split world.Split, seed int, articles []seal.Article, n int) {
		who := fmt.Sprintf("%v of seed %d", split, seed)
		if len(articles) != n {
			t.Errorf("%s: %d articles, want %d", who, len(articles), n)
		}
		for i, a := range articles {
			for _, text := range []string{a.ID, a.Context} {
				if other, taken := articleOf[text]; taken {
					t.Errorf("%s, article %d: %q also stands in %s", who, i, text, other)
				}
				articleOf[text] = who
			}
			if other, taken := splitOf[a.Title]; taken && other != split {
				t.Errorf("%s, article %d: the name %s is also one of %v", who, i, a.Title, other)
			}
			splitOf[a.Title] = split
			if len(a.Questions) != int(world.AttributeCount) {
				t.Errorf("%s, article %d: %d questions, want one for each of %d attributes", who, i, len(a.Questions), world.AttributeCount)
			}
		}
	}
	splits := []world.Split{world.Evaluation, world.Tuning}
	for _, split := range splits {
		for seed := range seeds {
			s := Settings(Full, seed)
			in := Inputs(split, s, seed)
			claim(split, seed, in.Eval, Full.Evaluation)
			if split == splits[0] { // training articles are the same under both
				claim(world.Reinforcement, seed, in.Train, s.Outer.Rounds*s.Outer.Articles)
			}
			for _, a := range in.Eval {
				if e := in.Outside[a.ID]; len(e) != 1 || e[0] == "" {
					t.Errorf("%s, %s: the oracle's edits are %q", split, a.Title, e)
				}
			}
			if again := Inputs(split, s, seed); again.Eval[0].Context != in.Eval[0].Context || again.Train[0].Context != in.Train[0].Context {
				t.Errorf("%s, seed %d: other articles the second time", split, seed)
			}
		}
	}
}

func TestSettingsAreValid(t *testing.T) {
	for _, scale := range []Scale{Short, Full} {
		for seed := range scale.Seeds {
			s := Settings(scale, seed)
			if err := s.Validate(); err != nil {
				t.Error(err)
			}
			if s.Run.Seed != uint64(seed) || s.Data.EvalArticles != scale.Evaluation {
				t.Errorf("seed %d, %d articles", s.Run.Seed, s.Data.EvalArticles)
			}
			for _, targets := range [][]string{s.Inner.Targets, s.Outer.Targets} {
				if _, err := nn.ParseProjections(targets); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// The smallest whole demo: all rows are there, and knowing the passage's facts
// helps.
func TestRun(t *testing.T) {
	opt := Options{Scale: Scale{Seeds: 1, Evaluation: 2, Permutations: 1}, Device: open(t), Split: world.Tuning}
	opt.Adjust = func(s *settings.Settings) error {
		s.Outer.Rounds, s.Outer.Articles, s.Edits.PerArticle = 1, 2, 2
		return s.Validate()
	}
	phases := map[string]bool{}
	opt.Progress = func(_ int, phase string, _, _ int) { phases[phase] = true }
	r, err := Run(context.Background(), t.TempDir(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Experiments) != 1 || len(phases) == 0 {
		t.Fatalf("%d experiments, progress of %v", len(r.Experiments), phases)
	}
	e := r.Experiments[0]
	mean := map[string]float64{}
	for _, name := range []string{"no_passage", "passage_only", "passage_only_matched", "passage_only_steps",
		"base_self_edits", "seal_round_1", "shuffled_control", "oracle_style"} {
		row := e.Row(name)
		if row == nil {
			t.Errorf("row %s is missing", name)
			continue
		}
		units := row.PerArticle()
		if len(units) != 2 {
			t.Errorf("row %s has %d passages, want 2", name, len(units))
		}
		for _, x := range units {
			mean[name] += x / float64(len(units))
		}
	}
	if mean["oracle_style"] <= mean["no_passage"] {
		t.Errorf("with true lines about the passage %v is right, without a passage %v", mean["oracle_style"], mean["no_passage"])
	}
	t.Log(mean)

	if len(r.Styles) == 0 {
		t.Error("no styles were counted")
	}
	for _, s := range r.Styles {
		sum := 0.0
		for _, x := range s.Shares {
			sum += x
		}
		if len(s.Shares) != len(StyleNames()) || math.Abs(sum-1) > 1e-9 {
			t.Errorf("%s: the shares %v of %d styles add up to %v", s.Row, s.Shares, len(StyleNames()), sum)
		}
		if s.Row == oracleRow || s.Facts < 0 || s.Facts > 8 || s.Accuracy < 0 || s.Accuracy > 1 {
			t.Errorf("%+v", s)
		}
	}
}
