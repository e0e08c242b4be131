// Package report shows a finished run: a table for the terminal, one JSON object,
// and one HTML file that needs nothing but a browser. It takes plain data that
// knows nothing of the loop, so a report can be made again from a file. It imports
// only internal/atomicfile.
package report

import (
	"bytes"
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/internal/atomicfile"
)

// Data is everything a report shows. Accuracies, rewards and shares are
// fractions, 0 to 1; empty fields leave their sections out. The same data always
// give the same bytes.
type Data struct {
	Title       string         `json:"title"`
	Summary     string         `json:"summary,omitempty"` // a sentence or two: model, data, what was compared
	Rows        []Row          `json:"rows"`
	Differences []Row          `json:"differences,omitempty"` // paired, in the unit of Rows
	Unit        string         `json:"unit,omitempty"`        // what N counts, as in "passages"
	Level       float64        `json:"level,omitempty"`       // of the intervals, as in 0.95
	Paper       Paper          `json:"paper,omitzero"`
	Rounds      []Series       `json:"rounds,omitempty"`
	Rewards     []Distribution `json:"rewards,omitempty"`
	Styles      []Style        `json:"styles,omitempty"`
	StyleNames  []string       `json:"style_names,omitempty"` // of what each of a Style's shares is
	Edits       []EditPair     `json:"edits,omitempty"`
	Grids       []GridTask     `json:"grids,omitempty"`
	Verdicts    []Article      `json:"verdicts,omitempty"`
	Timings     []Timing       `json:"timings,omitempty"`
	Settings    []Setting      `json:"settings,omitempty"`
	Tables      []Table        `json:"tables,omitempty"`
	Heats       []Heat         `json:"heats,omitempty"`
	Notes       []string       `json:"notes,omitempty"` // paragraphs a reader should know: limits, departures, what was skipped
}

// Row is one figure with its interval.
type Row struct {
	Name  string  `json:"name"`            // for machines, as in seal_round_1
	Label string  `json:"label,omitempty"` // for people; Name if empty
	Mean  float64 `json:"mean"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	N     int     `json:"n"`
}

// Paper is a published table to compare with.
type Paper struct {
	Caption string       `json:"caption"` // whose figures, under which conditions
	Values  []PaperValue `json:"values"`
}

// PaperValue is one published figure.
type PaperValue struct {
	Row   string  `json:"row,omitempty"` // Name of the Row it compares to; empty if none
	Label string  `json:"label"`
	Value float64 `json:"value"`
}

// Series is an accuracy over the rounds of reinforcement; point i is after i
// rounds. Name and Label of the points are not used.
type Series struct {
	Label  string `json:"label"`
	Points []Row  `json:"points"`
}

// Distribution holds the rewards of one set of self-edits.
type Distribution struct {
	Label  string    `json:"label"` // as in "before" or "after round 2"
	Values []float64 `json:"values"`
}

// Style is how often each style of self-edit was written at one time.
type Style struct {
	Label  string    `json:"label"`
	Shares []float64 `json:"shares"` // as many as Data.StyleNames
}

// EditPair is a passage with self-edits from before and after reinforcement.
type EditPair struct {
	Title   string `json:"title"`
	Passage string `json:"passage,omitempty"`
	Before  Edit   `json:"before"`
	After   Edit   `json:"after"`
}

// Edit is a self-edit with its reward.
type Edit struct {
	Text   string  `json:"text"`
	Reward float64 `json:"reward"`
}

// Article holds the answers to an article's questions.
type Article struct {
	Title     string     `json:"title"`
	Questions []Question `json:"questions"`
}

// Question is a question with its gold answer and everybody's answers.
type Question struct {
	Question string   `json:"question"`
	Gold     string   `json:"gold"`
	Answers  []Answer `json:"answers"`
}

// Answer is what one arm of the experiment answered.
type Answer struct {
	Arm     string `json:"arm"`
	Text    string `json:"text"`
	Correct bool   `json:"correct"`
}

// Timing is how long a part of the run took.
type Timing struct {
	What    string  `json:"what"`
	Seconds float64 `json:"seconds"`
	Tokens  int     `json:"tokens,omitempty"`
}

// Setting is one setting of the run.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Write writes the HTML report to path, whole or not at all.
func Write(path string, d Data) error {
	var page bytes.Buffer
	if err := HTML(&page, d); err != nil {
		return err
	}
	return atomicfile.WriteFile(path, page.Bytes())
}

// check finds figures that cannot be shown.
func (d Data) check() error {
	figure := func(where string, xs ...float64) error {
		for _, x := range xs {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return fmt.Errorf("report: %s: got %v, expected a finite number", where, x)
			}
		}
		return nil
	}
	rows := append(append([]Row{}, d.Rows...), d.Differences...)
	for _, s := range d.Rounds {
		rows = append(rows, s.Points...)
	}
	for _, r := range rows {
		if err := figure("row "+r.Name, r.Mean, r.Low, r.High); err != nil {
			return err
		}
		if r.Low > r.High {
			return fmt.Errorf("report: row %s: got an interval from %v to %v", r.Name, r.Low, r.High)
		}
	}
	for _, v := range d.Paper.Values {
		if err := figure("published value "+v.Label, v.Value); err != nil {
			return err
		}
	}
	for _, w := range d.Rewards {
		for _, x := range w.Values {
			if !(x >= 0 && x <= 1) {
				return fmt.Errorf("report: rewards %s: got %v, expected 0 to 1", w.Label, x)
			}
		}
	}
	for _, s := range d.Styles {
		if len(s.Shares) != len(d.StyleNames) {
			return fmt.Errorf("report: styles %s: got %d shares for %d names", s.Label, len(s.Shares), len(d.StyleNames))
		}
		if err := figure("styles "+s.Label, s.Shares...); err != nil {
			return err
		}
	}
	for _, e := range d.Edits {
		if err := figure("self-edits of "+e.Title, e.Before.Reward, e.After.Reward); err != nil {
			return err
		}
	}
	for _, t := range d.Timings {
		if err := figure("timing "+t.What, t.Seconds); err != nil {
			return err
		}
	}
	if err := d.checkTables(); err != nil {
		return err
	}
	return d.checkGrids()
}

func (r Row) label() string {
	if r.Label != "" {
		return r.Label
	}
	return r.Name
}
