package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// Embedding returns the rows of table [vocab, dim] that ids [rows] name, as
// f32 [rows, dim].
func Embedding(tp *Tape, table, ids *Tensor) *Tensor {
	if len(table.shape) != 2 || len(ids.shape) != 1 {
		panic(fmt.Sprintf("embedding: table %v, ids %v; want [vocab, dim] and [rows]", table.shape, ids.shape))
	}
	mustContiguous("embedding", table, ids)
	rows, dim := ids.Dim(0), table.Dim(1)
	tp.mustWeight("embedding", table, rows)
	y := tp.new(F32, rows, dim)
	tp.dev.backend.Embedding(kernels.EmbeddingArgs{Y: y.buf, Table: table.buf, IDs: ids.buf, Rows: rows, Dim: dim, Vocab: table.Dim(0)})
	tp.record("embedding", y, []*Tensor{table}, []*Tensor{ids}, func(dy *Tensor) {
		tp.dev.backend.EmbeddingBackward(kernels.EmbeddingBackwardArgs{
			DTable: table.grad.buf, DY: dy.buf, IDs: ids.buf,
			Starts: tp.starts(), NSeq: tp.Seqs.N, Rows: rows, Dim: dim, Vocab: table.Dim(0),
		})
	})
	return y
}
