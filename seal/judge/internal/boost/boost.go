// Package boost fits and evaluates gradient-boosted regression trees for a yes
// or no question (Friedman, "Greedy function approximation", 2001), with second
// derivatives, shrinkage and an L2 penalty on leaves as in XGBoost (Chen and
// Guestrin, 2016). Everything is deterministic: the same rows give the same bits.
package boost

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/selkie-ml/selkie/internal/philox"
)

// Options of Fit.
type Options struct {
	Trees    int
	Depth    int     // of each tree
	Rate     float64 // shrinkage of each tree's leaves
	Penalty  float64 // L2, on leaves
	MinChild float64 // least sum of second derivatives in a leaf
	Rows     float64 // share of the groups of rows that a tree sees
	Columns  float64 // share of the features that a tree sees
	Seed     uint64
	// Group of each row: rows of one group are seen by a tree together or not at all.
	Group []int
	// Rising has 1 for features with which the odds may only rise, −1 for those
	// with which they may only fall, else 0; nil: 0 for all.
	Rising []int8
	// Weight of each row, nil: 1.
	Weight []float64
}

// Node is a split, or a leaf where Feature is −1. A row goes left when its
// feature is at most Threshold.
type Node struct {
	Feature     int16
	Left, Right int16
	Threshold   float32
	Value       float32
}

// Model is a sum of trees, each with its root first; the sum is the log-odds of yes.
type Model struct {
	Bias  float32
	Trees [][]Node
}

// LogOdds of yes for a row of features.
func (m *Model) LogOdds(x []float32) float64 {
	sum := float64(m.Bias)
	for _, tree := range m.Trees {
		n := &tree[0]
		for n.Feature >= 0 {
			if x[n.Feature] <= n.Threshold {
				n = &tree[n.Left]
			} else {
				n = &tree[n.Right]
			}
		}
		sum += float64(n.Value)
	}
	return sum
}

const bins = 64

// cuts returns at most bins−1 thresholds that part a feature's values into parts of like size.
func cuts(values []float32) []float32 {
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	distinct := slices.Compact(slices.Clone(sorted))
	var out []float32
	if len(distinct) <= bins {
		for i := 1; i < len(distinct); i++ {
			out = append(out, (distinct[i-1]+distinct[i])/2)
		}
		return out
	}
	for b := 1; b < bins; b++ {
		v := sorted[b*len(sorted)/bins]
		if len(out) == 0 || v > out[len(out)-1] {
			out = append(out, v)
		}
	}
	return out
}

type fitting struct {
	opt     Options
	binned  [][]uint8 // [feature][row]
	cuts    [][]float32
	g, h    []float64
	columns []int
}

// Fit learns from rows of features and their truth.
func Fit(x [][]float32, yes []bool, opt Options) *Model {
	f := &fitting{opt: opt, g: make([]float64, len(x)), h: make([]float64, len(x))}
	column := make([]float32, len(x))
	for j := range x[0] {
		for i := range x {
			column[i] = x[i][j]
		}
		c := cuts(column)
		b := make([]uint8, len(x))
		for i, v := range column {
			b[i] = uint8(sortSearch(c, v))
		}
		f.cuts, f.binned = append(f.cuts, c), append(f.binned, b)
	}
	positive := 0.0
	for _, y := range yes {
		if y {
			positive++
		}
	}
	rate := (positive + 1) / (float64(len(yes)) + 2)
	m := &Model{Bias: float32(math.Log(rate / (1 - rate)))}
	odds := make([]float64, len(x))
	for i := range odds {
		odds[i] = float64(m.Bias)
	}
	for t := range opt.Trees {
		draw := philox.NewStream(philox.ID{Seed: opt.Seed, Purpose: philox.PurposeFinetune, Item: "boost", Round: t})
		for i := range x {
			p, w := 1/(1+math.Exp(-odds[i])), 1.0
			if opt.Weight != nil {
				w = opt.Weight[i]
			}
			f.g[i], f.h[i] = w*p, w*max(p*(1-p), 1e-9)
			if yes[i] {
				f.g[i] -= w
			}
		}
		tree := f.tree(f.drawRows(draw, len(x)), draw)
		m.Trees = append(m.Trees, tree)
		one := Model{Trees: [][]Node{tree}}
		for i := range x {
			odds[i] += one.LogOdds(x[i])
		}
	}
	return m
}

// sortSearch is the number of cuts below v.
func sortSearch(c []float32, v float32) int {
	i, _ := slices.BinarySearchFunc(c, v, func(cut, v float32) int {
		if cut < v {
			return -1
		}
		return 1
	})
	return i
}

func (f *fitting) drawRows(draw *philox.Stream, n int) []int32 {
	groups := 0
	for _, g := range f.opt.Group {
		groups = max(groups, g+1)
	}
	in := make([]bool, groups)
	for g := range in {
		in[g] = draw.Float64() < f.opt.Rows
	}
	rows := make([]int32, 0, n)
	for i := range n {
		if groups == 0 || in[f.opt.Group[i]] {
			rows = append(rows, int32(i))
		}
	}
	return rows
}

type split struct {
	gain         float64
	feature, bin int
}

