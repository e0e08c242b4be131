package arc

import (
	"fmt"
	"slices"
	"strings"
)

// MaxSide is the longest side of a grid in ARC.
const MaxSide = 30

// Grid is a rectangle of colours 0 to 9, row by row.
type Grid [][]int8

// Check reports what is not a grid: no rows, no columns, rows of different
// lengths, sides beyond MaxSide, colours other than 0 to 9.
func (g Grid) Check() error {
	if len(g) == 0 {
		return fmt.Errorf("the grid has no rows, expected 1 to %d", MaxSide)
	}
	for i, row := range g {
		switch {
		case len(row) == 0:
			return fmt.Errorf("row %d is empty, expected 1 to %d colours", i, MaxSide)
		case len(row) != len(g[0]):
			return fmt.Errorf("row %d has %d colours and row 0 has %d: expected rows of equal length", i, len(row), len(g[0]))
		}
		for j, c := range row {
			if c < 0 || c > 9 {
				return fmt.Errorf("row %d, column %d: got colour %d, expected 0 to 9", i, j, c)
			}
		}
	}
	if g.tooLarge() {
		return fmt.Errorf("the grid is %d × %d, expected sides of at most %d", len(g), len(g[0]), MaxSide)
	}
	return nil
}

// tooLarge tells whether a side is longer than ARC allows.
func (g Grid) tooLarge() bool {
	return len(g) > MaxSide || len(g) > 0 && len(g[0]) > MaxSide
}

// Equal tells whether two grids have the same size and colours.
func (g Grid) Equal(o Grid) bool { return slices.EqualFunc(g, o, slices.Equal) }

// String writes a grid as NumPy prints an array: "[[1 2]\n [3 4]]".
func (g Grid) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, row := range g {
		if i > 0 {
			b.WriteString("\n ")
		}
		b.WriteByte('[')
		for j, c := range row {
			if j > 0 {
				b.WriteByte(' ')
			}
			b.WriteByte('0' + byte(c))
		}
		b.WriteByte(']')
	}
	b.WriteByte(']')
	return b.String()
}

// Rows writes a grid as plain rows of digits, a line each.
func (g Grid) Rows() string {
	var b strings.Builder
	for i, row := range g {
		if i > 0 {
			b.WriteByte('\n')
		}
		for j, c := range row {
			if j > 0 {
				b.WriteByte(' ')
			}
			b.WriteByte('0' + byte(c))
		}
	}
	return b.String()
}

// ParseGrid reads a grid as String writes it, from an answer that ends with it
// or with one # after it. White space (blanks, line ends, vertical tabs) may
// stand around brackets and must stand between colours of a row; anything
// else, such as commas, words, ragged rows and colours beyond 9, is no grid.
func ParseGrid(text string) (Grid, bool) {
	p := gridParser{text}
	g, ok := p.grid()
	if !ok {
		return nil, false
	}
	p.space()
	p.next('#')
	p.space()
	return g, p.rest == "" && g.Check() == nil
}

type gridParser struct{ rest string }

// space skips white space and tells whether there was any.
func (p *gridParser) space() bool {
	before := len(p.rest)
	p.rest = strings.TrimLeft(p.rest, " \n\r\v\f")
	return len(p.rest) < before
}

func (p *gridParser) next(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *gridParser) grid() (g Grid, ok bool) {
	p.space()
	if !p.next('[') {
		return nil, false
	}
	for {
		p.space()
		if p.next(']') {
			return g, true
		}
		row, ok := p.row()
		if !ok {
			return nil, false
		}
		g = append(g, row)
	}
}

func (p *gridParser) row() (row []int8, ok bool) {
	if !p.next('[') {
		return nil, false
	}
	for apart := true; ; {
		apart = p.space() || apart
		switch {
		case p.next(']'):
			return row, true
		case p.rest == "" || p.rest[0] < '0' || p.rest[0] > '9' || !apart:
			return nil, false
		}
		row, p.rest, apart = append(row, int8(p.rest[0]-'0')), p.rest[1:], false
	}
}
