package seal

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/seal/arc"
)

func TestDataArcTasks(t *testing.T) {
	type item struct {
		ID, Category string
		Challenges   json.RawMessage
		Solutions    json.RawMessage
		N            int `json:"n_tasks"`
		Expected     struct {
			Subtasks  []string
			Outputs   []arc.Grid `json:"test_outputs"`
			WithEdits []string   `json:"tasks_with_edits"`
		}
	}
	eachCase(t, "arc_tasks", func(c item) check {
		list, err := arc.ParseChallenges(c.Challenges)
		if c.Category == "published" { // the grids were left out
			var counts map[string]struct {
				Train int `json:"n_train"`
				Test  int `json:"n_test"`
			}
			if err := json.Unmarshal(c.Challenges, &counts); err != nil {
				return check{exact: err.Error(), decided: err.Error()}
			}
			list, err = nil, nil
			for _, id := range slices.Sorted(maps.Keys(counts)) {
				list = append(list, arc.Challenge{ID: id, Tests: make([]arc.Pair, counts[id].Test)})
			}
		}
		if err == nil {
			var solutions map[string][]arc.Grid
			if solutions, err = arc.ParseSolutions(c.Solutions); err == nil {
				err = arc.AddSolutions(list, solutions)
			}
		}
		if err != nil {
			return check{exact: err.Error(), decided: err.Error()}
		}
		var subtasks, ids []string
		var outputs []arc.Grid
		for i, ch := range list {
			if i < c.N {
				ids = append(ids, ch.ID)
			}
			for k := range ch.Tests {
				subtasks, outputs = append(subtasks, arc.Subtask(ch.ID, k)), append(outputs, ch.Tests[k].Output)
			}
		}
		d := diff(c.Expected.Subtasks, subtasks)
		if c.Expected.Outputs != nil {
			d += diff(c.Expected.Outputs, outputs)
		}
		// Where the reference counts test inputs, later tasks lose their turn.
		return check{exact: d + diff(c.Expected.WithEdits, ids), decided: d + decideUnless(len(ids) == min(c.N, len(list)) &&
			slices.Equal(ids[:len(c.Expected.WithEdits)], c.Expected.WithEdits), diff(c.Expected.WithEdits, ids))}
	})
}

func TestDataArcTestPrompts(t *testing.T) {
	tok := arcTokenizer(t, "llama3.2")
	type prompt struct {
		Inverse *string
		Order   []int `json:"demonstrations"`
		Tokens  int   `json:"total_tokens"`
	}
	type item struct {
		ID, Category string
		Task         arc.Task
		LeaveN       []int `json:"include_n"`
		Permute      int   `json:"permute_n"`
		MaxTokens    int   `json:"max_tokens"`
		Expected     struct {
			Digests []string `json:"unpermuted_digests"`
			Run     []prompt `json:"one_reference_run"`
		}
	}
	prompts := arc.Prompts{Solve: referenceSolve}
	eachCase(t, "arc_test_prompts", func(c item) check {
		tokens := func(t arc.Task) int {
			ids, err := prompts.QuestionTokens(tok, t, arcDate)
			if err != nil {
				panic(err)
			}
			return len(ids)
		}
		ask := func(limit int) []arc.Question {
			return arc.Questions(c.Task, arc.AskOptions{LeaveOut: c.LeaveN, Permutations: c.Permute, Fits: func(t arc.Task) bool { return tokens(t) < limit }}, arcDraw(c.ID))
		}
		count := func(q []arc.Question) (plain, under int, d string) {
			seen, transforms := map[string]bool{}, map[string]bool{}
			orders := map[string]int{}
			for _, q := range q {
				if k := digest(q.Task); seen[k] {
					d += "the same question twice\n"
				} else {
					seen[k] = true
				}
				if q.Transform == nil {
					plain++
					sorted := slices.Sorted(slices.Values(q.Order))
					orders[fmt.Sprint(sorted)]++
					continue
				}
				if under++; transforms[q.Transform.String()] {
					d += "a transform twice\n"
				}
				transforms[q.Transform.String()] = true
			}
			for o, n := range orders {
				if n > 1+c.Permute {
					d += fmt.Sprintf("%d orders of %s\n", n, o)
				}
			}
			return plain, under, d
		}
		got := ask(c.MaxTokens)
		plain, under, d := count(got)
		have := map[string]bool{}
		for _, q := range got {
			have[digest(q.Task)] = true
		}
		// Prompts alone are shorter than what the reference counts, so a set
		// that it finds too long may fit.
		wantPlain, wantUnder := 0, 0
		for _, p := range c.Expected.Run {
			if p.Inverse == nil {
				wantPlain++
			} else {
				wantUnder++
			}
		}
		missing := ""
		for _, want := range c.Expected.Digests {
			if !have[want] {
				missing += "an unpermuted question is missing\n"
			}
		}
		exact := d + missing + diff(wantUnder, under)
		// Drawn orders that coincide are missing from the reference's run, never here.
		if most := len(c.Expected.Digests) * (1 + c.Permute); plain < wantPlain || plain > most {
			exact += fmt.Sprintf("%d untransformed questions, expected %d to %d\n", plain, wantPlain, most)
		}
		if c.Category != "token-limit" {
			return check{exact: exact}
		}
		// Under the limits of the prompts themselves, both ways come up.
		shortest := math.MaxInt
		for _, q := range ask(math.MaxInt) {
			shortest = min(shortest, tokens(q.Task))
		}
		fewer := ask(shortest)
		_, _, d2 := count(fewer)
		for _, q := range fewer {
			if len(q.Order) != len(c.Task.Train)-c.LeaveN[0]-1 {
				d2 += fmt.Sprintf("with a limit of %d a question has %d demonstrations\n", shortest, len(q.Order))
			}
		}
		if len(fewer) == 0 {
			d2 += "nothing is asked where fewer demonstrations fit\n"
		}
		return check{exact: exact, decided: d + missing + d2}
	})
}

