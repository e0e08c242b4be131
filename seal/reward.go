package seal

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/seal/judge"
)

// Names of the rewards, the values of outer.reward.
const (
	RewardAccuracy = "accuracy" // of answers after the update: the paper's
	RewardLoss     = "loss"     // how likely the gold answers are after the update
	RewardRubric   = "rubric"   // what a judge thinks of the self-edit's text
)

// Reward values the self-edits of a round. Scores are counts, so that equal
// ones are equal whatever they are of.
type Reward interface {
	// Name tells the reward's phase in the journal apart.
	Name() string
	// Measure returns a score for every self-edit, [article][self-edit].
	Measure(ctx context.Context, c *Chain, round int, r *Round) ([][]Score, error)
}

// rewardOf returns a reward by its name.
func (l *Lab) rewardOf(name string) Reward {
	switch name {
	case RewardLoss:
		return testReward{l, RewardLoss}
	case RewardRubric:
		return rubricReward{l}
	}
	return testReward{l, RewardAccuracy}
}

// measureRewards measures the reward that selects, and those to be compared with it.
func (l *Lab) measureRewards(ctx context.Context, c *Chain, round int, r *Round) error {
	var err error
	if r.Rewards, err = l.rewardOf(l.Settings.Outer.Reward).Measure(ctx, c, round, r); err != nil {
		return err
	}
	for _, name := range l.Settings.Outer.Compare {
		if r.Others == nil {
			r.Others = map[string][][]Score{}
		}
		if r.Others[name], err = l.rewardOf(name).Measure(ctx, c, round, r); err != nil {
			return err
		}
	}
	return nil
}

// testReward updates the model on a self-edit, for every inner seed, and tests it.
type testReward struct {
	lab  *Lab
	name string
}

func (t testReward) Name() string { return t.name }

// Measure pools the inner seeds. Blank self-edits are tested on the passage alone;
// selection passes them over.
func (t testReward) Measure(ctx context.Context, c *Chain, round int, r *Round) ([][]Score, error) {
	l := t.lab
	var trials []Trial
	for i, a := range r.Articles {
		for e, edit := range r.Edits[i] {
			for seed := range l.Settings.Inner.Seeds {
				trials = append(trials, Trial{Article: a, Edit: e, Seed: seed, Sequences: l.sequences(a, edit.Text), Likelihood: t.name == RewardLoss})
			}
		}
	}
	what := "rewards"
	if t.name != RewardAccuracy {
		what += "-" + t.name
	}
	outcomes, err := l.Test(ctx, phaseName(what, c.Arm, round), c.current, trials)
	if err != nil {
		return nil, err
	}
	rewards := make([][]Score, len(r.Articles))
	for i := range r.Articles {
		rewards[i] = make([]Score, len(r.Edits[i]))
		for e := range r.Edits[i] {
			for range l.Settings.Inner.Seeds {
				rewards[i][e] = rewards[i][e].Plus(outcomes[0].score())
				outcomes = outcomes[1:]
			}
		}
	}
	return rewards, nil
}

// likelihoodUnit makes a likelihood a count.
const likelihoodUnit = 1_000_000

// score is what an outcome counts as: right answers of those asked, or the
// likelihood of the gold answers in millionths.
func (o Outcome) score() Score {
	if o.GoldLoss == nil {
		return ScoreOf(o.Right)
	}
	return Score{Correct: int(math.Round(likelihoodUnit * math.Exp(-*o.GoldLoss))), Asked: likelihoodUnit}
}

// rubricReward asks the judge to score self-edits without any update.
type rubricReward struct{ lab *Lab }

func (rubricReward) Name() string { return RewardRubric }

// rubricParts are scored 1 to 5 each: the paper's proxy reward.
var rubricParts = []string{"length", "diversity", "quality", "correctness"}

