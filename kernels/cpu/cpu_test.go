package cpu

import (
	"fmt"
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

// TestConformance puts the backend on trial at every level that this machine
// can run, with several numbers of workers.
func TestConformance(t *testing.T) {
	for i, level := range vec.Levels() {
		t.Run(level, func(t *testing.T) {
			defer vec.ForceLevel(level)()
			for threads := 1; threads <= 3; threads++ {
				if i > 0 && threads == 1 {
					continue
				}
				t.Run(fmt.Sprintf("threads=%d", threads), func(t *testing.T) {
					kerneltest.Run(t, func(t *testing.T) kernels.Backend { return open(t, threads) }, kerneltest.Options{Seed: uint64(1 + threads), Loose: 8})
				})
			}
		})
	}
}
