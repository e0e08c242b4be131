package seal

import (
	"fmt"
	"math"
)

// Matrix holds accuracies of a sequence of K self-edits: K+1 rows of K columns.
// Row 0 is the untouched model on every datapoint; row r, after r updates, has
// datapoints 0 to r−1 and zeros after them.
type Matrix [][]float64

// ContinualMatrix builds the matrix of one sequence: base has a score per
// datapoint, after[r] one for each of datapoints 0 to r.
func ContinualMatrix(base []Score, after [][]Score) Matrix {
	if len(base) != len(after) {
		panic(lengthMismatch("ContinualMatrix", len(base), len(after), "datapoints"))
	}
	m := Matrix{accuracies(base)}
	for r, scores := range after {
		if len(scores) != r+1 {
			panic(lengthMismatch("ContinualMatrix", r+1, len(scores), fmt.Sprintf("scores after update %d", r)))
		}
		row := make([]float64, len(base))
		copy(row, accuracies(scores))
		m = append(m, row)
	}
	return m
}

// ContinualSummary is the mean and sample deviation of every cell over sequences.
type ContinualSummary struct {
	Mean       Matrix `json:"mean_over_sequences"`
	Std        Matrix `json:"std_over_sequences"`
	Sequences  int    `json:"n_sequences"`
	Datapoints int    `json:"n_datapoints"`
}

// SummariseContinual summarises matrices of one size.
func SummariseContinual(matrices []Matrix) ContinualSummary {
	s := ContinualSummary{Sequences: len(matrices)}
	if len(matrices) == 0 {
		return s
	}
	s.Datapoints = len(matrices[0]) - 1
	for _, m := range matrices {
		if len(m) != s.Datapoints+1 {
			panic(lengthMismatch("SummariseContinual", s.Datapoints+1, len(m), "rows"))
		}
	}
	cell := make([]float64, len(matrices))
	s.Mean, s.Std = newMatrix(s.Datapoints), newMatrix(s.Datapoints)
	for r := range s.Mean {
		for c := range s.Mean[r] {
			for i, m := range matrices {
				cell[i] = m[r][c]
			}
			s.Mean[r][c], s.Std[r][c] = Mean(cell), Std(cell)
		}
	}
	return s
}

// PoolContinual merges several runs into what one run over all their sequences
// would report: means weighted by sequences, and the deviation of the pooled
// sequences, within and between runs. Averaging the deviations would lose what
// is between. Runs over different numbers of datapoints are an error.
func PoolContinual(runs []ContinualSummary) (ContinualSummary, error) {
	if len(runs) == 0 {
		return ContinualSummary{}, fmt.Errorf("no runs to pool")
	}
	pooled := ContinualSummary{Datapoints: runs[0].Datapoints}
	for i, run := range runs {
		if run.Datapoints != pooled.Datapoints {
			return pooled, fmt.Errorf("run %d has %d datapoints, run 0 has %d: only runs of one length can be pooled", i, run.Datapoints, pooled.Datapoints)
		}
		if err := run.check(); err != nil {
			return pooled, fmt.Errorf("run %d: %w", i, err)
		}
		pooled.Sequences += run.Sequences
	}
	pooled.Mean, pooled.Std = newMatrix(pooled.Datapoints), newMatrix(pooled.Datapoints)
	for r := range pooled.Mean {
		for c := range pooled.Mean[r] {
			mean := 0.0
			for _, run := range runs {
				mean += float64(run.Sequences) * run.Mean[r][c]
			}
			mean /= float64(pooled.Sequences)
			squares := 0.0 // summed squared deviations from the pooled mean
			for _, run := range runs {
				n, d := float64(run.Sequences), run.Mean[r][c]-mean
				squares += (n-1)*run.Std[r][c]*run.Std[r][c] + n*d*d
			}
			pooled.Mean[r][c] = mean
			if pooled.Sequences > 1 {
				pooled.Std[r][c] = math.Sqrt(squares / float64(pooled.Sequences-1))
			}
		}
	}
	return pooled, nil
}

func (s ContinualSummary) check() error {
	if s.Sequences < 1 {
		return fmt.Errorf("%d sequences: expected at least one", s.Sequences)
	}
	if err := s.Mean.check("mean", s.Datapoints); err != nil {
		return err
	}
	return s.Std.check("deviation", s.Datapoints)
}

func (m Matrix) check(name string, datapoints int) error {
	if len(m) != datapoints+1 {
		return fmt.Errorf("the %s has %d rows: expected %d", name, len(m), datapoints+1)
	}
	for r, row := range m {
		if len(row) != datapoints {
			return fmt.Errorf("row %d of the %s has %d columns: expected %d", r, name, len(row), datapoints)
		}
	}
	return nil
}

func newMatrix(datapoints int) Matrix {
	m := make(Matrix, datapoints+1)
	for r := range m {
		m[r] = make([]float64, datapoints)
	}
	return m
}

func lengthMismatch(op string, want, got int, what string) string {
	return fmt.Sprintf("seal: %s: expected %d %s, got %d", op, want, what, got)
}
