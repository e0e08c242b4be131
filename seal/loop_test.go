package seal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/settings"
	"github.com/selkie-ml/selkie/tensor"
)

// tinyInputs is a random model, a byte tokenizer and articles: nothing is
// learnt, but everything runs.
func tinyInputs(t *testing.T, threads int) Inputs {
	t.Helper()
	dev, err := tensor.Open("cpu", tensor.Options{Threads: threads, Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	tok, err := tokenizer.Bytes(258, "<end>")
	if err != nil {
		t.Fatal(err)
	}
	m, err := nn.NewRandom(dev, nn.Config{
		ModelType: "llama", HiddenSize: 16, Intermediate: 24, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 8,
		VocabSize: 258, MaxPositions: 256, NormEps: 1e-5, RopeTheta: 10000, Tied: true, DType: tensor.F32, BOS: -1, InitRange: 0.3,
		EOS: []int32{256},
	}, 1, nn.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	in := Inputs{Model: m, Tokenizer: tok}
	for i := range 6 {
		title, passage := fmt.Sprintf("T%d", i), fmt.Sprintf("Passage %d.", i)
		in.Train = append(in.Train, Article{ID: ItemID(i, title, passage), Title: title, Context: passage,
			Questions: []Question{{"What?", "a"}, {"Who?", "e"}}})
	}
	in.Eval = in.Train[3:]
	in.Outside = map[string][]string{}
	for _, a := range in.Eval {
		in.Outside[a.ID] = []string{"1. A fact.\n2. Another."}
	}
	return in
}

func tinySettings() settings.Settings {
	s := settings.Default()
	s.Data.EvalArticles = 3
	s.Edits.PerArticle, s.Edits.MaxTokens = 3, 12
	s.Inner.Rank, s.Inner.Epochs, s.Inner.Seeds, s.Inner.LR = 4, 2, 2, 0.01
	s.Eval.MaxTokens, s.Eval.Resamples, s.Eval.Permutations = 4, 100, 2
	s.Eval.Controls = []string{"passage_only_matched", "passage_only_steps", "shuffled"}
	s.Outer.Articles, s.Outer.Rank, s.Outer.LR, s.Outer.Contexts, s.Outer.Ties = 3, 4, 0.01, "next", "draw"
	s.Run.MaxAdapters, s.Run.MaxDecodes = 5, 7
	return s
}

// canonical returns the files of a run that must not depend on how it went.
func canonical(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if err != nil || d.IsDir() || strings.HasSuffix(rel, ".lock") || rel == "journal.jsonl" || rel == "timings.jsonl" {
			return err
		}
		data, err := os.ReadFile(path)
		files[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestLoopResumesWithEqualFiles(t *testing.T) {
	s := tinySettings()
	whole := t.TempDir()
	e, err := Execute(t.Context(), whole, s, tinyInputs(t, 2), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := canonical(t, whole)
	for _, f := range []string{"experiment.json", "config.yaml", "rewards-1.jsonl", "edits-2.jsonl", "eval-2.jsonl",
		filepath.Join("adapters", "round-2", "adapter_model.safetensors"), filepath.Join("adapters", "round-shuffled-1-2", "adapter_config.json")} {
		if want[f] == "" {
			t.Errorf("the run left no %s", f)
		}
	}
	var names []string
	for _, r := range e.Rows {
		names = append(names, r.Name)
		if len(r.PerArticle()) != 3 {
			t.Errorf("row %s has %d articles", r.Name, len(r.PerArticle()))
		}
	}
	if got := strings.Join(names, " "); got != "no_passage passage_only base_self_edits passage_only_matched passage_only_steps given_edits seal_round_1 seal_round_2 shuffled_control" {
		t.Errorf("rows: %s", got)
	}
	steps := func(row string) int { return e.Row(row).Articles[0][0].Steps }
	if steps(RowSteps) != steps(RowBase) || steps(RowNoPassage) != 0 {
		t.Errorf("%s took %d steps, %s %d", RowSteps, steps(RowSteps), RowBase, steps(RowBase))
	}

	// Stopped again and again, each time a little later, on other threads.
	broken := t.TempDir()
	interrupted := interruptions(t, 3, 5, func(ctx context.Context, limit int, progress func(string, int, int)) error {
		_, err := Execute(ctx, broken, s, tinyInputs(t, 1+limit%3), Options{Progress: progress})
		return err
	})
	if interrupted < 3 {
		t.Errorf("interrupted only %d times", interrupted)
	}
	got := canonical(t, broken)
	for name, data := range want {
		if got[name] != data {
			t.Errorf("%s differs after %d interruptions", name, interrupted)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
	again, err := ReadExperiment(broken)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := Compare([]*Experiment{again}, 100), Compare([]*Experiment{e}, 100); fmt.Sprint(a) != fmt.Sprint(b) || len(a.Differences) != 7 {
		t.Errorf("results read back are %v, want %v", a, b)
	}
}

func TestChangedSettingsAreRefused(t *testing.T) {
	s := tinySettings()
	s.Outer.Rounds, s.Eval.Controls = 0, nil
	dir := t.TempDir()
	in := tinyInputs(t, 1)
	if _, err := Execute(t.Context(), dir, s, in, Options{}); err != nil {
		t.Fatal(err)
	}
	s.Run.MaxAdapters = 2 // changes no result
	if _, err := Execute(t.Context(), dir, s, in, Options{}); err != nil {
		t.Errorf("a setting without influence was refused: %v", err)
	}
	s.Inner.Rank = 5
	if _, err := Execute(t.Context(), dir, s, in, Options{}); err == nil || !strings.Contains(err.Error(), "inner.rank") {
		t.Errorf("another rank gave %v", err)
	}
}

func TestDivergedUpdateScoresAsFailed(t *testing.T) {
	s := tinySettings()
	s.Outer.Rounds, s.Eval.Controls = 0, nil
	s.Inner.LR, s.Inner.ClipNorm, s.Inner.Epochs = 1e30, 0, 8
	e, err := Execute(t.Context(), t.TempDir(), s, tinyInputs(t, 1), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range e.Row(RowPassageOnly).Articles {
		if o[0].Diverged == "" || o[0].Accuracy() != 0 || len(o[0].Right) != 2 {
			t.Errorf("outcome %+v of a diverged update", o[0])
		}
	}
	if e.Row(RowNoPassage).Articles[0][0].Diverged != "" {
		t.Error("the untouched model is reported as diverged")
	}
}

// interruptions runs a piece of work again and again until it ends, stopping it each
// time a little later: after limit reports of progress, which grows by step. It
// returns how often it was stopped.
func interruptions(t *testing.T, limit, step int, run func(ctx context.Context, limit int, progress func(string, int, int)) error) int {
	t.Helper()
	for stops := 0; ; stops, limit = stops+1, limit+step {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		err := run(ctx, limit, func(string, int, int) {
			if calls++; calls > limit {
				cancel()
			}
		})
		cancel()
		if err == nil {
			return stops
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}
