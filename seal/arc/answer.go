package arc

import (
	"slices"

	"github.com/selkie-ml/selkie/internal/philox"
)

// Question is a task as it is put to a model: transformed, with some of its
// demonstrations in some order.
type Question struct {
	Task      Task
	Transform Transform // that the answer must be freed of; nil: none
	Order     []int     // the demonstrations shown, by their index
}

// AskOptions says how a task's questions are made.
type AskOptions struct {
	LeaveOut     []int // demonstrations left out of a question; the paper's 1
	Permutations int   // further orders of each; the paper's 2
	// Fits tells whether a question is short enough to be asked; nil: all are.
	Fits func(Task) bool
}

// askedUnder are the transforms under which one question each is asked.
var askedUnder = []Transform{Transpose{}, Flip(0), Flip(1), Rotate(90), Rotate(180)}

// Questions returns the questions that a task is answered by: for every n of
// LeaveOut its demonstrations without n of them in order, as many further
// orders of each as the options say and the demonstrations have, and one of
// these, drawn, under each transform; none twice within an n. Questions that
// do not fit are left out; when none of an n fits, n+1 are left out.
func Questions(t Task, opt AskOptions, draw *philox.Stream) []Question {
	var all []Question
	for _, n := range opt.LeaveOut {
		if n >= len(t.Train) {
			n = max(len(t.Train)-1, 0)
		}
		fitting := questions(t, n, opt, draw)
		if len(fitting) == 0 && n+1 < len(t.Train) {
			fitting = questions(t, n+1, opt, draw)
		}
		all = append(all, fitting...)
	}
	return all
}

func questions(t Task, n int, opt AskOptions, draw *philox.Stream) []Question {
	var list []Question
	seen := map[string]bool{}
	add := func(q Question) {
		if k := q.Task.key(); !seen[k] && (opt.Fits == nil || opt.Fits(q.Task)) {
			seen[k] = true
			list = append(list, q)
		}
	}
	subsets(len(t.Train), len(t.Train)-n, func(kept []int) {
		order := slices.Clone(kept)
		add(Question{Task: t.Reorder(order), Order: order})
	})
	for _, q := range slices.Clone(list) {
		for _, order := range otherOrders(q.Order, opt.Permutations, draw) {
			add(Question{Task: t.Reorder(order), Order: order})
		}
	}
	if len(list) == 0 {
		return nil
	}
	asked := slices.Clone(list)
	for _, tr := range askedUnder {
		q := asked[draw.IntN(len(asked))]
		add(Question{Task: q.Task.Under(tr), Transform: tr, Order: q.Order})
	}
	return list
}

// otherOrders draws up to k different orders of items other than theirs.
func otherOrders(items []int, k int, draw *philox.Stream) [][]int {
	possible := 1
	for i := 2; i <= len(items) && possible <= k; i++ {
		possible *= i
	}
	var orders [][]int
	for len(orders) < min(k, possible-1) {
		order := make([]int, len(items))
		for i, j := range draw.Perm(len(items)) {
			order[i] = items[j]
		}
		known := slices.Equal(order, items) || slices.ContainsFunc(orders, func(o []int) bool { return slices.Equal(o, order) })
		if !known {
			orders = append(orders, order)
		}
	}
	return orders
}

// Prediction is a grid that a model answered, free of its question's transform.
type Prediction struct {
	Output    Grid
	Transform Transform
}

// ReadAnswer reads the grid of an answer to a question under a transform.
func ReadAnswer(text string, under Transform) (Prediction, bool) {
	g, ok := ParseGrid(text)
	if ok && under != nil {
		g = Inverse(under).Apply(g)
	}
	return Prediction{g, under}, ok
}