// tree grows one tree on the current derivatives.
func (f *fitting) tree(rows []int32, draw *philox.Stream) []Node {
	perm := draw.Perm(len(f.binned))
	f.columns = perm[:max(1, int(f.opt.Columns*float64(len(perm))))]
	slices.Sort(f.columns)
	var nodes []Node
	var grow func(rows []int32, depth int) int16
	grow = func(rows []int32, depth int) int16 {
		at := int16(len(nodes))
		nodes = append(nodes, Node{Feature: -1})
		g, h := 0.0, 0.0
		for _, r := range rows {
			g, h = g+f.g[r], h+f.h[r]
		}
		nodes[at].Value = float32(-f.opt.Rate * g / (h + f.opt.Penalty))
		if depth == 0 || h < 2*f.opt.MinChild {
			return at
		}
		best := f.bestSplit(rows, g, h)
		if best.feature < 0 {
			return at
		}
		var left, right []int32
		for _, r := range rows {
			if int(f.binned[best.feature][r]) <= best.bin {
				left = append(left, r)
			} else {
				right = append(right, r)
			}
		}
		l := grow(left, depth-1)
		r := grow(right, depth-1)
		nodes[at] = Node{Feature: int16(best.feature), Left: l, Right: r, Threshold: f.cuts[best.feature][best.bin]}
		return at
	}
	grow(rows, f.opt.Depth)
	return nodes
}

func (f *fitting) bestSplit(rows []int32, g, h float64) split {
	best := split{gain: 1e-6, feature: -1}
	parent := g * g / (h + f.opt.Penalty)
	for _, j := range f.columns {
		var sums [bins + 1][2]float64
		b := f.binned[j]
		for _, r := range rows {
			s := &sums[b[r]]
			s[0] += f.g[r]
			s[1] += f.h[r]
		}
		gl, hl := 0.0, 0.0
		for k := range f.cuts[j] {
			gl, hl = gl+sums[k][0], hl+sums[k][1]
			gr, hr := g-gl, h-hl
			if hl < f.opt.MinChild || hr < f.opt.MinChild {
				continue
			}
			if f.opt.Rising != nil && float64(f.opt.Rising[j])*(gl/(hl+f.opt.Penalty)-gr/(hr+f.opt.Penalty)) < 0 {
				continue
			}
			if gain := gl*gl/(hl+f.opt.Penalty) + gr*gr/(hr+f.opt.Penalty) - parent; cmp.Compare(gain, best.gain) > 0 {
				best = split{gain, j, k}
			}
		}
	}
	return best
}

// Marshal writes a model in few bytes: the bias, the number of trees, then each
// tree's number of nodes and its nodes, little-endian.
func (m *Model) Marshal() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, math.Float32bits(m.Bias))
	b = le.AppendUint16(b, uint16(len(m.Trees)))
	for _, tree := range m.Trees {
		b = append(b, byte(len(tree)))
		for _, n := range tree {
			b = append(b, byte(n.Feature))
			if n.Feature >= 0 {
				b = le.AppendUint32(append(b, byte(n.Left), byte(n.Right)), math.Float32bits(n.Threshold))
			} else {
				b = le.AppendUint32(b, math.Float32bits(n.Value))
			}
		}
	}
	return b
}

var errShort = errors.New("the trees' file is cut off")

// Unmarshal reads what Marshal wrote, for rows of so many features.
func Unmarshal(b []byte, features int) (*Model, error) {
	le := binary.LittleEndian
	take := func(n int) []byte {
		if len(b) < n {
			b = nil
			return nil
		}
		part := b[:n]
		b = b[n:]
		return part
	}
	head := take(6)
	if head == nil {
		return nil, errShort
	}
	m := &Model{Bias: math.Float32frombits(le.Uint32(head))}
	for range le.Uint16(head[4:]) {
		size := take(1)
		if size == nil {
			return nil, errShort
		}
		tree := make([]Node, size[0])
		for i := range tree {
			kind := take(1)
			if kind == nil {
				return nil, errShort
			}
			if kind[0] == 0xff {
				v := take(4)
				if v == nil {
					return nil, errShort
				}
				tree[i] = Node{Feature: -1, Value: math.Float32frombits(le.Uint32(v))}
				continue
			}
			v := take(6)
			if v == nil {
				return nil, errShort
			}
			tree[i] = Node{Feature: int16(kind[0]), Left: int16(v[0]), Right: int16(v[1]), Threshold: math.Float32frombits(le.Uint32(v[2:]))}
			// Children come later, so that a walk ends.
			if int(kind[0]) >= features || int(v[0]) <= i || int(v[1]) <= i || int(v[0]) >= len(tree) || int(v[1]) >= len(tree) {
				return nil, fmt.Errorf("the trees' file is damaged: a node of feature %d leads to %d and %d of %d nodes", kind[0], v[0], v[1], len(tree))
			}
		}
		if len(tree) == 0 {
			return nil, errors.New("the trees' file is damaged: a tree without nodes")
		}
		m.Trees = append(m.Trees, tree)
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("the trees' file has %d bytes too many", len(b))
	}
	return m, nil
}
