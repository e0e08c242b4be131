package seal

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestRankCorrelations(t *testing.T) {
	for _, c := range []struct {
		x, y              []float64
		kendall, spearman float64
	}{
		{[]float64{1, 2, 3}, []float64{4, 5, 9}, 1, 1},
		{[]float64{1, 2, 3}, []float64{3, 2, 1}, -1, -1},
		{[]float64{1, 1, 2, 3}, []float64{1, 2, 3, 4}, 5 / math.Sqrt(30), 4.5 / math.Sqrt(4.5*5)},
		{[]float64{1, 1}, []float64{1, 2}, 0, 0},
		{[]float64{12, 2, 1, 12, 2}, []float64{1, 4, 7, 1, 0}, -0.47140452079103173, -5 / math.Sqrt(85.5)},
	} {
		if k, s := Kendall(c.x, c.y), Spearman(c.x, c.y); math.Abs(k-c.kendall) > 1e-12 || math.Abs(s-c.spearman) > 1e-12 {
			t.Errorf("%v, %v: %v and %v, want %v and %v", c.x, c.y, k, s, c.kendall, c.spearman)
		}
	}
}

func TestAgreements(t *testing.T) {
	r := &Round{
		Rewards: [][]Score{{{1, 2}, {2, 2}}, {{0, 2}, {0, 2}}, {{2, 2}, {0, 2}}},
		Others:  map[string][][]Score{RewardLoss: {{{3, 9}, {4, 9}}, {{1, 9}, {2, 9}}, {{1, 9}, {5, 9}}}},
	}
	got := r.Agreements(RewardAccuracy)
	if len(got) != 1 || got[0] != (Agreement{A: RewardAccuracy, B: RewardLoss, Kendall: 0, Spearman: 0, SameBest: 1. / 3, Passages: 3, Compared: 2}) {
		t.Errorf("%+v", got)
	}
	if len((&Round{}).Agreements(RewardAccuracy)) != 0 {
		t.Error("an agreement of one reward")
	}
}

func TestParseRubric(t *testing.T) {
	good := `Here: {"length": 1, "diversity": 2, "quality": 3, "correctness": 5, "remark": 9}.`
	if s, err := parseRubric(good); err != nil || s != (Score{11, 20}) {
		t.Errorf("%v, %v", s, err)
	}
	for _, bad := range []string{"", "11 of 20", `{"length": 1}`, `{"length": 6, "diversity": 2, "quality": 3, "correctness": 5}`,
		`{"length": 1.5, "diversity": 2, "quality": 3, "correctness": 5}`, `{"length": "1", "diversity": 2, "quality": 3, "correctness": 5}`, `{"length": 1e400}`} {
		if _, err := parseRubric(bad); err == nil || !strings.Contains(err.Error(), "expected") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestSelectAll(t *testing.T) {
	edit := func(correct int) Candidate { return Candidate{"x", Score{correct, 10}} }
	passages := [][]Candidate{{edit(1), edit(5), edit(3), {" ", Score{10, 10}}}, {edit(4), edit(4)}, {edit(9), edit(0)}}
	opts := make([]SelectOptions, 3)
	for i := range opts {
		opts[i].Best = 1
	}
	for _, c := range []struct {
		policy string
		share  float64
		want   [][]int
	}{
		{SelectBest, 0, [][]int{{1}, {0}, {0}}},
		{SelectAboveMean, 0, [][]int{{1}, nil, {0}}}, // 3 is the mean of 1, 5 and 3
		{SelectTopShare, 0.5, [][]int{{1}, {0, 1}, {0}}},
		{SelectTopShare, 0.2, [][]int{{1}, nil, {0}}},
		{SelectTopShare, 1, [][]int{{1, 2, 0}, {0, 1}, {0, 1}}},
	} {
		got := SelectAll(c.policy, passages, opts, c.share)
		for i := range got {
			if !slices.Equal(got[i], c.want[i]) {
				t.Errorf("%s %v: %v, want %v", c.policy, c.share, got, c.want)
				break
			}
		}
	}
	opts[1].SkipTied = true
	if got := SelectAll(SelectTopShare, passages, opts, 1); len(got[1]) != 0 {
		t.Errorf("tied edits are kept: %v", got)
	}
}

// The rewards run through the loop, the one that selects and those compared.
func TestRewardsInTheLoop(t *testing.T) {
	s := tinySettings()
	s.Outer.Rounds, s.Eval.Controls, s.Eval.Permutations = 1, nil, 1
	s.Outer.Reward, s.Outer.Compare, s.Outer.Select = RewardLoss, []string{RewardAccuracy}, SelectAboveMean
	dir := t.TempDir()
	e, err := Execute(t.Context(), dir, s, tinyInputs(t, 2), Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := e.Rounds[0]
	kinds := map[int]bool{}
	for i := range r.Rewards {
		for _, score := range r.Rewards[i] {
			if score.Asked != likelihoodUnit*s.Inner.Seeds || score.Correct <= 0 {
				t.Errorf("article %d: reward %v", i, score)
			}
			kinds[score.Correct] = true
		}
		if n := len(r.Kept[i]); n == 0 || n == len(r.Edits[i]) {
			t.Errorf("article %d: %d of %d kept", i, n, len(r.Edits[i]))
		}
		if r.Others[RewardAccuracy][i][0].Asked != 2*s.Inner.Seeds {
			t.Errorf("article %d: accuracy %v", i, r.Others[RewardAccuracy][i])
		}
	}
	if len(kinds) < 3 {
		t.Errorf("only %d different likelihoods", len(kinds))
	}
	want := canonical(t, dir)
	// Other bounds on what runs at once give the same files.
	s.Run.MaxAdapters, s.Run.MaxBatchTokens = 2, 64
	again := t.TempDir()
	if _, err := Execute(t.Context(), again, s, tinyInputs(t, 1), Options{}); err != nil {
		t.Fatal(err)
	}
	got := canonical(t, again)
	for _, f := range []string{"rewards-loss-1.jsonl", "rewards-1.jsonl", "experiment.json"} {
		if want[f] == "" || got[f] != want[f] {
			t.Errorf("%s is missing or differs", f)
		}
	}
}
