package cpu

import (
	"fmt"
	"os"
	"slices"
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

// TestConformance puts every level of the backend on trial, the targets
// cpu-amx, cpu-avx512bf16, cpu-avx512, cpu-avx2 and cpu-generic: the best that this machine can run in
// full, the others with f32 and bf16, and numbers of workers from 1 to 3 among
// them. SELKIE_HEAVY=1 adds problems of realistic size.
func TestConformance(t *testing.T) {
	levels := vec.Levels()
	for i, isa := range []vec.ISA{vec.AMX, vec.AVX512BF16, vec.AVX512, vec.AVX2, vec.Generic} {
		level := isa.String()
		opt := kerneltest.Options{Seed: uint64(1 + i), Heavy: os.Getenv("SELKIE_HEAVY") == "1"}
		threads := []int{2, 2, 1, 3, 1}[i]
		if level != levels[0] {
			opt.DTypes = []kernels.DType{kernels.F32, kernels.BF16}
		}
		t.Run(fmt.Sprintf("%s/threads=%d", level, threads), func(t *testing.T) {
			kerneltest.Require(t, "cpu-"+level, slices.Contains(levels, level))
			defer vec.ForceLevel(level)()
			kerneltest.Run(t, func(t *testing.T) kernels.Backend { return open(t, threads) }, opt)
		})
	}
}
