package seal

import "cmp"

// Score counts right answers. Scores are kept and compared as counts, so that
// equal ones are equal.
type Score struct {
	Correct int `json:"correct"`
	Asked   int `json:"asked"`
}

// ScoreOf counts the right verdicts.
func ScoreOf(verdicts []bool) Score {
	s := Score{Asked: len(verdicts)}
	for _, right := range verdicts {
		if right {
			s.Correct++
		}
	}
	return s
}

// Accuracy is in [0, 1]; it is 0 where nothing was asked.
func (s Score) Accuracy() float64 {
	if s.Asked == 0 {
		return 0
	}
	return float64(s.Correct) / float64(s.Asked)
}

// Plus pools two scores. Over seeds, which ask the same questions, the pooled
// accuracy is the mean of the accuracies: it is a self-edit's reward.
func (s Score) Plus(o Score) Score { return Score{s.Correct + o.Correct, s.Asked + o.Asked} }

// Compare orders by accuracy, exactly.
func (s Score) Compare(o Score) int {
	switch {
	case s.Asked == 0 && o.Asked == 0:
		return 0
	case s.Asked == 0:
		return cmp.Compare(0, o.Correct)
	case o.Asked == 0:
		return cmp.Compare(s.Correct, 0)
	}
	return cmp.Compare(s.Correct*o.Asked, o.Correct*s.Asked)
}
