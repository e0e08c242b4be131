package cuda

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// Sample implements kernels.Backend. A temperature, top-p or top-k that is negative,
// infinite or NaN is an error.
func (b *Backend) Sample(a kernels.SampleArgs) {
	k := kernel.SampleOf(a.Vocab, !a.LogProb.IsNil(), dividing(vector(4, a.Logits), a.Vocab) == 4)
	at, tag := b.refusals("Sample", "row %d: setting %d (of temperature, top-p, top-k) is not a finite number from 0")
	b.launch("Sample", k, k.Launch(a.Rows), ptr(a.IDs), ptr(a.LogProb), ptr(a.Logits), ptr(a.Settings), ptr(a.Draws), num(a.Vocab), at, tag)
}
