package kernels

// CopyArgs: for r < Rows, c < Cols: Dst[r·DstStride+c] = Src[r·SrcStride+c],
// converted between float storages (f32, bf16, f16) or i32 to i32.
type CopyArgs struct {
	Dst, Src             Buffer
	Rows, Cols           int
	DstStride, SrcStride int // elements
}