func TestDataArcDecode(t *testing.T) {
	type item struct {
		Text     string
		Inverse  *string
		Expected arc.Grid
		Strict   arc.Grid `json:"expected_by_strict_reading"`
	}
	eachCase(t, "arc_decode", func(c item) check {
		undo := byReferenceName(c.Inverse)
		var got arc.Grid
		if g, ok := arc.ParseGrid(c.Text); ok {
			got = g
			if undo != nil {
				got = undo.Apply(g)
				p, ok := arc.ReadAnswer(c.Text, arc.Inverse(undo))
				if !ok || !p.Output.Equal(got) {
					return check{exact: "ReadAnswer differs", decided: "ReadAnswer differs"}
				}
			}
		}
		return check{exact: diff(c.Expected, got), decided: diff(c.Strict, got)}
	})
}

type arcPrediction struct {
	Output  arc.Grid
	Inverse *string
}

func TestDataArcVote(t *testing.T) {
	type item struct {
		Predictions  []arcPrediction
		Dependent    bool `json:"order_dependent"`
		FirstDepends bool `json:"first_guess_order_dependent"`
		Expected     arc.Guesses
		Possible     []arc.Guesses
	}
	members, dependent := 0, 0
	eachCase(t, "arc_vote", func(c item) check {
		var ps []arc.Prediction
		distinct := map[string]bool{}
		for _, p := range c.Predictions {
			ps = append(ps, arc.Prediction{Output: p.Output, Transform: byReferenceName(p.Inverse)})
			distinct[p.Output.String()] = true
		}
		got := arc.Vote(ps)
		result := check{exact: diff(c.Expected, got)}
		if c.Dependent {
			dependent++
			if slices.ContainsFunc(c.Possible, func(g arc.Guesses) bool { return g[0].Equal(got[0]) && g[1].Equal(got[1]) }) {
				members++
			}
			if !c.FirstDepends {
				result.decided = diff(c.Expected[0], got[0])
			}
			if len(distinct) > 1 && got[0].Equal(got[1]) {
				result.decided += "the same guess twice"
			}
			for _, g := range got {
				result.decided += decideUnless(distinct[g.String()], "a guess that nobody predicted")
			}
		}
		return result
	})
	t.Logf("of %d order-dependent votes, %d came out as the reference may have it", dependent, members)
}

func TestDataArcPipeline(t *testing.T) {
	type item struct {
		Solutions map[string][]arc.Grid
		Subtasks  []struct {
			Subtask string
			Outputs []struct {
				Inverse *string
				Text    string
			}
			VoteDepends   bool `json:"vote_order_dependent"`
			SolvedDepends bool `json:"solved_order_dependent"`
		}
		Quirks   []string
		Expected struct {
			Predictions map[string][]arc.Grid
			Attempts    map[string][]arc.Grid
			Solved      map[string]bool
		}
	}
	eachCase(t, "arc_pipeline", func(c item) check {
		strict := !slices.ContainsFunc(c.Quirks, func(q string) bool { return strings.HasPrefix(q, "decode-") || q == "empty-output-votes" })
		guesses := map[string][]arc.Guesses{}
		for id, s := range c.Solutions {
			guesses[id] = make([]arc.Guesses, len(s))
		}
		d := ""
		depends := map[string]bool{}
		for _, s := range c.Subtasks {
			var ps []arc.Prediction
			grids := make([]arc.Grid, len(s.Outputs))
			for i, o := range s.Outputs {
				var under arc.Transform
				if undo := byReferenceName(o.Inverse); undo != nil {
					under = arc.Inverse(undo)
				}
				if p, ok := arc.ReadAnswer(o.Text, under); ok {
					ps, grids[i] = append(ps, p), p.Output
				}
			}
			if strict {
				d += diff(c.Expected.Predictions[s.Subtask], grids)
			}
			dash := strings.LastIndexByte(s.Subtask, '-')
			k, _ := strconv.Atoi(s.Subtask[dash+1:])
			guesses[s.Subtask[:dash]][k] = arc.Vote(ps)
			depends[s.Subtask[:dash]] = depends[s.Subtask[:dash]] || s.SolvedDepends
		}
		submission := arc.Submission(guesses)
		score, err := arc.Evaluate(submission, c.Solutions, false)
		if err != nil {
			return check{exact: err.Error(), decided: err.Error()}
		}
		for _, s := range c.Subtasks {
			if s.VoteDepends || !strict {
				continue
			}
			dash := strings.LastIndexByte(s.Subtask, '-')
			k, _ := strconv.Atoi(s.Subtask[dash+1:])
			a := submission[s.Subtask[:dash]][k]
			d += diff(c.Expected.Attempts[s.Subtask], []arc.Grid{a.First, a.Second})
		}
		for id, want := range c.Expected.Solved {
			if !depends[id] {
				d += diff(want, score.Solved[id])
			}
		}
		return check{exact: d, decided: d}
	})
}

