package gemm

import (
	"math/rand/v2"
	"runtime/debug"
	"testing"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// Streams read nothing past the end of their inputs, nor of dst.
func TestStreamReadsNothingPastTheEnd(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		rng := rand.New(rand.NewPCG(12, 13))
		for range 60 {
			m, n, k := 1+rng.IntN(20), 1+rng.IntN(70), 1+rng.IntN(100)
			a, b, dst := beforeFault[float32](t, m*k), beforeFault[float32](t, n*k), beforeFault[float32](t, m*n)
			panels := beforeFault[float32](t, PanelFloats(n, k))
			try := func(name string, f func()) {
				defer func() {
					if r := recover(); r != nil {
						t.Fatalf("%s, m=%d n=%d k=%d at level %s: %v", name, m, n, k, vec.Level(), r)
					}
				}()
				f()
			}
			try("in place", func() { StreamInPlace(dst, n, a, k, 1, b, n, m, n, k, true) })
			try("in place, transposed", func() { StreamInPlace(dst, n, a, 1, m, b, n, m, n, k, true) })
			try("packing", func() { StreamPack(panels, b, k, n, k) })
			try("panels", func() { StreamPanels(dst, n, a, k, 1, panels, m, n, k, true, nil) })
		}
	})
}
