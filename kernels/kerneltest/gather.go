package kerneltest

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

func testGather(t *trial) {
	for _, s := range [][3]int{{5, 7, 3}, {0, 4, 1}, {1, 1, 1}, {4, 6, 5}, {33, 65, 100}, {3, 1000, 2}, {4, 1, beyond16}} {
		rows, cols, srcRows := s[0], s[1], s[2]
		t.combos(2, true, func(dt []kernels.DType) {
			dst := t.output("dst", dt[0], rows*cols).per(cols)
			src := t.sprinkle(t.floats("src", dt[1], srcRows*cols, 3)).sparseIf(srcRows == beyond16)
			index := t.ints("index", t.indices(rows, srcRows)...).per(1)
			t.check(&problem{op: "Gather", shape: fmt.Sprintf("%d of %d rows of %d", rows, srcRows, cols), rows: rows, exact: true,
				arrays: []*array{dst, src, index},
				call: func(c *call) {
					c.Gather(kernels.GatherArgs{Dst: c.at(dst), Src: c.at(src), Index: c.at(index), Rows: c.rows, Cols: cols, SrcRows: srcRows})
				}})
		})
	}
}
