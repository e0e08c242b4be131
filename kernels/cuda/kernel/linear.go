package kernel

// The order of the sum over k in every product: chunks of k from zero in ascending
// order, each a chain of its own, and their sums added to a running total in
// ascending order.
const (
	ChunkF32 = 64  // fma by fma, where an operand is f32 or the storages differ
	ChunkMMA = 512 // by mma of 16 k, where both operands are bf16, or both f16
)
