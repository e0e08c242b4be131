package report

import (
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"
)

// Table is a table of texts: the first column stands left, the others right. What
// follows a line break in a cell, such as an interval, is shown smaller beneath.
type Table struct {
	ID    string     `json:"id"` // of the section
	Title string     `json:"title"`
	Note  string     `json:"note,omitempty"`
	Head  []string   `json:"head"`
	Rows  [][]string `json:"rows"`
}

// Heat is a matrix of accuracies, shown as a heat map with its numbers.
type Heat struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	Note    string   `json:"note,omitempty"`
	Corner  string   `json:"corner,omitempty"` // what rows and columns are
	Columns []string `json:"columns"`
	Rows    []string `json:"rows"`
	Cells   [][]Cell `json:"cells"` // rows may be shorter than Columns: the rest is empty
}

// Cell is a mean with its deviation.
type Cell struct {
	Mean float64 `json:"mean"`
	Std  float64 `json:"std"`
}

// shade is a cell's colour: the stronger, the more accurate.
func shade(c Cell) template.CSS {
	return template.CSS(fmt.Sprintf("background:color-mix(in srgb,var(--series1) %.0f%%,transparent)", 70*c.Mean))
}

// missing lists as many texts as a row lacks cells.
func missing(h Heat, row int) []struct{} { return make([]struct{}, len(h.Columns)-len(h.Cells[row])) }

func (d Data) checkTables() error {
	for _, t := range d.Tables {
		for _, r := range t.Rows {
			if len(r) != len(t.Head) {
				return fmt.Errorf("report: table %s: got a row of %d cells under %d heads", t.Title, len(r), len(t.Head))
			}
		}
	}
	for _, h := range d.Heats {
		if len(h.Rows) != len(h.Cells) {
			return fmt.Errorf("report: matrix %s: got %d rows of cells for %d names", h.Title, len(h.Cells), len(h.Rows))
		}
		for i, row := range h.Cells {
			if len(row) > len(h.Columns) {
				return fmt.Errorf("report: matrix %s: row %s has %d cells, expected at most %d", h.Title, h.Rows[i], len(row), len(h.Columns))
			}
			for _, c := range row {
				if !(c.Mean >= 0 && c.Mean <= 1) || !(c.Std >= 0 && c.Std <= 1) {
					return fmt.Errorf("report: matrix %s: got %v ± %v, expected 0 to 1", h.Title, c.Mean, c.Std)
				}
			}
		}
	}
	return nil
}

// textTables writes tables and matrices for a terminal.
func (d Data) textTables() string {
	out := ""
	for _, t := range d.Tables {
		cells := [][]string{t.Head}
		for _, row := range t.Rows {
			var line []string
			for _, c := range row {
				line = append(line, strings.ReplaceAll(c, "\n", " "))
			}
			cells = append(cells, line)
		}
		out += "\n" + t.Title + "\n" + align(cells)
	}
	for _, h := range d.Heats {
		cells := [][]string{append([]string{h.Corner}, h.Columns...)}
		for i, row := range h.Cells {
			line := []string{h.Rows[i]}
			for _, c := range row {
				line = append(line, percent(c.Mean)+" ±"+percent(c.Std))
			}
			cells = append(cells, line)
		}
		out += "\n" + h.Title + "\n" + align(cells)
	}
	return out
}

// TablesJSON writes tables and matrices as one object on one line.
func TablesJSON(w io.Writer, d Data) error {
	if err := d.check(); err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(struct {
		Tables []Table `json:"tables"`
		Heats  []Heat  `json:"heats"`
	}{d.Tables, d.Heats})
}
