package host

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/selkie-ml/selkie/kernels"
)

func TestClass(t *testing.T) {
	last := class(grain)
	for n := int64(grain); n < 1<<20; n += grain {
		c := class(n)
		if c < last || c > last+4 {
			t.Fatalf("class of %d bytes is %d, that of a grain less %d", n, c, last)
		}
		if smallest := int64(4+c%4) << (c/4 - 2); n < smallest || class(smallest) != c || 4*n >= 5*smallest+4*grain {
			t.Fatalf("class %d of %d bytes begins at %d", c, n, smallest)
		}
		last = c
	}
}

// TestArena allocates and frees at random: blocks do not overlap, the figures are
// right, and all that is free side by side is one block.
func TestArena(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := Arena{Poison: rapid.Bool().Draw(t, "poison")}
		var used []kernels.Mem
		var inUse, peak int64
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			if i := rapid.IntRange(0, len(used)).Draw(t, "which"); i < len(used) && rapid.Bool().Draw(t, "free") {
				data := contents(used[i].(*mem))
				for k := 0; k < len(data); k += 127 {
					if data[k] != data[0] {
						t.Fatal("a block was written to through another")
					}
				}
				inUse -= used[i].Size()
				a.Free(used[i])
				used = slices.Delete(used, i, i+1)
			} else {
				n := rapid.OneOf(rapid.Int64Range(0, 3000), rapid.Int64Range(0, 300<<10)).Draw(t, "bytes")
				m, err := a.Alloc(n)
				if err != nil || m.Size() < n || m.Size() != a.AllocSize(n) {
					t.Fatalf("%d bytes for %d (%v), announced %d", m.Size(), n, err, a.AllocSize(n))
				}
				data := contents(m.(*mem))
				if uintptr(unsafe.Pointer(&data[0]))%64 != 0 || len(data) != cap(data) {
					t.Fatalf("block at %p, %d of %d bytes", &data[0], len(data), cap(data))
				}
				fill(data, byte(rapid.IntRange(0, 255).Draw(t, "value")))
				inUse += m.Size()
				peak = max(peak, inUse)
				used = append(used, m)
			}
			checkArena(t, &a)
			if s := a.Stats(); s.InUse != inUse || s.Peak != peak {
				t.Fatalf("%+v, want %d in use and %d at the peak", s, inUse, peak)
			}
		}
		for _, m := range used {
			a.Free(m)
		}
		for c := range a.heap.free {
			for _, m := range a.heap.free[c] {
				if m.before != nil || m.next != nil {
					t.Fatal("everything is free, but a chunk is not one block")
				}
			}
		}
		if a.Trim(); a.Stats().Cached != 0 || a.Stats().InUse != 0 {
			t.Fatalf("after Trim: %+v", a.Stats())
		}
	})
}

// checkArena checks the lists of free blocks and their neighbours.
func checkArena(t *rapid.T, a *Arena) {
	var cached int64
	for c := range a.heap.free {
		list := a.heap.free[c]
		for i, m := range list {
			cached += m.Size()
			if !m.Freed || class(m.Size()) != c || i > 0 && list[i-1].order(m) >= 0 {
				t.Fatalf("block of %d bytes at %d of class %d: %+v", m.Size(), i, c, m)
			}
			for _, n := range []*mem{m.before, m.next} {
				if n != nil && (n.Freed || n.number != m.number) {
					t.Fatal("a free block's neighbour is free as well, or of another chunk")
				}
			}
			if n := m.next; n != nil && (n.before != m || n.Start != m.Start+m.size) || m.next == nil && m.Start+m.size != int64(len(m.Chunk.data)) {
				t.Fatal("a gap between blocks")
			}
		}
	}
	if s := a.Stats(); cached != s.Cached {
		t.Fatalf("%d bytes are free, said to be %d", cached, s.Cached)
	}
}

// TestSameAddresses: steps that ask alike get the same blocks from the second step
// on, whatever the order in which they free.
func TestSameAddresses(t *testing.T) {
	var a Arena
	rng := rand.New(rand.NewPCG(1, 2))
	keep, err := a.Alloc(5000)
	if err != nil {
		t.Fatal(err)
	}
	var last []*byte
	for step := range 20 {
		var used []kernels.Mem
		var got []*byte
		for i := range 60 {
			m, err := a.Alloc(int64(1000 * (1 + i*i%37)))
			if err != nil {
				t.Fatal(err)
			}
			used, got = append(used, m), append(got, &contents(m.(*mem))[0])
			if i%4 == 3 {
				a.Free(used[len(used)-2])
				used = slices.Delete(used, len(used)-2, len(used)-1)
			}
		}
		rng.Shuffle(len(used), func(i, j int) { used[i], used[j] = used[j], used[i] })
		for _, m := range used {
			a.Free(m)
		}
		if step > 1 && !slices.Equal(got, last) {
			t.Fatalf("step %d got other blocks than the one before", step)
		}
		last = got
	}
	a.Free(keep)
}

// TestChangingShapes: steps whose sizes keep changing are held in little more than
// the largest of them takes.
func TestChangingShapes(t *testing.T) {
	var a Arena
	for step := range 50 {
		var used []kernels.Mem
		for i := range 40 {
			m, err := a.Alloc(int64(10000*(i%7+1) + 37*step*(i%5+1)))
			if err != nil {
				t.Fatal(err)
			}
			if used = append(used, m); i%3 == 2 { // a temporary of the op
				a.Free(used[len(used)-2])
				used = slices.Delete(used, len(used)-2, len(used)-1)
			}
		}
		for _, m := range used {
			a.Free(m)
		}
	}
	if s := a.Stats(); s.Cached > 2*s.Peak {
		t.Errorf("%d bytes held for a peak of %d", s.Cached, s.Peak)
	}
}

func TestArenaReusesAndPoisons(t *testing.T) {
	a := Arena{Poison: true, Limit: 1 << 20}
	m, err := a.Alloc(1000)
	if err != nil {
		t.Fatal(err)
	}
	x := F32(kernels.Buffer{Mem: m, DType: kernels.F32}, 4)
	if !math.IsNaN(float64(x[0])) {
		t.Errorf("fresh memory holds %v, want NaN", x[0])
	}
	x[0] = 1
	a.Free(m)
	m2, _ := a.Alloc(1020)
	if y := F32(kernels.Buffer{Mem: m2, DType: kernels.F32}, 4); &x[0] != &y[0] {
		t.Error("freed memory was not used again")
	}
	if y := F32(kernels.Buffer{Mem: m2, DType: kernels.F32}, 1); !math.IsNaN(float64(y[0])) {
		t.Errorf("reused memory holds %v, want NaN", y[0])
	}
	if _, err := a.Alloc(1 << 20); err == nil {
		t.Error("the limit does not hold")
	}
	if s := a.Stats(); s.InUse != m2.Size() || s.Cached != leastChunk-m2.Size() || s.Peak != s.InUse {
		t.Errorf("stats %+v", s)
	}
}

func TestMisusePanics(t *testing.T) {
	var a Arena
	m, _ := a.Alloc(256)
	for name, f := range map[string]func(){
		"beyond the end": func() { F32(kernels.Buffer{Mem: m, DType: kernels.F32}, 65) },
		"wrong type":     func() { F32(kernels.Buffer{Mem: m, DType: kernels.BF16}, 1) },
		"freed twice":    func() { m, _ := a.Alloc(1); a.Free(m); a.Free(m) },
		"used after free": func() {
			m, _ := a.Alloc(1)
			a.Free(m)
			F32(kernels.Buffer{Mem: m, DType: kernels.F32}, 1)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
