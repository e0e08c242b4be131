package kernels

// CopyArgs: for r < Rows, c < Cols: Dst[r·DstStride+c] = Src[r·SrcStride+c],
// converted between float storages (f32, bf16, f16) or i32 to i32.
type CopyArgs struct {
	Dst, Src             Buffer
	Rows, Cols           int
	DstStride, SrcStride int // elements
}

// FillArgs: Dst[i] = Value for i < N. Float storage, or i32 (Value truncated).
type FillArgs struct {
	Dst   Buffer
	N     int
	Value float32
}

// GatherArgs: Dst[i, c] = Src[Index[i], c] for i < Rows, c < Cols.
// Dst f, Src f; an index outside 0…SrcRows-1 is an error.
type GatherArgs struct {
	Dst, Src            Buffer
	Index               Buffer // i32 [Rows]
	Rows, Cols, SrcRows int
}

// AddArgs: Dst[i] = A[i] + B[i] for i < N, all f. Dst may be A or B.
type AddArgs struct {
	Dst, A, B Buffer
	N         int
}

// SwiGLUArgs: Y[i] = silu(Gate[i])·Up[i], silu(x) = x/(1+exp(−x)); all f.
type SwiGLUArgs struct {
	Y, Gate, Up Buffer
	N           int
}

// SwiGLUBackwardArgs, with s = 1/(1+exp(−Gate[i])):
//
//	DUp[i]   = DY[i]·Gate[i]·s
//	DGate[i] = DY[i]·Up[i]·s·(1 + Gate[i]·(1−s))
//
// Gate, Up f; gradients f32. DGate or DUp may be DY.
type SwiGLUBackwardArgs struct {
	DGate, DUp, DY, Gate, Up Buffer
	N                        int
}
