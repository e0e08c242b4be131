package arc

import "fmt"

// Attempts are the two answers to a test input in a submission.
type Attempts struct {
	First  Grid `json:"attempt_1"`
	Second Grid `json:"attempt_2"`
}

// noAnswer stands in a submission where nothing was answered.
var noAnswer = Grid{{0}}

// Submission returns guesses by task and test input as ARC's files of answers
// hold them. Test inputs without guesses get the grid [[0]].
func Submission(guesses map[string][]Guesses) map[string][]Attempts {
	out := map[string][]Attempts{}
	for id, list := range guesses {
		for _, g := range list {
			a := Attempts{g[0], g[1]}
			if a.First == nil {
				a.First = noAnswer
			}
			if a.Second == nil {
				a.Second = a.First
			}
			out[id] = append(out[id], a)
		}
	}
	return out
}

// Score is how many test inputs and tasks a submission solves.
type Score struct {
	Inputs, InputsRight int // test inputs attempted, and those right
	Tasks               int // of the challenges
	Solved              map[string]bool
	Points              float64 // tasks solved, or with parts the sum of each task's share of right inputs
}

// Evaluate scores a submission: a test input is right when either attempt is
// exact, a task solved when all its test inputs are right. A task that is not
// in the submission counts as not solved. With parts, a task counts by the
// share of its inputs that are right.
func Evaluate(submission map[string][]Attempts, solutions map[string][]Grid, parts bool) (Score, error) {
	s := Score{Tasks: len(solutions), Solved: map[string]bool{}}
	for id, attempts := range submission {
		want, ok := solutions[id]
		if !ok {
			return s, fmt.Errorf("the submission has task %s, which has no solutions", id)
		}
		right := 0
		for i, a := range attempts[:min(len(attempts), len(want))] {
			s.Inputs++
			if (Guesses{a.First, a.Second}).Solve(want[i]) {
				right++
			}
		}
		s.InputsRight += right
		s.Solved[id] = right == len(want)
		switch {
		case parts:
			s.Points += float64(right) / float64(len(want))
		case right == len(want):
			s.Points++
		}
	}
	return s, nil
}
