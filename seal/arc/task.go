package arc

import (
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/internal/philox"
)

// Pair is an input and its output.
type Pair struct {
	Input  Grid `json:"input"`
	Output Grid `json:"output"`
}

// Task is demonstrations and one pair to answer; the output of Test is nil
// where it is not known.
type Task struct {
	Train []Pair `json:"train"`
	Test  Pair   `json:"test"`
}

// Map returns a task with every grid changed by f.
func (t Task) Map(f func(Grid) Grid) Task {
	pair := func(p Pair) Pair {
		out := Pair{Input: f(p.Input)}
		if p.Output != nil {
			out.Output = f(p.Output)
		}
		return out
	}
	m := Task{Test: pair(t.Test)}
	for _, p := range t.Train {
		m.Train = append(m.Train, pair(p))
	}
	return m
}

// Under returns a task with every grid transformed.
func (t Task) Under(tr Transform) Task {
	if tr == nil {
		return t
	}
	return t.Map(tr.Apply)
}

// Reorder returns a task with its demonstrations in another order.
func (t Task) Reorder(order []int) Task {
	m := Task{Test: t.Test}
	for _, i := range order {
		m.Train = append(m.Train, t.Train[i])
	}
	return m
}

func (t Task) pairs() []Pair { return append(slices.Clone(t.Train), t.Test) }

// key is equal for equal tasks only.
func (t Task) key() string {
	var b strings.Builder
	for _, p := range t.pairs() {
		b.WriteString(p.Input.String() + ">" + p.Output.String() + "|")
	}
	return b.String()
}

func (t Task) tooLarge() bool {
	return slices.ContainsFunc(t.pairs(), func(p Pair) bool { return p.Input.tooLarge() || p.Output.tooLarge() })
}

// LeaveOut returns the tasks that demonstrations alone make: each of them is
// the test of a new task in turn, once for every (n−1)-subset of the others
// left out; the rest stay in order. With n as large as the number of
// demonstrations, tasks without any come out.
func LeaveOut(train []Pair, n int) []Task {
	var tasks []Task
	for i, test := range train {
		others := slices.Delete(slices.Clone(train), i, i+1)
		subsets(len(others), n-1, func(dropped []int) {
			t := Task{Test: test}
			for j, p := range others {
				if !slices.Contains(dropped, j) {
					t.Train = append(t.Train, p)
				}
			}
			tasks = append(tasks, t)
		})
	}
	return tasks
}

// subsets calls f with every k-subset of 0…n−1, in lexical order.
func subsets(n, k int, f func([]int)) {
	if k < 0 || k > n {
		return
	}
	chosen := make([]int, k)
	var choose func(at, from int)
	choose = func(at, from int) {
		if at == k {
			f(chosen)
			return
		}
		for i := from; i < n; i++ {
			chosen[at] = i
			choose(at+1, i+1)
		}
	}
	choose(0, 0)
}

// Recolouring maps colours one to one; colour 0, the background, stays.
type Recolouring [10]int8

// Apply implements Transform.
func (r Recolouring) Apply(g Grid) Grid {
	return build(len(g), len(g[0]), func(i, j int) int8 { return r[g[i][j]] })
}

func (Recolouring) String() string { return "recolour" }

// DrawRecolouring draws other colours for those a task uses: unused ones while
// there are any, then used ones in swapped pairs.
func DrawRecolouring(t Task, draw *philox.Stream) Recolouring {
	var used [10]bool
	for _, p := range t.pairs() {
		for _, g := range []Grid{p.Input, p.Output} {
			for _, row := range g {
				for _, c := range row {
					used[c] = true
				}
			}
		}
	}
	r := Recolouring{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	var from, free []int8
	for c := int8(1); c < 10; c++ {
		if used[c] {
			from = append(from, c)
		} else {
			free = append(free, c)
		}
	}
	draw.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
	draw.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
	n := min(len(from), len(free))
	for i := range n {
		r[from[i]], r[free[i]] = free[i], from[i]
	}
	for i := n; i+1 < len(from); i += 2 {
		r[from[i]], r[from[i+1]] = from[i+1], from[i]
	}
	return r
}

// TrainOptions says how a task's demonstrations become training tasks.
type TrainOptions struct {
	Tools    Tools
	LeaveOut []int // demonstrations left out of a task; the paper's 1 and 2
	// WithoutDemonstrations keeps tasks that have none left, as the reference does.
	WithoutDemonstrations bool
	// Plain leaves out the copies with permuted colours and order.
	Plain bool
	// Fits tells whether a task is short enough to train on; nil: all are.
	Fits func(Task) bool
	// Limit is how many tasks are kept at most, drawn at random; 0: all. Fits is
	// asked of tasks in the order of the result until there are as many.
	Limit int
	// Shift overrides the drawn roll of the translation; for comparison.
	Shift *Translate
}

// maxRoll is the largest roll of the translation, exclusive.
const maxRoll = 4

// TrainingSet returns the tasks to train on, by draws of the stream: for every
// n of LeaveOut the leave-n-out tasks and their transforms, as far as they fit
// ARC's sides, then one copy of each with colours (if a tool is chosen) and
// order permuted, no task twice within an n. More than the limit are shuffled
// and cut.
func TrainingSet(train []Pair, opt TrainOptions, draw *philox.Stream) []Task {
	shift := Translate{}
	if len(train) > 0 {
		smallest := func(side func(Grid) int) int {
			n := maxRoll
			for _, p := range train {
				n = min(n, side(p.Input), side(p.Output))
			}
			return max(n, 1)
		}
		shift = Translate{draw.IntN(smallest(func(g Grid) int { return len(g) })), draw.IntN(smallest(func(g Grid) int { return len(g[0]) }))}
	}
	if opt.Shift != nil {
		shift = *opt.Shift
	}
	var all []Task
	for _, n := range opt.LeaveOut {
		var set []Task
		seen := map[string]bool{}
		add := func(t Task) {
			if k := t.key(); !seen[k] && (len(t.Train) > 0 || opt.WithoutDemonstrations) {
				seen[k] = true
				set = append(set, t)
			}
		}
		for _, t := range LeaveOut(train, n) {
			add(t)
		}
		plain := slices.Clone(set)
		for _, tr := range opt.Tools.Transforms(shift) {
			for _, t := range plain {
				if t := t.Under(tr); !t.tooLarge() {
					add(t)
				}
			}
		}
		if !opt.Plain {
			for _, t := range slices.Clone(set) {
				if opt.Tools.Any() {
					t = t.Under(DrawRecolouring(t, draw))
				}
				add(t.Reorder(draw.Perm(len(t.Train))))
			}
		}
		all = append(all, set...)
	}
	limit := len(all)
	if opt.Limit > 0 && len(all) > opt.Limit {
		limit = opt.Limit
		draw.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	var fitting []Task
	for _, t := range all {
		if len(fitting) == limit {
			break
		}
		if opt.Fits == nil || opt.Fits(t) {
			fitting = append(fitting, t)
		}
	}
	return fitting
}
