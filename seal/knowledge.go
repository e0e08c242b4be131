package seal

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/seal/arc"
)

// Names of the rows of a knowledge-incorporation experiment.
const (
	RowNoPassage     = "no_passage"           // the base model, nothing trained
	RowPassageOnly   = "passage_only"         // trained on the passage
	RowMatched       = "passage_only_matched" // … for as many tokens as with the base's self-edits
	RowSteps         = "passage_only_steps"   // … for as many optimiser steps
	RowBase          = "base_self_edits"      // passage and the base model's self-edits
	RowShuffled      = "shuffled_control"     // after rounds whose rewards were permuted
	rowRoundTemplate = "seal_round_%d"        // after a round of reinforcement
)

// RowRound names the row after a round of reinforcement.
func RowRound(round int) string { return fmt.Sprintf(rowRoundTemplate, round) }

// RowResult is one way of updating the model, measured on every evaluation
// article.
type RowResult struct {
	Name     string      `json:"name"`
	Articles [][]Outcome `json:"articles"`        // [article][trial]: self-edits × seeds
	Edits    [][]Edit    `json:"edits,omitempty"` // [article][self-edit]; nil where none is written
}

// PerArticle returns each article's mean accuracy: the unit of every figure.
func (r RowResult) PerArticle() []float64 {
	out := make([]float64, len(r.Articles))
	for i, outcomes := range r.Articles {
		for _, o := range outcomes {
			out[i] += o.Accuracy() / float64(len(outcomes))
		}
	}
	return out
}

// Experiment is a finished knowledge-incorporation run.
type Experiment struct {
	Seed     uint64      `json:"seed"`
	Articles []Article   `json:"articles"` // of the evaluation
	Rows     []RowResult `json:"rows"`
	Rounds   []*Round    `json:"rounds"`
	// Tasks are the evaluation's, of few-shot learning.
	Tasks []arc.Challenge `json:"tasks,omitempty"`
}

// Row returns a row by its name, nil when it was not measured.
func (e *Experiment) Row(name string) *RowResult {
	for i := range e.Rows {
		if e.Rows[i].Name == name {
			return &e.Rows[i]
		}
	}
	return nil
}

// Knowledge is SEAL's experiment of knowledge incorporation: evaluate the base
// model without a passage, with the passage alone and with its own self-edits;
// reinforce; evaluate after every round. outside are self-edits made elsewhere
// for the evaluation articles, by article id, or nil.
func (l *Lab) Knowledge(ctx context.Context, base *nn.Model, train, eval []Article, outside map[string][]string) (*Experiment, error) {
	e := &Experiment{Seed: l.Settings.Run.Seed, Articles: eval}
	if err := l.evaluateBase(ctx, base, e); err != nil {
		return nil, err
	}
	if err := l.evaluateControls(ctx, base, e); err != nil {
		return nil, err
	}
	if outside != nil {
		if err := l.evaluateOutside(ctx, base, e, outside); err != nil {
			return nil, err
		}
	}
	return e, l.reinforceAndEvaluate(ctx, base, train, e)
}

// reinforceAndEvaluate runs the rounds, measures after each, and last the
// control.
func (l *Lab) reinforceAndEvaluate(ctx context.Context, base *nn.Model, train []Article, e *Experiment) error {
	chain := NewChain("", base)
	defer chain.Close()
	for round := 1; round <= l.Settings.Outer.Rounds; round++ {
		r, err := l.Reinforce(ctx, chain, round, l.roundArticles(train, round))
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		e.Rounds = append(e.Rounds, r)
		if err := l.evaluateEdits(ctx, e, RowRound(round), phaseName("eval", "", round), chain, round); err != nil {
			return err
		}
	}
	if l.control("shuffled") && len(e.Rounds) > 0 {
		return l.evaluateShuffled(ctx, base, e)
	}
	return nil
}

