package gridworld

import (
	"slices"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/seal/arc"
)

// kind orders rules: a pair has two of different kinds, the lower first, so
// that no function of grids has two names.
type kind int

const (
	turning kind = iota // symmetries of the square
	moving              // rolls by one
	tiling              // the grid and a copy
	recolouring
	painting
)

// rule is a family of functions on grids; draw fixes its colours.
type rule struct {
	name string
	kind kind
	// axis is the side that must be longer than two, as a roll of two is a flip;
	// −1: none.
	axis int
	draw func(s *philox.Stream) function
}

// function is a rule with its colours. ready puts what the rule needs into a grid.
type function struct {
	apply func(arc.Grid) arc.Grid
	ready func(g arc.Grid, s *philox.Stream)
}

func fixed(t arc.Transform) func(*philox.Stream) function {
	return func(*philox.Stream) function { return function{apply: t.Apply} }
}

var rules = []rule{
	{"flip 0", turning, -1, fixed(arc.Flip(0))},
	{"flip 1", turning, -1, fixed(arc.Flip(1))},
	{"rotate 180", turning, -1, fixed(arc.Rotate(180))},
	{"transpose", turning, -1, fixed(arc.Transpose{})},
	{"move down", moving, 0, fixed(arc.Translate{Down: 1})},
	{"move right", moving, 1, fixed(arc.Translate{Right: 1})},
	{"tile right", tiling, -1, fixed(arc.Repeat{Rows: 1, Cols: 2})},
	{"mirror right", tiling, -1, fixed(arc.Reflect{Axis: 1})},
	{"replace", recolouring, -1, drawReplace},
	{"swap", recolouring, -1, drawSwap},
	{"paint top", painting, -1, paint(func(i, _ int) bool { return i == 0 })},
	{"paint left", painting, -1, paint(func(_, j int) bool { return j == 0 })},
}

// twoColours draws two different colours other than the background.
func twoColours(s *philox.Stream) (a, b int8) {
	a = int8(1 + s.IntN(9))
	b = int8(1 + s.IntN(8))
	if b >= a {
		b++
	}
	return a, b
}

func drawReplace(s *philox.Stream) function {
	a, b := twoColours(s)
	r := arc.Recolouring{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	r[a] = b
	return function{r.Apply, func(g arc.Grid, s *philox.Stream) { sprinkle(g, s, a) }}
}

func drawSwap(s *philox.Stream) function {
	a, b := twoColours(s)
	r := arc.Recolouring{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	r[a], r[b] = b, a
	return function{r.Apply, func(g arc.Grid, s *philox.Stream) { sprinkle(g, s, a, b) }}
}

// sprinkle puts two cells of each colour into a grid.
func sprinkle(g arc.Grid, s *philox.Stream, colours ...int8) {
	order := s.Perm(len(g) * len(g[0]))
	for i, at := range order[:min(2*len(colours), len(order)-1)] {
		g[at/len(g[0])][at%len(g[0])] = colours[i%len(colours)]
	}
}

func paint(inside func(i, j int) bool) func(*philox.Stream) function {
	return func(s *philox.Stream) function {
		colour := int8(1 + s.IntN(9))
		return function{apply: func(g arc.Grid) arc.Grid {
			out := make(arc.Grid, len(g))
			for i := range g {
				out[i] = slices.Clone(g[i])
				for j := range out[i] {
					if inside(i, j) {
						out[i][j] = colour
					}
				}
			}
			return out
		}}
	}
}

// Family is one rule, or two of different kinds one after the other.
type Family []int // indices into rules

// String is the family's name, as in "flip 0, then replace".
func (f Family) String() string {
	name := rules[f[0]].name
	for _, r := range f[1:] {
		name += ", then " + rules[r].name
	}
	return name
}

func (f Family) has(k kind) bool {
	return slices.ContainsFunc(f, func(r int) bool { return rules[r].kind == k })
}

// Split says what a family is for. No family belongs to two.
type Split int

// The splits of the world.
const (
	Pretraining   Split = iota // documents: all single rules, and some pairs
	Reinforcement              // tasks of the outer loop
	Tuning                     // tasks on which settings are chosen
	Evaluation                 // tasks of the reported figures
	splitCount
)

// String returns the split's name.
func (s Split) String() string {
	return [splitCount]string{"pretraining", "reinforcement", "tuning", "evaluation"}[s]
}

// SplitOf returns the split of a family: pretraining for single rules; of the
// pairs a quarter each, by their name's hash.
func SplitOf(f Family) Split {
	if len(f) == 1 {
		return Pretraining
	}
	return Split(philox.ID{Purpose: philox.PurposeWorld, Item: "family " + f.String()}.Key()[0] % uint32(splitCount))
}

// Families lists a split's families with so many rules, in order.
func Families(split Split, length int) []Family {
	var all []Family
	for i, a := range rules {
		if length == 1 {
			all = append(all, Family{i})
			continue
		}
		for j, b := range rules {
			if a.kind < b.kind {
				all = append(all, Family{i, j})
			}
		}
	}
	return slices.DeleteFunc(all, func(f Family) bool { return SplitOf(f) != split })
}
