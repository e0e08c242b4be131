package dry

import "github.com/selkie-ml/selkie/kernels"

// The ops, in the order of kernels.Backend: none does anything.

// Copy implements kernels.Backend.
func (b *Backend) Copy(kernels.CopyArgs) {}

// Fill implements kernels.Backend.
func (b *Backend) Fill(kernels.FillArgs) {}

// Gather implements kernels.Backend.
func (b *Backend) Gather(kernels.GatherArgs) {}

// Add implements kernels.Backend.
func (b *Backend) Add(kernels.AddArgs) {}

// Embedding implements kernels.Backend.
func (b *Backend) Embedding(kernels.EmbeddingArgs) {}

// EmbeddingBackward implements kernels.Backend.
func (b *Backend) EmbeddingBackward(kernels.EmbeddingBackwardArgs) {}

// RMSNorm implements kernels.Backend.
func (b *Backend) RMSNorm(kernels.RMSNormArgs) {}

// RMSNormBackward implements kernels.Backend.
func (b *Backend) RMSNormBackward(kernels.RMSNormBackwardArgs) {}

// Rope implements kernels.Backend.
func (b *Backend) Rope(kernels.RopeArgs) {}

// RopeBackward implements kernels.Backend.
func (b *Backend) RopeBackward(kernels.RopeArgs) {}

// Linear implements kernels.Backend.
func (b *Backend) Linear(kernels.LinearArgs) {}

// LinearBackwardInput implements kernels.Backend.
func (b *Backend) LinearBackwardInput(kernels.LinearBackwardInputArgs) {}

// LinearBackwardWeight implements kernels.Backend.
func (b *Backend) LinearBackwardWeight(kernels.LinearBackwardWeightArgs) {}

// LoRA implements kernels.Backend.
func (b *Backend) LoRA(kernels.LoRAArgs) {}

// LoRABackward implements kernels.Backend.
func (b *Backend) LoRABackward(kernels.LoRABackwardArgs) {}

// LoRAMerge implements kernels.Backend.
func (b *Backend) LoRAMerge(kernels.LoRAMergeArgs) {}

// Attention implements kernels.Backend.
func (b *Backend) Attention(kernels.AttentionArgs) {}

// AttentionBackward implements kernels.Backend.
func (b *Backend) AttentionBackward(kernels.AttentionBackwardArgs) {}

// KVStore implements kernels.Backend.
func (b *Backend) KVStore(kernels.KVStoreArgs) {}

// AttentionPaged implements kernels.Backend.
func (b *Backend) AttentionPaged(kernels.AttentionPagedArgs) {}

// SwiGLU implements kernels.Backend.
func (b *Backend) SwiGLU(kernels.SwiGLUArgs) {}

// SwiGLUBackward implements kernels.Backend.
func (b *Backend) SwiGLUBackward(kernels.SwiGLUBackwardArgs) {}

// CrossEntropy implements kernels.Backend.
func (b *Backend) CrossEntropy(kernels.CrossEntropyArgs) {}

// GradNorm implements kernels.Backend.
func (b *Backend) GradNorm(kernels.GradNormArgs) {}

// AdamW implements kernels.Backend.
func (b *Backend) AdamW(kernels.AdamWArgs) {}

// Sample implements kernels.Backend.
func (b *Backend) Sample(kernels.SampleArgs) {}

// How much scratch the backend that b stands in for would ask for.

// LoRABackwardScratch implements kernels.Backend.
func (b *Backend) LoRABackwardScratch(a kernels.LoRABackwardArgs) int64 {
	return b.of.LoRABackwardScratch(a)
}

// AttentionBackwardScratch implements kernels.Backend.
func (b *Backend) AttentionBackwardScratch(a kernels.AttentionBackwardArgs) int64 {
	return b.of.AttentionBackwardScratch(a)
}

// CrossEntropyScratch implements kernels.Backend.
func (b *Backend) CrossEntropyScratch(a kernels.CrossEntropyArgs) int64 {
	return b.of.CrossEntropyScratch(a)
}
