package demo

import (
	"fmt"

	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/world"
)

// StyleShares is how often a model wrote each style of self-edit about the
// evaluation passages, and how good its lines were.
type StyleShares struct {
	Row      string    `json:"row"`
	Shares   []float64 `json:"shares"`   // by world.Style, the last: no style's
	Facts    float64   `json:"facts"`    // right facts of a passage's eight, mean
	Accuracy float64   `json:"accuracy"` // right lines among those that state a fact
}

// StyleNames are the names of StyleShares.Shares.
func StyleNames() []string {
	var names []string
	for s := range world.StyleCount {
		names = append(names, s.String())
	}
	return append(names, "other")
}

// styleShares classifies the self-edits of every row that has its own.
func styleShares(experiments []*seal.Experiment, split world.Split) []StyleShares {
	people := map[string]world.Person{}
	for seed, e := range experiments {
		for i, t := range world.Tasks(world.Recipe.WorldSeed, split, seed*len(e.Articles), len(e.Articles)) {
			people[e.Articles[i].ID] = t.Person
		}
	}
	var out []StyleShares
	for _, row := range experiments[0].Rows {
		s := StyleShares{Row: row.Name, Shares: make([]float64, world.StyleCount+1)}
		n, stated, right := 0, 0, 0
		for _, e := range experiments {
			for i, edits := range e.Row(row.Name).Edits {
				for _, edit := range edits {
					notes := world.Classify(edit.Text, people[e.Articles[i].ID])
					style := int(world.StyleCount)
					if notes.Style >= 0 && notes.Style < world.StyleCount {
						style = int(notes.Style)
					}
					s.Shares[style]++
					s.Facts += float64(notes.Covered)
					stated, right = stated+notes.Stated, right+notes.Correct
					n++
				}
			}
		}
		if n == 0 || row.Name == oracleRow {
			continue
		}
		for i := range s.Shares {
			s.Shares[i] /= float64(n)
		}
		s.Facts /= float64(n)
		s.Accuracy = float64(right) / float64(max(1, stated))
		out = append(out, s)
	}
	return out
}

// String is a line for the terminal.
func (s StyleShares) String() string {
	text := fmt.Sprintf("%-22s", s.Row)
	for i, name := range StyleNames() {
		text += fmt.Sprintf(" %s %2.0f %%", name, 100*s.Shares[i])
	}
	return text + fmt.Sprintf("; %.1f facts of 8 right", s.Facts)
}