func (l *Lab) control(name string) bool { return slices.Contains(l.Settings.Eval.Controls, name) }

// articlesOfAllRounds is how many training articles the rounds use.
func (l *Lab) articlesOfAllRounds() int {
	if l.Settings.Outer.Contexts == "same" {
		return l.Settings.Outer.Articles
	}
	return l.Settings.Outer.Articles * l.Settings.Outer.Rounds
}

// roundArticles returns the training articles of a round.
func (l *Lab) roundArticles(train []Article, round int) []Article {
	n := min(l.Settings.Outer.Articles, len(train))
	if l.Settings.Outer.Contexts == "same" {
		return train[:n]
	}
	out := make([]Article, n)
	for i := range out {
		out[i] = train[((round-1)*n+i)%len(train)]
	}
	return out
}

// OrderArticles returns articles as the settings order them: as in the file, or
// drawn from the seed.
func (l *Lab) OrderArticles(articles []Article, what string) []Article {
	if !l.Settings.Data.Shuffle {
		return articles
	}
	out := make([]Article, len(articles))
	for i, j := range philox.NewStream(l.key(philox.PurposeChooseArticle, "", 0, what, 0, 0)).Perm(len(articles)) {
		out[i] = articles[j]
	}
	return out
}

// measure tests trials, n per evaluation article, and adds the row.
func (l *Lab) measure(ctx context.Context, e *Experiment, name, phase string, m *nn.Model, trials []Trial, edits [][]Edit) error {
	outcomes, err := l.Test(ctx, phase, m, trials)
	if err != nil {
		return err
	}
	row := RowResult{Name: name, Edits: edits, Articles: make([][]Outcome, len(e.Articles))}
	at := map[string]int{}
	for i, a := range e.Articles {
		at[a.ID] = i
	}
	for i, t := range trials {
		a := at[t.Article.ID]
		row.Articles[a] = append(row.Articles[a], outcomes[i])
	}
	e.Rows = append(e.Rows, row)
	return nil
}

// eachArticle makes trials of evaluation articles, one per inner seed.
func (l *Lab) eachArticle(e *Experiment, seeds int, f func(i int, a Article) Trial) []Trial {
	var trials []Trial
	for i, a := range e.Articles {
		for seed := range seeds {
			t := f(i, a)
			t.Article, t.Seed = a, seed
			trials = append(trials, t)
		}
	}
	return trials
}

// evaluateBase measures the base model: nothing trained, the passage alone, and
// its own self-edits.
func (l *Lab) evaluateBase(ctx context.Context, base *nn.Model, e *Experiment) error {
	untouched := l.eachArticle(e, 1, func(int, Article) Trial { return Trial{} })
	if err := l.measure(ctx, e, RowNoPassage, "eval-no-passage", base, untouched, nil); err != nil {
		return err
	}
	passage := l.eachArticle(e, l.Settings.Inner.EvalSeeds, func(_ int, a Article) Trial { return Trial{Sequences: l.sequences(a, "")} })
	if err := l.measure(ctx, e, RowPassageOnly, "eval-passage-only", base, passage, nil); err != nil {
		return err
	}
	if Kind(l.Settings.Edits.Kind) == KindNone {
		return nil
	}
	return l.evaluateEdits(ctx, e, RowBase, phaseName("eval", "", 0), NewChain("", base), 0)
}

// evaluateEdits has a chain's model write self-edits about the evaluation
// articles and measures them on that model.
func (l *Lab) evaluateEdits(ctx context.Context, e *Experiment, name, phase string, c *Chain, round int) error {
	edits, err := l.SampleEdits(ctx, "edits-"+phase, c.Arm, round, c.Model(), e.Articles, l.Settings.Edits.EvalPerArticle)
	if err != nil {
		return err
	}
	return l.measure(ctx, e, name, phase, c.Model(), l.editTrials(e, edits), edits)
}

