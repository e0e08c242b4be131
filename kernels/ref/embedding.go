package ref

import "github.com/selkie-ml/selkie/kernels"

// Embedding implements kernels.Backend.
func (d *Backend) Embedding(a kernels.EmbeddingArgs) {
	ids, ok := d.indices("Embedding", "id", a.IDs, a.Rows, a.Vocab)
	if !ok {
		return
	}
	for i, id := range ids {
		store(a.Y.At(i*a.Dim), load(a.Table.At(int(id)*a.Dim), a.Dim))
	}
}

// EmbeddingBackward implements kernels.Backend.
func (d *Backend) EmbeddingBackward(a kernels.EmbeddingBackwardArgs) {
	ids, ok := d.indices("EmbeddingBackward", "id", a.IDs, a.Rows, a.Vocab)
	if !ok {
		return
	}
	starts, ok := d.sequences("EmbeddingBackward", a.Starts, a.NSeq, a.Rows)
	if !ok {
		return
	}
	for s := range a.NSeq {
		sums := map[int32][]float64{}
		for i := int(starts[s]); i < int(starts[s+1]); i++ {
			if sums[ids[i]] == nil {
				sums[ids[i]] = make([]float64, a.Dim)
			}
			axpy(sums[ids[i]], 1, load(a.DY.At(i*a.Dim), a.Dim))
		}
		for id, sum := range sums {
			accumulate(a.DTable.At(int(id)*a.Dim), sum)
		}
	}
}
