package kernels

// GatherArgs: Dst[i, c] = Src[Index[i], c] for i < Rows, c < Cols.
// Dst f, Src f; an index outside 0…SrcRows-1 is an error.
type GatherArgs struct {
	Dst, Src            Buffer
	Index               Buffer // i32 [Rows]
	Rows, Cols, SrcRows int
}
