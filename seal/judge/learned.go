package judge

import (
	"context"
	_ "embed"
	"slices"
	"strings"
	"sync"

	"github.com/selkie-ml/selkie/seal/judge/internal/boost"
)

// Learned judges offline as GPT-4.1 did on 13,780 answers of SEAL's published
// runs: trees over what the answer and the gold answer have in common (see
// features.go). docs/graders.md has its figures and its recipe.
type Learned struct{}

// Made by: go run ./seal/judge/fit -data graded_answers.jsonl -out seal/judge/zlearned.bin
//
//go:embed zlearned.bin
var learnedFile []byte

var learned = sync.OnceValue(func() *boost.Model {
	m, err := boost.Unmarshal(learnedFile, featureCount())
	if err != nil {
		panic("judge: embedded zlearned.bin: " + err.Error())
	}
	return m
})

// Grade never fails.
func (Learned) Grade(_ context.Context, answers []Answer) ([]bool, error) {
	m := learned()
	verdicts := make([]bool, len(answers))
	for i, a := range answers {
		verdicts[i] = strings.TrimSpace(a.Answer) != "" && m.LogOdds(features(a)) > 0
	}
	return verdicts, nil
}

func featureCount() int {
	names, _ := featureNames()
	return len(names)
}

// Judged is an answer with the verdict to learn.
type Judged struct {
	Answer
	Correct bool
}

// FitLearned makes the file of Learned from judged answers. Blank ones, which
// are never shown to a grader, are left out.
func FitLearned(rows []Judged) []byte {
	x := make([][]float32, len(rows))
	for i, r := range rows {
		x[i] = features(r.Answer)
	}
	return fitTrees(rows, x).Marshal()
}

// fitTrees fits to rows with their features.
func fitTrees(rows []Judged, all [][]float32) *boost.Model {
	var x [][]float32
	var yes []bool
	var groups []int
	known := map[string]int{}
	for i, r := range rows {
		if strings.TrimSpace(r.Answer.Answer) == "" {
			continue
		}
		g, ok := known[r.Question]
		if !ok {
			g = len(known)
			known[r.Question] = g
		}
		x, yes, groups = append(x, all[i]), append(yes, r.Correct), append(groups, g)
	}
	m := boost.Fit(x, yes, options(groups))
	// Half the odds is the best threshold for single verdicts, but with it the rarer
	// verdict, yes, comes out too rarely, and accuracies are read as means: the bias is
	// moved half of the way to as many yeses as in the truth.
	odds, right := make([]float64, len(x)), 0
	for i := range x {
		odds[i] = m.LogOdds(x[i])
		if yes[i] {
			right++
		}
	}
	slices.Sort(odds)
	if 0 < right && right < len(odds) {
		m.Bias -= float32((odds[len(odds)-right-1] + odds[len(odds)-right]) / 4)
	}
	return m
}

func options(groups []int) boost.Options {
	_, directions := featureNames()
	// Chosen by cross-validation over questions; depth 3 to 6, one to four hundred
	// trees, and averages of several fits are all within 0.2 points.
	return boost.Options{
		Trees: 100, Depth: 3, Rate: 0.05, Penalty: 10, MinChild: 20, Rows: 0.5, Columns: 0.25, Seed: 1, Group: groups, Rising: directions,
	}
}
