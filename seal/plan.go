package seal

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/selkie-ml/selkie/internal/sysmem"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/seal/settings"
)

// Plan estimates what a knowledge run will take. Counts of updates and answers
// are exact; tokens assume self-edits of AssumedEdit tokens, which only the
// model decides.
type Plan struct {
	AssumedEdit int // tokens per self-edit
	Rounds      int
	SelfEdits   int   // sampled
	Adapters    int   // inner updates, or whatever else is trained for a test
	Steps       int   // optimiser steps of these, assuming AssumedSequences per edit
	TrainTokens int64 // computed in training, inner and outer
	Answers     int
	DecodeCalls int64 // tokens generated, at most

	WeightBytes, AdapterBytes, ActivationBytes, CacheBytes int64
}

// assumedLine is the length of a training sequence that a self-edit gives, for
// estimates only.
const assumedLine = 40

// NewPlan estimates a run of these settings on these inputs.
func NewPlan(s settings.Settings, in Inputs) (Plan, error) {
	eval := in.Eval
	if n := s.Data.EvalArticles; n > 0 {
		eval = eval[:min(n, len(eval))]
	}
	train := in.Train[:min(s.Outer.Articles, len(in.Train))]
	passage, questions := means(in.Tokenizer, eval)
	p := Plan{Rounds: s.Outer.Rounds, AssumedEdit: min(s.Edits.MaxTokens, int(2*passage))}

	// One update on a self-edit: its lines and the passage, title before each.
	lines := p.assumedLines(s)
	perUpdate := int64(s.Inner.Epochs) * int64(float64(p.AssumedEdit)+passage+5*float64(lines))
	steps := s.Inner.Epochs * (lines + s.Inner.BatchSize) / s.Inner.BatchSize
	update := func(n int) {
		p.Adapters += n
		p.Steps += n * steps
		p.TrainTokens += int64(n) * perUpdate
		p.Answers += int(float64(n) * questions)
	}
	evaluations := 1 + p.Rounds
	for _, c := range s.Eval.Controls {
		if c == "shuffled" {
			evaluations += s.Eval.Permutations
		} else {
			update(len(eval) * s.Inner.EvalSeeds)
		}
	}
	if in.Outside != nil {
		update(len(eval) * s.Edits.EvalPerArticle * s.Inner.EvalSeeds)
	}
	p.SelfEdits = evaluations*len(eval)*s.Edits.EvalPerArticle + p.Rounds*len(train)*s.Edits.PerArticle
	update(evaluations * len(eval) * s.Edits.EvalPerArticle * s.Inner.EvalSeeds)
	update(len(eval) * s.Inner.EvalSeeds) // the passage alone
	update(p.Rounds * len(train) * s.Edits.PerArticle * s.Inner.Seeds)
	p.TrainTokens += int64(p.Rounds*s.Outer.Epochs*len(train)*s.Outer.Keep) * int64(float64(p.AssumedEdit)+1.2*passage)
	p.decodes(s)

	// What runs at once: adapters, texts, and the sequences of a training step.
	edits := max(len(eval)*s.Edits.EvalPerArticle, len(train)*s.Edits.PerArticle)
	together := min(s.Run.MaxAdapters, max(len(eval)*s.Edits.EvalPerArticle*s.Inner.EvalSeeds, len(train)*s.Edits.PerArticle*s.Inner.Seeds))
	texts := min(s.Run.MaxDecodes, max(edits, int(float64(together)*questions)))
	longest := min(int(1.2*passage)+p.AssumedEdit, in.Model.Config.MaxPositions)
	inner := repeat(min(max(int(passage), assumedLine), in.Model.Config.MaxPositions), together*s.Inner.BatchSize)
	if err := p.training(s, in.Model, s.Inner.Finetune, together, inner, longest); err != nil {
		return p, err
	}
	if s.Outer.Rounds > 0 {
		outer := repeat(longest, min(s.Outer.BatchSize, len(train)*s.Outer.Keep))
		if err := p.training(s, in.Model, s.Outer.Finetune, 1, outer, longest); err != nil {
			return p, err
		}
	}
	p.holding(s, in.Model, texts, longest)
	return p, nil
}

