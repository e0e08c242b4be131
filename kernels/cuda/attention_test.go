package cuda_test

import (
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/kerneltest"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// TestAttentionHalf tries attention in bf16 on problems that the limit of TestConformance
// leaves out: heads of 64 and 128, sequences around the edges of blocks of keys.
func TestAttentionHalf(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Attention", "AttentionBackward", "AttentionPaged", "PagedEqualsPrefill"} {
		t.Run(name, func(t *testing.T) {
			b := emulated(t, emu.A100, emu.Adversarial)
			if err := kerneltest.Try(name, b, kerneltest.Options{Seed: 7, SpreadNaN: true, Aligned: true, Limit: 1 << 18, DTypes: []kernels.DType{kernels.BF16}}); err != nil {
				t.Fatal(err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
