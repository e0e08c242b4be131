package cpu

import (
	"fmt"
	"os"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
	"github.com/selkie-ml/selkie/kernels/kerneltest"
)

func open(t testing.TB, threads int) *Backend {
	t.Helper()
	b, err := New(Options{Threads: threads, Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestConformance puts the backend on trial: the best level in full, the other
// levels that this machine can run with f32 and bf16, and numbers of workers
// from 1 to 3 among them. SELKIE_HEAVY=1 adds problems of realistic size.
func TestConformance(t *testing.T) {
	for i, level := range vec.Levels() {
		opt := kerneltest.Options{Seed: uint64(1 + i), Heavy: os.Getenv("SELKIE_HEAVY") == "1"}
		threads := 2
		if i > 0 {
			opt.DTypes = []kernels.DType{kernels.F32, kernels.BF16}
			threads = 5 - 2*i // 3, 1
		}
		t.Run(fmt.Sprintf("%s/threads=%d", level, threads), func(t *testing.T) {
			defer vec.ForceLevel(level)()
			kerneltest.Run(t, func(t *testing.T) kernels.Backend { return open(t, threads) }, opt)
		})
	}
}
