package gridworld

import (
	"fmt"
	"slices"
	"strings"

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
	mending // one side made like the other
)

// rule is a family of functions on grids; draw fixes its colours.
type rule struct {
	name string
	kind kind
	// axis is the side that must be longer than two, as a roll of two is a flip;
	// −1: none.
	axis int
	draw func(s *philox.Stream) function
	// unseen rules are in no document of pretraining.
	unseen bool
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
	{"flip 0", turning, -1, fixed(arc.Flip(0)), false},
	{"flip 1", turning, -1, fixed(arc.Flip(1)), false},
	{"rotate 180", turning, -1, fixed(arc.Rotate(180)), false},
	{"transpose", turning, -1, fixed(arc.Transpose{}), false},
	{"move down", moving, 0, fixed(arc.Translate{Down: 1}), false},
	{"move right", moving, 1, fixed(arc.Translate{Right: 1}), false},
	{"tile right", tiling, -1, fixed(arc.Repeat{Rows: 1, Cols: 2}), false},
	{"mirror right", tiling, -1, fixed(arc.Reflect{Axis: 1}), false},
	{"replace", recolouring, -1, drawReplace, false},
	{"swap", recolouring, -1, drawSwap, false},
	{"paint top", painting, -1, paint(func(i, _ int) bool { return i == 0 }), false},
	{"paint left", painting, -1, paint(func(_, j int) bool { return j == 0 }), false},

	{"tile down", tiling, -1, fixed(arc.Repeat{Rows: 2, Cols: 1}), true},
	{"mirror down", tiling, -1, fixed(arc.Reflect{Axis: 0}), true},
	{"mirror up", tiling, -1, fixed(arc.Reflect{Axis: 0, MirroredFirst: true}), true},
	{"mirror left", tiling, -1, fixed(arc.Reflect{Axis: 1, MirroredFirst: true}), true},
	{"symmetry top", mending, -1, fixed(rearranged{rows: [3]int{0, 1, 0}, cols: [3]int{0, 1, 2}}), true},
	{"symmetry bottom", mending, -1, fixed(rearranged{rows: [3]int{2, 1, 2}, cols: [3]int{0, 1, 2}}), true},
	{"symmetry left", mending, -1, fixed(rearranged{rows: [3]int{0, 1, 2}, cols: [3]int{0, 1, 0}}), true},
	{"symmetry right", mending, -1, fixed(rearranged{rows: [3]int{0, 1, 2}, cols: [3]int{2, 1, 2}}), true},
	{"paint bottom", painting, -1, stencil("...|...|xxx"), true},
	{"paint right", painting, -1, stencil("..x|..x|..x"), true},
	{"paint row", painting, -1, stencil("...|xxx|..."), true},
	{"paint column", painting, -1, stencil(".x.|.x.|.x."), true},
	{"paint diagonal", painting, -1, stencil("x..|.x.|..x"), true},
	{"paint rise", painting, -1, stencil("..x|.x.|x.."), true},
	{"paint corners", painting, -1, stencil("x.x|...|x.x"), true},
	{"paint edges", painting, -1, stencil(".x.|x.x|.x."), true},
	{"paint centre", painting, -1, stencil("...|.x.|..."), true},
	{"paint cross", painting, -1, stencil("x.x|.x.|x.x"), true},
	{"paint plus", painting, -1, stencil(".x.|xxx|.x."), true},
	{"paint corner", painting, -1, stencil("xx.|x..|..."), true},
	{"paint foot", painting, -1, stencil("...|..x|.xx"), true},
	{"paint block", painting, -1, stencil("xx.|xx.|..."), true},
	{"paint last block", painting, -1, stencil("...|.xx|.xx"), true},
	{"paint hook", painting, -1, stencil("x..|x..|xx."), true},
	{"paint dots", painting, -1, stencil("x..|...|..x"), true},
	{"paint knight", painting, -1, stencil(".x.|...|x.x"), true},
	{"paint roof", painting, -1, stencil(".x.|x.x|..."), true},
	{"paint valley", painting, -1, stencil("...|x.x|.x."), true},
	{"paint bars", painting, -1, stencil("x.x|x.x|x.x"), true},
	{"paint lines", painting, -1, stencil("xxx|...|xxx"), true},
	{"paint frame", painting, -1, stencil("xxx|x.x|xxx"), true},
	{"paint step", painting, -1, stencil("x..|xx.|..."), true},
}

// rearranged takes each row and column of three from the one it names.
type rearranged struct{ rows, cols [3]int }

// Apply implements arc.Transform.
func (r rearranged) Apply(g arc.Grid) arc.Grid {
	out := make(arc.Grid, 3)
	for i := range out {
		for j := range 3 {
			out[i] = append(out[i], g[r.rows[i]][r.cols[j]])
		}
	}
	return out
}

func (r rearranged) String() string { return fmt.Sprint(r.rows, r.cols) }

// stencil paints the cells that a picture of three rows marks.
func stencil(picture string) func(*philox.Stream) function {
	rows := strings.Split(picture, "|")
	return paint(func(i, j int) bool { return rows[i][j] == 'x' })
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

// SplitOf returns the split of a family: of single rules, pretraining for those
// it has seen, and of the others a third each; of pairs of seen rules a
// quarter each; by their name's hash. Pairs with an unseen rule belong to none.
func SplitOf(f Family) Split {
	hash := philox.ID{Purpose: philox.PurposeWorld, Item: "family " + f.String()}.Key()[0]
	unseen := slices.ContainsFunc(f, func(r int) bool { return rules[r].unseen })
	switch {
	case len(f) == 1 && unseen:
		return 1 + Split(hash%uint32(splitCount-1))
	case len(f) == 1:
		return Pretraining
	case unseen:
		return splitCount
	}
	return Split(hash % uint32(splitCount))
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
