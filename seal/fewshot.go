package seal

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/arc"
	"github.com/selkie-ml/selkie/seal/settings"
)

// Names of rows that only few-shot learning has.
const (
	RowInContext = "in_context" // the base model, nothing trained
	RowOracle    = "oracle"     // trained as a configuration given by hand says
)

// TaskOutcome is how a few-shot task fared.
type TaskOutcome struct {
	Edit     *arc.Edit      `json:"edit,omitempty"` // as it was carried out; nil: nothing was to be trained
	Examples int            `json:"examples"`       // trained on
	Inputs   []InputOutcome `json:"inputs,omitempty"`
}

// InputOutcome is how a test input was answered.
type InputOutcome struct {
	Asked      int             `json:"asked"`                // questions
	Read       int             `json:"read"`                 // answers that were grids
	Candidates []arc.Candidate `json:"candidates,omitempty"` // the first ones of the vote; two of them are the guesses
	Right      bool            `json:"right"`
}

// candidatesKept is how many candidates of a vote are recorded.
const candidatesKept = 4

// Guesses returns the two guesses.
func (o InputOutcome) Guesses() arc.Guesses {
	switch len(o.Candidates) {
	case 0:
		return arc.Guesses{}
	case 1:
		return arc.Guesses{o.Candidates[0].Output, o.Candidates[0].Output}
	}
	return arc.Guesses{o.Candidates[0].Output, o.Candidates[1].Output}
}

// fewshot is the domain of ARC's tasks. A trial's only sequence is the text of
// its self-edit; without one nothing is trained.
type fewshot struct {
	*Lab
	set       settings.Fewshot
	prompts   arc.Prompts
	tasks     map[string]arc.Challenge
	questions map[string][]question // of every test input, made once
}

// question is a prompt and the transform that its answer is freed of.
type question struct {
	tokens []int32
	under  arc.Transform
}

func (f fewshot) editPrompt(a Article) (string, []int32, error) {
	shown := f.tasks[a.ID].Train
	if n := f.set.Edits.Shown; n > 0 {
		shown = shown[:min(n, len(shown))]
	}
	m := f.prompts.EditMessages(shown)
	opt := tokenizer.ChatOptions{AddGenerationPrompt: true, DateString: f.set.Model.Date}
	text, err := f.Tokenizer.ApplyChat(m, opt)
	if err != nil {
		return "", nil, err
	}
	ids, err := f.Tokenizer.EncodeChat(m, opt)
	return text, ids, err
}

func (f fewshot) fits(a Article) error {
	_, ids, err := f.editPrompt(a)
	if err != nil {
		return err
	}
	if len(ids) >= f.context {
		return fmt.Errorf("the self-edit prompt has %d tokens, which leaves no room in the model's context of %d", len(ids), f.context)
	}
	for i := range f.tasks[a.ID].Tests {
		q, err := f.ask(a.ID, i)
		if err != nil {
			return err
		}
		if len(q) == 0 {
			return fmt.Errorf("test input %d: no prompt has fewer than %d tokens, even with fewer demonstrations", i, f.promptLimit())
		}
	}
	return nil
}

func (f fewshot) tries() int { return f.set.Edits.Tries }

func (f fewshot) accepts(text string) bool {
	_, err := arc.ParseEdit(text)
	return err == nil
}

func (f fewshot) sequences(_ Article, edit string) []string { return []string{edit} }

// keep chooses the self-edits that solved their task, in the order they were
// written; texts that are none are passed over.
func (f fewshot) keep(_ string, _ int, _ Article, edits []Candidate) []int {
	kept := slices.DeleteFunc(f.solvedEdits(edits), func(i int) bool { return !f.accepts(edits[i].Text) })
	if f.set.Outer.SkipTied && len(kept) == len(edits) {
		return nil
	}
	if n := f.set.Outer.Keep; n > 0 {
		kept = kept[:min(n, len(kept))]
	}
	return kept
}

// solvedEdits returns the self-edits that solved their task with more than half
// of the inner seeds.
func (fewshot) solvedEdits(edits []Candidate) []int {
	var solved []int
	for i, e := range edits {
		if 2*e.Score.Correct > e.Score.Asked {
			solved = append(solved, i)
		}
	}
	return solved
}

// promptLimit is the length, in tokens, that a question's prompt must stay below.
func (f fewshot) promptLimit() int { return min(f.set.Answer.MaxTokens, f.context) }

// ask returns the questions of a test input: the same for every self-edit, so
// that edits differ by what they train alone.
func (f fewshot) ask(id string, test int) ([]question, error) {
	name := arc.Subtask(id, test)
	if q, ok := f.questions[name]; ok {
		return q, nil
	}
	var failed error
	var prompts [][]int32
	opt := arc.AskOptions{LeaveOut: []int{f.set.Answer.LeaveOut}, Permutations: f.set.Answer.Permutations, Fits: func(t arc.Task) bool {
		ids, err := f.prompts.QuestionTokens(f.Tokenizer, t, f.set.Model.Date)
		if err != nil {
			failed = err
		}
		fits := err == nil && len(ids) < f.promptLimit()
		if fits {
			prompts = append(prompts, ids)
		}
		return fits
	}}
	draw := philox.NewStream(f.key(philox.PurposeAugment, "", 0, "questions "+name, 0, 0))
	var list []question
	for i, q := range arc.Questions(f.tasks[id].Task(test), opt, draw) {
		list = append(list, question{prompts[i], q.Transform})
	}
	if failed != nil {
		return nil, fmt.Errorf("task %s: %w", id, failed)
	}
	f.questions[name] = list
	return list, nil
}

