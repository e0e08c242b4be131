package cuda

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/kernels/kerneltest"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// TestCrossEntropyChunks: a vocabulary in several chunks of statistics gives what it should,
// and the same bits whether its gradients come in one chunk or in several.
func TestCrossEntropyChunks(t *testing.T) {
	t.Parallel()
	bits := map[string][sha256.Size]byte{} // of results with one chunk of gradients
	for _, several := range []bool{false, true} {
		api := driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.H100, Seed: 1, Checks: emu.AllChecks}})
		b, err := New(api, Options{Poison: true, Direct: true})
		if err != nil {
			t.Fatal(err)
		}
		b.lossStats, b.tuner = 256, tuner{on: true}
		if several {
			b.lossBytes = 1
		}
		compared := 0
		err = kerneltest.Try("CrossEntropy", b, kerneltest.Options{Seed: 9, SpreadNaN: true, Limit: 14 << 10, DTypes: []kernels.DType{kernels.F32, kernels.BF16},
			Result: func(n int, array string, contents []byte) error {
				key, sum := fmt.Sprint(n, array), sha256.Sum256(contents)
				if was, ok := bits[key]; ok && was != sum {
					return fmt.Errorf("%s of problem %d has other bits with several chunks of gradients", array, n)
				} else if ok {
					compared++
				}
				bits[key] = sum
				return nil
			}})
		if err != nil {
			t.Error(err)
		}
		if several && compared == 0 {
			t.Error("nothing was compared")
		}
		merges, resumed := map[kernel.LossMerge]bool{}, false
		for _, l := range b.tuner.made {
			switch k := l.Any.(type) {
			case kernel.LossMerge:
				merges[k] = true
			case kernel.LossInput:
				resumed = resumed || !k.First
			}
		}
		if len(merges) != 4 { // of a chunk that is the only one, the first, the last, and between
			t.Errorf("%d kinds of chunks of statistics, expected 4: %v", len(merges), merges)
		}
		if resumed != several {
			t.Errorf("several chunks of gradients: %t, expected %t", resumed, several)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		for _, f := range api.Emulator().Findings() {
			t.Error(f)
		}
	}
}
