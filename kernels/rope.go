package kernels

// RopeArgs rotates every head of every row by its position (Su et al.,
// "RoFormer", 2021; half-split form of Llama and Qwen2). With h = HeadDim/2,
// p = Positions[i], j < h, x = X[i, head, j], y = X[i, head, j+h]:
//
//	Y[i, head, j]   = x·Cos[p, j] − y·Sin[p, j]
//	Y[i, head, j+h] = y·Cos[p, j] + x·Sin[p, j]
//
// RopeBackward rotates by the negative angle. Y, X f, Y may be X. A position
// outside 0…MaxPos-1 is an error.
//
// With Heads2 the same is done for Y2 and X2, of as many heads, in the storages of Y
// and X: keys beside queries.
type RopeArgs struct {
	Y, X                         Buffer
	Y2, X2                       Buffer
	Positions                    Buffer // i32 [Rows]
	Cos, Sin                     Buffer // f32 [MaxPos, HeadDim/2]
	Rows, Heads, HeadDim, MaxPos int
	Heads2                       int // 0: none
}