// trainingJob returns what a trial's self-edit trains, and the edit as it
// applies; a job without examples for one that trains nothing.
func (f fewshot) trainingJob(t Trial) (nn.Job, arc.Edit, error) {
	edit, err := arc.ParseEdit(t.Sequences[0])
	if err != nil {
		edit.Nothing = err.Error()
	}
	if edit.Nothing != "" {
		return nn.Job{}, edit, nil
	}
	s := f.set.Inner
	limit := min(s.MaxTokens, f.context+1)
	var examples []nn.Example
	opt := arc.TrainOptions{Tools: edit.Tools, Limit: s.Examples, Fits: func(task arc.Task) bool {
		tokens, e := f.prompts.TrainTokens(f.Tokenizer, task, edit.OutputOnly(), f.set.Model.Date, f.stop)
		if e != nil {
			err = e
		}
		fits := e == nil && len(tokens.IDs) < limit
		if fits {
			examples = append(examples, nn.Example{Tokens: tokens.IDs, Masked: tokens.Masked})
		}
		return fits
	}}
	for n := 1; n <= s.LeaveOut; n++ {
		opt.LeaveOut = append(opt.LeaveOut, n)
	}
	arc.TrainingSet(f.tasks[t.Article.ID].Train, opt, philox.NewStream(f.key(philox.PurposeAugment, "", 0, t.Article.ID, t.Edit, t.Seed)))
	if err != nil {
		return nn.Job{}, edit, fmt.Errorf("task %s: %w", t.Article.ID, err)
	}
	edit = edit.Limited(len(examples), s.BatchSize, s.MaxSteps)
	if edit.Nothing != "" {
		return nn.Job{}, edit, nil
	}
	shuffle := func(epoch int) *philox.Stream {
		return philox.NewStream(f.key(philox.PurposeShuffleInner, "", epoch, t.Article.ID, t.Edit, t.Seed))
	}
	job, err := finetuneJob(settings.Finetune{
		Rank: s.Rank, Alpha: s.Alpha, Targets: s.Targets, LR: edit.LR, Schedule: s.Schedule, WarmupSteps: s.WarmupSteps,
		Epochs: int(edit.Epochs), BatchSize: s.BatchSize, Shuffle: true, ClipNorm: s.ClipNorm,
		Beta1: s.Beta1, Beta2: s.Beta2, Epsilon: s.Epsilon, WeightDecay: s.WeightDecay,
	}, nil, f.key(philox.PurposeInitAdapter, "", 0, t.Article.ID, t.Edit, t.Seed).Key(), shuffle)
	job.Examples = examples
	if edit.Epochs != math.Floor(edit.Epochs) {
		job.Examples, job.Epochs, job.Shuffle = partEpochs(examples, edit.Epochs, shuffle), 1, nil
	}
	return job, edit, err
}

// partEpochs lays out a number of epochs that is not whole as one.
func partEpochs(examples []nn.Example, epochs float64, shuffle func(int) *philox.Stream) []nn.Example {
	var all []nn.Example
	want := int(math.Ceil(epochs * float64(len(examples))))
	for epoch := 0; len(all) < want; epoch++ {
		for _, i := range shuffle(epoch).Perm(len(examples)) {
			all = append(all, examples[i])
		}
	}
	return all[:want]
}

// layout is what a trial trains, without examples if nothing, and its self-edit as it
// applies, if it has one.
type layout struct {
	job  nn.Job
	edit *arc.Edit
}

// layOut makes the training sets of trials, on all processors: it takes a good part
// of the time that training a small model on them does.
func (f fewshot) layOut(trials []Trial) ([]layout, error) {
	layouts, errs := make([]layout, len(trials)), make([]error, len(trials))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(len(trials), runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(trials); i = int(next.Add(1)) - 1 {
				if len(trials[i].Sequences) == 0 {
					continue
				}
				var edit arc.Edit
				layouts[i].job, edit, errs[i] = f.trainingJob(trials[i])
				layouts[i].edit = &edit
			}
		})
	}
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return layouts, nil
}

func (f fewshot) testTogether(ctx context.Context, m *nn.Model, trials []Trial) ([]Outcome, error) {
	outcomes := make([]Outcome, len(trials))
	adapters := make([]*nn.Adapter, len(trials))
	layouts, err := f.layOut(trials)
	if err != nil {
		return nil, err
	}
	var jobs []nn.Job
	var at []int
	for i, l := range layouts {
		outcomes[i].Task = &TaskOutcome{Edit: l.edit, Examples: len(l.job.Examples)}
		if len(l.job.Examples) > 0 {
			jobs, at = append(jobs, l.job), append(at, i)
		}
	}
	if len(jobs) > 0 {
		if err := f.train(ctx, m, jobs, at, adapters, outcomes); err != nil {
			return nil, err
		}
	}
	return outcomes, f.answerTasks(ctx, m, trials, adapters, outcomes)
}

