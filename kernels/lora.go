package kernels

import "math"

// SegmentColumns is the width of a row of a segment table.
const SegmentColumns = 6

// Segment names the adapter of one sequence of a batch: rows RowStart…RowEnd-1
// use the matrices A [Rank, In] at element AOffset of the A slab and
// B [Out, Rank] at BOffset of the B slab. Rank 0 means no adapter. Segments
// are ascending and do not overlap; rows in none have no adapter.
type Segment struct {
	RowStart, RowEnd, Rank, AOffset, BOffset int32
	Scale                                    float32 // alpha/rank
}

// AppendTo appends the segment's row of the device table.
func (s Segment) AppendTo(table []int32) []int32 {
	return append(table, s.RowStart, s.RowEnd, s.Rank, s.AOffset, s.BOffset, int32(math.Float32bits(s.Scale)))
}

// SegmentAt reads row i of a device table.
func SegmentAt(table []int32, i int) Segment {
	r := table[i*SegmentColumns : (i+1)*SegmentColumns]
	return Segment{r[0], r[1], r[2], r[3], r[4], math.Float32frombits(uint32(r[5]))}
}

// LoRAArgs adds the low-rank part of an adapted linear layer (Hu et al.,
// "LoRA", 2021), per segment with its adapter:
//
//	H[i, r]  = Σ_k X[i, k]·A[r, k]                 r < Rank
//	Y[i, o] += Scale·Σ_r H[i, r]·B[o, r]
//
// X, Y f; A, B, H f32; H is [Rows, MaxRank], columns beyond a segment's rank
// are left alone.
type LoRAArgs struct {
	Y, H, X, A, B          Buffer
	Segments               Buffer // i32 [NSeg, SegmentColumns]
	NSeg                   int
	Rows, In, Out, MaxRank int
}

// LoRABackwardArgs, per segment, with g[i, r] = Scale·Σ_o DY[i, o]·B[o, r]:
//
//	DX[i, k] += Σ_r g[i, r]·A[r, k]
//	DA[r, k] += Σ_i g[i, r]·X[i, k]
//	DB[o, r] += Scale·Σ_i DY[i, o]·H[i, r]
//
// DX may be nil. DA and DB are slabs with the offsets of A and B; segments of
// one adapter add to them in ascending order. Gradients f32.
type LoRABackwardArgs struct {
	DX, DA, DB, DY, X, H, A, B Buffer
	Segments                   Buffer // i32 [NSeg, SegmentColumns]
	NSeg                       int
	Rows, In, Out, MaxRank     int
	Scratch                    Buffer // LoRABackwardScratch bytes
}

// LoRAMergeArgs: W[o, k] += Scale·Σ_r B[o, r]·A[r, k]. All f32.
type LoRAMergeArgs struct {
	W, A, B       Buffer
	In, Out, Rank int
	Scale         float32
}
