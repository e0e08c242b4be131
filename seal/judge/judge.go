// Package judge decides whether answers are right: by rules, by a small model
// that is part of the program, by a language model behind an endpoint, or by a
// user's command.
package judge

import (
	"context"
	"strings"
	"unicode"
)

// Answer is one answer to be judged. Question is as it was asked (it may begin
// with a line "Topic: …"), Gold the reference.
type Answer struct{ Question, Gold, Answer string }

// Grader judges answers.
type Grader interface {
	// Grade returns a verdict per answer: whether it says what the gold answer
	// says. A judge that cannot be reached or understood is an error, never a
	// verdict of wrong.
	Grade(ctx context.Context, answers []Answer) ([]bool, error)
}

// ParseVerdict reads a judge's reply: right when it has the word "yes" and not
// the word "no", in any case. Anything ambiguous is wrong. Letters, digits and
// the underscore of every script make words.
func ParseVerdict(reply string) bool {
	yes, no := verdictWords(reply)
	return yes && !no
}

func verdictWords(reply string) (yes, no bool) {
	for _, word := range strings.FieldsFunc(reply, func(r rune) bool {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r)
	}) {
		yes = yes || strings.EqualFold(word, "yes")
		no = no || strings.EqualFold(word, "no")
	}
	return yes, no
}

// Exact accepts an answer that equals the gold answer, but for white space
// around either.
type Exact struct{}

// Grade never fails.
func (Exact) Grade(_ context.Context, answers []Answer) ([]bool, error) {
	verdicts := make([]bool, len(answers))
	for i, a := range answers {
		verdicts[i] = strings.TrimSpace(a.Answer) == strings.TrimSpace(a.Gold)
	}
	return verdicts, nil
}
