package arc

import (
	"fmt"
	"slices"
	"strings"
)

// Transform changes a grid; inputs and outputs of a task are changed alike.
type Transform interface {
	// Apply returns a new grid; the argument stays as it is.
	Apply(Grid) Grid
	// String is the name in records, as in "rotate 90".
	String() string
}

// Rotate turns counter-clockwise by 90, 180 or 270 degrees.
type Rotate int

// Apply implements Transform.
func (r Rotate) Apply(g Grid) Grid {
	switch r {
	case 90:
		return Flip(0).Apply(Transpose{}.Apply(g))
	case 180:
		return Flip(0).Apply(Flip(1).Apply(g))
	case 270:
		return Flip(1).Apply(Transpose{}.Apply(g))
	}
	panic(fmt.Sprintf("arc: Rotate(%d): expected 90, 180 or 270", int(r)))
}

func (r Rotate) String() string { return fmt.Sprintf("rotate %d", int(r)) }

// Flip reverses along an axis: 0 upside down, 1 left to right.
type Flip int

// Apply implements Transform.
func (f Flip) Apply(g Grid) Grid {
	out := g.clone()
	if f == 0 {
		slices.Reverse(out)
		return out
	}
	for _, row := range out {
		slices.Reverse(row)
	}
	return out
}

func (f Flip) String() string { return fmt.Sprintf("flip %d", int(f)) }

// Transpose swaps rows and columns.
type Transpose struct{}

// Apply implements Transform.
func (Transpose) Apply(g Grid) Grid {
	return build(len(g[0]), len(g), func(i, j int) int8 { return g[j][i] })
}

func (Transpose) String() string { return "transpose" }

// Reflect puts a grid and its mirror image side by side along an axis, 0 one
// above the other, 1 left and right.
type Reflect struct {
	Axis          int
	MirroredFirst bool
}

// Apply implements Transform.
func (r Reflect) Apply(g Grid) Grid {
	first, second := g.clone(), Flip(r.Axis).Apply(g)
	if r.MirroredFirst {
		first, second = second, first
	}
	if r.Axis == 0 {
		return append(first, second...)
	}
	for i := range first {
		first[i] = append(first[i], second[i]...)
	}
	return first
}

func (r Reflect) String() string {
	if r.MirroredFirst {
		return fmt.Sprintf("reflect %d, mirrored first", r.Axis)
	}
	return fmt.Sprintf("reflect %d", r.Axis)
}

// Translate rolls a grid down and to the right; what leaves comes in again at
// the other side.
type Translate struct{ Down, Right int }

// Apply implements Transform.
func (t Translate) Apply(g Grid) Grid {
	rows, cols := len(g), len(g[0])
	mod := func(a, n int) int { return ((a % n) + n) % n }
	return build(rows, cols, func(i, j int) int8 { return g[mod(i-t.Down, rows)][mod(j-t.Right, cols)] })
}

func (t Translate) String() string { return fmt.Sprintf("translate %d %d", t.Down, t.Right) }

// Upscale makes each cell a block of Rows × Cols cells.
type Upscale struct{ Rows, Cols int }

// Apply implements Transform.
func (u Upscale) Apply(g Grid) Grid {
	return build(len(g)*u.Rows, len(g[0])*u.Cols, func(i, j int) int8 { return g[i/u.Rows][j/u.Cols] })
}

func (u Upscale) String() string { return fmt.Sprintf("upscale %d %d", u.Rows, u.Cols) }

// Repeat tiles a grid Rows times down and Cols times to the right.
type Repeat struct{ Rows, Cols int }

// Apply implements Transform.
func (r Repeat) Apply(g Grid) Grid {
	return build(len(g)*r.Rows, len(g[0])*r.Cols, func(i, j int) int8 { return g[i%len(g)][j%len(g[0])] })
}

func (r Repeat) String() string { return fmt.Sprintf("repeat %d %d", r.Rows, r.Cols) }

// Chain applies transforms one after another.
type Chain []Transform

// Apply implements Transform.
func (c Chain) Apply(g Grid) Grid {
	for _, t := range c {
		g = t.Apply(g)
	}
	return g
}

func (c Chain) String() string {
	var names []string
	for _, t := range c {
		names = append(names, t.String())
	}
	return strings.Join(names, ", then ")
}

// Inverse returns what undoes a transform, for those that answers are asked
// under: rotations, flips and the transposition. Nil undoes nil.
func Inverse(t Transform) Transform {
	switch t := t.(type) {
	case nil:
		return nil
	case Rotate:
		return 360 - t
	case Flip, Transpose:
		return t
	}
	panic(fmt.Sprintf("arc: %v has no inverse", t))
}

// Tools are the groups of augmentations that a self-edit may choose.
type Tools struct {
	Basic  bool `json:"use_basic_augmentations"`
	Size   bool `json:"use_size_augmentations"`
	Chain  bool `json:"use_chain_augmentations"`
	Repeat bool `json:"use_repeat_augmentations"`
}

// Any tells whether a group is chosen.
func (t Tools) Any() bool { return t.Basic || t.Size || t.Chain || t.Repeat }

// Transforms lists the chosen augmentations in order. shift is the roll of the
// basic group's translation; TrainingSets draws one per task.
func (t Tools) Transforms(shift Translate) []Transform {
	var list []Transform
	if t.Basic {
		list = append(list, Rotate(90), Rotate(270), Rotate(180), Flip(0), Flip(1),
			Reflect{0, true}, Reflect{1, true}, Reflect{0, false}, Reflect{1, false}, shift, Transpose{})
	}
	if t.Size {
		list = append(list, Upscale{2, 2}, Upscale{2, 1}, Upscale{1, 2})
	}
	if t.Chain {
		for _, first := range []Transform{Rotate(90), Rotate(270), Rotate(180), Flip(0), Flip(1), Transpose{}} {
			list = append(list, Chain{first, Upscale{2, 2}})
		}
	}
	if t.Repeat {
		list = append(list, Repeat{2, 1}, Repeat{1, 2}, Repeat{2, 2})
	}
	return list
}

func (g Grid) clone() Grid {
	out := make(Grid, len(g))
	for i, row := range g {
		out[i] = slices.Clone(row)
	}
	return out
}

func build(rows, cols int, at func(i, j int) int8) Grid {
	g := make(Grid, rows)
	for i := range g {
		g[i] = make([]int8, cols)
		for j := range g[i] {
			g[i][j] = at(i, j)
		}
	}
	return g
}
