package seal

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/seal/settings"
)

// ContinueInputs are those of continued pretraining.
type ContinueInputs struct {
	Inputs
	// Open returns a model of a folder, the run's own for "", whose parameters can
	// all be trained; used only then.
	Open func(dir string) (*nn.Model, error)
}

// ContinueResult is a finished run of continued pretraining: its rows, and each
// update against the base, question by question.
type ContinueResult struct {
	Experiment
	Comparisons map[string]Comparison `json:"comparisons"` // by row
}

// Continue measures one update from many passages: the base model without any,
// one update from the passages alone, one from passages and self-edits, and one
// with self-edits made elsewhere where there are any. Every question of every
// passage is asked.
func (l *Lab) Continue(ctx context.Context, in ContinueInputs) (*ContinueResult, error) {
	s := l.Settings.Continue
	r := &ContinueResult{Experiment: Experiment{Seed: l.Settings.Run.Seed, Articles: in.Eval}, Comparisons: map[string]Comparison{}}
	untouched := l.eachArticle(&r.Experiment, 1, func(int, Article) Trial { return Trial{} })
	if err := l.measure(ctx, &r.Experiment, RowNoPassage, "eval-no-passage", in.Model, untouched, nil); err != nil {
		return nil, err
	}
	type update struct {
		row   string
		edits [][]Edit
	}
	updates := []update{{RowPassageOnly, nil}}
	if s.Edits > 0 && Kind(l.Settings.Edits.Kind) != KindNone {
		own, err := l.SampleEdits(ctx, "edits-continue", "", 0, in.Model, in.Eval, s.Edits)
		if err != nil {
			return nil, err
		}
		updates = append(updates, update{RowBase, own})
	}
	if in.Outside != nil {
		given := make([][]Edit, len(in.Eval))
		for i, a := range in.Eval {
			if len(in.Outside[a.ID]) == 0 {
				return nil, fmt.Errorf("%s: no self-edit for article %s (%s): give one for every passage, or lower data.eval_articles", l.Settings.Edits.File, a.ID, a.Title)
			}
			for _, text := range FirstNonBlank(in.Outside[a.ID], max(1, s.Edits)) {
				given[i] = append(given[i], Edit{Text: text})
			}
		}
		updates = append(updates, update{l.Settings.Edits.FileRow, given})
	}
	for _, u := range updates {
		if err := l.updateAll(ctx, in, &r.Experiment, u.row, u.edits); err != nil {
			return nil, fmt.Errorf("%s: %w", u.row, err)
		}
		r.Comparisons[u.row] = CompareVerdicts(r.Row(RowNoPassage).verdicts(), r.Row(u.row).verdicts())
	}
	return r, nil
}

// verdicts are a row's, end to end.
func (r *RowResult) verdicts() []bool {
	var out []bool
	for _, outcomes := range r.Articles {
		out = append(out, outcomes[0].Right...)
	}
	return out
}

// continueJob is the one update from all articles.
func (l *Lab) continueJob(row string, in []Article, edits [][]Edit) (nn.Job, error) {
	s := l.Settings
	var examples []Tokens
	for i, a := range in {
		var texts []string
		if edits != nil {
			for _, e := range edits[i] {
				texts = append(texts, e.Text)
			}
		}
		for _, text := range UpdateSequences(a, texts, len(texts), SequenceOptions{SplitNewlines: s.Edits.SplitNewlines}) {
			examples = append(examples, l.trainTokens(text))
		}
	}
	f := s.Inner.Finetune
	f.LR, f.Epochs, f.BatchSize = s.Continue.LR, s.Continue.Epochs, s.Continue.BatchSize
	return finetuneJob(f, examples, l.key(philox.PurposeInitAdapter, "continue", 0, row, 0, 0).Key(), func(epoch int) *philox.Stream {
		return philox.NewStream(l.key(philox.PurposeShuffleInner, "continue", epoch, row, 0, 0))
	})
}

// trainedFile stands beside what an update left.
const trainedFile = "update.json"

