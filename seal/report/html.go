package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

//go:embed page.css
var styleSheet string

// page escapes everything it is given, but for the figures and the style sheet,
// which are made here.
var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"percent":  percent,
	"points":   points,
	"duration": duration,
	"rate":     rate,
	"swatch":   func(i int) template.CSS { return template.CSS("background:var(" + series(i).name() + ")") },
	"mean":     func(d Distribution) string { return fmt.Sprintf("mean %s %%", percent(meanOf(d.Values))) },
	"correct":  correct,
	"label":    Row.label,
	"shade":    shade,
	"first":    func(cell string) string { first, _, _ := strings.Cut(cell, "\n"); return first },
	"second":   func(cell string) string { _, second, _ := strings.Cut(cell, "\n"); return second },
	"missing":  missing,
	"grid":     drawGrid,
	"solved":   solvedBy,
}).Parse(pageText + strings.TrimSpace(gridText)))

// view is Data with what the template cannot make.
type view struct {
	Data
	Style    template.CSS
	Interval string
	N        string
	SameN    int // of all rows; 0 if they differ
	Figures  map[string]template.HTML
	Results  []result
}

// result is a line of the table of results.
type result struct {
	Row   *Row // nil when only the paper has a figure
	Label string
	Paper string
}

// HTML writes the report as one file that loads nothing.
func HTML(w io.Writer, d Data) error {
	if err := d.check(); err != nil {
		return err
	}
	v := view{Data: d, Style: template.CSS(styleSheet), Interval: d.interval(), N: d.unit(), Figures: map[string]template.HTML{}, Results: d.results()}
	if len(d.Grids) > 0 {
		v.Style += template.CSS(gridStyle)
	}
	for _, r := range d.Rows {
		if v.SameN = r.N; r.N != d.Rows[0].N {
			v.SameN = 0
			break
		}
	}
	draw := func(name string, wanted bool, figure func() (string, error)) error {
		if !wanted {
			return nil
		}
		svg, err := figure()
		v.Figures[name] = template.HTML(svg)
		return err
	}
	for _, f := range []struct {
		name   string
		wanted bool
		draw   func() (string, error)
	}{
		{"rows", len(d.Rows) > 0, func() (string, error) {
			return forest(d.Rows, d.Paper, false, "Accuracy of each row with its interval")
		}},
		{"differences", len(d.Differences) > 0, func() (string, error) {
			return forest(d.Differences, Paper{}, true, "Paired differences with their intervals")
		}},
		{"rounds", len(d.Rounds) > 0, func() (string, error) { return rounds(d.Rounds) }},
		{"rewards", len(d.Rewards) > 0, func() (string, error) { return rewards(d.Rewards) }},
		{"styles", len(d.Styles) > 0, func() (string, error) { return styles(d.StyleNames, d.Styles) }},
	} {
		if err := draw(f.name, f.wanted, f.draw); err != nil {
			return err
		}
	}
	return page.Execute(w, v)
}

// results joins the rows with the paper's figures, and adds those that have no row.
func (d Data) results() []result {
	var all []result
	has := map[string]bool{}
	for i := range d.Rows {
		r := result{Row: &d.Rows[i], Label: d.Rows[i].label()}
		has[d.Rows[i].Name] = true
		if v, ok := d.Paper.value(r.Row.Name); ok {
			r.Paper = percent(v)
		}
		all = append(all, r)
	}
	for _, v := range d.Paper.Values {
		if !has[v.Row] {
			all = append(all, result{Label: v.Label, Paper: percent(v.Value)})
		}
	}
	return all
}

// score is how many questions of an article an arm answered.
type score struct {
	Arm   string
	Right int
}

// correct counts an article's right answers by arm, in the order of the arms.
func correct(a Article) []score {
	var all []score
	for _, q := range a.Questions {
		for _, answer := range q.Answers {
			i := 0
			for i < len(all) && all[i].Arm != answer.Arm {
				i++
			}
			if i == len(all) {
				all = append(all, score{Arm: answer.Arm})
			}
			if answer.Correct {
				all[i].Right++
			}
		}
	}
	return all
}

func meanOf(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / max(1, float64(len(x)))
}

func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.2g s", seconds)
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", seconds)
	}
	return strings.TrimSuffix(d.Round(time.Second).String(), "0s")
}

// rate is in tokens per second.
func rate(t Timing) string {
	if t.Tokens == 0 || t.Seconds <= 0 {
		return ""
	}
	if r := float64(t.Tokens) / t.Seconds; r < 100 {
		return fmt.Sprintf("%.2g", r)
	} else {
		return fmt.Sprintf("%.0f", r)
	}
}
