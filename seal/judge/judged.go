package judge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
)

// ReadJudged reads judged answers: {question, gold, answer, correct}, one object a line.
func ReadJudged(path string) ([]Judged, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	answers, truth, err := parseAnswers(path, data)
	if err != nil {
		return nil, err
	}
	if truth == nil {
		return nil, fmt.Errorf("%s: expected a verdict, correct, on every line", path)
	}
	rows := make([]Judged, len(answers))
	for i, a := range answers {
		rows[i] = Judged{a, truth[i]}
	}
	return rows, nil
}

// ReadAnswers reads answers with or without verdicts, which are nil unless every
// line has one.
func ReadAnswers(path string) ([]Answer, []bool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	return parseAnswers(path, data)
}

func parseAnswers(path string, data []byte) (answers []Answer, truth []bool, err error) {
	for i, line := range bytes.Split(data, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var row struct {
			Question, Gold, Answer *string
			Correct                *bool
		}
		if err := json.Unmarshal(line, &row); err != nil {
			return nil, nil, fmt.Errorf("%s:%d: expected {question, gold, answer, correct}: %w", path, i+1, err)
		}
		if row.Question == nil || row.Gold == nil || row.Answer == nil {
			return nil, nil, fmt.Errorf("%s:%d: expected the fields question, gold and answer", path, i+1)
		}
		answers = append(answers, Answer{*row.Question, *row.Gold, *row.Answer})
		if row.Correct != nil {
			truth = append(truth, *row.Correct)
		}
	}
	if len(answers) == 0 {
		return nil, nil, fmt.Errorf("%s: holds no answers", path)
	}
	if len(truth) < len(answers) {
		truth = nil
	}
	return answers, truth, nil
}

// Comparison says how verdicts agree with the truth.
type Comparison struct {
	Agreement    float64 `json:"agreement"`
	YesPrecision float64 `json:"yes_precision"`
	YesRecall    float64 `json:"yes_recall"`
	NoPrecision  float64 `json:"no_precision"`
	NoRecall     float64 `json:"no_recall"`
	Bias         float64 `json:"bias"` // mean accuracy by the verdicts less that by the truth
}

// Compare sets verdicts against the truth, one for each.
func Compare(verdicts, truth []bool) Comparison {
	var n [2][2]float64 // [truth][verdict]
	at := map[bool]int{true: 1}
	for i, v := range verdicts {
		n[at[truth[i]]][at[v]]++
	}
	share := func(a, b float64) float64 {
		if b == 0 {
			return 0
		}
		return a / b
	}
	total := float64(len(verdicts))
	return Comparison{
		Agreement:    share(n[0][0]+n[1][1], total),
		YesPrecision: share(n[1][1], n[0][1]+n[1][1]), YesRecall: share(n[1][1], n[1][0]+n[1][1]),
		NoPrecision: share(n[0][0], n[0][0]+n[1][0]), NoRecall: share(n[0][0], n[0][0]+n[0][1]),
		Bias: share(n[0][1]-n[1][0], total),
	}
}

// String tells the comparison in words.
func (c Comparison) String() string {
	return fmt.Sprintf("agreement %.2f %%; yes: precision %.1f %%, recall %.1f %%; no: precision %.1f %%, recall %.1f %%; mean accuracy off by %+.2f points",
		100*c.Agreement, 100*c.YesPrecision, 100*c.YesRecall, 100*c.NoPrecision, 100*c.NoRecall, 100*c.Bias)
}