func (t rubricReward) Measure(ctx context.Context, c *Chain, round int, r *Round) ([][]Score, error) {
	l := t.lab
	var keys []string
	var chats [][]judge.Message
	for i, a := range r.Articles {
		for e, edit := range r.Edits[i] {
			keys = append(keys, editKey(a, e))
			chats = append(chats, chatMessages(l.Prompts.RubricChat.Fill(Values{Title: a.Title, Context: a.Context, Edit: edit.Text})))
		}
	}
	scores, err := inChunks(ctx, l, phaseName("rewards-rubric", c.Arm, round), keys, 4*l.Settings.Judge.Concurrency, func(todo []int) ([]Score, error) {
		part := make([][]judge.Message, len(todo))
		for i, k := range todo {
			part[i] = chats[k]
		}
		replies, err := l.client(rubricTokens).Ask(ctx, part, func(i int, reply string) error {
			if _, err := parseRubric(reply); err != nil {
				return fmt.Errorf("on self-edit %s: %w", keys[todo[i]], err)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		out := make([]Score, len(replies))
		for i, r := range replies {
			if out[i], err = parseRubric(r.Text); err != nil {
				return nil, err
			}
		}
		return out, nil
	})
	if err != nil {
		return nil, fmt.Errorf("scoring self-edits by the rubric: %w", err)
	}
	rewards := make([][]Score, len(r.Articles))
	for i := range r.Articles {
		n := len(r.Edits[i])
		rewards[i], scores = scores[:n:n], scores[n:]
	}
	return rewards, nil
}

// rubricTokens is the longest reply to a rubric.
const rubricTokens = 200

var jsonObject = regexp.MustCompile(`(?s)\{.*\}`)

// parseRubric reads {"length": 4, …}, with text around it or without.
func parseRubric(reply string) (Score, error) {
	var parts map[string]float64
	if err := json.Unmarshal([]byte(jsonObject.FindString(reply)), &parts); err != nil {
		return Score{}, fmt.Errorf("expected a JSON object of the scores %s, got %.100q", strings.Join(rubricParts, ", "), reply)
	}
	s := Score{Asked: 5 * len(rubricParts)}
	for _, name := range rubricParts {
		v, ok := parts[name]
		if !ok || v != math.Trunc(v) || v < 1 || v > 5 {
			return Score{}, fmt.Errorf("expected %s to be a whole number from 1 to 5, got %.100q", name, reply)
		}
		s.Correct += int(v)
	}
	return s, nil
}

// Agreement compares two rewards of the same self-edits. Rank correlations are
// means over the passages on which both rewards distinguish some edits.
type Agreement struct {
	A        string  `json:"a"`
	B        string  `json:"b"`
	Kendall  float64 `json:"kendall"`  // tau-b
	Spearman float64 `json:"spearman"` // of mean ranks
	SameBest float64 `json:"same_best"`
	Passages int     `json:"passages"`
	Compared int     `json:"compared"` // passages that the correlations are over
}

// Agreements compares every pair of a round's rewards.
func (r *Round) Agreements(reward string) []Agreement {
	names := []string{reward}
	all := map[string][][]Score{reward: r.Rewards}
	for _, name := range []string{RewardAccuracy, RewardLoss, RewardRubric} {
		if scores, ok := r.Others[name]; ok {
			names, all[name] = append(names, name), scores
		}
	}
	var out []Agreement
	for i, a := range names {
		for _, b := range names[i+1:] {
			out = append(out, agreement(a, b, all[a], all[b]))
		}
	}
	return out
}

func agreement(nameA, nameB string, a, b [][]Score) Agreement {
	g := Agreement{A: nameA, B: nameB, Passages: len(a)}
	same := 0
	for i := range a {
		if best(a[i]) == best(b[i]) {
			same++
		}
		x, y := accuracies(a[i]), accuracies(b[i])
		if slices.Max(x) == slices.Min(x) || slices.Max(y) == slices.Min(y) {
			continue
		}
		g.Compared++
		g.Kendall += Kendall(x, y)
		g.Spearman += Spearman(x, y)
	}
	if len(a) > 0 {
		g.SameBest = float64(same) / float64(len(a))
	}
	if g.Compared > 0 {
		g.Kendall /= float64(g.Compared)
		g.Spearman /= float64(g.Compared)
	}
	return g
}

// best is the earlier of the best scores.
func best(scores []Score) int {
	at := 0
	for i, s := range scores {
		if s.Compare(scores[at]) > 0 {
			at = i
		}
	}
	return at
}

// Kendall is the rank correlation tau-b of paired values: 1 for equal orders, −1
// for opposite ones; 0 where one side has no order.
func Kendall(x, y []float64) float64 {
	var onlyX, onlyY float64
	sum := 0.0
	for i := range x {
		for j := range i {
			a, b := sign(x[i]-x[j]), sign(y[i]-y[j])
			sum += a * b
			onlyX += a * a
			onlyY += b * b
		}
	}
	if onlyX == 0 || onlyY == 0 {
		return 0
	}
	return sum / math.Sqrt(onlyX*onlyY)
}

func sign(v float64) float64 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return 0
}

// Spearman is the correlation of the ranks of paired values, equal values at
// their mean rank; 0 where one side has no order.
func Spearman(x, y []float64) float64 {
	a, b := ranks(x), ranks(y)
	meanA, meanB := Mean(a), Mean(b)
	var ab, aa, bb float64
	for i := range a {
		ab += (a[i] - meanA) * (b[i] - meanB)
		aa += (a[i] - meanA) * (a[i] - meanA)
		bb += (b[i] - meanB) * (b[i] - meanB)
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}

func ranks(x []float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		for _, w := range x {
			if w < v {
				out[i]++
			} else if w == v {
				out[i] += 0.5
			}
		}
	}
	return out
}
