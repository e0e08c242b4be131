package kerneltest

import (
	"fmt"
	"math"
	"slices"

	"github.com/selkie-ml/selkie/kernels"
)

// paramTable lays out runs of the given sizes with gaps, in order of their
// groups' turn; a negative group is a row to be skipped.
func (t *trial) paramTable(groups, counts []int) (table *array, elements int) {
	var raw []int32
	for i, n := range counts {
		elements += t.between(0, 4)
		raw = kernels.Param{Group: int32(groups[i]), Offset: int32(elements), Count: int32(n), Decay: t.rng.IntN(2) == 0}.AppendTo(raw)
		elements += n
	}
	return t.ints("table", raw...).per(kernels.ParamColumns), elements + 3
}

// paramShapes are groups and counts of runs.
func paramShapes(t *trial) [][2][]int {
	shapes := [][2][]int{
		{{0, 1, 0}, {5, 7, 3}}, {{}, {}}, {{0}, {1}}, {{1, -1, 1, 0, 2}, {64, 10, 0, 33, 1}}, {{0, 1}, {4096, 4097}}, {{0, 0}, {9001, 4095}}, {{0, 1}, {1400, 3}}}
	// More runs than a block has threads, most of them empty. Who looks for one in steps, and
	// then between two steps, finds the last step shorter than the others.
	var groups, counts []int
	for i := range 2040 {
		n := 0
		if i < 40 || i%97 == 0 || i > 2000 {
			n = 1 + i%3
		}
		groups, counts = append(groups, i%3), append(counts, n)
	}
	shapes = append(shapes, [2][]int{groups, counts})
	if t.opt.Heavy {
		shapes = append(shapes, [2][]int{{0, 1, 0}, {200_000, 100_003, 30_000}})
	}
	return shapes
}

// runs tells of groups and counts, and whether they are too many to be cut into calls at random.
func runs(s [2][]int) (shape string, many bool) {
	if len(s[0]) > 100 {
		return fmt.Sprintf("%d runs", len(s[0])), true
	}
	return fmt.Sprintf("groups %v, runs %v", s[0], s[1]), false
}

func testGradNorm(t *trial) {
	shapes := append(paramShapes(t), [2][]int{{1}, {33 * 4096}}) // a run of more sums than a warp has lanes
	const most = 32 * 132                                        // blocks that an H100 has at once, each with a run of its own
	shapes = append(shapes, [2][]int{make([]int, most+1), slices.Repeat([]int{1}, most+1)})
	for i, s := range shapes {
		shape, many := runs(s)
		for _, scale := range []float64{1, 1e-4, 1e4} {
			table, n := t.paramTable(s[0], s[1])
			if scale != 1 && (many || n > 1<<14) {
				break // large ones once
			}
			sums := t.floats("sumsquares", kernels.F32, 3, 1).as(sum)
			for g := range 3 {
				sums.set(g, float64(g)) // a sum of squares is not negative
			}
			grad := t.floats("grad", kernels.F32, n, scale)
			if i == 3 {
				t.sprinkle(grad)
			}
			t.check(&problem{op: "GradNorm", shape: shape, rows: len(s[0]), whole: many, arrays: []*array{sums, grad, table},
				call: func(c *call) {
					c.GradNorm(kernels.GradNormArgs{SumSquares: c.at(sums), Grad: c.at(grad), Table: c.at(table), NParam: c.rows, Groups: 3})
				}})
		}
	}
}

func testAdamW(t *trial) {
	for _, s := range paramShapes(t) {
		shape, many := runs(s)
		for _, sumSquares := range [][3]float64{{4, 0, 1e6}, {math.Inf(1), 100, math.NaN()}} {
			table, n := t.paramTable(s[0], s[1])
			p := t.floats("p", kernels.F32, n, 1).as(sum)
			grad := t.floats("grad", kernels.F32, n, 1).as(sum)
			m := t.floats("m", kernels.F32, n, 0.1).as(sum)
			v := t.floats("v", kernels.F32, n, 0.1).as(sum)
			for i := range n { // second moments are not negative; fresh ones are zero
				v.set(i, math.Abs(decode(kernels.F32, getBits(kernels.F32, v.data, i))))
				if i%5 == 0 {
					m.set(i, 0)
					v.set(i, 0)
				}
			}
			t.sprinkleGrad(grad)
			sums := t.floats("sumsquares", kernels.F32, 3, 1)
			settings := t.floats("settings", kernels.F32, 3*kernels.AdamColumns, 1)
			for g := range 3 {
				sums.set(g, sumSquares[g])
				step := float64(t.between(1, 100))
				for column, x := range map[int]float64{kernels.AdamLR: 1e-3, kernels.AdamRate1: 0.1, kernels.AdamRate2: 0.05, kernels.AdamEps: 1e-8,
					kernels.AdamDecay: 0.1, kernels.AdamBias1: 1 - math.Pow(0.9, step), kernels.AdamBias2: 1 - math.Pow(0.95, step),
					kernels.AdamMaxNorm: []float64{1, 0, 1e9}[t.rng.IntN(3)], kernels.AdamActive: float64(min(1, t.rng.IntN(4)))} {
					settings.set(g*kernels.AdamColumns+column, x)
				}
			}
			t.check(&problem{op: "AdamW", shape: shape, rows: len(s[0]), whole: many,
				arrays: []*array{p, grad, m, v, sums, settings, table},
				call: func(c *call) {
					c.AdamW(kernels.AdamWArgs{P: c.at(p), Grad: c.at(grad), M: c.at(m), V: c.at(v), SumSquares: c.at(sums), Settings: c.at(settings),
						Table: c.at(table), NParam: c.rows, Groups: 3})
				}})
		}
	}
}

// sprinkleGrad makes some gradients zero, tiny or large.
func (t *trial) sprinkleGrad(a *array) {
	for i := range a.len() {
		switch t.rng.IntN(8) {
		case 0:
			a.set(i, 0)
		case 1:
			a.set(i, 1e-6)
		case 2:
			a.set(i, -1e4)
		}
	}
}
