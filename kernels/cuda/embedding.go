package cuda

import "github.com/selkie-ml/selkie/kernels"

// Embedding implements kernels.Backend.
func (b *Backend) Embedding(a kernels.EmbeddingArgs) {
	b.gather("Embedding", "id", kernels.GatherArgs{Dst: a.Y, Src: a.Table, Index: a.IDs, Rows: a.Rows, Cols: a.Dim, SrcRows: a.Vocab})
}
