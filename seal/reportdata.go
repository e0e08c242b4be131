package seal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/report"
	"github.com/selkie-ml/selkie/seal/settings"
)

// rowLabels are the rows' names for people.
var rowLabels = map[string]string{
	RowNoPassage:   "base model, no passage",
	RowPassageOnly: "passage only",
	RowMatched:     "passage only, as many tokens",
	RowSteps:       "passage only, as many steps",
	RowBase:        "passage + base model's self-edits",
	RowShuffled:    "control: rewards permuted",
	"given_edits":  "passage + given self-edits",
	"oracle_style": "passage + best style by hand",
}

func rowLabel(name string) string {
	if a, b, ok := strings.Cut(name, " - "); ok {
		return rowLabel(a) + " − " + rowLabel(b)
	}
	if label := rowLabels[name]; label != "" {
		return label
	}
	if round, ok := roundOf(name); ok {
		return fmt.Sprintf("SEAL, round %d", round)
	}
	return name
}

// roundOf reads a row's name that RowRound made.
func roundOf(name string) (round int, ok bool) {
	_, err := fmt.Sscanf(name, rowRoundTemplate, &round)
	return round, err == nil && name == RowRound(round)
}

func reportRows(figures []Figure) []report.Row {
	var rows []report.Row
	for _, f := range figures {
		rows = append(rows, report.Row{Name: f.Name, Label: rowLabel(f.Name), Mean: f.Mean, Low: f.Low, High: f.High, N: f.N})
	}
	return rows
}

// editsShown bounds the self-edits and articles that a report shows in full.
const (
	editsShown    = 12
	articlesShown = 60
)

// ReportData gathers what a report shows of one or several experiments with the
// same settings (their seeds apart).
func ReportData(title string, experiments []*Experiment, s settings.Settings, timings []journal.Timing) report.Data {
	r := Compare(experiments, s.Eval.Resamples)
	first := experiments[0]
	d := report.Data{
		Title: title, Unit: "passages", Level: 0.95,
		Rows: reportRows(r.Rows), Differences: reportRows(r.Differences),
		Rounds: roundSeries(experiments, r), Rewards: rewardDistributions(experiments),
		Edits: editPairs(first), Verdicts: verdicts(first), Tables: rewardTable(experiments, s.Outer.Reward),
	}
	slices.SortStableFunc(d.Rows, func(a, b report.Row) int { return displayOrder(a.Name) - displayOrder(b.Name) })
	for _, t := range timings {
		d.Timings = append(d.Timings, report.Timing{What: t.Phase, Seconds: t.Seconds, Tokens: t.Tokens})
	}
	d.Settings = settingsRows(s.Marshal())
	skipped, diverged := 0, 0
	for _, e := range experiments {
		for _, round := range e.Rounds {
			for _, kept := range round.Kept {
				if len(kept) == 0 {
					skipped++
				}
			}
		}
		for _, row := range e.Rows {
			for _, a := range row.Articles {
				for _, o := range a {
					if o.Diverged != "" {
						diverged++
					}
				}
			}
		}
	}
	note := "Intervals are 95 % percentile bootstrap over passages; differences are paired by passage."
	if skipped > 0 {
		note += fmt.Sprintf(" %d passages of the rounds gave no self-edit to learn from (all equal or blank).", skipped)
	}
	if diverged > 0 {
		note += fmt.Sprintf(" %d updates diverged and count as failed.", diverged)
	}
	d.Notes = append(d.Notes, note)
	return d
}

// displayOrder puts the controls next to what they control.
func displayOrder(name string) int {
	order := []string{RowNoPassage, RowPassageOnly, RowMatched, RowSteps, RowBase, RowShuffled}
	if i := slices.Index(order, name); i >= 0 {
		return i
	}
	if round, ok := roundOf(name); ok {
		return 100 + round
	}
	return 1000
}

func settingsRows(yaml []byte) []report.Setting {
	var rows []report.Setting
	group := ""
	for line := range strings.Lines(string(yaml)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if !strings.HasPrefix(line, " ") {
			group = key
		}
		if value = strings.TrimSpace(value); value != "" {
			rows = append(rows, report.Setting{Key: group + "." + key, Value: value})
		}
	}
	return rows
}

func roundSeries(experiments []*Experiment, r Results) []report.Series {
	series := report.Series{Label: "SEAL"}
	for round := 0; round <= len(experiments[0].Rounds); round++ {
		name := RowBase
		if round > 0 {
			name = RowRound(round)
		}
		for _, f := range r.Rows {
			if f.Name == name {
				series.Points = append(series.Points, reportRows([]Figure{f})...)
			}
		}
	}
	if len(series.Points) < 2 {
		return nil
	}
	return []report.Series{series}
}

func rewardDistributions(experiments []*Experiment) []report.Distribution {
	var out []report.Distribution
	for round := range experiments[0].Rounds {
		d := report.Distribution{Label: fmt.Sprintf("self-edits of round %d", round+1)}
		if round == 0 {
			d.Label = "self-edits of the base model"
		}
		for _, e := range experiments {
			for _, article := range e.Rounds[round].Rewards {
				for _, s := range article {
					d.Values = append(d.Values, s.Accuracy())
				}
			}
		}
		out = append(out, d)
	}
	return out
}

// lastRow is the row after all rounds, the base's self-edits without any.
func (e *Experiment) lastRow() *RowResult {
	if n := len(e.Rounds); n > 0 {
		return e.Row(RowRound(n))
	}
	return e.Row(RowBase)
}

func editPairs(e *Experiment) []report.EditPair {
	before, after := e.Row(RowBase), e.lastRow()
	if before == nil || after == before {
		return nil
	}
	show := func(r *RowResult, i int) report.Edit {
		return report.Edit{Text: r.Edits[i][0].Text, Reward: r.Articles[i][0].Accuracy()}
	}
	var out []report.EditPair
	for i, a := range e.Articles[:min(editsShown, len(e.Articles))] {
		out = append(out, report.EditPair{Title: a.Title, Passage: a.Context, Before: show(before, i), After: show(after, i)})
	}
	return out
}

func verdicts(e *Experiment) []report.Article {
	arms := []*RowResult{e.Row(RowNoPassage), e.Row(RowPassageOnly), e.Row(RowBase)}
	if last := e.lastRow(); last != nil && last.Name != RowBase {
		arms = append(arms, last)
	}
	var out []report.Article
	for i, a := range e.Articles[:min(articlesShown, len(e.Articles))] {
		shown := report.Article{Title: a.Title}
		for q, question := range a.Questions {
			asked := report.Question{Question: question.Question, Gold: question.Answer}
			for _, arm := range arms {
				if arm == nil {
					continue
				}
				answer := report.Answer{Arm: rowLabel(arm.Name), Correct: arm.Articles[i][0].Right[q]}
				if o := arm.Articles[i][0]; o.Diverged == "" {
					answer.Text = o.Answers[q]
				}
				asked.Answers = append(asked.Answers, answer)
			}
			shown.Questions = append(shown.Questions, asked)
		}
		out = append(out, shown)
	}
	return out
}
