package seal

import (
	"github.com/selkie-ml/selkie/seal/arc"
	"github.com/selkie-ml/selkie/seal/settings"
)

// assumedEpochs is what a self-edit is taken to ask for, for estimates only.
const assumedEpochs = 2

// NewFewshotPlan estimates what a run of few-shot learning will take. Counts of
// updates and answers are exact; steps and tokens assume self-edits that train
// the largest set for two epochs.
func NewFewshotPlan(s settings.Fewshot, in FewshotInputs) (Plan, error) {
	f, err := newFewshot(s, in)
	if err != nil {
		return Plan{}, err
	}
	fitting := func(tasks []arc.Challenge, n int, what string) ([]arc.Challenge, error) {
		articles, err := f.fitting(articlesOf(tasks), n, what, nil)
		out := make([]arc.Challenge, len(articles))
		for i, a := range articles {
			out[i] = f.tasks[a.ID]
		}
		return out, err
	}
	eval, err := fitting(in.Eval, s.Data.EvalTasks, "evaluation")
	if err != nil {
		return Plan{}, err
	}
	var train []arc.Challenge
	if s.Outer.Rounds > 0 {
		if train, err = fitting(in.Train, s.Data.TrainTasks, "training"); err != nil {
			return Plan{}, err
		}
	}
	p := Plan{Rounds: s.Outer.Rounds, AssumedEdit: min(s.Edits.MaxTokens, 100)}
	longest, tokens, answers, inputs := 0, 0.0, 0.0, 0.0
	for _, c := range eval {
		for i := range c.Tests {
			questions, err := f.ask(c.ID, i)
			if err != nil {
				return p, err
			}
			solution := len(in.Tokenizer.Encode(c.Tests[i].Output.String(), false)) + 2
			for _, q := range questions {
				longest = max(longest, len(q.tokens)+solution)
				tokens += float64(len(q.tokens)+solution) / float64(len(questions)*len(eval)*len(c.Tests))
			}
			answers += float64(solution) / float64(len(eval)*len(c.Tests))
			inputs += float64(len(questions)) / float64(len(eval))
		}
	}
	// Augmented tasks may be larger than the questions, up to the limit.
	examples, trained := s.Inner.Examples, min(s.Inner.MaxTokens, f.context)
	steps := assumedEpochs * examples / s.Inner.BatchSize
	if s.Inner.MaxSteps > 0 {
		steps = min(steps, s.Inner.MaxSteps)
	}
	update := func(n int, trains bool) {
		if trains {
			p.Adapters += n
			p.Steps += n * steps
			p.TrainTokens += int64(n) * int64(steps*s.Inner.BatchSize) * int64(tokens)
		}
		p.Answers += int(float64(n) * inputs)
		p.DecodeCalls += int64(float64(n) * inputs * answers)
	}
	evaluations := 1 + s.Outer.Rounds
	if f.control("shuffled") && s.Outer.Rounds > 0 {
		evaluations += s.Eval.Permutations
	}
	perRound := min(f.Settings.Outer.Articles, len(train))
	p.SelfEdits = evaluations*len(eval)*s.Edits.EvalPerTask + s.Outer.Rounds*perRound*s.Edits.PerTask
	p.DecodeCalls += int64(p.SelfEdits) * int64(p.AssumedEdit)
	update(len(eval), false)
	update(evaluations*len(eval)*s.Edits.EvalPerTask*s.Inner.EvalSeeds, true)
	update(s.Outer.Rounds*perRound*s.Edits.PerTask*s.Inner.Seeds, true)
	if s.Eval.Oracle != "" {
		update(len(eval)*s.Inner.EvalSeeds, true)
	}

	together := min(s.Run.MaxAdapters, max(len(eval)*s.Edits.EvalPerTask*s.Inner.EvalSeeds, perRound*s.Edits.PerTask*s.Inner.Seeds))
	long := min(max(longest, min(trained, 2*longest)), f.context)
	view := f.Settings
	inner := settings.Finetune{Rank: s.Inner.Rank, Alpha: s.Inner.Alpha, Targets: s.Inner.Targets}
	if err := p.training(view, in.Model, inner, together, repeat(long, together*s.Inner.BatchSize), long); err != nil {
		return p, err
	}
	if s.Outer.Rounds > 0 {
		if err := p.training(view, in.Model, s.Outer.Finetune, 1, repeat(min(longest+p.AssumedEdit, f.context), s.Outer.BatchSize), longest+p.AssumedEdit); err != nil {
			return p, err
		}
	}
	texts := min(s.Run.MaxDecodes, max(1, int(float64(together)*inputs)))
	p.holding(view, in.Model, texts, min(longest+s.Answer.MaxNew, f.context))
	return p, nil
}
