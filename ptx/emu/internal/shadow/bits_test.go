package shadow

import (
	"math/rand/v2"
	"testing"
)

// TestBits compares with a slice of booleans.
func TestBits(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const n = 300
	b, other := New(n), New(n)
	want := make([]bool, n)
	for i := range 20000 {
		off, k := uint64(r.IntN(n)), uint64(1+r.IntN(150))
		if r.IntN(50) == 0 {
			off, k = 0, n
		}
		end := min(off+k, n)
		switch r.IntN(6) {
		case 0:
			b.Set(off, k)
			for j := off; j < end; j++ {
				want[j] = true
			}
		case 1:
			b.Clear(off, k)
			for j := off; j < end; j++ {
				want[j] = false
			}
		case 2:
			other.Reset()
			other.Set(off, k/2)
			from := uint64(r.IntN(n))
			k = min(end-off, n-from)
			b.Copy(off, other, from, k)
			for j := range k {
				want[off+j] = other.Has(from+j, 1)
			}
		}
		has, any, first := true, false, uint64(0)
		for j := off; j < off+k; j++ {
			if j < n && want[j] {
				any = true
			} else if has {
				has, first = false, j
			}
		}
		if got := b.Has(off, k); got != has {
			t.Fatalf("step %d: Has(%d, %d) = %v", i, off, k, got)
		}
		if got := b.Any(off, k); got != any {
			t.Fatalf("step %d: Any(%d, %d) = %v", i, off, k, got)
		}
		if at, found := b.First(off, k); found == has || found && at != first {
			t.Fatalf("step %d: First(%d, %d) = %d, %v; want %d", i, off, k, at, found, first)
		}
	}
}
