package seal

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/arc"
	"github.com/selkie-ml/selkie/seal/settings"
)

// tinyFewshot is a random model with a chat template, and tasks: nothing is
// learnt, but everything runs.
func tinyFewshot(t *testing.T, threads int) FewshotInputs {
	t.Helper()
	in := tinyInputs(t, threads)
	dir := t.TempDir()
	if err := in.Tokenizer.Save(dir); err != nil {
		t.Fatal(err)
	}
	const template = `{% for m in messages %}{{ m.role[0] }}{{ m.content | trim }}<end>{% endfor %}{% if add_generation_prompt %}a{% endif %}`
	if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(template), 0o666); err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return FewshotInputs{Model: in.Model, Tokenizer: tok, Train: tinyTasks("t", 4), Eval: tinyTasks("e", 3), Prompts: &arc.Prompts{Edit: "?"}}
}

func tinyTasks(name string, n int) []arc.Challenge {
	tasks := make([]arc.Challenge, n)
	for i := range tasks {
		c := arc.Challenge{ID: name + string(rune('0'+i))}
		for k := range int8(3) {
			c.Train = append(c.Train, arc.Pair{Input: arc.Grid{{int8(i), k}}, Output: arc.Grid{{k, int8(i)}}})
		}
		c.Tests = []arc.Pair{{Input: arc.Grid{{int8(i), 5}}, Output: arc.Grid{{5, int8(i)}}}}
		if i == 1 {
			c.Tests = append(c.Tests, arc.Pair{Input: arc.Grid{{6, 7}}, Output: arc.Grid{{7, 6}}})
		}
		tasks[i] = c
	}
	return tasks
}

// tinyOracle trains with a rate that makes numbers of the size of the weights.
const tinyOracle = `{"data_generation": {"use_basic_augmentations": true, "use_size_augmentations": false, "use_chain_augmentations": false, "use_repeat_augmentations": false}, "training": {"strategy": "train_using_output_tokens", "learning_rate": 0.01, "num_train_epochs": 1.5}}`

func tinyFewshotSettings() settings.Fewshot {
	s := settings.DefaultFewshot()
	s.Edits.PerTask, s.Edits.EvalPerTask, s.Edits.Tries, s.Edits.MaxTokens = 2, 2, 3, 6
	s.Inner.Rank, s.Inner.Examples, s.Inner.MaxTokens, s.Inner.WarmupSteps = 4, 8, 200, 1
	s.Answer.MaxTokens, s.Answer.MaxNew = 150, 6
	s.Eval.Oracle, s.Eval.Resamples, s.Eval.Controls = tinyOracle, 100, []string{"shuffled"}
	s.Run.MaxAdapters, s.Run.MaxDecodes = 2, 7
	return s
}

