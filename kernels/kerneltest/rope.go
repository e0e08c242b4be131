package kerneltest

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

func testRope(t *trial) {
	ropeProblems(t, "Rope", func(c *call, a kernels.RopeArgs) { c.Rope(a) })
}

func testRopeBackward(t *trial) {
	ropeProblems(t, "RopeBackward", func(c *call, a kernels.RopeArgs) { c.RopeBackward(a) })
}

func ropeProblems(t *trial, op string, do func(c *call, a kernels.RopeArgs)) {
	shapes := [][4]int{{5, 3, 10, 7}, {0, 1, 8, 1}, {1, 1, 2, 1}, {17, 2, 64, 40}, {3, 14, 128, 500}, {3, 1, 2, beyond16},
		{3, 1, 4, 5}, {2, 520, 2, 3}} // many small heads: blocks that share a row come to it twice
	for _, s := range shapes {
		rows, heads, headDim, maxPos := s[0], s[1], s[2], s[3]
		t.combos(2, headDim == 10, func(dt []kernels.DType) {
			y := t.output("y", dt[0], rows*heads*headDim).per(heads * headDim)
			x := t.floats("x", dt[1], rows*heads*headDim, 1).per(heads * headDim)
			if headDim == 10 {
				t.sprinkle(x)
			}
			positions := t.ints("positions", t.indices(rows, maxPos)...).per(1)
			cos := t.floats("cos", kernels.F32, maxPos*headDim/2, 1).sparseIf(maxPos == beyond16)
			sin := t.floats("sin", kernels.F32, maxPos*headDim/2, 1).sparseIf(maxPos == beyond16)
			for i := range cos.len() {
				s, c := math.Sincos(float64(i/(headDim/2)) * math.Pow(10000, -float64(i%(headDim/2))*2/float64(headDim)))
				cos.set(i, c)
				sin.set(i, s)
			}
			try := func(y, x *array) {
				t.check(&problem{op: op, shape: fmt.Sprintf("%d×%d×%d", rows, heads, headDim), rows: rows, arrays: unique(y, x, positions, cos, sin),
					call: func(c *call) {
						do(c, kernels.RopeArgs{Y: c.at(y), X: c.at(x), Positions: c.at(positions), Cos: c.at(cos), Sin: c.at(sin),
							Rows: c.rows, Heads: heads, HeadDim: headDim, MaxPos: maxPos})
					}})
			}
			try(y, x)
			y2 := t.output("y2", dt[0], rows*2*headDim).per(2 * headDim)
			x2 := t.floats("x2", dt[1], rows*2*headDim, 1).per(2 * headDim)
			t.check(&problem{op: op, shape: fmt.Sprintf("%d×(%d+2)×%d", rows, heads, headDim), rows: rows, arrays: []*array{y, x, y2, x2, positions, cos, sin},
				call: func(c *call) {
					do(c, kernels.RopeArgs{Y: c.at(y), X: c.at(x), Y2: c.at(y2), X2: c.at(x2), Positions: c.at(positions), Cos: c.at(cos), Sin: c.at(sin),
						Rows: c.rows, Heads: heads, Heads2: 2, HeadDim: headDim, MaxPos: maxPos})
				}})
			try(x.as(sum), x)
		})
	}
}
