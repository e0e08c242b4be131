package kernels

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
