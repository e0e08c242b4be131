package judge

import (
	"context"
	"hash/fnv"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/testdata"
	"github.com/selkie-ml/selkie/seal/judge/internal/boost"
)

// TestDataLearned prints how the learned grader agrees with GPT-4.1: fitted on
// four fifths of the questions and measured on the rest, and as it is shipped.
// The shipped trees were fitted on these very answers unless other files have
// taken their place, so the first figure is the one to believe.
func TestDataLearned(t *testing.T) {
	rows, err := ReadJudged(filepath.Join(testdata.Dir(t), "grading", "graded_answers.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	x := make([][]float32, len(rows))
	for i, r := range rows {
		x[i] = features(r.Answer)
	}
	const folds = 5
	fold := func(r Judged) int {
		h := fnv.New32a()
		h.Write([]byte(r.Question))
		return int(h.Sum32() % folds)
	}
	crossed := make([]bool, len(rows))
	for f := range folds {
		var train []Judged
		var trainX [][]float32
		for i, r := range rows {
			if fold(r) != f {
				train, trainX = append(train, r), append(trainX, x[i])
			}
		}
		if len(train) == 0 {
			t.Fatalf("%d answers are too few to be parted by question", len(rows))
		}
		m := fitTrees(train, trainX)
		for i, r := range rows {
			if fold(r) == f {
				crossed[i] = strings.TrimSpace(r.Answer.Answer) != "" && m.LogOdds(x[i]) > 0
			}
		}
	}
	answers := make([]Answer, len(rows))
	for i, r := range rows {
		answers[i] = r.Answer
	}
	shipped, err := Learned{}.Grade(context.Background(), answers)
	if err != nil {
		t.Fatal(err)
	}
	match, _ := Match{}.Grade(context.Background(), answers)
	questions := map[string]bool{}
	for _, r := range rows {
		questions[r.Question] = true
	}
	t.Logf("%d answers to %d questions", len(rows), len(questions))
	for _, g := range []struct {
		name     string
		verdicts []bool
		least    float64
	}{{"learned, cross-validated by question", crossed, 0.89}, {"learned, as shipped", shipped, 0.89}, {"match", match, 0.87}} {
		agree := report(t, g.name, rows, g.verdicts)
		if agree < g.least {
			t.Errorf("%s: agreement %.4f is below %.2f", g.name, agree, g.least)
		}
	}
}

// report prints agreement, precision, recall and bias, and returns the first.
func report(t *testing.T, name string, rows []Judged, verdicts []bool) float64 {
	t.Helper()
	truth := make([]bool, len(rows))
	at := map[bool]float64{true: 1}
	type sums struct{ truth, verdict, n float64 }
	perQuestion := map[string]*sums{}
	for i, r := range rows {
		truth[i] = r.Correct
		q := perQuestion[r.Question]
		if q == nil {
			q = &sums{}
			perQuestion[r.Question] = q
		}
		q.n++
		q.truth += at[r.Correct]
		q.verdict += at[verdicts[i]]
	}
	c := Compare(verdicts, truth)
	mean, spread := 0.0, 0.0
	for _, r := range rows { // in the file's order, so that sums repeat
		q := perQuestion[r.Question]
		d := (q.verdict - q.truth) / q.n
		mean += d / q.n
		spread += d * d / q.n
	}
	mean /= float64(len(perQuestion))
	spread = math.Sqrt(spread / float64(len(perQuestion)))
	t.Logf("%s: %v over answers, %+.2f over questions (a question alone by %.0f)", name, c, 100*mean, 100*spread)
	if name != "match" && (math.Abs(c.Bias) > 0.02 || math.Abs(mean) > 0.02) {
		t.Errorf("%s: mean accuracy is off by %+.4f over answers and %+.4f over questions, at most 0.02 is allowed", name, c.Bias, mean)
	}
	return c.Agreement
}

func TestLearned(t *testing.T) {
	for _, c := range []struct {
		question, gold, answer string
		want                   bool
	}{
		{"Where was he born?", "Smiljan", "He was born in Smiljan.", true},
		{"Where was he born?", "Smiljan", "He was born in Graz.", false},
		{"Topic: Tesla\nWhere was he born?", "Smiljan", "Smiljan", true},
		{"How many men fought?", "2,000", "About 2000 men fought.", true},
		{"How many men fought?", "2,000", "About 20,000 men fought.", false},
		{"Which?", "東京", "東京。", true},
		{"Which?", "x", " ", false},
	} {
		got, err := Learned{}.Grade(context.Background(), []Answer{{c.question, c.gold, c.answer}})
		if err != nil || got[0] != c.want {
			t.Errorf("%q, gold %q, answer %q: %v, %v, want %v", c.question, c.gold, c.answer, got, err, c.want)
		}
	}
}

// Whatever a model answers, the features are finite and as many as the trees know.
func FuzzFeatures(f *testing.F) {
	f.Add("Who?", "A, B and C", "a\x00b \xff 1,2,3 ’s")
	f.Add("", "", "")
	f.Add("Topic: x", "’", "'s 's")
	n := featureCount()
	f.Fuzz(func(t *testing.T, q, g, a string) {
		x := features(Answer{q, g, a})
		if len(x) != n {
			t.Fatalf("%d features, want %d", len(x), n)
		}
		for i, v := range x {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				t.Fatalf("feature %d is %v", i, v)
			}
		}
	})
}

func TestDamagedTrees(t *testing.T) {
	n := featureCount()
	for i := range learnedFile {
		if i > 64 && i < len(learnedFile)-64 {
			continue
		}
		if _, err := boost.Unmarshal(learnedFile[:i], n); err == nil {
			t.Errorf("cut off after %d bytes: no error", i)
		}
	}
	if _, err := boost.Unmarshal(append(learnedFile[:len(learnedFile):len(learnedFile)], 0), n); err == nil {
		t.Error("a byte too many: no error")
	}
	if _, err := boost.Unmarshal(learnedFile, 1); err == nil {
		t.Error("features that are not there: no error")
	}
}
