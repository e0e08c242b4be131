package seal

import (
	"math"
	"slices"
	"strings"
	"testing"
)

type selectionCase struct {
	Prompt      string
	Completions []struct {
		Text string
		Mean float64 `json:"adapter_mean"`
	}
	Best     int `json:"k_best"`
	Quirks   []string
	Expected struct {
		Ranked  []int `json:"ranked_indices"`
		Records []Record
		JSONL   string
	}
}

func TestDataSelection(t *testing.T) {
	type outcome struct {
		Ranked  []int
		Records []Record
		JSONL   string
	}
	eachCase(t, "selection", func(c selectionCase) check {
		// The cases hold means of rounded accuracies, ours are counts: their ranks.
		// Where floating-point noise decided, scores on a grid of millionths.
		var means []float64
		for _, e := range c.Completions {
			mean := e.Mean
			if slices.Contains(c.Quirks, "float-noise-tie") {
				mean = math.Round(mean * 1e6)
			}
			means = append(means, mean)
		}
		ranks := slices.Compact(slices.Sorted(slices.Values(means)))
		var edits []Candidate
		var byScore []int // not blank, stable: the decided order found another way
		for i, e := range c.Completions {
			score := Score{slices.Index(ranks, means[i]), len(ranks)}
			edits = append(edits, Candidate{e.Text, score})
			if strings.TrimSpace(e.Text) == "" {
				continue
			}
			at := 0
			for at < len(byScore) && edits[byScore[at]].Score.Correct >= score.Correct {
				at++
			}
			byScore = slices.Insert(byScore, at, i)
		}
		byScore = byScore[:min(c.Best, len(byScore))]
		var decided outcome
		for _, i := range byScore {
			decided.Ranked = append(decided.Ranked, i)
			decided.Records = append(decided.Records, Record{c.Prompt, strings.TrimSpace(c.Completions[i].Text)})
		}

		selected := Select(edits, SelectOptions{Best: c.Best})
		records := Records(c.Prompt, edits, selected)
		got := outcome{selected, records, string(AppendJSONL(nil, records))}
		decided.JSONL = got.JSONL
		want := outcome(c.Expected)
		if len(want.Records) == 0 {
			want.Records = nil
		}
		if len(want.Ranked) == 0 {
			want.Ranked = nil
		}
		return check{diff(want, got), diff(decided, got)}
	})
}

func TestSelect(t *testing.T) {
	edits := func(counts ...int) []Candidate {
		var c []Candidate
		for _, n := range counts {
			c = append(c, Candidate{"text", Score{n, 8}})
		}
		return c
	}
	reversed := func(i int) uint64 { return uint64(100 - i) }
	blankBest := edits(5, 3)
	blankBest[0].Text = " \n"
	blankTie := edits(5, 3, 3)
	blankTie[0].Text = ""
	for _, c := range []struct {
		name  string
		edits []Candidate
		opt   SelectOptions
		want  []int
	}{
		{"best first", edits(1, 5, 3), SelectOptions{Best: 2}, []int{1, 2}},
		{"ties keep the earlier", edits(3, 5, 5), SelectOptions{Best: 1}, []int{1}},
		{"ties by draw", edits(3, 5, 5), SelectOptions{Best: 1, Draw: reversed}, []int{2}},
		{"all tied, kept", edits(5, 5), SelectOptions{Best: 1}, []int{0}},
		{"all tied, skipped", edits(5, 5), SelectOptions{Best: 1, SkipTied: true}, nil},
		{"not all tied", edits(5, 5, 4), SelectOptions{Best: 1, SkipTied: true, Draw: reversed}, []int{1}},
		{"one edit ties with itself", edits(5), SelectOptions{Best: 1, SkipTied: true}, nil},
		{"blank best", blankBest, SelectOptions{Best: 1}, []int{1}},
		{"blank edits do not untie", blankTie, SelectOptions{Best: 1, SkipTied: true}, nil},
		{"fewer than asked", edits(1, 2), SelectOptions{Best: 5}, []int{1, 0}},
		{"none", nil, SelectOptions{Best: 1, SkipTied: true}, nil},
	} {
		if got := Select(c.edits, c.opt); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestScore(t *testing.T) {
	for _, c := range []struct {
		a, b Score
		want int
	}{
		{Score{1, 3}, Score{2, 6}, 0},
		{Score{1, 3}, Score{3, 10}, 1},
		{Score{0, 4}, Score{}, 0},
		{Score{1, 4}, Score{}, 1},
		{Score{}, Score{}, 0},
	} {
		if got := c.a.Compare(c.b); got != c.want {
			t.Errorf("%v against %v: %d, want %d", c.a, c.b, got, c.want)
		}
		if got := c.b.Compare(c.a); got != -c.want {
			t.Errorf("%v against %v: %d, want %d", c.b, c.a, got, -c.want)
		}
	}
	if got := ScoreOf([]bool{true, false, true}).Plus(Score{1, 3}); got != (Score{3, 6}) {
		t.Errorf("pooled score %v", got)
	}
}

func TestAppendJSONL(t *testing.T) {
	got := string(AppendJSONL(nil, []Record{{"é\u2028<&>", "\"\\\n\r\t\b\f\x01\x7f"}}))
	want := "{\"prompt\": \"é\u2028<&>\", \"completion\": \"\\\"\\\\\\n\\r\\t\\b\\f\\u0001\x7f\"}\n"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
