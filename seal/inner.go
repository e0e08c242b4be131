package seal

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/seal/settings"
)

// Trial is one inner update and its test: finetune an adapter on sequences,
// then answer the article's questions without the passage.
type Trial struct {
	Article   Article
	Edit      int
	Seed      int      // inner seed
	Sequences []string // to train on, of a few-shot task the self-edit; none: the model as it is
	Epochs    int      // 0: as the settings say
	// Likelihood measures how likely the gold answers are, in place of answering.
	Likelihood bool
}

// Outcome is what a trial gave. An adapter that diverged answers nothing and
// has no question right.
type Outcome struct {
	Answers  []string `json:"answers,omitempty"`
	Right    []bool   `json:"right"`
	Steps    int      `json:"steps"`
	Tokens   int      `json:"tokens"` // trained, over all epochs
	Loss     float64  `json:"loss"`   // of the last step
	Diverged string   `json:"diverged,omitempty"`
	// GoldLoss is the mean over questions of the gold answer's negative
	// log-probability per token, end-of-text included; only where it was asked for.
	GoldLoss *float64 `json:"gold_loss,omitempty"`
	// Task is what became of a few-shot task, whose only verdict is whether it
	// was solved.
	Task *TaskOutcome `json:"task,omitempty"`
}

// Accuracy is the share of questions answered right.
func (o Outcome) Accuracy() float64 { return ScoreOf(o.Right).Accuracy() }

// finetuneJob turns settings into a job on tokenised examples.
func finetuneJob(f settings.Finetune, examples []Tokens, init philox.Key, shuffle func(epoch int) *philox.Stream) (nn.Job, error) {
	targets, err := nn.ParseProjections(f.Targets)
	if err != nil {
		return nn.Job{}, err
	}
	job := nn.Job{
		LoRA: nn.LoRAConfig{Rank: f.Rank, Alpha: f.Alpha, Targets: targets}, Init: init,
		Epochs: f.Epochs, Batch: f.BatchSize,
		AdamW:    nn.AdamW{Beta1: f.Beta1, Beta2: f.Beta2, Eps: f.Epsilon, WeightDecay: f.WeightDecay, ClipNorm: f.ClipNorm},
		Schedule: nn.Schedule{Kind: f.Schedule, LR: f.LR, Warmup: f.WarmupSteps},
	}
	for _, e := range examples {
		job.Examples = append(job.Examples, nn.Example{Tokens: e.IDs, Masked: e.Masked})
	}
	if f.Shuffle {
		job.Shuffle = shuffle
	}
	return job, nil
}

// job returns the inner update of a trial.
func (l *Lab) job(t Trial) (nn.Job, error) {
	s := l.Settings.Inner
	var examples []Tokens
	for _, text := range t.Sequences {
		examples = append(examples, SequenceTokens(l.Tokenizer, text, s.EndMask, min(s.MaxTokens, l.context), l.end))
	}
	job, err := finetuneJob(s.Finetune, examples,
		l.key(philox.PurposeInitAdapter, "", 0, t.Article.ID, t.Edit, t.Seed).Key(),
		func(epoch int) *philox.Stream {
			return philox.NewStream(l.key(philox.PurposeShuffleInner, "", epoch, t.Article.ID, t.Edit, t.Seed))
		})
	if t.Epochs > 0 {
		job.Epochs = t.Epochs
	}
	return job, err
}

// Test runs trials on a model, many adapters at a time, and returns their
// outcomes in order.
func (l *Lab) Test(ctx context.Context, phase string, m *nn.Model, trials []Trial) ([]Outcome, error) {
	keys := make([]string, len(trials))
	for i, t := range trials {
		keys[i] = fmt.Sprintf("%s/%d", editKey(t.Article, t.Edit), t.Seed)
	}
	m.Device().Trim()
	outcomes, err := inChunks(ctx, l, phase, keys, l.Settings.Run.MaxAdapters, func(todo []int) ([]Outcome, error) {
		part := make([]Trial, len(todo))
		for i, k := range todo {
			part[i] = trials[k]
		}
		return l.testTogether(ctx, m, part)
	})
	if err != nil {
		return nil, fmt.Errorf("testing self-edits (%s): %w", phase, err)
	}
	return outcomes, nil
}

// testTogether is the inner loop for as many trials as run at once: update,
// answer, grade.
func (l articles) testTogether(ctx context.Context, m *nn.Model, trials []Trial) ([]Outcome, error) {
	outcomes := make([]Outcome, len(trials))
	adapters, err := l.update(ctx, m, trials, outcomes)
	if err != nil {
		return nil, err
	}
	if trials[0].Likelihood {
		return outcomes, l.likelihoods(ctx, m, trials, adapters, outcomes)
	}
	if err := l.answer(ctx, m, trials, adapters, outcomes); err != nil {
		return nil, err
	}
	return outcomes, l.grade(ctx, trials, outcomes)
}

