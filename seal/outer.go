package seal

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn"
)

// Chain is a model under reinforcement: the base weights, which are kept, and
// the adapters of the rounds so far. Weights are always the base with all
// adapters merged in and rounded once.
type Chain struct {
	Arm      string // empty for the main chain
	base     *nn.Model
	adapters []*nn.Adapter
	current  *nn.Model
}

// NewChain starts a chain from a model, which stays the caller's.
func NewChain(arm string, base *nn.Model) *Chain { return &Chain{Arm: arm, base: base, current: base} }

// Model returns the model after the rounds so far.
func (c *Chain) Model() *nn.Model { return c.current }

// Close frees what the chain merged.
func (c *Chain) Close() error {
	if c.current == c.base {
		return nil
	}
	err := c.current.Close()
	c.current = c.base
	return err
}

// Round is one iteration of ReST-EM as it was: what the model wrote, how each
// self-edit fared, and which were kept.
type Round struct {
	Articles []Article `json:"articles"`
	Edits    [][]Edit  `json:"edits"`   // [article][self-edit]
	Rewards  [][]Score `json:"rewards"` // over the inner seeds; nil in a chain that does not measure
	Kept     [][]int   `json:"kept"`    // indices of edits, best first
	// Others are further rewards of the same edits, by their names.
	Others map[string][][]Score `json:"other_rewards,omitempty"`
}

// Reinforce runs one round of ReST-EM (Algorithm 1 of the paper): sample
// self-edits, reward each by finetuning and testing, keep the best, finetune the
// model on them, merge.
func (l *Lab) Reinforce(ctx context.Context, c *Chain, round int, articles []Article) (*Round, error) {
	r := &Round{Articles: articles}
	var err error
	if r.Edits, err = l.SampleEdits(ctx, phaseName("edits", c.Arm, round), c.Arm, round, c.current, articles, l.Settings.Edits.PerArticle); err != nil {
		return nil, err
	}
	if err := l.measureRewards(ctx, c, round, r); err != nil {
		return nil, err
	}
	r.Kept = l.keepAll(c.Arm, round, r)
	return r, l.learn(ctx, c, round, r)
}

// keepAll chooses the self-edits that the model is finetuned on: article by
// article, as the kind of task does, or by another policy.
func (l *Lab) keepAll(arm string, round int, r *Round) [][]int {
	kept := make([][]int, len(r.Articles))
	candidates, opts := make([][]Candidate, len(r.Articles)), make([]SelectOptions, len(r.Articles))
	for i, a := range r.Articles {
		candidates[i] = r.candidates(i)
		kept[i] = l.keep(arm, round, a, candidates[i])
		opts[i] = l.selectOptions(arm, round, a)
	}
	if p := l.Settings.Outer.Select; p != SelectAboveMean && p != SelectTopShare {
		return kept
	}
	return SelectAll(l.Settings.Outer.Select, candidates, opts, l.Settings.Outer.Share)
}

// keep chooses the best self-edits of an article.
func (l articles) keep(arm string, round int, a Article, edits []Candidate) []int {
	return Select(edits, l.selectOptions(arm, round, a))
}

func (l *Lab) selectOptions(arm string, round int, a Article) SelectOptions {
	opt := SelectOptions{Best: l.Settings.Outer.Keep, SkipTied: l.Settings.Outer.SkipTied}
	if l.Settings.Outer.Ties == "draw" {
		opt.Draw = func(edit int) uint64 {
			return philox.NewStream(l.key(philox.PurposeBreakTie, arm, round, a.ID, edit, 0)).Uint64()
		}
	}
	return opt
}