// answerTasks asks the questions of every trial's task with its adapter, and
// votes. A trial whose adapter diverged answers nothing.
func (f fewshot) answerTasks(ctx context.Context, m *nn.Model, trials []Trial, adapters []*nn.Adapter, outcomes []Outcome) error {
	pool, place, err := poolOf(m, adapters, false)
	if err != nil {
		return err
	}
	if pool != nil {
		defer pool.Free()
	}
	var requests []nn.Request
	each := func(visit func(i, test int, q []question) error) error {
		for i, t := range trials {
			if outcomes[i].Diverged != "" {
				continue
			}
			for test := range f.tasks[t.Article.ID].Tests {
				q, err := f.ask(t.Article.ID, test)
				if err != nil {
					return err
				}
				if err := visit(i, test, q); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err = each(func(i, _ int, questions []question) error {
		for _, q := range questions {
			requests = append(requests, nn.Request{Prompt: q.tokens, MaxNew: f.set.Answer.MaxNew, Stop: f.stop, Adapter: place[i]})
		}
		return nil
	})
	if err != nil {
		return err
	}
	gen := f.generator(m, pool)
	defer gen.Close()
	done, err := gen.Run(ctx, requests)
	if err != nil {
		return err
	}
	failed := make([]bool, len(trials)) // told at the end: each asks for it
	err = each(func(i, test int, questions []question) error {
		in := InputOutcome{Asked: len(questions)}
		var predictions []arc.Prediction
		for _, q := range questions {
			if done[0].Finish == nn.FinishFailed {
				failed[i] = true
			} else if p, ok := arc.ReadAnswer(f.Tokenizer.Decode(done[0].Tokens, true), q.under); ok {
				predictions = append(predictions, p)
			}
			done = done[1:]
		}
		in.Read = len(predictions)
		ranked := arc.Rank(predictions)
		in.Candidates = ranked[:min(candidatesKept, len(ranked))]
		in.Right = in.Guesses().Solve(f.tasks[trials[i].Article.ID].Tests[test].Output)
		outcomes[i].Task.Inputs = append(outcomes[i].Task.Inputs, in)
		return nil
	})
	if err != nil {
		return err
	}
	for i := range outcomes {
		if failed[i] {
			outcomes[i].Diverged = "the logits of an answer are not numbers"
		}
		inputs := outcomes[i].Task.Inputs
		solved := outcomes[i].Diverged == "" && len(inputs) > 0 && !slices.ContainsFunc(inputs, func(in InputOutcome) bool { return !in.Right })
		outcomes[i].Right = []bool{solved}
	}
	return nil
}

// oracleEdit reads the hand-tuned configuration that the settings give.
func oracleEdit(s settings.Fewshot) (string, error) {
	text := s.Eval.Oracle
	if text != "" && !strings.HasPrefix(strings.TrimSpace(text), "{") {
		data, err := readText(text)
		if err != nil {
			return "", fmt.Errorf("eval.oracle: %w", err)
		}
		text = string(data)
	}
	if text == "" {
		return "", nil
	}
	e, err := arc.ParseEdit(text)
	if err == nil && e.Nothing != "" {
		err = fmt.Errorf("it trains nothing: %s", e.Nothing)
	}
	if err != nil {
		return "", fmt.Errorf("eval.oracle: %w", err)
	}
	return text, nil
}

// run is SEAL's experiment of few-shot learning: the base model in context,
// trained as its own self-edits say and as an oracle does; reinforcement; the
// same after every round.
func (f fewshot) run(ctx context.Context, base *nn.Model, train, eval []Article) (*Experiment, error) {
	e := &Experiment{Seed: f.Settings.Run.Seed, Articles: eval}
	for _, a := range eval {
		e.Tasks = append(e.Tasks, f.tasks[a.ID])
	}
	untouched := f.eachArticle(e, 1, func(int, Article) Trial { return Trial{} })
	if err := f.measure(ctx, e, RowInContext, "eval-in-context", base, untouched, nil); err != nil {
		return nil, err
	}
	if err := f.evaluateEdits(ctx, e, RowBase, phaseName("eval", "", 0), NewChain("", base), 0); err != nil {
		return nil, err
	}
	oracle, err := oracleEdit(f.set)
	if err != nil {
		return nil, err
	}
	if oracle != "" {
		trials := f.eachArticle(e, f.set.Inner.EvalSeeds, func(int, Article) Trial { return Trial{Sequences: []string{oracle}} })
		if err := f.measure(ctx, e, RowOracle, "eval-oracle", base, trials, nil); err != nil {
			return nil, err
		}
	}
	return e, f.reinforceAndEvaluate(ctx, base, train, e)
}