func TestFewshotResumesWithEqualFiles(t *testing.T) {
	s := tinyFewshotSettings()
	whole := t.TempDir()
	e, err := ExecuteFewshot(t.Context(), whole, s, tinyFewshot(t, 2), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := canonical(t, whole)
	var names []string
	for _, r := range e.Rows {
		names = append(names, r.Name)
		if len(r.PerArticle()) != 3 {
			t.Errorf("row %s has %d tasks", r.Name, len(r.PerArticle()))
		}
	}
	if got := strings.Join(names, " "); got != "in_context base_self_edits oracle seal_round_1 shuffled_control" {
		t.Errorf("rows: %s", got)
	}
	for i, o := range e.Row(RowOracle).Articles {
		if o := o[0]; o.Task.Examples != 12 || o.Steps != 6 || len(o.Task.Inputs) != len(e.Tasks[i].Tests) || len(o.Right) != 1 {
			t.Errorf("task %d under the oracle: %d examples laid out, %d steps, %d inputs, verdicts %v", i, o.Task.Examples, o.Steps, len(o.Task.Inputs), o.Right)
		}
	}
	// A random model writes no self-edits: every one is sampled to the bound, and
	// trains nothing.
	for _, edits := range e.Row(RowBase).Edits {
		for k, edit := range edits {
			if edit.Tries != 3 {
				t.Errorf("edit %d was sampled %d times, want 3", k, edit.Tries)
			}
		}
	}
	for i, o := range e.Row(RowBase).Articles {
		alone := e.Row(RowInContext).Articles[i][0].Task.Inputs
		if o[0].Task.Edit.Nothing == "" || o[0].Steps != 0 || diff(alone, o[0].Task.Inputs) != "" {
			t.Errorf("an edit that is none: %+v", o[0].Task)
		}
	}

	// Stopped again and again, on other threads and with other bounds.
	broken := t.TempDir()
	interrupted := interruptions(t, 1, 2, func(ctx context.Context, limit int, progress func(string, int, int)) error {
		s := s
		s.Run.MaxAdapters, s.Run.MaxDecodes = 1+limit%3, 1+limit%5
		_, err := ExecuteFewshot(ctx, broken, s, tinyFewshot(t, 1+limit%3), Options{Progress: progress})
		return err
	})
	if interrupted < 3 {
		t.Errorf("interrupted only %d times", interrupted)
	}
	got := canonical(t, broken)
	delete(got, "config.yaml") // its bounds are free
	delete(want, "config.yaml")
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
	d := FewshotReport("t", []*Experiment{again}, s, nil)
	if len(d.Grids) != 3 || len(d.Grids[1].Tests) != 2 || len(d.Grids[0].Tests[0].Arms) != 5 {
		t.Errorf("the report draws %d tasks: %+v", len(d.Grids), d.Grids)
	}
}

// An adapter, and so a guess, has the same bits alone and among others.
func TestFewshotDoesNotDependOnCompany(t *testing.T) {
	s := tinyFewshotSettings()
	f, err := newFewshot(s, tinyFewshot(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	in := tinyFewshot(t, 2)
	var trials []Trial
	for i, a := range articlesOf(in.Eval) {
		trials = append(trials, Trial{Article: a, Edit: i, Sequences: []string{tinyOracle}}, Trial{Article: a})
	}
	together, err := f.testTogether(t.Context(), in.Model, trials)
	if err != nil {
		t.Fatal(err)
	}
	for i, trial := range trials {
		alone, err := f.testTogether(t.Context(), in.Model, []Trial{trial})
		if err != nil {
			t.Fatal(err)
		}
		if d := diff(together[i], alone[0]); d != "" {
			t.Errorf("trial %d (-together +alone)\n%s", i, d)
		}
	}
}

// Solved edits are kept, others and texts that are none are not.
func TestFewshotKeeps(t *testing.T) {
	f := fewshot{}
	candidates := []Candidate{
		{tinyOracle, Score{1, 1}}, {"none", Score{1, 1}}, {tinyOracle, Score{0, 1}}, {tinyOracle, Score{1, 1}}, {tinyOracle, Score{1, 2}},
	}
	if kept := f.keep("", 1, Article{}, candidates); !slices.Equal(kept, []int{0, 3}) {
		t.Errorf("kept %v", kept)
	}
	f.set.Outer.Keep = 1
	if kept := f.keep("", 1, Article{}, candidates); !slices.Equal(kept, []int{0}) {
		t.Errorf("kept %v of at most 1", kept)
	}
	f.set.Outer.SkipTied = true
	if kept := f.keep("", 1, Article{}, []Candidate{candidates[0], candidates[3]}); kept != nil {
		t.Errorf("kept %v of a task that every edit solves", kept)
	}
}

func TestFewshotRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*settings.Fewshot, *FewshotInputs)
		want   string
	}{
		"no solution": {func(_ *settings.Fewshot, in *FewshotInputs) { in.Eval[1].Tests[1].Output = nil }, "evaluation task e1: test input 1 has no solution"},
		"two tasks of one name": {func(_ *settings.Fewshot, in *FewshotInputs) {
			in.Eval = append(in.Eval, tinyTasks("t", 1)...)
			in.Eval[3].Train = in.Eval[0].Train[:2]
		}, "task t0 stands in both files with other grids"},
		"too long":           {func(s *settings.Fewshot, _ *FewshotInputs) { s.Answer.MaxTokens = 20 }, "no prompt has fewer than 20 tokens"},
		"an oracle of words": {func(s *settings.Fewshot, _ *FewshotInputs) { s.Eval.Oracle = "{}" }, `eval.oracle: the self-edit has no object "data_generation"`},
		"an oracle for naught": {func(s *settings.Fewshot, _ *FewshotInputs) {
			s.Eval.Oracle = strings.Replace(tinyOracle, "0.01", "-1", 1)
		}, "eval.oracle: it trains nothing: training.learning_rate: got -1"},
		"no chat template": {func(_ *settings.Fewshot, in *FewshotInputs) { in.Tokenizer, _ = tokenizer.Bytes(258, "<end>") }, "no chat template"},
	} {
		s, in := tinyFewshotSettings(), tinyFewshot(t, 1)
		c.change(&s, &in)
		dir := filepath.Join(t.TempDir(), "run")
		_, err := ExecuteFewshot(t.Context(), dir, s, in, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: a folder was made", name)
		}
	}
}

// Whole epochs and parts of one are laid out alike.
func TestPartEpochs(t *testing.T) {
	examples := make([]nn.Example, 5)
	for i := range examples {
		examples[i].Tokens = []int32{int32(i)}
	}
	f, err := newFewshot(tinyFewshotSettings(), tinyFewshot(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	job, edit, err := f.trainingJob(Trial{Article: articlesOf(tinyTasks("e", 1))[0], Sequences: []string{strings.Replace(tinyOracle, "1.5", "2", 1)}})
	if err != nil || edit.Epochs != 2 || job.Epochs != 2 {
		t.Fatalf("%v, %+v, %d epochs", err, edit, job.Epochs)
	}
	part := partEpochs(examples, 1.3, job.Shuffle)
	count := map[int32]int{}
	for _, e := range part {
		count[e.Tokens[0]]++
	}
	if len(part) != 7 || len(count) != 5 {
		t.Errorf("1.3 epochs of 5 are %d examples, %v", len(part), count)
	}
}
