package kerneltest

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

func testCopy(t *trial) {
	for i, s := range [][4]int{{5, 7, 7, 7}, {3, 4, 9, 6}, {0, 3, 3, 3}, {1, 1, 1, 1}, {1, 1000, 1000, 1000}, {17, 33, 40, 33}, {4, 0, 3, 3}} {
		rows, cols, ds, ss := s[0], s[1], s[2], s[3]
		try := func(to kernels.DType, src *array) {
			dst := t.output("dst", to, rows*ds).per(ds)
			src.per(ss)
			t.check(&problem{op: "Copy", shape: fmt.Sprintf("%d×%d, strides %d and %d", rows, cols, ds, ss), rows: rows, exact: true,
				arrays: []*array{dst, src},
				call: func(c *call) {
					c.Copy(kernels.CopyArgs{Dst: c.at(dst), Src: c.at(src), Rows: c.rows, Cols: cols, DstStride: ds, SrcStride: ss})
				}})
		}
		t.combos(2, true, func(dt []kernels.DType) {
			try(dt[0], t.sprinkle(t.floats("src", dt[1], rows*ss, 3)))
		})
		try(kernels.I32, t.ints("src", t.indices(rows*ss, 1<<30)...))
		if i == 0 {
			t.combos(2, true, func(dt []kernels.DType) { try(dt[0], roundings(t, dt[1], rows*ss)) })
		}
	}
}

// roundings are numbers around which storage types round in different ways:
// ties, the largest finite numbers and the subnormal ones.
func roundings(t *trial, dt kernels.DType, n int) *array {
	odd := []float64{1 + 0x1p-8, 1 + 3*0x1p-8, 1 + 0x1p-8 + 0x1p-23, 1 + 0x1p-11, 1 + 3*0x1p-11, 65504, 65519.99, 65520, -65536,
		0x1p-14, 0x1p-24, 0x1p-25, 0x1.8p-25, 3 * 0x1p-25, 0x1.fffffep127, 0x1.fep127, 0x1.fefffep127, 0x1.ffp127, 0x1p-126, 0x1p-133, 0x1p-134, 0x1.8p-134, 0x1p-149}
	a := t.floats("src", dt, n, 1)
	for i := range n {
		a.set(i, odd[i%len(odd)])
	}
	return a
}
