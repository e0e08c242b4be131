package kernels

// CrossEntropyArgs fuses the output projection with the loss, in chunks, so
// that logits of all rows never exist at once. For a row i with t = Targets[i]:
//
//	z[v]       = Σ_k X[i, k]·W[v, k]
//	LogProb[i] = z[t] − log Σ_v exp(z[v])
//	g[v]       = Weights[i]·(softmax(z)[v] − [v = t])
//	DX[i, k]   = Σ_v g[v]·W[v, k]
//	DW[v, k]  += Σ_i g[v]·X[i, k], per sequence, sequences in order
//
// which are the gradients of Σ −Weights[i]·LogProb[i]. Where X and W are both
// bf16, a backend may round g to bf16 for DX, whose product is then one of that
// storage. A row with Targets[i] < 0
// costs nothing: LogProb 0, DX 0. A target ≥ Vocab is an error. X, W f; the
// rest f32. DX and DW may be nil; with both nil Weights may be nil.
type CrossEntropyArgs struct {
	LogProb, DX, DW, X, W  Buffer
	Targets, Weights       Buffer // i32 [Rows], f32 [Rows]
	Starts                 Buffer // i32 [NSeq+1]
	NSeq, Rows, Dim, Vocab int
	Scratch                Buffer // CrossEntropyScratch bytes
}
