package seal

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/settings"
)

// Ways to keep what was learnt, the values of continual.keep. Without any, every
// update is trained and merged as the paper's are.
const (
	KeepReplay     = "replay"
	KeepKL         = "kl"
	KeepOrthogonal = "orthogonal"
	KeepRouted     = "routed"
)

// ContinualResult is a finished run of continual self-edits.
type ContinualResult struct {
	Sequences [][]Article      `json:"sequences"`
	Steps     [][]ContinueStep `json:"steps"`
	Matrices  []Matrix         `json:"matrices"`
	Summary   ContinualSummary `json:"summary"`
	Memory    Memory           `json:"memory"`
}

// ContinueStep is one update of a sequence: the self-edit, and the outcomes on
// every article seen so far with it.
type ContinueStep struct {
	Edit Edit      `json:"edit"`
	Seen []Outcome `json:"seen"`
}

// Memory says what a method kept, over sequences.
type Memory struct {
	First  Interval `json:"first"`  // accuracy on the first passage after the last update
	Fresh  Interval `json:"fresh"`  // on the first passage right after its own update
	Newest Interval `json:"newest"` // on the last passage after its own, the last update
	Seen   Interval `json:"seen"`   // on all passages after the last update
}

// Kept is the share of the first passage's accuracy that the later updates left.
func (m Memory) Kept() float64 {
	if m.Fresh.Mean == 0 {
		return 0
	}
	return m.First.Mean / m.Fresh.Mean
}

func (l *Lab) keeps(what string) bool { return slices.Contains(l.Settings.Continual.Keep, what) }

// Continual updates the model on sequences of articles, one self-edit after the
// other, and asks after every update about all articles of its sequence so far.
// Articles are cut into continual.sequences sequences of continual.length. outside
// are self-edits to use in place of the model's own, by article id, or nil.
func (l *Lab) Continual(ctx context.Context, base *nn.Model, articles []Article, outside map[string][]string) (*ContinualResult, error) {
	s := l.Settings.Continual
	if need := s.Sequences * s.Length; len(articles) < need {
		return nil, fmt.Errorf("%d articles are too few: continual.sequences × continual.length needs %d", len(articles), need)
	}
	r := &ContinualResult{}
	var untouched []Trial
	for _, a := range articles[:s.Sequences*s.Length] {
		untouched = append(untouched, Trial{Article: a})
	}
	before, err := l.Test(ctx, "eval-continual-base", base, untouched)
	if err != nil {
		return nil, err
	}
	phase, err := l.Run.Phase("continual")
	if err != nil {
		return nil, err
	}
	var keys []string
	started, fresh := time.Now(), len(phase.Keys()) == 0
	for i := range s.Sequences {
		part := articles[i*s.Length : (i+1)*s.Length]
		q := &sequence{lab: l, number: i, articles: part, outside: outside, phase: phase, base: base}
		steps, err := q.run(ctx)
		if err != nil {
			return nil, fmt.Errorf("sequence %d: %w", i, err)
		}
		r.Sequences, r.Steps = append(r.Sequences, part), append(r.Steps, steps)
		var row []Score
		for _, o := range before[i*s.Length : (i+1)*s.Length] {
			row = append(row, ScoreOf(o.Right))
		}
		after := make([][]Score, len(steps))
		for t, step := range steps {
			keys = append(keys, q.key(t))
			for _, o := range step.Seen {
				after[t] = append(after[t], ScoreOf(o.Right))
			}
		}
		r.Matrices = append(r.Matrices, ContinualMatrix(row, after))
	}
	if err := phase.Finish(keys); err != nil {
		return nil, err
	}
	if fresh { // what an earlier process did was not timed whole
		if err := l.Run.Time(journal.Timing{Phase: "continual", What: "whole phase", Seconds: time.Since(started).Seconds()}); err != nil {
			return nil, err
		}
	}
	r.Summary = SummariseContinual(r.Matrices)
	r.Memory = l.memory(r.Matrices)
	return r, nil
}

