package cuda

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// Embedding implements kernels.Backend.
func (b *Backend) Embedding(a kernels.EmbeddingArgs) {
	b.gather("Embedding", "id", kernels.GatherArgs{Dst: a.Y, Src: a.Table, Index: a.IDs, Rows: a.Rows, Cols: a.Dim, SrcRows: a.Vocab})
}

// EmbeddingBackward implements kernels.Backend.
func (b *Backend) EmbeddingBackward(a kernels.EmbeddingBackwardArgs) {
	const op = "EmbeddingBackward"
	k := kernel.EmbeddingBackwardOf(a.Dim, rowSum(a.Dim, a.DTable, a.DY).Vec)
	at, badID := b.refusals(op, fmt.Sprintf("row %%d: id %%d, want 0…%d", a.Vocab-1))
	_, badStart := b.refusals(op, fmt.Sprintf("starts[%%d] is %%d, want ascending rows within 0…%d", a.Rows))
	b.launch(op, k, k.Launch(a.Rows, a.Dim), ptr(a.DTable), ptr(a.DY), ptr(a.IDs), ptr(a.Starts), num(a.NSeq), num(a.Rows), num(a.Dim), num(a.Vocab),
		at, badID, badStart)
}
