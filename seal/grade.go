package seal

import (
	"context"
	"fmt"
	"strings"

	"github.com/selkie-ml/selkie/seal/judge"
)

// Answer is one answer to be judged. Question is as it was asked (see
// TopicQuestion), Gold the reference.
type Answer = judge.Answer

// Grader judges answers; package judge has several.
type Grader = judge.Grader

// Graders that need nothing but the answers.
type (
	MatchGrader = judge.Match
	ExactGrader = judge.Exact
)

// ParseVerdict reads a judge's reply, see judge.ParseVerdict.
func ParseVerdict(reply string) bool { return judge.ParseVerdict(reply) }

// GradeAnswers has a grader judge answers. Blank ones are wrong and are not shown to it.
func GradeAnswers(ctx context.Context, g Grader, answers []Answer) ([]bool, error) {
	verdicts := make([]bool, len(answers))
	var asked []Answer
	var places []int
	for i, a := range answers {
		if strings.TrimSpace(a.Answer) != "" {
			asked, places = append(asked, a), append(places, i)
		}
	}
	if len(asked) == 0 {
		return verdicts, nil
	}
	given, err := g.Grade(ctx, asked)
	if err != nil {
		return nil, fmt.Errorf("grading %d answers: %w", len(asked), err)
	}
	if len(given) != len(asked) {
		return nil, fmt.Errorf("grading %d answers: the grader returned %d verdicts", len(asked), len(given))
	}
	for i, place := range places {
		verdicts[place] = given[i]
	}
	return verdicts, nil
}
