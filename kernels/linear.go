package kernels

// LinearArgs: Y[i, o] = Σ_k X[i, k]·W[o, k] (+ Bias[o]). Y, X, W, Bias f;
// Bias may be nil. Products and sums are f32; where X and W are both bf16, a
// backend may add products in pairs, rounding once a pair, and take subnormal
// numbers for zero, as processors' bf16 instructions do. The same holds for the
// product of LinearBackwardInput.
type LinearArgs struct {
	Y, X, W, Bias Buffer
	Rows, In, Out int
}

// LinearBackwardInputArgs: DX[i, k] (+)= Σ_o DY[i, o]·W[o, k]. DY, W f, DX f32.
// DX is added to when Accumulate.
type LinearBackwardInputArgs struct {
	DX, DY, W     Buffer
	Rows, In, Out int
	Accumulate    bool
}

// LinearBackwardWeightArgs: for every sequence s in order,
// DW[o, k] += Σ DY[i, o]·X[i, k] and DBias[o] += Σ DY[i, o] over its rows i,
// ascending from zero. X f, gradients f32; DW or DBias may be nil.
type LinearBackwardWeightArgs struct {
	DW, DBias, DY, X    Buffer
	Starts              Buffer // i32 [NSeq+1]
	NSeq, Rows, In, Out int
}
