package seal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/selkie-ml/selkie/internal/atomicfile"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/arc"
	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/settings"
)

// FewshotInputs are what a run of few-shot learning reads besides its settings.
type FewshotInputs struct {
	Model     *nn.Model
	Tokenizer *tokenizer.Tokenizer
	Train     []arc.Challenge // with solutions
	Eval      []arc.Challenge // with solutions
	Prompts   *arc.Prompts    // in place of the defaults and the files the settings name; nil: these
	// Fingerprints tell a resumed run whether the files are still the same.
	Fingerprints map[string]string
}

// loopSettings are the outer loop's, of a few-shot run.
func loopSettings(s settings.Fewshot, trainTasks int) settings.Settings {
	l := settings.Default()
	l.Data.TooLong, l.Data.EvalArticles = s.Data.TooLong, s.Data.EvalTasks
	l.Model = settings.Model{Dir: s.Model.Dir, Compute: s.Model.Compute, Prompts: "chat"}
	l.Edits.PerArticle, l.Edits.EvalPerArticle = s.Edits.PerTask, s.Edits.EvalPerTask
	l.Edits.Temperature, l.Edits.TopP, l.Edits.TopK, l.Edits.MaxTokens = s.Edits.Temperature, s.Edits.TopP, s.Edits.TopK, s.Edits.MaxTokens
	l.Inner.Seeds, l.Inner.EvalSeeds = s.Inner.Seeds, s.Inner.EvalSeeds
	l.Eval.Controls, l.Eval.Permutations, l.Eval.Resamples = s.Eval.Controls, s.Eval.Permutations, s.Eval.Resamples
	l.Outer.Rounds, l.Outer.Articles, l.Outer.Contexts = s.Outer.Rounds, s.Outer.Tasks, s.Outer.Contexts
	if l.Outer.Articles == 0 {
		l.Outer.Articles = trainTasks
	}
	l.Outer.Finetune = s.Outer.Finetune
	l.Run = s.Run
	return l
}

// newFewshot prepares a lab for ARC's tasks.
func newFewshot(s settings.Fewshot, in FewshotInputs) (fewshot, error) {
	train := len(in.Train)
	if n := s.Data.TrainTasks; n > 0 {
		train = min(n, train)
	}
	l, err := NewLab(loopSettings(s, train), in.Tokenizer, in.Model.Config, nil)
	if err != nil {
		return fewshot{}, err
	}
	f := fewshot{Lab: l, set: s, prompts: arc.DefaultPrompts(), tasks: map[string]arc.Challenge{}, questions: map[string][]question{}}
	if in.Prompts != nil {
		f.prompts = *in.Prompts
	}
	for _, p := range []struct {
		path string
		to   *string
	}{{s.Model.Solve, &f.prompts.Solve}, {s.Edits.Prompt, &f.prompts.Edit}} {
		if p.path == "" {
			continue
		}
		text, err := readText(p.path)
		if err != nil {
			return f, err
		}
		*p.to = string(text)
	}
	for _, set := range []struct {
		what  string
		tasks []arc.Challenge
	}{{"training", in.Train}, {"evaluation", in.Eval}} {
		for _, c := range set.tasks {
			for i, t := range c.Tests {
				if t.Output == nil {
					return f, fmt.Errorf("%s task %s: test input %d has no solution: name the file of solutions", set.what, c.ID, i)
				}
			}
			if other, taken := f.tasks[c.ID]; taken && fmt.Sprint(other) != fmt.Sprint(c) {
				return f, fmt.Errorf("task %s stands in both files with other grids", c.ID)
			}
			f.tasks[c.ID] = c
		}
	}
	l.domain = f
	return f, nil
}

// articlesOf gives tasks the form in which the loop passes them.
func articlesOf(tasks []arc.Challenge) []Article {
	out := make([]Article, len(tasks))
	for i, c := range tasks {
		out[i] = Article{ID: c.ID, Title: c.ID}
	}
	return out
}

// ExecuteFewshot runs, or goes on with, the experiment of few-shot learning in
// a run folder, and leaves its results there; see Execute.
func ExecuteFewshot(ctx context.Context, dir string, s settings.Fewshot, in FewshotInputs, opt Options) (*Experiment, error) {
	f, err := newFewshot(s, in)
	if err != nil {
		return nil, err
	}
	if _, err := oracleEdit(s); err != nil {
		return nil, err
	}
	eval, err := f.fitting(articlesOf(in.Eval), s.Data.EvalTasks, "evaluation", opt.Say)
	if err != nil {
		return nil, err
	}
	var train []Article
	if s.Outer.Rounds > 0 {
		if train, err = f.fitting(articlesOf(in.Train), s.Data.TrainTasks, "training", opt.Say); err != nil {
			return nil, err
		}
	}
	run, err := journal.Open(dir, s.Marshal(), journal.Options{
		Numerics:       fmt.Sprintf("%s, compute %v", in.Model.Device().NumericsID(), in.Model.Compute),
		AcceptNumerics: opt.AcceptNumerics, Inputs: in.Fingerprints, Free: settings.FreeFewshot(),
	})
	if err != nil {
		return nil, err
	}
	f.Lab.Run, f.Lab.Progress = run, opt.Progress
	e, err := f.execute(ctx, in, train, eval, opt)
	return e, errors.Join(err, run.Close())
}

func (f fewshot) execute(ctx context.Context, in FewshotInputs, train, eval []Article, opt Options) (*Experiment, error) {
	f.sayResumed(opt)
	e, err := f.run(ctx, in.Model, train, eval)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return e, atomicfile.WriteFile(f.Run.Path(experimentFile), append(data, '\n'))
}
