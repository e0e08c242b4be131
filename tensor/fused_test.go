package tensor

import (
	"slices"
	"testing"
)

// Ops that do the work of two give the bits of the two.
func TestFusedOps(t *testing.T) {
	for _, device := range []string{"ref", "cpu"} {
		t.Run(device, func(t *testing.T) {
			b := newBench(t, device)
			tp := NewTape(b.dev, F32, false)
			defer tp.Free()
			equal := func(what string, got, want *Tensor) {
				t.Helper()
				if x, y := must[[]float32](t)(got.Float32s()), must[[]float32](t)(want.Float32s()); !slices.Equal(x, y) {
					t.Errorf("%s: %v, one by one %v", what, x, y)
				}
			}

			x, a, w := b.random(5, 70), b.random(5, 70), b.random(70)
			sum, y := AddRMSNorm(tp, x, a, w, 1e-5)
			added := Add(tp, x, a)
			equal("the sum", sum, added)
			equal("the norm", y, RMSNorm(tp, added, w, 1e-5))

			table := must[*RopeTable](t)(NewRopeTable(b.dev, InverseFrequencies(6, 100, nil), 8))
			q, k, positions := b.random(5, 4, 6), b.random(5, 2, 6), b.ints(3, 0, 7, 1, 2)
			rq, rk := RopePairAt(tp, q, k, table, positions)
			equal("queries", rq, RopeAt(tp, q, table, positions))
			equal("keys", rk, RopeAt(tp, k, table, positions))
		})
	}
}
