package kerneltest

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

func testFill(t *trial) {
	for _, n := range []int{0, 1, 5, 64, 1003, 8200} {
		for _, value := range []float32{0, 1, -2.75, 1.0 / 3, 65519, float32(math.Inf(-1)), float32(math.NaN())} {
			for _, dt := range append([]kernels.DType{kernels.I32}, t.opt.DTypes...) {
				if dt == kernels.I32 && value-value != 0 {
					continue
				}
				dst := t.output("dst", dt, n).per(1)
				t.check(&problem{op: "Fill", shape: fmt.Sprintf("%d with %v", n, value), rows: n, whole: n > manyCuts, exact: true, arrays: []*array{dst},
					call: func(c *call) { c.Fill(kernels.FillArgs{Dst: c.at(dst), N: c.rows, Value: value}) }})
			}
		}
	}
}
