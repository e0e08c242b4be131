package kerneltest

import (
	"fmt"
	"math"
	"slices"

	"github.com/selkie-ml/selkie/kernels"
)

// linearShapes are rows, in, out: the first is tried in every combination of
// storages and with NaN and infinities.
func linearShapes(t *trial) [][3]int {
	shapes := [][3]int{{5, 33, 17}, {0, 8, 8}, {1, 1, 1}, {1, 64, 48}, {3, 7, 5}, {17, 130, 67}, {9, 256, 3}, {64, 96, 32}, {2, 1000, 1}, {12, 200, 44}}
	if t.opt.Heavy {
		shapes = append(shapes, [3]int{33, 896, 1152}, [3]int{1, 896, 4864}, [3]int{5, 4864, 128})
	}
	return shapes
}

func testLinear(t *trial) {
	shapes := append(linearShapes(t),
		[3]int{2, 1100, 24}, // more terms than warps that share a sum take at a time
		[3]int{1, 3, 1101},  // many tiles of columns to one of rows
		[3]int{33, 79, 5},   // a row ends just short of a vector, behind its first tile
		[3]int{33, 67, 5},   // and with elements that several threads read
		[3]int{33, 130, 5},
		[3]int{2, 514, 4}, // also where warps share a sum
		[3]int{3, 0, 5},
	)
	for i, s := range shapes {
		t.combos(4, i == 0, func(dt []kernels.DType) { t.linear(s, dt, i == 0, "") })
	}
	// One operand by vectors and the other by elements, of sums that go round the warps; 24 columns
	// are vectors of halves, 20 are not.
	t.combos(4, false, func(dt []kernels.DType) {
		t.linear([3]int{2, 616, 24}, dt, false, "w")
		t.linear([3]int{2, 616, 20}, dt, false, "x")
	})
	if f32 := kernels.F32; slices.Contains(t.opt.DTypes, f32) { // and more columns than a pass of a warp has, an odd number
		t.linear([3]int{2, 616, 21}, []kernels.DType{f32, f32, f32, f32}, false, "x")
	}
	if slices.Contains(t.opt.DTypes, kernels.F32) && slices.Contains(t.opt.DTypes, kernels.BF16) { // which luck may not mix like this
		t.linear([3]int{2, 616, 20}, []kernels.DType{kernels.BF16, kernels.F32, kernels.BF16, kernels.F32}, false, "")
	}
}

// linear tries a shape with storages of y, x, w and the bias, with NaN and infinities if odd is
// set. The array named beside does not lie as others do.
func (t *trial) linear(shape [3]int, dt []kernels.DType, odd bool, beside string) {
	rows, in, out := shape[0], shape[1], shape[2]
	y := t.output("y", dt[0], rows*out).per(out)
	x := t.floats("x", dt[1], rows*in, 1).per(in)
	w := t.floats("w", dt[2], out*in, 1/math.Sqrt(float64(in)))
	bias := t.floats("bias", dt[3], out, 1)
	x.besideIf(beside == "x")
	w.besideIf(beside == "w")
	try := func(bias *array) {
		t.check(&problem{op: "Linear", shape: fmt.Sprintf("%d×%d→%d", rows, in, out), rows: rows, whole: beside == "x", arrays: []*array{y, x, w, bias},
			call: func(c *call) {
				c.Linear(kernels.LinearArgs{Y: c.at(y), X: c.at(x), W: c.at(w), Bias: c.at(bias), Rows: c.rows, In: in, Out: out})
			}})
	}
	try(bias)
	if dt[3] == dt[2] {
		x.behindRows(in)
		w.behindRows(in)
		try(nil)
	}
	if odd && dt[3] == dt[0] {
		t.sprinkle(x)
		t.sprinkle(w)
		try(bias)
	}
}

func testLinearBackwardInput(t *trial) {
	shapes := append(linearShapes(t), [3]int{3, 24, 172}, // more terms than two chunks of a sum, and a part of a tile behind them
		[3]int{33, 12, 70}) // a second tile of rows, a part of a second tile of terms; dx by vectors, w by elements
	for i, s := range shapes {
		rows, in, out := s[0], s[1], s[2]
		t.combos(2, true, func(dt []kernels.DType) {
			for _, accumulate := range []bool{false, true} {
				dx := t.output("dx", kernels.F32, rows*in).per(in)
				if accumulate {
					dx = t.floats("dx", kernels.F32, rows*in, 1).per(in).as(sum)
				}
				beside := accumulate && out == 172 // elements of dx, vectors of dy and w
				dx.besideIf(beside)
				dy := t.floats("dy", dt[1], rows*out, 1).per(out)
				w := t.floats("w", dt[0], out*in, 1/math.Sqrt(float64(out)))
				if i == 0 && accumulate {
					t.sprinkle(dy)
					t.sprinkle(w)
				} else if accumulate {
					dy.behindRows(out)
				}
				t.check(&problem{op: "LinearBackwardInput", shape: fmt.Sprintf("%d×%d→%d, accumulate %t", rows, in, out, accumulate),
					rows: rows, whole: beside, arrays: []*array{dx, dy, w},
					call: func(c *call) {
						c.LinearBackwardInput(kernels.LinearBackwardInputArgs{DX: c.at(dx), DY: c.at(dy), W: c.at(w),
							Rows: c.rows, In: in, Out: out, Accumulate: accumulate})
					}})
			}
		})
	}
}

func testLinearBackwardWeight(t *trial) {
	lists := append([][]int{{33, 8, 6, 16}}, batches...) // sequences that end with a warp's share of rows, and within one
	if t.opt.Heavy {
		lists = append(lists, []int{200, 1, 120})
	}
	for i, lengths := range lists {
		for _, s := range [][2]int{{1, 1}, {33, 17}, {130, 67}} {
			in, out := s[0], s[1]
			t.combos(1, true, func(dt []kernels.DType) {
				starts := startsOf(lengths...)
				rows := last(starts)
				dw := t.floats("dw", kernels.F32, out*in, 1).as(sum)
				dbias := t.floats("dbias", kernels.F32, out, 1).as(sum)
				dy := t.floats("dy", kernels.F32, rows*out, 1).per(out)
				x := t.floats("x", dt[0], rows*in, 1).per(in)
				try := func(dw, dbias *array) {
					t.check(&problem{op: "LinearBackwardWeight", shape: fmt.Sprintf("sequences %v, %d→%d", lengths, in, out), rows: rows, starts: starts,
						arrays: []*array{dw, dbias, dy, x},
						call: func(c *call) {
							c.LinearBackwardWeight(kernels.LinearBackwardWeightArgs{DW: c.at(dw), DBias: c.at(dbias), DY: c.at(dy), X: c.at(x),
								Starts: c.starts(), NSeq: c.nseq(), Rows: c.rows, In: in, Out: out})
						}})
				}
				try(dw, dbias)
				try(dw, nil)
				try(nil, dbias)
				if i == 5 {
					t.sprinkle(x)
					t.sprinkle(dy)
					try(dw, dbias)
				}
			})
		}
	}
}
