package seal

import (
	"fmt"
	"strings"

	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/report"
	"github.com/selkie-ml/selkie/seal/settings"
)

// ContinualMethod is a named way to keep what was learnt, with its finished run.
type ContinualMethod struct {
	Name     string
	Result   *ContinualResult
	Settings settings.Settings
}

// MethodName names what continual.keep says.
func MethodName(keep []string) string {
	if len(keep) == 0 {
		return "none"
	}
	return strings.Join(keep, "+")
}

var methodNotes = map[string]string{
	"none":         "the paper's: every update trained alone and merged",
	KeepReplay:     "some earlier self-edits are trained on again",
	KeepKL:         "a penalty for leaving the model before the update, on its own samples",
	KeepOrthogonal: "each new adapter reads nothing that earlier ones read",
	KeepRouted:     "an adapter per passage, chosen by the question's words; nothing is merged",
}

// ContinualReport gathers what a report shows of one or several methods on the
// same passages.
func ContinualReport(title string, methods []ContinualMethod, timings []journal.Timing) report.Data {
	d := report.Data{Title: title}
	table := report.Table{
		ID: "forgetting", Title: "Forgetting", Head: []string{"method", "first passage at once, %", "first passage at the end, %", "kept, %", "newest passage, %", "all passages at the end, %"},
		Note: "Closed-book accuracy, mean over sequences with its 95 % bootstrap interval. Kept is the share of the first passage's accuracy that the later updates left.",
	}
	show := func(i Interval) string {
		return fmt.Sprintf("%.1f\n[%.1f, %.1f]", 100*i.Mean, 100*i.Low, 100*i.High)
	}
	for _, m := range methods {
		r := m.Result.Memory
		table.Rows = append(table.Rows, []string{m.Name, show(r.Fresh), show(r.First), fmt.Sprintf("%.0f", 100*r.Kept()), show(r.Newest), show(r.Seen)})
		d.Heats = append(d.Heats, heat(m))
	}
	d.Tables = []report.Table{table}
	first := methods[0]
	d.Summary = fmt.Sprintf("%d sequences of %d passages, one self-edit update each.", first.Result.Summary.Sequences, first.Result.Summary.Datapoints)
	for _, t := range timings {
		d.Timings = append(d.Timings, report.Timing{What: t.Phase, Seconds: t.Seconds, Tokens: t.Tokens})
	}
	d.Settings = settingsRows(first.Settings.Marshal())
	diverged := 0
	for _, m := range methods {
		for _, steps := range m.Result.Steps {
			for t, s := range steps {
				if len(s.Seen) > t && s.Seen[t].Steps > 0 && s.Seen[t].Diverged != "" {
					diverged++
				}
			}
		}
	}
	if diverged > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("%d updates diverged and were left out; the model stayed as it was.", diverged))
	}
	return d
}

func heat(m ContinualMethod) report.Heat {
	s := m.Result.Summary
	h := report.Heat{ID: "matrix-" + strings.ReplaceAll(m.Name, "+", "-"), Title: "Accuracy after each update: " + m.Name, Corner: "updates \\ passage",
		Note: "Row 0 is the model before any update; after so many updates every passage seen so far is asked about. Mean and deviation over sequences, %."}
	if note := methodNotes[m.Name]; note != "" {
		h.Note = strings.ToUpper(note[:1]) + note[1:] + ". " + h.Note
	}
	for c := range s.Datapoints {
		h.Columns = append(h.Columns, fmt.Sprint(c+1))
	}
	for r := range s.Mean {
		h.Rows = append(h.Rows, fmt.Sprint(r))
		n := r
		if r == 0 {
			n = s.Datapoints
		}
		var cells []report.Cell
		for c := range n {
			cells = append(cells, report.Cell{Mean: s.Mean[r][c], Std: s.Std[r][c]})
		}
		h.Cells = append(h.Cells, cells)
	}
	return h
}

// rewardTable compares the rewards of each round, where there are several.
func rewardTable(experiments []*Experiment, reward string) []report.Table {
	t := report.Table{
		ID: "agreement", Title: "Rankings that the rewards induce", Head: []string{"rewards", "round", "Kendall's τ", "Spearman's ρ", "same best, %", "passages"},
		Note: "Correlations of the ranks of a passage's self-edits, mean over the passages on which both rewards tell some apart; how often both would keep the same self-edit, of all passages.",
	}
	for _, e := range experiments {
		for i, r := range e.Rounds {
			for _, a := range r.Agreements(reward) {
				t.Rows = append(t.Rows, []string{a.A + " and " + a.B, fmt.Sprint(i + 1), fmt.Sprintf("%.2f", a.Kendall), fmt.Sprintf("%.2f", a.Spearman),
					fmt.Sprintf("%.0f", 100*a.SameBest), fmt.Sprintf("%d of %d", a.Compared, a.Passages)})
			}
		}
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return []report.Table{t}
}
