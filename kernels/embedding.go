package kernels

// EmbeddingArgs: Y[i, :] = Table[IDs[i], :] for i < Rows. Y f, Table f.
// An id outside 0…Vocab-1 is an error naming row and id.
type EmbeddingArgs struct {
	Y, Table         Buffer
	IDs              Buffer // i32 [Rows]
	Rows, Dim, Vocab int
}

// EmbeddingBackwardArgs: for every sequence s in order, for every id v that
// occurs in it: DTable[v, :] += Σ DY[i, :] over the rows i of s with IDs[i] = v,
// ascending from zero. All f32.
type EmbeddingBackwardArgs struct {
	DTable, DY             Buffer
	IDs                    Buffer // i32 [Rows]
	Starts                 Buffer // i32 [NSeq+1]
	NSeq, Rows, Dim, Vocab int
}