// update trains the adapters of the trials that have sequences; the others get
// nil, as does an adapter that diverged.
func (l *Lab) update(ctx context.Context, m *nn.Model, trials []Trial, outcomes []Outcome) ([]*nn.Adapter, error) {
	var jobs []nn.Job
	var at []int
	for i, t := range trials {
		if len(t.Sequences) == 0 {
			continue
		}
		job, err := l.job(t)
		if err != nil {
			return nil, err
		}
		jobs, at = append(jobs, job), append(at, i)
	}
	adapters := make([]*nn.Adapter, len(trials))
	if len(jobs) == 0 {
		return adapters, nil
	}
	return adapters, l.train(ctx, m, jobs, at, adapters, outcomes)
}

// train trains the adapters of jobs, many at once; at tells the place of each
// job among adapters and outcomes.
func (l *Lab) train(ctx context.Context, m *nn.Model, jobs []nn.Job, at []int, adapters []*nn.Adapter, outcomes []Outcome) error {
	results, err := m.FinetuneAdapters(ctx, jobs, nn.FinetuneOptions{MaxTokens: l.Settings.Run.MaxBatchTokens})
	if err != nil {
		return err
	}
	for j, r := range results {
		o := &outcomes[at[j]]
		o.Steps, o.Tokens = len(r.Losses), jobs[j].Tokens()
		if r.Diverged != nil {
			o.Diverged = r.Diverged.Error()
			continue
		}
		o.Loss = r.Losses[len(r.Losses)-1]
		adapters[at[j]] = r.Adapter
	}
	return nil
}

// poolOf puts adapters, of which some may be nil and several the same, into a
// pool, and tells the place of each in it. The pool is nil without any.
func poolOf(m *nn.Model, adapters []*nn.Adapter, train bool) (pool *nn.AdapterPool, place []int, err error) {
	var distinct []*nn.Adapter
	var configs []nn.LoRAConfig
	place = make([]int, len(adapters))
	for i, a := range adapters {
		if a == nil {
			place[i] = nn.NoAdapter
			continue
		}
		if place[i] = slices.Index(distinct, a); place[i] < 0 {
			place[i] = len(distinct)
			distinct, configs = append(distinct, a), append(configs, a.LoRAConfig)
		}
	}
	if len(configs) == 0 {
		return nil, place, nil
	}
	if pool, err = nn.NewAdapterPool(m, configs, train); err != nil {
		return nil, nil, err
	}
	for i, a := range distinct {
		if err := pool.Set(i, a); err != nil {
			pool.Free()
			return nil, nil, err
		}
	}
	return pool, place, nil
}

// answer asks every trial's questions of the model with the trial's adapter.
func (l *Lab) answer(ctx context.Context, m *nn.Model, trials []Trial, adapters []*nn.Adapter, outcomes []Outcome) error {
	pool, place, err := poolOf(m, adapters, false)
	if err != nil {
		return err
	}
	if pool != nil {
		defer pool.Free()
	}
	s := l.Settings.Eval
	var requests []nn.Request
	for i, t := range trials {
		if outcomes[i].Diverged != "" {
			continue
		}
		for _, q := range t.Article.Questions {
			ids, err := l.answerPrompt(t.Article, q)
			if err != nil {
				return fmt.Errorf("article %s (%s): %w", t.Article.ID, t.Article.Title, err)
			}
			requests = append(requests, nn.Request{
				Prompt: ids, MaxNew: s.MaxTokens, Stop: l.stop, Adapter: place[i], Until: l.until(s.Stop),
			})
		}
	}
	gen := l.generator(m, pool)
	defer gen.Close()
	done, err := gen.Run(ctx, requests)
	if err != nil {
		return err
	}
	for i, t := range trials {
		if outcomes[i].Diverged != "" {
			continue
		}
		for range t.Article.Questions {
			if done[0].Finish == nn.FinishFailed {
				outcomes[i].Diverged = "the logits of an answer are not numbers"
			}
			outcomes[i].Answers = append(outcomes[i].Answers, cutAtStop(l.Tokenizer.Decode(done[0].Tokens, true), s.Stop))
			done = done[1:]
		}
	}
	return nil
}

// until ends an answer as soon as a stop text shows; nil without any.
func (l *Lab) until(stops []string) func([]int32) bool {
	if len(stops) == 0 {
		return nil
	}
	return func(generated []int32) bool {
		text := l.Tokenizer.Decode(generated, true)
		return cutAtStop(text, stops) != text
	}
}

// grade fills in the verdicts of all trials.
func (l *Lab) grade(ctx context.Context, trials []Trial, outcomes []Outcome) error {
	var answers []Answer
	for i, t := range trials {
		if outcomes[i].Diverged != "" {
			outcomes[i].Answers, outcomes[i].Right = nil, make([]bool, len(t.Article.Questions))
			continue
		}
		for j, q := range t.Article.Questions {
			answers = append(answers, Answer{
				Question: TopicQuestion(t.Article.Title, q.Question), Gold: q.Answer, Answer: strings.TrimSpace(outcomes[i].Answers[j]),
			})
		}
	}
	verdicts, err := GradeAnswers(ctx, l.Grader, answers)
	if err != nil {
		return err
	}
	for i, t := range trials {
		if outcomes[i].Right == nil {
			n := len(t.Article.Questions)
			outcomes[i].Right, verdicts = verdicts[:n:n], verdicts[n:]
		}
	}
	return nil
}
