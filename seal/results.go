package seal

import (
	"slices"

	"github.com/selkie-ml/selkie/internal/philox"
)

// Figure is a named mean over evaluation articles, in [0, 1], with its interval.
type Figure struct {
	Name string `json:"name"`
	Interval
}

// Results are the figures of one or several experiments.
type Results struct {
	Rows        []Figure `json:"rows"`
	Differences []Figure `json:"differences"`
}

// Compare computes the rows and paired differences of experiments with the same
// rows, their articles pooled. Differences are those of every later row of the
// main chain against the rows it should beat.
func Compare(experiments []*Experiment, resamples int) Results {
	var r Results
	first := experiments[0]
	units := map[string][]float64{}
	for _, row := range first.Rows {
		for _, e := range experiments {
			if other := e.Row(row.Name); other != nil {
				units[row.Name] = append(units[row.Name], other.PerArticle()...)
			}
		}
	}
	draw := func(what string) *philox.Stream {
		return philox.NewStream(philox.ID{Seed: first.Seed, Purpose: philox.PurposeBootstrap, Item: what})
	}
	for _, row := range first.Rows {
		r.Rows = append(r.Rows, Figure{row.Name, Bootstrap(units[row.Name], resamples, draw(row.Name))})
	}
	last := RowBase
	if n := len(first.Rounds); n > 0 {
		last = RowRound(n)
	}
	for _, pair := range [][2]string{
		{RowBase, RowPassageOnly}, {last, RowPassageOnly}, {last, RowBase}, {last, RowMatched}, {last, RowSteps}, {last, RowShuffled}, {RowShuffled, RowBase},
		{RowBase, RowInContext}, {last, RowInContext},
	} {
		a, b := units[pair[0]], units[pair[1]]
		name := pair[0] + " - " + pair[1]
		known := slices.ContainsFunc(r.Differences, func(f Figure) bool { return f.Name == name })
		if a == nil || b == nil || known || pair[0] == pair[1] {
			continue
		}
		r.Differences = append(r.Differences, Figure{name, PairedDifference(a, b, resamples, draw(name))})
	}
	return r
}
