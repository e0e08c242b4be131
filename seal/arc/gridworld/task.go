package gridworld

import (
	"fmt"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/seal/arc"
)

// Demonstrations of every task that is learnt and tested.
const Demonstrations = 5

// NewTask draws a task of a family: demonstrations and a test, all different,
// of one size.
func NewTask(f Family, demonstrations int, s *philox.Stream) arc.Task {
	functions := make([]function, len(f))
	for i, r := range f {
		functions[i] = rules[r].draw(s)
	}
	rows, cols := f.size()
	apply := func(g arc.Grid) arc.Grid {
		for _, fn := range functions {
			g = fn.apply(g)
		}
		return g
	}
	var pairs []arc.Pair
	seen := map[string]bool{}
	for len(pairs) <= demonstrations {
		in := make(arc.Grid, rows)
		for i := range in {
			in[i] = make([]int8, cols)
			for j := range in[i] {
				in[i][j] = int8(1 + s.IntN(9))
			}
		}
		for _, fn := range functions {
			if fn.ready != nil {
				fn.ready(in, s)
			}
		}
		if out := apply(in); !seen[in.String()] && (len(f) == 0 || !out.Equal(in)) {
			seen[in.String()] = true
			pairs = append(pairs, arc.Pair{Input: in, Output: out})
		}
	}
	return arc.Task{Train: pairs[:demonstrations], Test: pairs[demonstrations]}
}

// size is that of a family's inputs: 3 × 3, and where the output is twice as
// large 2 × 2, or 3 in the direction of a move.
func (f Family) size() (rows, cols int) {
	size := [2]int{3, 3}
	if f.has(tiling) {
		size = [2]int{2, 2}
		for _, r := range f {
			if a := rules[r].axis; a >= 0 {
				size[a] = 3
			}
		}
	}
	return size[0], size[1]
}

// Tasks returns n tasks of a split from number first on, family after family
// in a drawn order. A task depends on seed, split and its number alone.
func Tasks(seed uint64, split Split, first, n int) []arc.Challenge {
	families := Families(split, 1)
	out := make([]arc.Challenge, n)
	for i := range out {
		number := first + i
		round := number / len(families)
		order := philox.NewStream(philox.ID{Seed: seed, Purpose: philox.PurposeWorld, Item: "families of " + split.String(), Round: round}).Perm(len(families))
		f := families[order[number%len(families)]]
		t := NewTask(f, Demonstrations, philox.NewStream(philox.ID{Seed: seed, Purpose: philox.PurposeWorld, Item: "task of " + split.String(), Edit: number}))
		out[i] = arc.Challenge{ID: fmt.Sprintf("%s-%04d (%s)", split, number, f), Train: t.Train, Tests: []arc.Pair{t.Test}}
	}
	return out
}
