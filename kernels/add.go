package kernels

// AddArgs: Dst[i] = A[i] + B[i] for i < N, all f. Dst may be A or B.
type AddArgs struct {
	Dst, A, B Buffer
	N         int
}
