package kernels

// Columns of a row of sampling settings, f32.
const (
	SampleTemperature = iota // 0: greedy
	SampleTopP               // ≥ 1: off
	SampleTopK               // 0: off
	SampleColumns
)

// Columns of a row of the draw's identity, i32 holding uint32 bits.
const (
	DrawKey0 = iota
	DrawKey1
	DrawCounter // token position within the sequence
	DrawColumns
)

// SampleArgs draws one token per row, equal to the bit on all backends given
// equal logits. With m = max Logits[i, :], ties to the lower id throughout:
//
//   - Temperature 0: the id of m.
//   - Otherwise e[v] = Exp32((z[v]−m)/T) (f32 subtraction, then f32 division;
//     Exp32 is internal/f32math's stated polynomial), and the integer weight
//     w[v] = floor(e[v]·2^30), a uint64.
//   - Top-k keeps the k largest logits (all ids with a logit above the k-th
//     largest, then the lowest ids among those equal to it).
//   - Top-p then keeps the smallest set of largest logits whose weights sum to
//     at least ceil(p·2^24)·S >> 24 where S is the sum of the kept weights
//     (128-bit product), ids of equal logit in ascending order.
//   - With u the first Philox word at (key, counter) and R the sum of the kept
//     weights: the first id, ascending over ids, whose running sum of kept
//     weights exceeds R·u >> 32 (128-bit product).
//
// LogProb[i] is the log-softmax of the chosen id at temperature 1 over all ids:
// z − m − log Σ exp(z−m), f32 with the sum in fixed blocks (within tolerance of
// ref, not equal to it). May be nil. A row with a NaN logit, or with no finite
// maximum, gives id −1 and LogProb NaN.
type SampleArgs struct {
	IDs, LogProb Buffer // i32 [Rows], f32 [Rows]
	Logits       Buffer // f32 [Rows, Vocab]
	Settings     Buffer // f32 [Rows, SampleColumns]
	Draws        Buffer // i32 [Rows, DrawColumns]
	Rows, Vocab  int
}
