package arc

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selkie-ml/selkie/internal/philox"
)

func draw(item string) *philox.Stream {
	return philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Item: item})
}

func TestTransforms(t *testing.T) {
	g := Grid{{1, 2, 3}, {4, 5, 6}}
	for _, c := range []struct {
		tr   Transform
		want Grid
	}{
		{Rotate(90), Grid{{3, 6}, {2, 5}, {1, 4}}},
		{Rotate(180), Grid{{6, 5, 4}, {3, 2, 1}}},
		{Rotate(270), Grid{{4, 1}, {5, 2}, {6, 3}}},
		{Flip(0), Grid{{4, 5, 6}, {1, 2, 3}}},
		{Flip(1), Grid{{3, 2, 1}, {6, 5, 4}}},
		{Transpose{}, Grid{{1, 4}, {2, 5}, {3, 6}}},
		{Reflect{0, true}, Grid{{4, 5, 6}, {1, 2, 3}, {1, 2, 3}, {4, 5, 6}}},
		{Reflect{1, false}, Grid{{1, 2, 3, 3, 2, 1}, {4, 5, 6, 6, 5, 4}}},
		{Translate{1, 1}, Grid{{6, 4, 5}, {3, 1, 2}}},
		{Translate{-1, 0}, Grid{{4, 5, 6}, {1, 2, 3}}},
		{Upscale{1, 2}, Grid{{1, 1, 2, 2, 3, 3}, {4, 4, 5, 5, 6, 6}}},
		{Repeat{2, 1}, Grid{{1, 2, 3}, {4, 5, 6}, {1, 2, 3}, {4, 5, 6}}},
		{Chain{Flip(0), Upscale{2, 1}}, Grid{{4, 5, 6}, {4, 5, 6}, {1, 2, 3}, {1, 2, 3}}},
	} {
		if got := c.tr.Apply(g); !got.Equal(c.want) {
			t.Errorf("%v gives %v, want %v", c.tr, got, c.want)
		}
	}
	if !g.Equal(Grid{{1, 2, 3}, {4, 5, 6}}) {
		t.Errorf("a transform changed its argument to %v", g)
	}
	for _, tr := range askedUnder {
		if got := Inverse(tr).Apply(tr.Apply(g)); !got.Equal(g) {
			t.Errorf("%v is undone to %v", tr, got)
		}
	}
}

func pairs(n int) []Pair {
	var list []Pair
	for i := range int8(n) {
		list = append(list, Pair{Grid{{i, 1}, {2, i}}, Grid{{1, i}, {i, 2}}})
	}
	return list
}

func TestLeaveOut(t *testing.T) {
	for _, c := range []struct{ demonstrations, n, tasks, left int }{{4, 1, 4, 3}, {4, 2, 12, 2}, {4, 3, 12, 1}, {2, 2, 2, 0}, {1, 1, 1, 0}, {2, 3, 0, 0}} {
		tasks := LeaveOut(pairs(c.demonstrations), c.n)
		if len(tasks) != c.tasks {
			t.Errorf("%d demonstrations leave %d: %d tasks, want %d", c.demonstrations, c.n, len(tasks), c.tasks)
		}
		for _, task := range tasks {
			if len(task.Train) != c.left {
				t.Errorf("%d demonstrations leave %d: a task has %d, want %d", c.demonstrations, c.n, len(task.Train), c.left)
			}
		}
	}
}

func TestTrainingSet(t *testing.T) {
	opt := TrainOptions{LeaveOut: []int{1, 2}}
	plain := TrainingSet(pairs(3), opt, draw("a"))
	// 3 tasks of two demonstrations, 6 of one, and as many of the first in the
	// other order as are drawn.
	if n := len(plain); n < 3+6 || n > 3*2+6 {
		t.Errorf("%d tasks without tools, want 9 to 12", n)
	}
	opt.Tools.Size, opt.Limit = true, 10
	asked := 0
	opt.Fits = func(Task) bool { asked++; return asked%2 == 0 }
	if got := TrainingSet(pairs(3), opt, draw("a")); len(got) != 10 || asked != 20 {
		t.Errorf("%d tasks of at most 10, %d asked", len(got), asked)
	}
	opt.Fits = nil
	a, b := TrainingSet(pairs(3), opt, draw("a")), TrainingSet(pairs(3), opt, draw("a"))
	if d := cmp.Diff(a, b); d != "" {
		t.Errorf("the same draws give other tasks\n%s", d)
	}
	wide := []Pair{{Grid{make([]int8, 20)}, Grid{make([]int8, 20)}}, {Grid{append(make([]int8, 19), 1)}, Grid{make([]int8, 20)}}}
	for _, task := range TrainingSet(wide, TrainOptions{Tools: Tools{Size: true, Repeat: true}, LeaveOut: []int{1}}, draw("w")) {
		if task.tooLarge() {
			t.Errorf("a task of %d columns", len(task.Test.Input[0]))
		}
	}
	if got := TrainingSet(nil, opt, draw("n")); len(got) > 0 {
		t.Errorf("no demonstrations make %d tasks", len(got))
	}
}

