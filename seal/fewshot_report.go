package seal

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/selkie-ml/selkie/seal/arc"
	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/report"
	"github.com/selkie-ml/selkie/seal/settings"
)

// fewshotLabels are the rows' names for people, where they differ from those of
// knowledge incorporation.
var fewshotLabels = map[string]string{
	RowInContext: "in context",
	RowBase:      "base model's self-edits",
	RowOracle:    "oracle: one configuration by hand",
}

func fewshotLabel(name string) string {
	if a, b, ok := strings.Cut(name, " - "); ok {
		return fewshotLabel(a) + " − " + fewshotLabel(b)
	}
	if label := fewshotLabels[name]; label != "" {
		return label
	}
	return rowLabel(name)
}

// gridTasksShown bounds the tasks that a report draws.
const gridTasksShown = 24

// FewshotReport gathers what a report shows of one or several experiments of
// few-shot learning with the same settings (their seeds apart).
func FewshotReport(title string, experiments []*Experiment, s settings.Fewshot, timings []journal.Timing) report.Data {
	r := Compare(experiments, s.Eval.Resamples)
	d := report.Data{
		Title: title, Unit: "tasks", Level: 0.95,
		Rows: reportRows(r.Rows), Differences: reportRows(r.Differences),
		Rounds: roundSeries(experiments, r), Rewards: rewardDistributions(experiments),
		Grids: gridTasks(experiments[0]), Settings: settingsRows(s.Marshal()),
	}
	for _, rows := range [][]report.Row{d.Rows, d.Differences} {
		for i := range rows {
			rows[i].Label = fewshotLabel(rows[i].Name)
		}
	}
	order := []string{RowInContext, RowBase, RowShuffled}
	rank := func(r report.Row) int {
		if i := slices.Index(order, r.Name); i >= 0 {
			return i
		}
		return displayOrder(r.Name)
	}
	slices.SortStableFunc(d.Rows, func(a, b report.Row) int { return rank(a) - rank(b) })
	d.StyleNames, d.Styles = choiceShares(experiments)
	for _, t := range timings {
		d.Timings = append(d.Timings, report.Timing{What: t.Phase, Seconds: t.Seconds, Tokens: t.Tokens})
	}
	c := countSampling(experiments)
	note := "Accuracy is the share of tasks of which every test input is answered by one of two guesses, mean over a task's self-edits. Intervals are 95 % percentile bootstrap over tasks; differences are paired by task."
	note += fmt.Sprintf(" %d texts were sampled for %d self-edits; %d of these never parsed. %d updates diverged and count as failed; %d self-edits trained nothing.",
		c.texts, c.edits, c.unparsed, c.diverged, c.nothing)
	d.Notes = append(d.Notes, note)
	return d
}

type samplingCount struct{ texts, edits, unparsed, diverged, nothing int }