func (l *Lab) memory(matrices []Matrix) Memory {
	last := len(matrices[0]) - 1
	over := func(what string, f func(m Matrix) float64) Interval {
		x := make([]float64, len(matrices))
		for i, m := range matrices {
			x[i] = f(m)
		}
		return Bootstrap(x, l.Settings.Eval.Resamples, philox.NewStream(l.key(philox.PurposeBootstrap, "", 0, "continual "+what, 0, 0)))
	}
	return Memory{
		First:  over("first", func(m Matrix) float64 { return m[last][0] }),
		Fresh:  over("fresh", func(m Matrix) float64 { return m[1][0] }),
		Newest: over("newest", func(m Matrix) float64 { return m[last][last-1] }),
		Seen:   over("seen", func(m Matrix) float64 { return Mean(m[last]) }),
	}
}

// sequence is one sequence of updates in work.
type sequence struct {
	lab      *Lab
	number   int
	articles []Article
	outside  map[string][]string
	phase    *journal.Phase
	base     *nn.Model

	chain    *Chain
	trained  [][]Tokens    // examples of every update so far
	adapters []*nn.Adapter // of every update so far
}

func (q *sequence) key(t int) string { return fmt.Sprintf("%03d/%03d", q.number, t) }

// name tells the sequence's chain of models apart.
func (q *sequence) name() string { return fmt.Sprintf("continual-%d", q.number) }

// run does the steps that the journal lacks. An earlier step's model is made
// again only when a later step needs it.
func (q *sequence) run(ctx context.Context) ([]ContinueStep, error) {
	q.chain = NewChain(q.name(), q.base)
	defer func() { q.chain.Close() }()
	steps := make([]ContinueStep, len(q.articles))
	for t := range q.articles {
		done, ok, err := journal.Get[ContinueStep](q.phase, q.key(t))
		if err != nil {
			return nil, err
		}
		if ok {
			steps[t] = done
			if q.finished() {
				continue
			}
		} else {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if steps[t].Edit, err = q.edit(ctx, t); err != nil {
				return nil, err
			}
		}
		adapter, outcome, err := q.update(ctx, t, steps[t].Edit)
		if err != nil {
			return nil, err
		}
		if !ok {
			if steps[t].Seen, err = q.ask(ctx, t, adapter, outcome); err != nil {
				return nil, err
			}
			if err := q.phase.Put(q.key(t), steps[t]); err != nil {
				return nil, err
			}
		}
		q.lab.progress("continual", q.number*len(q.articles)+t+1, q.lab.Settings.Continual.Sequences*len(q.articles))
		if adapter == nil {
			continue // diverged: the model stays as it was
		}
		if !q.lab.keeps(KeepRouted) && t+1 < len(q.articles) {
			if err := q.chain.merge(adapter); err != nil {
				return nil, err
			}
		}
	}
	return steps, nil
}

// finished tells whether every step of the sequence is in the journal.
func (q *sequence) finished() bool { return q.phase.Done(q.key(len(q.articles) - 1)) }

// edit returns the self-edit of a step: the model's own as it is by then, or the
// one given.
func (q *sequence) edit(ctx context.Context, t int) (Edit, error) {
	a, l := q.articles[t], q.lab
	if q.outside != nil {
		texts := q.outside[a.ID]
		if len(texts) == 0 {
			return Edit{}, fmt.Errorf("%s: no self-edit for article %s (%s)", l.Settings.Edits.File, a.ID, a.Title)
		}
		return Edit{Text: texts[0]}, nil
	}
	if Kind(l.Settings.Edits.Kind) == KindNone {
		return Edit{}, nil
	}
	_, ids, err := l.editPrompt(a)
	if err != nil {
		return Edit{}, err
	}
	s := l.Settings.Edits
	done, err := q.generate(ctx, []nn.Request{{
		Prompt: ids, MaxNew: s.MaxTokens, Stop: l.stop, Adapter: nn.NoAdapter,
		Sampling: nn.Sampling{Temperature: s.Temperature, TopP: s.TopP, TopK: s.TopK},
		Key:      l.key(philox.PurposeSampleEdit, q.name(), t, a.ID, 0, 0).Key(),
	}})
	if err != nil {
		return Edit{}, err
	}
	return Edit{Text: l.Tokenizer.Decode(done[0].Tokens, true), Tokens: len(done[0].Tokens), Finish: done[0].Finish}, nil
}