func (l *Lab) editTrials(e *Experiment, edits [][]Edit) []Trial {
	var trials []Trial
	for i, a := range e.Articles {
		for k, edit := range edits[i] {
			for seed := range l.Settings.Inner.EvalSeeds {
				trials = append(trials, Trial{Article: a, Edit: k, Seed: seed, Sequences: l.sequences(a, edit.Text)})
			}
		}
	}
	return trials
}

// evaluateControls measures the passage alone, repeated until it has as many
// trained tokens, or optimiser steps, as the base model's self-edits had.
func (l *Lab) evaluateControls(ctx context.Context, base *nn.Model, e *Experiment) error {
	own := e.Row(RowBase)
	for _, c := range []struct {
		name   string
		amount func(Outcome) int
	}{
		{RowMatched, func(o Outcome) int { return o.Tokens }},
		{RowSteps, func(o Outcome) int { return o.Steps }},
	} {
		if own == nil || !l.control(c.name) {
			continue
		}
		passage := e.Row(RowPassageOnly)
		trials := l.eachArticle(e, l.Settings.Inner.EvalSeeds, func(i int, a Article) Trial {
			want := 0.0
			for _, o := range own.Articles[i] {
				want += float64(c.amount(o)) / float64(len(own.Articles[i]))
			}
			once := float64(c.amount(passage.Articles[i][0])) / float64(l.Settings.Inner.Epochs)
			return Trial{Sequences: l.sequences(a, ""), Epochs: max(1, int(math.Round(want/once)))}
		})
		phase := "eval-" + strings.ReplaceAll(c.name, "_", "-")
		if err := l.measure(ctx, e, c.name, phase, base, trials, nil); err != nil {
			return err
		}
	}
	return nil
}

// evaluateOutside measures self-edits made elsewhere on the base model.
func (l *Lab) evaluateOutside(ctx context.Context, base *nn.Model, e *Experiment, outside map[string][]string) error {
	edits := make([][]Edit, len(e.Articles))
	for i, a := range e.Articles {
		texts := outside[a.ID]
		if len(texts) == 0 {
			return fmt.Errorf("%s: no self-edit for article %s (%s): give one for every evaluation article, or lower data.eval_articles", l.Settings.Edits.File, a.ID, a.Title)
		}
		for _, text := range texts[:min(len(texts), l.Settings.Edits.EvalPerArticle)] {
			edits[i] = append(edits[i], Edit{Text: text})
		}
	}
	return l.measure(ctx, e, l.Settings.Edits.FileRow, "eval-outside", base, l.editTrials(e, edits), edits)
}

// evaluateShuffled repeats the rounds with permuted rewards, several times, and
// pools the permutations' outcomes article by article.
func (l *Lab) evaluateShuffled(ctx context.Context, base *nn.Model, e *Experiment) error {
	pooled := RowResult{Name: RowShuffled, Articles: make([][]Outcome, len(e.Articles)), Edits: make([][]Edit, len(e.Articles))}
	for p := range l.Settings.Eval.Permutations {
		chain := NewChain(fmt.Sprintf("shuffled-%d", p), base)
		last := len(e.Rounds)
		for round := 1; round <= last; round++ {
			if _, err := l.Imitate(ctx, chain, round, e.Rounds[round-1]); err != nil {
				chain.Close()
				return fmt.Errorf("control %s, round %d: %w", chain.Arm, round, err)
			}
		}
		one := Experiment{Articles: e.Articles}
		err := l.evaluateEdits(ctx, &one, RowShuffled, phaseName("eval", chain.Arm, last), chain, last)
		chain.Close()
		if err != nil {
			return err
		}
		for i := range e.Articles {
			pooled.Articles[i] = append(pooled.Articles[i], one.Rows[0].Articles[i]...)
			pooled.Edits[i] = append(pooled.Edits[i], one.Rows[0].Edits[i]...)
		}
	}
	e.Rows = append(e.Rows, pooled)
	return nil
}