// updateAll trains one update on all articles, from its last checkpoint, and asks
// every question.
func (l *Lab) updateAll(ctx context.Context, in ContinueInputs, e *Experiment, row string, edits [][]Edit) error {
	name := "update-" + row
	job, err := l.continueJob(row, e.Articles, edits)
	if err != nil {
		return err
	}
	checkpoints := l.Run.Path(filepath.Join("checkpoints", name))
	total, done := job.Tokens(), 0
	opt := nn.FinetuneOptions{
		MaxTokens:  l.Settings.Run.MaxBatchTokens,
		Checkpoint: nn.Checkpoint{Dir: checkpoints, Every: l.Settings.Continue.Checkpoint},
		Progress: func(tokens int) {
			done += tokens
			l.progress(name, done, total)
		},
	}
	all := l.Settings.Continue.Train == "all"
	dir, err := l.Run.Artifact(filepath.Join("updates", name), func(path string) error {
		in.Model.Device().Trim()
		var result nn.JobResult
		if all {
			m, err := in.Open("")
			if err != nil {
				return err
			}
			defer m.Close()
			if result, err = m.FinetuneAll(ctx, job, opt); err != nil {
				return err
			}
			if result.Diverged == nil {
				if err := m.Save(path); err != nil {
					return err
				}
			}
		} else {
			results, err := in.Model.FinetuneAdapters(ctx, []nn.Job{job}, opt)
			if err != nil {
				return err
			}
			if result = results[0]; result.Diverged == nil {
				if err := result.Adapter.SavePEFT(path, l.Settings.Model.Dir, in.Model.Config); err != nil {
					return err
				}
			}
		}
		if result.Diverged != nil {
			return fmt.Errorf("the update diverged at %w: lower continue.lr", result.Diverged)
		}
		text, err := json.Marshal(Outcome{Steps: len(result.Losses), Tokens: total, Loss: result.Losses[len(result.Losses)-1]})
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(path, trainedFile), append(text, '\n'), 0o666)
	})
	if err != nil {
		return err
	}
	if err := os.RemoveAll(checkpoints); err != nil {
		return err
	}
	var trained Outcome
	if err := readResult(dir, trainedFile, &trained); err != nil {
		return err
	}
	m, adapter := in.Model, (*nn.Adapter)(nil)
	phase := "eval-" + name
	p, err := l.Run.Phase(phase)
	if err != nil {
		return err
	}
	switch {
	case p.Finished():
	case all:
		if m, err = in.Open(dir); err != nil {
			return err
		}
		defer m.Close()
	default:
		if adapter, err = nn.LoadPEFT(dir, m.Config); err != nil {
			return err
		}
	}
	var keys []string
	for _, a := range e.Articles {
		keys = append(keys, editKey(a, 0))
	}
	outcomes, err := inChunks(ctx, l, phase, keys, max(l.Settings.Run.MaxAdapters, l.Settings.Run.MaxDecodes), func(todo []int) ([]Outcome, error) {
		trials, out, adapters := make([]Trial, len(todo)), make([]Outcome, len(todo)), make([]*nn.Adapter, len(todo))
		for i, k := range todo {
			trials[i].Article, adapters[i], out[i] = e.Articles[k], adapter, trained
		}
		if err := l.answer(ctx, m, trials, adapters, out); err != nil {
			return nil, err
		}
		return out, l.grade(ctx, trials, out)
	})
	if err != nil {
		return err
	}
	result := RowResult{Name: row, Edits: edits}
	for _, o := range outcomes {
		result.Articles = append(result.Articles, []Outcome{o})
	}
	e.Rows = append(e.Rows, result)
	return nil
}

// ContinueFile is what a finished run leaves in its folder.
const ContinueFile = "continue.json"

// ExecuteContinue runs, or goes on with, continued pretraining in a run folder.
func ExecuteContinue(ctx context.Context, dir string, s settings.Settings, in ContinueInputs, opt Options) (*ContinueResult, error) {
	l, err := newLabFor(s, in.Inputs)
	if err != nil {
		return nil, err
	}
	if in.Eval, err = l.fitting(l.OrderArticles(in.Eval, "eval"), s.Data.EvalArticles, "evaluation", opt.Say); err != nil {
		return nil, err
	}
	var r *ContinueResult
	err = l.inFolder(dir, in.Inputs, opt, ContinueFile, func() (any, error) {
		r, err = l.Continue(ctx, in)
		return r, err
	})
	return r, err
}

// ReadContinue returns a finished run's result.
func ReadContinue(dir string) (*ContinueResult, error) {
	var r ContinueResult
	return &r, readResult(dir, ContinueFile, &r)
}