func TestQuestions(t *testing.T) {
	task := Task{Train: pairs(4), Test: Pair{Grid{{7, 8}, {9, 9}}, Grid{{8, 7}, {9, 9}}}}
	opt := AskOptions{LeaveOut: []int{1}, Permutations: 2}
	q := Questions(task, opt, draw("q"))
	if len(q) != 4*3+5 {
		t.Errorf("%d questions, want 4 in 3 orders and 5 transformed", len(q))
	}
	opt.Fits = func(t Task) bool { return len(t.Train) < 3 }
	for _, q := range Questions(task, opt, draw("q")) {
		if len(q.Order) != 2 {
			t.Errorf("a question with %d demonstrations where only 2 fit", len(q.Order))
		}
	}
	opt.Fits = nil
	if q := Questions(Task{Train: pairs(1), Test: task.Test}, opt, draw("1")); len(q) == 0 || len(q[0].Task.Train) != 1 {
		t.Errorf("of one demonstration: %+v", q)
	}
}

func TestVote(t *testing.T) {
	a, b, c := Grid{{1}}, Grid{{2}}, Grid{{3}}
	p := func(g Grid, tr Transform) Prediction { return Prediction{g, tr} }
	for _, v := range []struct {
		predictions []Prediction
		want        Guesses
	}{
		{nil, Guesses{}},
		{[]Prediction{p(a, nil)}, Guesses{a, a}},
		{[]Prediction{p(a, nil), p(b, nil), p(b, nil)}, Guesses{b, a}},
		{[]Prediction{p(a, nil), p(b, nil)}, Guesses{a, b}},                                          // a tie: the first to appear
		{[]Prediction{p(a, nil), p(a, nil), p(a, nil), p(b, Flip(0)), p(b, Flip(1))}, Guesses{b, a}}, // transforms agree
		{[]Prediction{p(a, Flip(0)), p(c, Flip(1)), p(a, Transpose{})}, Guesses{a, c}},
	} {
		if got := Vote(v.predictions); fmt.Sprint(got) != fmt.Sprint(v.want) {
			t.Errorf("%v: %v, want %v", v.predictions, got, v.want)
		}
	}
	if (Guesses{a, b}).Solve(c) || !(Guesses{a, b}).Solve(b) || (Guesses{}).Solve(a) {
		t.Error("guesses that solve")
	}
}

func TestSubmission(t *testing.T) {
	s := Submission(map[string][]Guesses{"t": {{Grid{{1}}, Grid{{2}}}, {}}})
	if d := cmp.Diff(map[string][]Attempts{"t": {{Grid{{1}}, Grid{{2}}}, {Grid{{0}}, Grid{{0}}}}}, s); d != "" {
		t.Error(d)
	}
	solutions := map[string][]Grid{"t": {{{2}}, {{5}}}, "u": {{{1}}}}
	score, err := Evaluate(s, solutions, true)
	if err != nil || score.InputsRight != 1 || score.Inputs != 2 || score.Tasks != 2 || score.Points != 0.5 || score.Solved["t"] {
		t.Errorf("%+v, %v", score, err)
	}
	if _, err := Evaluate(s, map[string][]Grid{}, false); err == nil {
		t.Error("a task without solutions is scored")
	}
}

func TestPrompts(t *testing.T) {
	p := DefaultPrompts()
	m := p.SolveMessages(Task{Train: pairs(1), Test: Pair{Grid{{5}}, Grid{{6}}}}, true)
	want := []string{p.Solve + "[[0 1]\n [2 0]] -> [[1 0]\n [0 2]]#\n", "[[5]] -> ", "[[6]]#"}
	for i, w := range want {
		if m[i].Content != w {
			t.Errorf("message %d is %q, want %q", i, m[i].Content, w)
		}
	}
	e := p.EditMessages(pairs(1))
	if want := "Input:\n0 1\n2 0\n\nOutput:\n1 0\n0 2\n\n------\n\n" + p.Edit; e[1].Content != want || e[0].Content == "" {
		t.Errorf("%q, want %q", e[1].Content, want)
	}
	if roles := []string{m[0].Role, m[1].Role, m[2].Role}; !slices.Equal(roles, []string{"system", "user", "assistant"}) {
		t.Error(roles)
	}
}
