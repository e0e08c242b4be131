package arc

import (
	"cmp"
	"slices"
)

// Candidate is a grid with the votes it got.
type Candidate struct {
	Output Grid `json:"output"`
	Votes  int  `json:"votes"` // of the second round
	Count  int  `json:"count"` // predictions
}

// candidatesPerGroup is how many grids each group sends into the second round.
const candidatesPerGroup = 3

// Rank votes over predictions: all of them, and those of each transform apart,
// send their three most frequent grids into a second round with one vote each;
// a lone prediction of a group sends all three votes to its grid. Grids come
// with the most votes first, then with the most predictions, then as they
// appeared.
func Rank(predictions []Prediction) []Candidate {
	var all []Candidate
	groups := [][]int{nil} // of indices into all; the first holds every prediction
	place := map[string]int{}
	for _, p := range predictions {
		name := ""
		if p.Transform != nil {
			name = p.Transform.String()
		}
		if place[name] == 0 {
			place[name] = len(groups)
			groups = append(groups, nil)
		}
		at := slices.IndexFunc(all, func(c Candidate) bool { return c.Output.Equal(p.Output) })
		if at < 0 {
			at = len(all)
			all = append(all, Candidate{Output: p.Output})
		}
		all[at].Count++
		groups[0] = append(groups[0], at)
		groups[place[name]] = append(groups[place[name]], at)
	}
	for _, g := range groups {
		if len(g) == 1 {
			all[g[0]].Votes += candidatesPerGroup
			continue
		}
		for _, at := range mostFrequent(g, candidatesPerGroup) {
			all[at].Votes++
		}
	}
	slices.SortStableFunc(all, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.Votes, a.Votes), cmp.Compare(b.Count, a.Count))
	})
	return all
}

// mostFrequent returns the n most frequent items; of equal ones the first to
// appear.
func mostFrequent(items []int, n int) []int {
	count := map[int]int{}
	var distinct []int
	for _, i := range items {
		if count[i]++; count[i] == 1 {
			distinct = append(distinct, i)
		}
	}
	slices.SortStableFunc(distinct, func(a, b int) int { return cmp.Compare(count[b], count[a]) })
	return distinct[:min(n, len(distinct))]
}

// Guesses are the two answers to a test input; both nil without predictions.
type Guesses [2]Grid

// Vote returns the two grids that rank highest, the same one twice when there
// is no other.
func Vote(predictions []Prediction) Guesses {
	ranked := Rank(predictions)
	switch len(ranked) {
	case 0:
		return Guesses{}
	case 1:
		return Guesses{ranked[0].Output, ranked[0].Output}
	}
	return Guesses{ranked[0].Output, ranked[1].Output}
}

// Solve tells whether a guess is the solution.
func (g Guesses) Solve(solution Grid) bool {
	return g[0] != nil && g[0].Equal(solution) || g[1] != nil && g[1].Equal(solution)
}
