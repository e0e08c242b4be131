package kernels

// KeyBlock is the number of keys that attention takes at a time, counted from
// the sequence's start, and PageSize the positions of a KV-cache page. They are
// equal so that prefill and decoding see the same blocks.
const (
	KeyBlock = 64
	PageSize = KeyBlock
)

// AttentionArgs is causal self-attention within each sequence of a packed
// batch, query head h reading KV head h/(Heads/KVHeads). For query row i of the
// sequence that starts at row b, over key blocks of KeyBlock rows from b,
// ascending, with online softmax (Milakov and Gimelshein 2018; Dao,
// "FlashAttention-2", 2023), up to and including row i:
//
//	s[j] = Scale·Σ_d Q[i, h, d]·K[j, h', d]
//	O[i, h, :] = Σ_j exp(s[j] − LSE[i, h])·V[j, h', :]
//	LSE[i, h]  = log Σ_j exp(s[j])
//
// An Inf or NaN in V spoils what sees it, and nothing else: an Inf whose weight is 0 in
// float32 makes Inf or NaN, as the backend likes.
// Q [Rows, Heads, HeadDim], K and V [Rows, KVHeads, HeadDim], O like Q: f.
// LSE [Rows, Heads] f32, may be nil.
type AttentionArgs struct {
	O, LSE, Q, K, V         Buffer
	Starts                  Buffer // i32 [NSeq+1]
	NSeq, Rows              int
	Heads, KVHeads, HeadDim int
	Scale                   float32
}

// AttentionBackwardArgs: with p[i,j] = exp(s[i,j] − LSE[i,h]),
// dp[i,j] = DO[i,h,:]·V[j,h',:], δ[i] = DO[i,h,:]·O[i,h,:],
// ds[i,j] = p[i,j]·(dp[i,j] − δ[i]):
//
//	DQ[i, h, :]  = Scale·Σ_j ds[i,j]·K[j, h', :]
//	DK[j, h', :] = Scale·Σ_h Σ_i ds[i,j]·Q[i, h, :]
//	DV[j, h', :] = Σ_h Σ_i p[i,j]·DO[i, h, :]
//
// Gradients f32, overwritten.
type AttentionBackwardArgs struct {
	DQ, DK, DV, DO, O, LSE, Q, K, V Buffer
	Starts                          Buffer // i32 [NSeq+1]
	NSeq, Rows                      int
	Heads, KVHeads, HeadDim         int
	Scale                           float32
	Scratch                         Buffer // AttentionBackwardScratch bytes
}

// PagedShape places the KV cache: Cache is
// [Pages][Layers][K, V][KVHeads][PageSize][HeadDim], storage f.
// PageTable is i32 [NSeq, MaxPages]: the page of positions
// n·PageSize…(n+1)·PageSize-1 of a sequence.
type PagedShape struct {
	Cache                          Buffer
	PageTable                      Buffer
	Pages, Layers, Layer, MaxPages int
	NSeq, KVHeads, HeadDim         int
}

// KVStoreArgs writes K and V [Rows, KVHeads, HeadDim] of row i at position
// RowPos[i] of sequence RowSeq[i] into the cache. A row with RowSeq < 0 is
// skipped.
type KVStoreArgs struct {
	PagedShape
	K, V           Buffer
	RowSeq, RowPos Buffer // i32 [Rows]
	Rows           int
}

// AttentionPagedArgs is AttentionArgs for rows whose keys and values lie in the
// cache: row i attends to positions 0…RowPos[i] of sequence RowSeq[i]. Its
// result has the bits that Attention gives for the same position. A row with
// RowSeq < 0 is skipped and its output left alone.
type AttentionPagedArgs struct {
	PagedShape
	O, Q           Buffer
	RowSeq, RowPos Buffer // i32 [Rows]
	Rows, Heads    int
	Scale          float32
}
