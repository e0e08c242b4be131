package seal

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestDataGradeVerdict(t *testing.T) {
	type verdictCase struct {
		Text     string
		Expected bool
	}
	eachCase(t, "grade_verdict", func(c verdictCase) check {
		d := diff(c.Expected, ParseVerdict(c.Text))
		return check{d, d}
	})
}

// scriptedJudge replies as a case prescribes, in order; nil is a failure.
type scriptedJudge struct {
	replies []*string
	asked   int
}

func (j *scriptedJudge) Grade(_ context.Context, answers []Answer) ([]bool, error) {
	var verdicts []bool
	for range answers {
		j.asked++
		if j.asked > len(j.replies) {
			return nil, errors.New("no reply left")
		}
		reply := j.replies[j.asked-1]
		if reply == nil {
			return nil, errors.New("the judge failed")
		}
		verdicts = append(verdicts, ParseVerdict(*reply))
	}
	return verdicts, nil
}

type replyCase struct {
	Questions      []struct{ Question, Answer string }
	TrainSequences []string  `json:"train_sequences"`
	SkipTraining   bool      `json:"skip_training"`
	BaselineTexts  []string  `json:"baseline_texts"`
	AdapterTexts   []string  `json:"adapter_texts"`
	Replies        []*string `json:"judge_replies"`
	Calls          int       `json:"judge_calls"`
	Quirks         []string
	Expected       Comparison
}

func TestDataServerReply(t *testing.T) {
	eachCase(t, "server_reply", func(c replyCase) check {
		judge := &scriptedJudge{replies: c.Replies}
		grade := func(texts []string) ([]bool, error) {
			if len(texts) != len(c.Questions) {
				return nil, errors.New("generation failed")
			}
			var answers []Answer
			for i, q := range c.Questions {
				answers = append(answers, Answer{Question: q.Question, Gold: q.Answer, Answer: texts[i]})
			}
			return GradeAnswers(context.Background(), judge, answers)
		}
		baseline, err := grade(c.BaselineTexts)
		adapter := baseline
		if err == nil && !c.SkipTraining && len(c.TrainSequences) > 0 {
			adapter, err = grade(c.AdapterTexts)
		}
		if err != nil {
			failing := slices.Contains(c.Quirks, "failed-generation-loses-verdicts") || slices.Contains(c.Quirks, "judge-retry-policy")
			if failing {
				return check{exact: err.Error()} // decided: an error, not a score
			}
			return check{err.Error(), err.Error()}
		}
		got := CompareVerdicts(baseline, adapter)
		d := near("baseline", c.Expected.BaselineAccuracy, got.BaselineAccuracy) +
			near("adapter", c.Expected.AdapterAccuracy, got.AdapterAccuracy) +
			near("gain", c.Expected.AdapterGain, got.AdapterGain) +
			diff(orEmpty(c.Expected.BaselineCorrect), orEmpty(got.BaselineCorrect)) +
			diff(orEmpty(c.Expected.AdapterCorrect), orEmpty(got.AdapterCorrect)) +
			diff(orEmpty(c.Expected.Gains), orEmpty(got.Gains))
		if judge.asked != c.Calls {
			d += diff(c.Calls, judge.asked)
		}
		return check{d, d}
	})
}

func orEmpty[T any](s []T) []T { return append([]T{}, s...) }

type graderFunc func([]Answer) ([]bool, error)

func (f graderFunc) Grade(_ context.Context, a []Answer) ([]bool, error) { return f(a) }

func TestGradeAnswers(t *testing.T) {
	answers := []Answer{{Answer: "a"}, {Answer: " \n"}, {Answer: "b"}}
	got, err := GradeAnswers(context.Background(), graderFunc(func(a []Answer) ([]bool, error) {
		if len(a) != 2 {
			t.Errorf("%d answers shown, want the 2 that are not blank", len(a))
		}
		return []bool{false, true}, nil
	}), answers)
	if err != nil || !slices.Equal(got, []bool{false, false, true}) {
		t.Errorf("%v, %v", got, err)
	}
	broken := errors.New("unreachable")
	if _, err := GradeAnswers(context.Background(), graderFunc(func([]Answer) ([]bool, error) { return nil, broken }), answers); !errors.Is(err, broken) {
		t.Errorf("error %v, want the judge's", err)
	}
	if _, err := GradeAnswers(context.Background(), graderFunc(func([]Answer) ([]bool, error) { return []bool{true}, nil }), answers); err == nil || !strings.Contains(err.Error(), "1 verdicts") {
		t.Errorf("error %v, want a count of verdicts", err)
	}
	if got, err := GradeAnswers(context.Background(), nil, answers[1:2]); err != nil || got[0] {
		t.Errorf("only blanks: %v, %v", got, err)
	}
}
