package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// Embedding returns the rows of table [vocab, dim] that ids [rows] name, as
// f32 [rows, dim].
func Embedding(tp *Tape, table, ids *Tensor) *Tensor {
	if table.shape.n != 2 || ids.shape.n != 1 {
		panic(fmt.Sprintf("embedding: table %v, ids %v; want [vocab, dim] and [rows]", table.shape, ids.shape))
	}
	mustContiguous("embedding", table, ids)
	rows, dim := ids.Dim(0), table.Dim(1)
	tp.mustWeight("embedding", table, rows)
	y := tp.new(F32, rows, dim)
	tp.dev.backend.Embedding(kernels.EmbeddingArgs{Y: y.buf, Table: table.buf, IDs: ids.buf, Rows: rows, Dim: dim, Vocab: table.Dim(0)})
	tp.record(node{out: y, inputs: inputs{table}, saved: saved{ids}, backward: embeddingBackward})
	return y
}

func embeddingBackward(tp *Tape, n *node, dy *Tensor) {
	table, ids := n.inputs[0], n.saved[0]
	tp.dev.backend.EmbeddingBackward(kernels.EmbeddingBackwardArgs{
		DTable: table.grad.buf, DY: dy.buf, IDs: ids.buf,
		Starts: tp.starts(), NSeq: tp.Seqs.N, Rows: ids.Dim(0), Dim: table.Dim(1), Vocab: table.Dim(0),
	})
}
