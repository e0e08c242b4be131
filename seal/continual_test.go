package seal

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

type continualCase struct {
	Sequences []struct {
		Questions []int    `json:"questions_per_datapoint"`
		Base      []string `json:"base_row"`
		After     []string `json:"after_step"`
	}
	Expected struct {
		Matrices []Matrix `json:"sequence_matrices"`
		Mean     Matrix   `json:"mean_over_sequences"`
		Std      Matrix   `json:"std_over_sequences"`
	}
}

func TestDataContinual(t *testing.T) {
	eachCase(t, "continual", func(c continualCase) check {
		var matrices []Matrix
		d := ""
		for i, s := range c.Sequences {
			var base []Score
			for _, b := range s.Base {
				base = append(base, ScoreOf(bits(b)))
			}
			var after [][]Score
			for step, all := range s.After {
				var scores []Score
				for k := 0; k <= step; k++ {
					scores = append(scores, ScoreOf(bits(all[:s.Questions[k]])))
					all = all[s.Questions[k]:]
				}
				after = append(after, scores)
			}
			m := ContinualMatrix(base, after)
			matrices = append(matrices, m)
			d += nearMatrix(fmt.Sprintf("sequence %d", i), c.Expected.Matrices[i], m, 1e-12)
		}
		got := SummariseContinual(matrices)
		d += nearMatrix("mean", c.Expected.Mean, got.Mean, 1e-12) + nearMatrix("deviation", c.Expected.Std, got.Std, 1e-12)
		return check{d, d}
	})
}

func nearMatrix(name string, want, got Matrix, tolerance float64) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%s: %d rows, want %d\n", name, len(got), len(want))
	}
	for r := range want {
		if len(want[r]) != len(got[r]) {
			return fmt.Sprintf("%s: row %d has %d columns, want %d\n", name, r, len(got[r]), len(want[r]))
		}
		for c := range want[r] {
			if math.Abs(want[r][c]-got[r][c]) > tolerance {
				return fmt.Sprintf("%s[%d][%d]: %v, want %v\n", name, r, c, got[r][c], want[r][c])
			}
		}
	}
	return ""
}

type continualAverageCase struct {
	Runs     []ContinualSummary
	Quirks   []string
	Expected struct {
		ContinualSummary
		Pooled Matrix `json:"pooled_std"`
	}
}

func TestDataContinualAverage(t *testing.T) {
	eachCase(t, "continual_average", func(c continualAverageCase) check {
		got, err := PoolContinual(c.Runs)
		if err != nil {
			return check{err.Error(), err.Error()}
		}
		const rounding = 0.5e-4 + 1e-9
		want := c.Expected
		sizes := ""
		if got.Sequences != want.Sequences || got.Datapoints != want.Datapoints {
			sizes = fmt.Sprintf("%d sequences of %d, want %d of %d\n", got.Sequences, got.Datapoints, want.Sequences, want.Datapoints)
		}
		mean := nearMatrix("mean", want.Mean, got.Mean, rounding)
		decidedMean := mean
		if plain := newMatrix(got.Datapoints); mean != "" {
			// The reference averages; that is pooling only for runs of one size.
			for r := range plain {
				for col := range plain[r] {
					for _, run := range c.Runs {
						plain[r][col] += run.Mean[r][col] / float64(len(c.Runs))
					}
				}
			}
			if nearMatrix("average", want.Mean, plain, rounding) == "" {
				decidedMean = ""
			}
		}
		return check{
			exact:   sizes + mean + nearMatrix("deviation", want.Std, got.Std, rounding),
			decided: sizes + decidedMean + nearMatrix("pooled deviation", want.Pooled, got.Std, rounding),
		}
	})
}

// Pooling summaries must give what summarising all sequences at once gives.
func TestPoolContinual(t *testing.T) {
	draw := stream(4)
	var all []Matrix
	var runs []ContinualSummary
	for _, sequences := range []int{1, 3, 2} {
		var run []Matrix
		for range sequences {
			m := newMatrix(2)
			for r := range m {
				for c := range m[r] {
					m[r][c] = draw.Float64()
				}
			}
			run = append(run, m)
		}
		all = append(all, run...)
		runs = append(runs, SummariseContinual(run))
	}
	want := SummariseContinual(all)
	got, err := PoolContinual(runs)
	if err != nil || got.Sequences != 6 || got.Datapoints != 2 {
		t.Fatalf("%d sequences of %d, %v", got.Sequences, got.Datapoints, err)
	}
	if d := nearMatrix("mean", want.Mean, got.Mean, 1e-12) + nearMatrix("deviation", want.Std, got.Std, 1e-12); d != "" {
		t.Error(d)
	}
	short := SummariseContinual([]Matrix{newMatrix(1)})
	ragged := runs[0]
	ragged.Std = slices.Clone(ragged.Std)
	ragged.Std[1] = nil
	for _, c := range []struct {
		runs []ContinualSummary
		want string
	}{
		{nil, "no runs"},
		{append(slices.Clone(runs), short), "run 3 has 1 datapoints, run 0 has 2"},
		{[]ContinualSummary{ragged}, "row 1 of the deviation has 0 columns"},
		{[]ContinualSummary{{Datapoints: 2}}, "0 sequences"},
	} {
		if _, err := PoolContinual(c.runs); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func TestContinualMatrixShapes(t *testing.T) {
	got := ContinualMatrix([]Score{{1, 2}, {0, 2}}, [][]Score{{{2, 2}}, {{1, 2}, {2, 2}}})
	if d := diff(Matrix{{0.5, 0}, {1, 0}, {0.5, 1}}, got); d != "" {
		t.Error(d)
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic for a row of the wrong length")
		}
	}()
	ContinualMatrix([]Score{{1, 2}, {0, 2}}, [][]Score{{{2, 2}}, {{1, 2}}})
}
