package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/testdata"
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
				answers = append(answers, Answer{q.Question, q.Answer, texts[i]})
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

// TestDataGrading prints how MatchGrader agrees with GPT-4.1, and that its
// share of telling words is not fitted to the answers: chosen on four fifths of
// the questions, it is measured on the rest.
func TestDataGrading(t *testing.T) {
	path := filepath.Join(testdata.Dir(t), "grading", "graded_answers.jsonl")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const folds = 5
	shares := [][2]int{{1, 2}, {3, 5}, {2, 3}, {3, 4}, {1, 1}}
	var agree [folds][]int // [fold][share]
	for f := range agree {
		agree[f] = make([]int, len(shares))
	}
	var answers []Answer
	var truth []bool
	for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		var row struct {
			Question, Gold, Answer string
			Correct                bool
		}
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatalf("%s:%d: %v", path, i+1, err)
		}
		a := Answer{row.Question, row.Gold, row.Answer}
		answers, truth = append(answers, a), append(truth, row.Correct)
		h := fnv.New32a()
		h.Write([]byte(row.Question))
		fold, m := h.Sum32()%folds, matchWords(a)
		for k, s := range shares {
			if (m.numbers && s[1]*m.found >= s[0]*m.telling) == row.Correct {
				agree[fold][k]++
			}
		}
	}
	if len(answers) == 0 {
		t.Fatalf("%s holds no answers", path)
	}
	verdicts, err := GradeAnswers(context.Background(), MatchGrader{}, answers)
	if err != nil {
		t.Fatal(err)
	}
	var right, wrong, missed, agreed int
	for i, v := range verdicts {
		switch {
		case v && truth[i]:
			right++
		case v:
			wrong++
		case truth[i]:
			missed++
		}
		if v == truth[i] {
			agreed++
		}
	}
	heldOut := 0
	for f := range folds {
		best, bestScore := 0, -1
		for k := range shares {
			score := 0
			for g := range folds {
				if g != f {
					score += agree[g][k]
				}
			}
			if score > bestScore {
				best, bestScore = k, score
			}
		}
		heldOut += agree[f][best]
		t.Logf("fold %d: share %d/%d chosen on the others", f, shares[best][0], shares[best][1])
	}
	n := float64(len(answers))
	agreement := float64(agreed) / n
	t.Logf("%d answers: agreement with GPT-4.1 %.2f %%, precision %.2f %%, recall %.2f %%; cross-validated by question %.2f %%",
		len(answers), 100*agreement, 100*float64(right)/float64(max(1, right+wrong)),
		100*float64(right)/float64(max(1, right+missed)), 100*float64(heldOut)/n)
	if agreement < 0.87 {
		t.Errorf("agreement %.4f is below 0.87", agreement)
	}
}

func TestMatchGrader(t *testing.T) {
	for _, c := range []struct {
		question, gold, answer string
		want                   bool
	}{
		{"Where was he born?", "Smiljan", "He was born in Smiljan.", true},
		{"Where was he born?", "Smiljan", "He was born in Graz.", false},
		{"How many?", "two", "2 teams", true},
		{"How many?", "2,000", "About 2000 men.", true},
		{"How many?", "2,000", "About 20,000 men.", false},
		{"How many?", "1,234,567", "1234567", true},
		{"When?", "January 1661", "In January.", false},
		{"Which day?", "the 5th of May", "May 5", true},
		{"How much?", "80%", "80 percent", true},
		{"How much?", "2.5%", "2 or 5 percent", false},
		{"What of the plant's engine?", "steam turbines", "A steam turbine.", true},
		{"Which army?", "the Prussian army", "The Russian army.", false},
		{"Which army?", "the Prussian army", "It was Prussian.", true},
		{"Which?", "the", "The.", true},
		{"Whose?", "Tesla's", "Tesla", true},
		{"Whose?", "the dogs' owner", "the dogs’ owner", true},
		{"Which?", "Émile Zola", "émile zola", true},
		{"Which?", "東京", "東京。", true},
		{"Which?", "!", "!", false}, // no words to look for
	} {
		got, err := MatchGrader{}.Grade(context.Background(), []Answer{{c.question, c.gold, c.answer}})
		if err != nil || got[0] != c.want {
			t.Errorf("%q, gold %q, answer %q: %v, %v, want %v", c.question, c.gold, c.answer, got, err, c.want)
		}
	}
}

func TestParseVerdict(t *testing.T) {
	for reply, want := range map[string]bool{
		"yes": true, "Yes.": true, "**YES**": true, "no": false, "": false, "yes or no": false,
		"yesterday": false, "yes_": false, "yés": false, "none, yes": true, "yes1": false, "yes②": false, "не yes": true,
	} {
		if got := ParseVerdict(reply); got != want {
			t.Errorf("ParseVerdict(%q) = %v", reply, got)
		}
	}
}

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