func (q *sequence) generate(ctx context.Context, requests []nn.Request) ([]nn.Completion, error) {
	m := q.chain.Model()
	m.Device().Trim()
	gen := q.lab.generator(m, nil)
	defer gen.Close()
	done, err := gen.Run(ctx, requests)
	if err != nil {
		return nil, err
	}
	for _, d := range done {
		if d.Finish == nn.FinishFailed {
			return nil, fmt.Errorf("the model's logits are not numbers after %d updates: lower inner.lr", len(q.chain.adapters))
		}
	}
	return done, nil
}

// update trains the adapter of a step, or reads it again. It is nil if the
// training diverged.
func (q *sequence) update(ctx context.Context, t int, edit Edit) (*nn.Adapter, Outcome, error) {
	l := q.lab
	trial := Trial{Article: q.articles[t], Sequences: l.sequences(q.articles[t], edit.Text)}
	var own []Tokens
	for _, text := range trial.Sequences {
		own = append(own, l.trainTokens(text))
	}
	defer func() { q.trained = append(q.trained, own) }()
	outcome := make([]Outcome, 1)
	adapters := make([]*nn.Adapter, 1)
	rel := filepath.Join("adapters", q.name(), fmt.Sprintf("%03d", t))
	diverged := ""
	dir, err := l.Run.Artifact(rel, func(path string) error {
		job, err := l.job(trial)
		if err != nil {
			return err
		}
		job.Init = l.key(philox.PurposeInitAdapter, q.name(), t, trial.Article.ID, 0, 0).Key()
		if err := q.remember(ctx, t, &job); err != nil {
			return err
		}
		if err := l.train(ctx, q.chain.Model(), []nn.Job{job}, []int{0}, adapters, outcome); err != nil {
			return err
		}
		if adapters[0] == nil {
			diverged = outcome[0].Diverged
			return errDiverged
		}
		return adapters[0].SavePEFT(path, l.Settings.Model.Dir, q.base.Config)
	})
	if diverged != "" {
		q.adapters = append(q.adapters, nil)
		return nil, outcome[0], nil
	}
	if err != nil {
		return nil, outcome[0], err
	}
	adapter, err := nn.LoadPEFT(dir, q.base.Config)
	q.adapters = append(q.adapters, adapter)
	return adapter, outcome[0], err
}

// ask asks about every article so far, the step's adapter on.
func (q *sequence) ask(ctx context.Context, t int, adapter *nn.Adapter, outcome Outcome) ([]Outcome, error) {
	l := q.lab
	trials, outcomes, adapters := make([]Trial, t+1), make([]Outcome, t+1), make([]*nn.Adapter, t+1)
	for i, a := range q.articles[:t+1] {
		trials[i].Article, adapters[i] = a, adapter
	}
	outcomes[t] = outcome
	outcomes[t].Diverged = "" // what the model answers without the update counts
	if l.keeps(KeepRouted) {
		return q.askRouted(ctx, trials, outcomes)
	}
	if err := l.answer(ctx, q.chain.Model(), trials, adapters, outcomes); err != nil {
		return nil, err
	}
	return outcomes, l.grade(ctx, trials, outcomes)
}

// ExecuteContinual runs, or goes on with, continual self-edits in a run folder.
func ExecuteContinual(ctx context.Context, dir string, s settings.Settings, in Inputs, opt Options) (*ContinualResult, error) {
	l, err := newLabFor(s, in)
	if err != nil {
		return nil, err
	}
	n := l.Settings.Continual.Sequences * l.Settings.Continual.Length
	if in.Eval, err = l.fitting(l.OrderArticles(in.Eval, "eval"), n, "evaluation", opt.Say); err != nil {
		return nil, err
	}
	if len(in.Eval) < n {
		return nil, fmt.Errorf("%d articles are too few: continual.sequences × continual.length needs %d", len(in.Eval), n)
	}
	var r *ContinualResult
	err = l.inFolder(dir, in, opt, ContinualFile, func() (any, error) {
		r, err = l.Continual(ctx, in.Model, in.Eval, in.Outside)
		return r, err
	})
	return r, err
}

// ContinualFile is what a finished run leaves in its folder.
const ContinualFile = "continual.json"

// ReadContinual returns a finished run's result.
func ReadContinual(dir string) (*ContinualResult, error) {
	var r ContinualResult
	return &r, readResult(dir, ContinualFile, &r)
}
