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
	var rows []Judged
	for i, line := range bytes.Split(data, []byte("\n")) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var row struct {
			Question, Gold, Answer *string
			Correct                *bool
		}
		if err := json.Unmarshal(line, &row); err != nil {
			return nil, fmt.Errorf("%s:%d: expected {question, gold, answer, correct}: %w", path, i+1, err)
		}
		if row.Question == nil || row.Gold == nil || row.Answer == nil || row.Correct == nil {
			return nil, fmt.Errorf("%s:%d: expected the fields question, gold, answer and correct", path, i+1)
		}
		rows = append(rows, Judged{Answer{*row.Question, *row.Gold, *row.Answer}, *row.Correct})
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: holds no judged answers", path)
	}
	return rows, nil
}
