package kerneltest

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// manyCuts is the most elements that are cut into calls at random: larger problems are for
// loops that are unrolled, in blocks that are full.
const manyCuts = 2000

func testAdd(t *trial) {
	// Of the last, threads have a full turn, whose loop is unrolled, and two of what is left.
	for _, n := range []int{7, 0, 1, 64, 1003, 3077} {
		t.combos(3, n == 7 || n > manyCuts, func(dt []kernels.DType) {
			a := t.sprinkle(t.floats("a", dt[1], n, 1)).per(1)
			b := t.sprinkle(t.floats("b", dt[2], n, 1)).per(1)
			dst := t.output("dst", dt[0], n).per(1)
			try := func(dst, a, b *array) {
				t.check(&problem{op: "Add", shape: fmt.Sprint(n), rows: n, whole: n > manyCuts, arrays: unique(dst, a, b),
					call: func(c *call) { c.Add(kernels.AddArgs{Dst: c.at(dst), A: c.at(a), B: c.at(b), N: c.rows}) }})
			}
			try(dst, a, b)
			try(dst, a, a)
			try(a.as(sum), a, b)
			a.as(input)
			try(b.as(sum), a, b)
			try(b, b, b)
		})
	}
}

// unique drops repeated arrays: an op may be given one twice.
func unique(arrays ...*array) []*array {
	var out []*array
	for i, a := range arrays {
		seen := false
		for _, b := range arrays[:i] {
			seen = seen || a == b
		}
		if !seen {
			out = append(out, a)
		}
	}
	return out
}