// decodes counts what self-edits and answers take; answers are mostly short.
func (p *Plan) decodes(s settings.Settings) {
	p.DecodeCalls = int64(p.SelfEdits)*int64(p.AssumedEdit) + int64(p.Answers)*int64(min(s.Eval.MaxTokens, 16))
}

func repeat[T any](v T, n int) []T { return slices.Repeat([]T{v}, max(n, 1)) }

// training takes in what training so many adapters at once holds: exactly, for
// sequences of the lengths given.
func (p *Plan) training(s settings.Settings, m *nn.Model, f settings.Finetune, adapters int, lengths []int, longest int) error {
	targets, err := nn.ParseProjections(f.Targets)
	if err != nil {
		return err
	}
	step, err := m.PlanStep(nn.StepShape{
		Lengths:   lengths,
		Adapters:  repeat(nn.LoRAConfig{Rank: f.Rank, Alpha: f.Alpha, Targets: targets}, adapters),
		MaxTokens: max(s.Run.MaxBatchTokens, longest),
	})
	if err != nil {
		return err
	}
	p.AdapterBytes, p.ActivationBytes = max(p.AdapterBytes, step.Training), max(p.ActivationBytes, step.Step)
	return nil
}

// holding takes in the weights and the KV cache of so many texts of the given length.
func (p *Plan) holding(s settings.Settings, m *nn.Model, texts, longest int) {
	c := m.Config
	for _, w := range m.Params() {
		p.WeightBytes += int64(w.Len() * w.DType().Size())
	}
	if s.Outer.Rounds > 0 { // the merged weights beside the base's
		p.WeightBytes *= 2
	}
	page := int64(c.Layers*2*c.KVHeads*c.HeadDim*nn.PageSize) * int64(m.Compute.Size())
	each := int64((longest + nn.PageSize - 1) / nn.PageSize)
	p.CacheBytes = min(page*each*int64(texts), max(1<<30, page*each))
}

// Bytes is the memory a run needs at most, by this estimate: training holds
// activations, generating a KV cache, and a run never does both at once.
func (p Plan) Bytes() int64 {
	return p.WeightBytes + p.AdapterBytes + max(p.ActivationBytes, p.CacheBytes)
}

// Time estimates the run's duration from the model's measured speeds, in tokens
// per second.
func (p Plan) Time(train, decode float64) time.Duration {
	seconds := float64(p.TrainTokens)/train + float64(p.DecodeCalls)/decode
	return time.Duration(seconds * float64(time.Second)).Round(time.Second)
}

// Print writes the plan for people.
func (p Plan) Print(w io.Writer) {
	fmt.Fprintf(w, "rounds of reinforcement   %d\n", p.Rounds)
	fmt.Fprintf(w, "self-edits to sample      %d (assumed %d tokens each)\n", p.SelfEdits, p.AssumedEdit)
	fmt.Fprintf(w, "updates to train          %d, about %d optimiser steps\n", p.Adapters, p.Steps)
	fmt.Fprintf(w, "tokens to train on        about %d\n", p.TrainTokens)
	fmt.Fprintf(w, "answers to give           %d\n", p.Answers)
	fmt.Fprintf(w, "tokens to generate        about %d\n", p.DecodeCalls)
	fmt.Fprintf(w, "memory                    about %s: weights %s, what is trained %s, and either activations (training) %s or KV cache (generating) %s\n",
		sysmem.Format(p.Bytes()), sysmem.Format(p.WeightBytes), sysmem.Format(p.AdapterBytes), sysmem.Format(p.ActivationBytes), sysmem.Format(p.CacheBytes))
}
