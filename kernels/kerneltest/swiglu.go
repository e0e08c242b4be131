package kerneltest

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

func testSwiGLU(t *trial) {
	for _, n := range []int{7, 0, 1, 65, 1003, 2100} {
		for _, scale := range []float64{1, 30} {
			t.combos(3, n == 7, func(dt []kernels.DType) {
				gate := t.sprinkle(t.floats("gate", dt[1], n, scale)).per(1)
				up := t.sprinkle(t.floats("up", dt[2], n, 1)).per(1)
				y := t.output("y", dt[0], n).per(1)
				t.check(&problem{op: "SwiGLU", shape: fmt.Sprint(n), rows: n, whole: n > manyCuts, arrays: []*array{y, gate, up},
					call: func(c *call) {
						c.SwiGLU(kernels.SwiGLUArgs{Y: c.at(y), Gate: c.at(gate), Up: c.at(up), N: c.rows})
					}})
			})
		}
	}
}

func testSwiGLUBackward(t *trial) {
	for _, n := range []int{7, 0, 1, 65, 1003, 2100} {
		for _, scale := range []float64{1, 30} {
			t.combos(2, n == 7, func(dt []kernels.DType) {
				gate := t.floats("gate", dt[0], n, scale).per(1)
				up := t.sprinkle(t.floats("up", dt[1], n, 1)).per(1)
				dy := t.sprinkle(t.floats("dy", kernels.F32, n, 1)).per(1)
				if scale == 1 {
					t.sprinkle(gate)
				}
				try := func(dgate, dup *array) {
					t.check(&problem{op: "SwiGLUBackward", shape: fmt.Sprint(n), rows: n, whole: n > manyCuts, arrays: unique(dgate, dup, dy, gate, up),
						call: func(c *call) {
							c.SwiGLUBackward(kernels.SwiGLUBackwardArgs{DGate: c.at(dgate), DUp: c.at(dup), DY: c.at(dy), Gate: c.at(gate), Up: c.at(up), N: c.rows})
						}})
				}
				dgate := t.output("dgate", kernels.F32, n).per(1)
				dup := t.output("dup", kernels.F32, n).per(1)
				try(dgate, dup)
				dy.as(sum)
				try(dy, dup)
				try(dgate, dy)
			})
		}
	}
}