func TestDataArcSubmission(t *testing.T) {
	type item struct {
		Predictions []struct {
			Subtask  string
			Attempts arc.Guesses
		}
		Expected map[string][]arc.Attempts
	}
	eachCase(t, "arc_submission", func(c item) check {
		guesses := map[string][]arc.Guesses{}
		for _, p := range c.Predictions {
			dash := strings.LastIndexByte(p.Subtask, '-')
			id := p.Subtask[:dash]
			k, _ := strconv.Atoi(p.Subtask[dash+1:])
			for len(guesses[id]) <= k {
				guesses[id] = append(guesses[id], arc.Guesses{})
			}
			guesses[id][k] = p.Attempts
		}
		return check{exact: diff(c.Expected, arc.Submission(guesses))}
	})
}

func TestDataArcScore(t *testing.T) {
	type item struct {
		Solutions  map[string][]arc.Grid
		Submission map[string][]arc.Attempts
		Parts      bool `json:"subpoints"`
		Expected   struct {
			Solved map[string]bool
			Each   struct {
				Correct, Total int
				Accuracy       float64
			} `json:"per_prediction"`
			Competition struct {
				Correct  float64
				Total    int
				Accuracy float64
			}
		}
	}
	eachCase(t, "arc_score", func(c item) check {
		s, err := arc.Evaluate(c.Submission, c.Solutions, c.Parts)
		if err != nil {
			return check{exact: err.Error()}
		}
		d := diff(c.Expected.Solved, s.Solved)
		d += diff([]int{c.Expected.Each.Correct, c.Expected.Each.Total, c.Expected.Competition.Total}, []int{s.InputsRight, s.Inputs, s.Tasks})
		if math.Abs(s.Points-c.Expected.Competition.Correct) > 1e-9 {
			d += diff(c.Expected.Competition.Correct, s.Points)
		}
		return check{exact: d, decided: d}
	})
}

func TestDataArcBehaviourCloning(t *testing.T) {
	type entry struct{ Prompt, Response string }
	type item struct {
		Configs   map[string]map[string]entry `json:"configs_and_indices"`
		Tokenizer string
		Results   map[string]struct {
			Task    map[string]string `json:"task_id"`
			Correct map[string]bool
		}
		Expected struct {
			Records []entry
			Texts   []string `json:"training_texts"`
			Rows    []struct {
				IDs    []int32 `json:"input_ids"`
				Labels []int32
				Masked int `json:"n_masked"`
			}
		}
	}
	eachCase(t, "arc_bc", func(c item) check {
		var ids []string // tasks in the order of the results
		var solved [][]bool
		for e := range len(c.Results) {
			r := c.Results[strconv.Itoa(e)]
			for k := range len(r.Task) {
				if e == 0 {
					ids, solved = append(ids, r.Task[strconv.Itoa(k)]), append(solved, nil)
				}
				at := slices.Index(ids, r.Task[strconv.Itoa(k)])
				for len(solved[at]) <= e {
					solved[at] = append(solved[at], false)
				}
				solved[at][e] = r.Correct[strconv.Itoa(k)]
			}
		}
		// The reference goes edit by edit; the loop shuffles.
		records, texts := []entry{}, []string{}
		for e := range len(c.Results) {
			for k, id := range ids {
				if kept := (fewshot{}).solvedEdits(scores(solved[k])); slices.Contains(kept, e) {
					r := c.Configs[id][strconv.Itoa(e)]
					records, texts = append(records, r), append(texts, r.Prompt+r.Response+"<|eot_id|>")
				}
			}
		}
		got := check{exact: diff(c.Expected.Records, records) + diff(c.Expected.Texts, texts)}
		if c.Expected.Rows == nil {
			return got
		}
		got.decided = got.exact
		tok := arcTokenizer(t, c.Tokenizer)
		_, eot, _ := tok.EOS()
		for i, r := range records {
			row := CompletionTokens(tok, tok.Encode(r.Prompt, false), r.Response, EndOfText{"<|eot_id|>", eot})
			want := c.Expected.Rows[i]
			// The reference has a second begin-of-text before.
			got.exact += diff(want.IDs, row.IDs)
			got.decided += diff(want.IDs[1:], row.IDs) + diff(want.Masked-1, row.Masked)
		}
		return got
	})
}

func scores(solved []bool) []Candidate {
	out := make([]Candidate, len(solved))
	for i, s := range solved {
		out[i] = Candidate{Text: "an edit", Score: ScoreOf([]bool{s})}
	}
	return out
}
