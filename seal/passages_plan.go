package seal

import (
	"math"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/settings"
)

// means returns the mean length of passages, in tokens, and the mean number of
// questions.
func means(tok *tokenizer.Tokenizer, articles []Article) (passage, questions float64) {
	for _, a := range articles {
		passage += float64(len(tok.Encode(a.Title+"\n"+a.Context, true))) / float64(len(articles))
		questions += float64(len(a.Questions)) / float64(len(articles))
	}
	return passage, questions
}

// assumedLines is how many training sequences a self-edit of the assumed length
// gives, the passage not counted.
func (p Plan) assumedLines(s settings.Settings) int {
	if !s.Edits.SplitNewlines {
		return 1
	}
	return max(1, p.AssumedEdit/assumedLine)
}

// Plus is the plan of one run after another.
func (p Plan) Plus(q Plan) Plan {
	p.AssumedEdit, p.Rounds = max(p.AssumedEdit, q.AssumedEdit), max(p.Rounds, q.Rounds)
	p.SelfEdits += q.SelfEdits
	p.Adapters += q.Adapters
	p.Steps += q.Steps
	p.TrainTokens += q.TrainTokens
	p.Answers += q.Answers
	p.DecodeCalls += q.DecodeCalls
	p.WeightBytes, p.AdapterBytes = max(p.WeightBytes, q.WeightBytes), max(p.AdapterBytes, q.AdapterBytes)
	p.ActivationBytes, p.CacheBytes = max(p.ActivationBytes, q.ActivationBytes), max(p.CacheBytes, q.CacheBytes)
	return p
}

// NewContinuePlan estimates a run of continued pretraining; in.Outside is what
// settings name. Counts of self-edits, updates and answers are exact.
func NewContinuePlan(s settings.Settings, in Inputs) (Plan, error) {
	eval, edits := in.Eval, s.Continue.Edits
	if n := s.Data.EvalArticles; n > 0 {
		eval = eval[:min(n, len(eval))]
	}
	passage, questions := means(in.Tokenizer, eval)
	p := Plan{AssumedEdit: min(s.Edits.MaxTokens, int(2*passage))}
	lines := p.assumedLines(s)
	asked := int(math.Round(questions * float64(len(eval))))
	p.Answers = asked // of the untouched model
	update := func(edits int) {
		sequences, tokens := len(eval), passage
		if edits > 0 {
			sequences *= edits * (lines + 1)
			tokens = float64(edits) * (float64(p.AssumedEdit) + passage + 5*float64(lines))
		}
		p.Adapters++
		p.Steps += s.Continue.Epochs * ((sequences + s.Continue.BatchSize - 1) / s.Continue.BatchSize)
		p.TrainTokens += int64(s.Continue.Epochs) * int64(tokens*float64(len(eval)))
		p.Answers += asked
	}
	update(0)
	if edits > 0 && Kind(s.Edits.Kind) != KindNone {
		p.SelfEdits = len(eval) * edits
		update(edits)
	}
	if in.Outside != nil {
		update(max(1, edits))
	}
	p.decodes(s)

	c := in.Model.Config
	sequence := min(max(int(1.2*passage), p.AssumedEdit/lines), c.MaxPositions)
	lengths := repeat(sequence, s.Continue.BatchSize)
	if s.Continue.Train == "all" {
		step, err := nn.PlanStep(in.Model.Device(), c, nn.LoadOptions{Compute: in.Model.Compute, Recompute: s.Run.Recompute, Float32: true},
			nn.StepShape{Lengths: lengths, MaxTokens: max(s.Run.MaxBatchTokens, sequence)})
		if err != nil {
			return p, err
		}
		p.AdapterBytes, p.ActivationBytes = step.Weights+step.Training, step.Step // weights beside the base's
	} else if err := p.training(s, in.Model, s.Inner.Finetune, 1, lengths, sequence); err != nil {
		return p, err
	}
	p.holding(s, in.Model, min(s.Run.MaxDecodes, max(p.SelfEdits, asked)), min(int(1.2*passage)+p.AssumedEdit, c.MaxPositions))
	return p, nil
}

// NewContinualPlan estimates a run of continual self-edits. Counts of self-edits,
// updates and answers are exact.
func NewContinualPlan(s settings.Settings, in Inputs) (Plan, error) {
	l := &Lab{Settings: s}
	length := s.Continual.Length
	updates := s.Continual.Sequences * length
	eval := in.Eval[:min(updates, len(in.Eval))]
	passage, questions := means(in.Tokenizer, eval)
	p := Plan{AssumedEdit: min(s.Edits.MaxTokens, int(2*passage)), Adapters: updates}
	lines := p.assumedLines(s)
	if in.Outside == nil && Kind(s.Edits.Kind) != KindNone {
		p.SelfEdits = updates
	}
	samples := 0
	for t := range length { // of every sequence
		sequences, tokens := lines+1, float64(p.AssumedEdit)+passage+5*float64(lines)
		if l.keeps(KeepReplay) {
			again := min(t*(lines+1), int(math.Ceil(s.Continual.Replay*float64(lines+1))))
			tokens *= 1 + float64(again)/float64(lines+1)
			sequences += again
		}
		if l.keeps(KeepKL) {
			n := t * s.Continual.KLSamples
			sequences, tokens, samples = sequences+n, tokens+float64(n*longestSample), samples+n
		}
		p.Steps += s.Continual.Sequences * s.Inner.Epochs * ((sequences + s.Inner.BatchSize - 1) / s.Inner.BatchSize)
		p.TrainTokens += int64(s.Continual.Sequences*s.Inner.Epochs) * int64(tokens)
	}
	for i, a := range eval { // before all updates, and after its own and every later one
		p.Answers += len(a.Questions) * (1 + length - i%length)
	}
	p.decodes(s)
	p.DecodeCalls += int64(s.Continual.Sequences * samples * longestSample)

	longest := min(int(1.2*passage)+p.AssumedEdit, in.Model.Config.MaxPositions)
	sequence := min(max(int(passage), assumedLine), longest)
	if err := p.training(s, in.Model, s.Inner.Finetune, 1, repeat(sequence, s.Inner.BatchSize), longest); err != nil {
		return p, err
	}
	p.holding(s, in.Model, min(s.Run.MaxDecodes, max(1, int(float64(length)*questions))), longest)
	if !l.keeps(KeepRouted) {
		p.WeightBytes *= 2 // merged, beside the base's
	}
	return p, nil
}