// Imitate is the control of Reinforce: it keeps as many self-edits of as many
// articles as the measured round like did, but drawn at random, which is what
// selecting by rewards permuted within each article comes to.
func (l *Lab) Imitate(ctx context.Context, c *Chain, round int, like *Round) (*Round, error) {
	r := &Round{Articles: like.Articles, Kept: make([][]int, len(like.Articles))}
	if round == 1 {
		r.Edits = like.Edits // written by the same model
	} else {
		var err error
		if r.Edits, err = l.SampleEdits(ctx, phaseName("edits", c.Arm, round), c.Arm, round, c.current, r.Articles, l.Settings.Edits.PerArticle); err != nil {
			return nil, err
		}
	}
	for i, a := range r.Articles {
		draw := func(edit int) uint64 {
			return philox.NewStream(l.key(philox.PurposePermute, c.Arm, round, a.ID, edit, 0)).Uint64()
		}
		r.Kept[i] = Select(r.candidates(i), SelectOptions{Best: len(like.Kept[i]), Draw: draw})
	}
	return r, l.learn(ctx, c, round, r)
}

func (r *Round) candidates(article int) []Candidate {
	out := make([]Candidate, len(r.Edits[article]))
	for i, e := range r.Edits[article] {
		out[i].Text = e.Text
		if r.Rewards != nil {
			out[i].Score = r.Rewards[article][i]
		}
	}
	return out
}

// sequences returns what an inner update trains on for a self-edit; the passage
// alone for an empty one.
func (l articles) sequences(a Article, edit string) []string {
	return TrainSequences(a.Title, a.Context, edit, SequenceOptions{SplitNewlines: l.Settings.Edits.SplitNewlines})
}

// learn is the outer update: finetune on the kept (prompt, self-edit) pairs,
// keep the adapter in the run folder, merge. Nothing kept: the model stays.
func (l *Lab) learn(ctx context.Context, c *Chain, round int, r *Round) error {
	var examples []Tokens
	for i, a := range r.Articles {
		text, ids, err := l.editPrompt(a)
		if err != nil {
			return err
		}
		for _, record := range Records(text, r.candidates(i), r.Kept[i]) {
			e := CompletionTokens(l.Tokenizer, ids, record.Completion, l.end)
			e.IDs = e.IDs[:min(len(e.IDs), l.context)] // a self-edit may have filled the context
			examples = append(examples, e)
		}
	}
	if len(examples) == 0 {
		return nil
	}
	item := fmt.Sprintf("round-%d", round)
	job, err := finetuneJob(l.Settings.Outer.Finetune, examples,
		l.key(philox.PurposeInitAdapter, c.Arm, round, item, 0, 0).Key(),
		func(epoch int) *philox.Stream {
			return philox.NewStream(l.key(philox.PurposeShuffleOuter, c.Arm, round, item, epoch, 0))
		})
	if err != nil {
		return err
	}
	dir, err := l.Run.Artifact(filepath.Join("adapters", phaseName("round", c.Arm, round)), func(path string) error {
		c.base.Device().Trim()
		total, done := job.Tokens(), 0
		results, err := c.current.FinetuneAdapters(ctx, []nn.Job{job}, nn.FinetuneOptions{
			MaxTokens: l.Settings.Run.MaxBatchTokens,
			Progress: func(tokens int) {
				done += tokens
				l.progress(phaseName("learn", c.Arm, round), done, total)
			},
		})
		if err != nil {
			return err
		}
		if d := results[0].Diverged; d != nil {
			return fmt.Errorf("the outer update of round %d diverged at %w: lower outer.lr", round, d)
		}
		return results[0].Adapter.SavePEFT(path, l.Settings.Model.Dir, c.base.Config)
	})
	if err != nil {
		return err
	}
	adapter, err := nn.LoadPEFT(dir, c.base.Config)
	if err != nil {
		return err
	}
	return c.merge(adapter)
}

// merge adds a round's adapter to the chain.
func (c *Chain) merge(adapter *nn.Adapter) error {
	c.base.Device().Trim()
	adapters := append(c.adapters, adapter)
	merged, err := c.base.Merge(adapters)
	if err != nil {
		return err
	}
	if err := c.Close(); err != nil {
		merged.Close()
		return err
	}
	c.adapters, c.current = adapters, merged
	return nil
}

// phaseName is WHAT-ROUND in the main chain, WHAT-ARM-ROUND in others.
func phaseName(what, arm string, round int) string {
	if arm == "" {
		return fmt.Sprintf("%s-%d", what, round)
	}
	return fmt.Sprintf("%s-%s-%d", what, arm, round)
}
