// Package kernels states what a backend must compute: every op once, as a
// method over raw buffers. The comment of an op's argument struct is its
// reference loop; kernels/ref is that loop in float64, kernels/kerneltest puts
// any backend on trial against it.
//
// Rules that hold for every op:
//
//   - Ops only enqueue: no allocation, no host result. A failure is sticky and
//     comes back from the next Sync or CopyOut, naming the op.
//   - Matrices are row-major and dense. Sizes are in elements.
//   - "f" after a name below means any float storage: the value is read as
//     float, and written rounded to nearest even.
//   - What changes from step to step (starts, segments, positions, page tables,
//     learning rates, counters) is read from device buffers; the sizes in an
//     argument struct are upper bounds fixed for a shape class.
//   - The order of every sum is fixed by the row's own shape: never by batch
//     size, neighbours, thread count or alignment ("the same bits").
//   - starts is [nseq+1] i32: sequence s owns rows starts[s]…starts[s+1]-1.
//     Gradients of weights are summed per sequence, in chunks of rows that count
//     from its start (their size is the backend's), and the partial sums are
//     added to the gradient in order, so that a batch may be cut between
//     sequences without changing a bit.
//
// It imports nothing of the project.
package kernels

// Backend computes. One goroutine at a time enqueues on a backend.
type Backend interface {
	// Name is the backend's short name: "ref", "cpu", "cuda".
	Name() string
	// NumericsID names everything that decides result bits: backend,
	// instruction set, summation and variant versions.
	NumericsID() string

	// Alloc returns memory of undefined contents from the backend's arena.
	Alloc(bytes int64) (Mem, error)
	// Free returns memory to the arena. Work already enqueued may still use it.
	Free(Mem)
	// MapHost makes read-only host memory (a mapped weight file) readable by
	// ops. data must stay valid until Free.
	MapHost(data []byte) (Mem, error)
	// CopyIn copies host bytes to dst; src may be reused on return.
	CopyIn(dst Buffer, src []byte)
	// CopyOut waits for all work and copies src to host bytes.
	CopyOut(dst []byte, src Buffer) error
	// Sync waits for all work and returns the first error since the last Sync.
	Sync() error
	Stats() MemStats
	ResetPeak()
	// Trim gives memory that was freed and kept for reuse back to the system.
	Trim()
	// Close releases everything. The backend must not be used afterwards.
	Close() error

	Copy(CopyArgs)
	Fill(FillArgs)
	Gather(GatherArgs)
	Add(AddArgs)

	Embedding(EmbeddingArgs)
	EmbeddingBackward(EmbeddingBackwardArgs)

	RMSNorm(RMSNormArgs)
	RMSNormBackward(RMSNormBackwardArgs)

	Rope(RopeArgs)
	RopeBackward(RopeArgs)

	Linear(LinearArgs)
	LinearBackwardInput(LinearBackwardInputArgs)
	LinearBackwardWeight(LinearBackwardWeightArgs)

	LoRA(LoRAArgs)
	LoRABackward(LoRABackwardArgs)
	LoRABackwardScratch(LoRABackwardArgs) int64
	LoRAMerge(LoRAMergeArgs)

	Attention(AttentionArgs)
	AttentionBackward(AttentionBackwardArgs)
	AttentionBackwardScratch(AttentionBackwardArgs) int64
	KVStore(KVStoreArgs)
	AttentionPaged(AttentionPagedArgs)

	SwiGLU(SwiGLUArgs)
	SwiGLUBackward(SwiGLUBackwardArgs)

	CrossEntropy(CrossEntropyArgs)
	CrossEntropyScratch(CrossEntropyArgs) int64

	GradNorm(GradNormArgs)
	AdamW(AdamWArgs)

	Sample(SampleArgs)
}
