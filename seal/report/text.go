package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// JSON writes the figures as one object on one line:
// {"rows":[{"name","mean","low","high","n"}…],"differences":[…]}.
func JSON(w io.Writer, d Data) error {
	if err := d.check(); err != nil {
		return err
	}
	type row struct {
		Name string  `json:"name"`
		Mean float64 `json:"mean"`
		Low  float64 `json:"low"`
		High float64 `json:"high"`
		N    int     `json:"n"`
	}
	plain := func(rows []Row) []row {
		all := []row{}
		for _, r := range rows {
			all = append(all, row{r.Name, r.Mean, r.Low, r.High, r.N})
		}
		return all
	}
	return json.NewEncoder(w).Encode(struct {
		Rows        []row `json:"rows"`
		Differences []row `json:"differences"`
	}{plain(d.Rows), plain(d.Differences)})
}

// Text writes the table for a terminal: accuracies in per cent with their
// intervals, then differences in points.
func Text(w io.Writer, d Data) error {
	if err := d.check(); err != nil {
		return err
	}
	cells := [][]string{{"", "accuracy", d.interval(), d.unit(), "paper"}}
	for _, r := range d.Rows {
		paper := ""
		if v, ok := d.Paper.value(r.Name); ok {
			paper = percent(v)
		}
		cells = append(cells, []string{r.label(), percent(r.Mean), percent(r.Low) + " to " + percent(r.High), fmt.Sprint(r.N), paper})
	}
	if len(d.Paper.Values) == 0 {
		for i := range cells {
			cells[i] = cells[i][:4]
		}
	}
	if len(d.Differences) > 0 {
		cells = append(cells, nil, []string{"", "points", d.interval(), d.unit()})
		for _, r := range d.Differences {
			cells = append(cells, []string{r.label(), points(r.Mean), points(r.Low) + " to " + points(r.High), fmt.Sprint(r.N)})
		}
	}
	text := d.textTables()
	if len(d.Rows)+len(d.Differences) > 0 || text == "" {
		text = align(cells) + text
	}
	_, err := io.WriteString(w, strings.TrimPrefix(text, "\n"))
	return err
}

// align sets the first column left and the others right.
func align(cells [][]string) string {
	var widths []int
	for _, row := range cells {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, row := range cells {
		line := ""
		for i, c := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i == 0 {
				line = c + space
			} else {
				line += "  " + space + c
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

func (d Data) interval() string {
	if d.Level == 0 {
		return "interval"
	}
	return fmt.Sprintf("%.3g %% interval", 100*d.Level)
}

func (d Data) unit() string {
	if d.Unit == "" {
		return "n"
	}
	return d.Unit
}

func (p Paper) value(row string) (float64, bool) {
	for _, v := range p.Values {
		if v.Row != "" && v.Row == row {
			return v.Value, true
		}
	}
	return 0, false
}

func percent(x float64) string { return fmt.Sprintf("%.1f", 100*x) }

// points is percent with its sign; a zero has none.
func points(x float64) string {
	s := fmt.Sprintf("%+.1f", 100*x)
	if s == "+0.0" || s == "-0.0" {
		return "0.0"
	}
	return strings.Replace(s, "-", "−", 1)
}
