package kerneltest

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

func testEmbedding(t *trial) {
	for _, s := range [][3]int{{5, 7, 3}, {0, 4, 1}, {1, 1, 1}, {33, 64, 500}} {
		rows, dim, vocab := s[0], s[1], s[2]
		t.combos(2, true, func(dt []kernels.DType) {
			y := t.output("y", dt[0], rows*dim).per(dim)
			table := t.sprinkle(t.floats("table", dt[1], vocab*dim, 1))
			ids := t.ints("ids", t.indices(rows, vocab)...).per(1)
			t.check(&problem{op: "Embedding", shape: fmt.Sprintf("%d rows of %d, vocab %d", rows, dim, vocab), rows: rows, exact: true,
				arrays: []*array{y, table, ids},
				call: func(c *call) {
					c.Embedding(kernels.EmbeddingArgs{Y: c.at(y), Table: c.at(table), IDs: c.at(ids), Rows: c.rows, Dim: dim, Vocab: vocab})
				}})
		})
	}
}

func testEmbeddingBackward(t *trial) {
	for _, lengths := range batches {
		for _, s := range [][2]int{{1, 1}, {7, 3}, {33, 100}} {
			embeddingBackwardProblem(t, lengths, 0, s[0], s[1])
		}
	}
	// Rows longer than a block's threads, and more rows than it looks at in one go.
	embeddingBackwardProblem(t, []int{2, 7, 1, 4, 0}, 0, 508, 2)
	embeddingBackwardProblem(t, []int{2, 7, 1, 4, 0}, 0, 1029, 3)
	embeddingBackwardProblem(t, []int{150, 1, 130}, 0, 4, 90)
	embeddingBackwardProblem(t, []int{2, 1}, 0, 1, beyond16)
	// Sizes are upper bounds: the last rows may be of no sequence.
	embeddingBackwardProblem(t, []int{0, 5, 0, 0, 1}, 3, 7, 40)
	embeddingBackwardProblem(t, []int{2, 3}, 3, 4, 40)
}

// embeddingBackwardProblem has tail rows of no sequence, with ids of their own.
func embeddingBackwardProblem(t *trial, lengths []int, tail, dim, vocab int) {
	starts := startsOf(lengths...)
	rows := last(starts) + tail
	dtable := t.floats("dtable", kernels.F32, vocab*dim, 1).as(sum).sparseIf(vocab == beyond16)
	for i := (vocab - tail) * dim; i < vocab*dim; i++ { // to which even a sum of nothing is not added
		dtable.set(i, math.Copysign(0, -1))
	}
	dy := t.floats("dy", kernels.F32, rows*dim, 1).per(dim)
	if dim == 7 {
		t.sprinkle(dy)
	}
	of := t.indices(last(starts), vocab-tail)
	for i := range tail {
		of = append(of, int32(vocab-1-i))
	}
	ids := t.ints("ids", of...).per(1)
	t.check(&problem{op: "EmbeddingBackward", shape: fmt.Sprintf("sequences %v of %d rows, dim %d, vocab %d", lengths, rows, dim, vocab), rows: rows, starts: starts,
		arrays: []*array{dtable, dy, ids},
		call: func(c *call) {
			c.EmbeddingBackward(kernels.EmbeddingBackwardArgs{DTable: c.at(dtable), DY: c.at(dy), IDs: c.at(ids), Starts: c.starts(),
				NSeq: c.nseq(), Rows: c.rows, Dim: dim, Vocab: vocab})
		}})
}
