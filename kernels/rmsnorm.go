package kernels

// RMSNormArgs: for every row, r = 1/√(mean(X[i, :]²) + Eps) and
// Y[i, c] = X[i, c]·r·W[c]. X f32 (residual stream), W f, Y f.
// Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
//
// With Add, f of X's shape, the residual stream grows first: Sum[i, c] = X[i, c] +
// Add[i, c], f32, as the op Add has it, and Sum is normalised in X's place. Sum may be X.
type RMSNormArgs struct {
	Y, X, W   Buffer
	Add, Sum  Buffer // both or neither
	Rows, Dim int
	Eps       float32
}

// RMSNormBackwardArgs: with r as in forward and g[c] = DY[i, c]·W[c],
//
//	DX[i, c] (+)= r·(g[c] − X[i, c]·r²·mean(g·X[i, :]))
//	DW[c]     += Σ DY[i, c]·X[i, c]·r, per sequence, sequences in order
//
// DX is added to when Accumulate; DW may be nil. Gradients f32.
type RMSNormBackwardArgs struct {
	DX, DW, DY, X, W Buffer
	Starts           Buffer // i32 [NSeq+1]; used for DW only
	NSeq, Rows, Dim  int
	Eps              float32
	Accumulate       bool
}
