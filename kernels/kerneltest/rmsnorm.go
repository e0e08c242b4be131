package kerneltest

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

func testRMSNorm(t *trial) {
	// Rows end at every place of a thread's four columns.
	shapes := [][2]int{{5, 7}, {3, 6}, {3, 12}, {0, 8}, {1, 1}, {33, 64}, {3, 300}}
	if t.opt.Heavy {
		shapes = append(shapes, [2]int{200, 896})
	}
	for _, s := range shapes {
		rows, dim := s[0], s[1]
		for _, scale := range []float64{1, 1e-3, 300} {
			t.combos(2, dim == 7, func(dt []kernels.DType) {
				y := t.output("y", dt[0], rows*dim).per(dim)
				x := t.floats("x", kernels.F32, rows*dim, scale).per(dim)
				w := t.floats("w", dt[1], dim, 1)
				if scale == 300 {
					t.sprinkle(x)
				}
				t.check(&problem{op: "RMSNorm", shape: fmt.Sprintf("%d×%d", rows, dim), rows: rows, arrays: []*array{y, x, w},
					call: func(c *call) {
						c.RMSNorm(kernels.RMSNormArgs{Y: c.at(y), X: c.at(x), W: c.at(w), Rows: c.rows, Dim: dim, Eps: 1e-6})
					}})
			})
			t.combos(3, dim == 7, func(dt []kernels.DType) {
				y := t.output("y", dt[0], rows*dim).per(dim)
				x := t.floats("x", kernels.F32, rows*dim, scale).per(dim)
				w := t.floats("w", dt[1], dim, 1)
				add := t.floats("add", dt[2], rows*dim, scale).per(dim)
				if scale == 300 {
					t.sprinkle(add)
				}
				grow := func(sum, x *array) {
					t.check(&problem{op: "RMSNorm", shape: fmt.Sprintf("%d×%d, added to", rows, dim), rows: rows, arrays: unique(y, sum, x, add, w),
						call: func(c *call) {
							c.RMSNorm(kernels.RMSNormArgs{Y: c.at(y), X: c.at(x), W: c.at(w), Add: c.at(add), Sum: c.at(sum), Rows: c.rows, Dim: dim, Eps: 1e-6})
						}})
				}
				grow(t.output("sum", kernels.F32, rows*dim).per(dim), x)
				grow(x.as(sum), x)
			})
		}
	}
}

func testRMSNormBackward(t *trial) {
	for _, lengths := range batches {
		for _, dim := range []int{1, 6, 7, 64, 300} {
			t.combos(1, true, func(dt []kernels.DType) {
				starts := startsOf(lengths...)
				rows := last(starts) + len(lengths)/2 // sizes are upper bounds: some rows are of no sequence
				try := func(accumulate, weight, odd bool) {
					dx := t.output("dx", kernels.F32, rows*dim).per(dim)
					if accumulate {
						dx = t.floats("dx", kernels.F32, rows*dim, 1).per(dim).as(sum)
					}
					var dw *array
					if weight {
						dw = t.floats("dw", kernels.F32, dim, 1).as(sum)
					}
					dy := t.floats("dy", kernels.F32, rows*dim, 1).per(dim)
					x := t.floats("x", kernels.F32, rows*dim, 1).per(dim)
					w := t.floats("w", dt[0], dim, 1)
					if dim == 1 { // near zero the gradient is a difference of large numbers
						for i := range rows {
							v := decode(kernels.F32, getBits(kernels.F32, x.data, i))
							x.set(i, v+math.Copysign(0.5, v))
						}
					}
					if odd {
						t.sprinkle(dy)
					}
					t.check(&problem{op: "RMSNormBackward", shape: fmt.Sprintf("sequences %v, dim %d, accumulate %t", lengths, dim, accumulate),
						rows: rows, starts: starts, arrays: []*array{dx, dw, dy, x, w},
						call: func(c *call) {
							a := kernels.RMSNormBackwardArgs{DX: c.at(dx), DW: c.at(dw), DY: c.at(dy), X: c.at(x), W: c.at(w),
								Rows: c.rows, Dim: dim, Eps: 1e-5, Accumulate: accumulate}
							if weight {
								a.Starts, a.NSeq = c.starts(), c.nseq()
							}
							c.RMSNormBackward(a)
						}})
				}
				try(false, true, false)
				try(true, true, false)
				try(true, false, true)
				try(false, false, false)
			})
		}
	}
}
