package report

import (
	_ "embed"
	"fmt"
	"html"
	"html/template"
	"strings"
)

// Grid is a grid of ARC: colours 0 to 9, row by row.
type Grid = [][]int8

// GridTask is a task on grids with what the arms of an experiment made of it.
type GridTask struct {
	Title          string     `json:"title"`
	Demonstrations []GridPair `json:"demonstrations"`
	Tests          []GridTest `json:"tests"`
}

// GridPair is an input with its output.
type GridPair struct {
	Input  Grid `json:"input"`
	Output Grid `json:"output"`
}

// GridTest is a test input with its solution and everybody's guesses.
type GridTest struct {
	Input    Grid      `json:"input"`
	Solution Grid      `json:"solution"`
	Arms     []GridArm `json:"arms"`
}

// GridArm is what one arm chose to train, and answered.
type GridArm struct {
	Arm     string      `json:"arm"`
	Choices []string    `json:"choices,omitempty"` // tools and settings of its self-edit
	Note    string      `json:"note,omitempty"`
	Solved  bool        `json:"solved"`
	Guesses []GridGuess `json:"guesses"` // best first; the first two count
}

// GridGuess is a grid with its votes.
type GridGuess struct {
	Grid    Grid `json:"grid"`
	Votes   int  `json:"votes"` // of the second round
	Answers int  `json:"answers"`
	Right   bool `json:"right"`
}

//go:embed grids.css
var gridStyle string

//go:embed grids.html
var gridText string

// drawGrid draws a grid in ARC's colours.
func drawGrid(g Grid) template.HTML {
	if len(g) == 0 {
		return `<span class="muted">no grid</span>`
	}
	rows, cols := len(g), len(g[0])
	const most, widest = 15, 165 // a cell's side, and a grid's, in CSS pixels
	side := max(4, min(most, widest/max(rows, cols)))
	var b, label strings.Builder
	fmt.Fprintf(&label, "%d × %d grid:", rows, cols)
	for i, row := range g {
		label.WriteByte(' ')
		for j, c := range row {
			fmt.Fprintf(&b, `<rect class="c%d" x="%d" y="%d" width="1" height="1"/>`, c, j, i)
			label.WriteByte('0' + byte(c))
		}
	}
	return template.HTML(fmt.Sprintf(`<svg class="grid" viewBox="0 0 %d %d" style="width:%dpx;height:%dpx" role="img" aria-label="%s">%s</svg>`,
		cols, rows, cols*side, rows*side, html.EscapeString(label.String()), b.String()))
}

// checkGrids finds grids that cannot be drawn.
func (d Data) checkGrids() error {
	check := func(where string, g Grid) error {
		for _, row := range g {
			if len(row) != len(g[0]) || len(row) == 0 {
				return fmt.Errorf("report: %s: a grid with rows of different lengths, or empty ones", where)
			}
			for _, c := range row {
				if c < 0 || c > 9 {
					return fmt.Errorf("report: %s: got colour %d, expected 0 to 9", where, c)
				}
			}
		}
		return nil
	}
	for _, t := range d.Grids {
		grids := []Grid{}
		for _, p := range t.Demonstrations {
			grids = append(grids, p.Input, p.Output)
		}
		for _, test := range t.Tests {
			grids = append(grids, test.Input, test.Solution)
			for _, a := range test.Arms {
				for _, g := range a.Guesses {
					grids = append(grids, g.Grid)
				}
			}
		}
		for _, g := range grids {
			if err := check("task "+t.Title, g); err != nil {
				return err
			}
		}
	}
	return nil
}

// solvedBy lists the arms that solved all of a task's test inputs.
func solvedBy(t GridTask) string {
	var names []string
	for i := range t.Tests[0].Arms {
		all := true
		for _, test := range t.Tests {
			all = all && test.Arms[i].Solved
		}
		if all {
			names = append(names, t.Tests[0].Arms[i].Arm)
		}
	}
	if len(names) == 0 {
		return "solved by none"
	}
	return "solved by " + strings.Join(names, ", ")
}