func countSampling(experiments []*Experiment) samplingCount {
	var c samplingCount
	count := func(edits [][]Edit) {
		for _, list := range edits {
			for _, e := range list {
				c.edits++
				c.texts += max(1, e.Tries)
				if _, err := arc.ParseEdit(e.Text); err != nil {
					c.unparsed++
				}
			}
		}
	}
	for _, e := range experiments {
		for _, r := range e.Rounds {
			count(r.Edits)
		}
		for _, row := range e.Rows {
			count(row.Edits)
			for _, outcomes := range row.Articles {
				for _, o := range outcomes {
					if o.Diverged != "" {
						c.diverged++
					}
					if o.Task != nil && o.Task.Edit != nil && o.Task.Edit.Nothing != "" {
						c.nothing++
					}
				}
			}
		}
	}
	return c
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', 4, 64) }

// choices lists what an edit chose, for people.
func choices(e arc.Edit) []string {
	var list []string
	for _, t := range []struct {
		on   bool
		name string
	}{{e.Tools.Basic, "basic"}, {e.Tools.Size, "size"}, {e.Tools.Chain, "chain"}, {e.Tools.Repeat, "repeat"}} {
		if t.on {
			list = append(list, t.name)
		}
	}
	if !e.Tools.Any() {
		list = append(list, "no tools")
	}
	if e.OutputOnly() {
		list = append(list, "output tokens")
	} else {
		list = append(list, "all tokens")
	}
	return append(list, "rate "+number(e.LR), "epochs "+number(e.Epochs))
}

// choiceShares counts how often the self-edits of each row made each choice.
// Rates and epochs that no row chose often are together.
func choiceShares(experiments []*Experiment) (names []string, styles []report.Style) {
	counts := map[string]map[string]int{} // of choices, by row
	total := map[string]int{}             // of edits, by row
	seen := map[string]int{}              // of choices, in all rows
	var rows []string
	for _, row := range experiments[0].Rows {
		if row.Edits == nil {
			continue
		}
		rows = append(rows, row.Name)
		counts[row.Name] = map[string]int{}
		for _, e := range experiments {
			other := e.Row(row.Name)
			if other == nil {
				continue
			}
			for _, edits := range other.Edits {
				for _, text := range edits {
					total[row.Name]++
					edit, err := arc.ParseEdit(text.Text)
					if err != nil || edit.Nothing != "" {
						counts[row.Name]["trains nothing"]++
						seen["trains nothing"]++
						continue
					}
					for _, c := range choices(edit) {
						counts[row.Name][c]++
						seen[c]++
					}
				}
			}
		}
	}
	group := func(name string) int {
		for i, prefix := range []string{"basic", "size", "chain", "repeat", "no tools", "output tokens", "all tokens", "rate ", "epochs ", ""} {
			if strings.HasPrefix(name, prefix) {
				return i
			}
		}
		return 0
	}
	const valuesShown = 8 // of rates, and of epochs
	byCount := make([]string, 0, len(seen))
	for name := range seen {
		byCount = append(byCount, name)
	}
	slices.SortFunc(byCount, func(a, b string) int {
		if seen[a] != seen[b] {
			return seen[b] - seen[a]
		}
		return strings.Compare(a, b)
	})
	shown := map[int]int{}
	for _, name := range byCount {
		if g := group(name); shown[g] < valuesShown {
			shown[g]++
			names = append(names, name)
		}
	}
	value := func(name string) float64 {
		_, text, _ := strings.Cut(name, " ")
		x, _ := strconv.ParseFloat(text, 64)
		return x
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := group(a) - group(b); d != 0 {
			return d
		}
		if d := value(a) - value(b); d != 0 {
			return map[bool]int{true: -1, false: 1}[d < 0]
		}
		return strings.Compare(a, b)
	})
	for _, row := range rows {
		s := report.Style{Label: fewshotLabel(row)}
		for _, name := range names {
			s.Shares = append(s.Shares, float64(counts[row][name])/float64(max(1, total[row])))
		}
		styles = append(styles, s)
	}
	return names, styles
}

// gridTasks draws the evaluation's first tasks with what every row made of
// them: of rows with several self-edits, the first.
func gridTasks(e *Experiment) []report.GridTask {
	var out []report.GridTask
	for i, c := range e.Tasks[:min(gridTasksShown, len(e.Tasks))] {
		t := report.GridTask{Title: c.ID}
		for _, p := range c.Train {
			t.Demonstrations = append(t.Demonstrations, report.GridPair{Input: p.Input, Output: p.Output})
		}
		for k, p := range c.Tests {
			test := report.GridTest{Input: p.Input, Solution: p.Output}
			for _, row := range e.Rows {
				if len(row.Articles[i]) > 0 {
					test.Arms = append(test.Arms, gridArm(row, i, k, p.Output))
				}
			}
			t.Tests = append(t.Tests, test)
		}
		out = append(out, t)
	}
	return out
}

func gridArm(row RowResult, task, test int, solution arc.Grid) report.GridArm {
	o := row.Articles[task][0]
	arm := report.GridArm{Arm: fewshotLabel(row.Name)}
	if o.Task == nil {
		return arm
	}
	if e := o.Task.Edit; e != nil {
		switch {
		case o.Diverged != "":
			arm.Note = "the training diverged"
		case e.Nothing != "":
			arm.Note = "trained nothing: " + e.Nothing
		default:
			arm.Note = fmt.Sprintf("%d examples, %d steps", o.Task.Examples, o.Steps)
		}
		if e.Strategy != "" {
			arm.Choices = choices(*e)
		}
	}
	if test < len(o.Task.Inputs) {
		in := o.Task.Inputs[test]
		arm.Solved = in.Right
		for _, c := range in.Candidates {
			arm.Guesses = append(arm.Guesses, report.GridGuess{Grid: c.Output, Votes: c.Votes, Answers: c.Count, Right: c.Output.Equal(solution)})
		}
	}
	return arm
}
