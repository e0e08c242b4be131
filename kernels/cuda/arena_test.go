package cuda

import (
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// smallGPU is the memory of a GPU that has little of it.
type smallGPU struct {
	driver.API
	room  int64
	next  driver.Ptr
	sizes map[driver.Ptr]int64
	calls int
}

func (g *smallGPU) MemAlloc(n int64) (driver.Ptr, error) {
	g.calls++
	if n > g.room {
		return 0, &driver.Error{Call: "cuMemAlloc", Code: driver.OutOfMemory}
	}
	g.room -= n
	g.next += 1 << 32
	g.sizes[g.next] = n
	return g.next, nil
}

func (g *smallGPU) MemFree(p driver.Ptr) error {
	if g.sizes[p] == 0 {
		return &driver.Error{Call: "cuMemFree", Code: driver.InvalidValue}
	}
	g.room += g.sizes[p]
	delete(g.sizes, p)
	return nil
}

func (g *smallGPU) MemGetInfo() (free, total int64, err error) { return g.room, 1 << 30, nil }

func newSmall(room int64) (*smallGPU, arena) {
	g := &smallGPU{room: room, sizes: map[driver.Ptr]int64{}}
	return g, newArena(g, 0, false, func() {})
}

// TestArenaDivides: many buffers take few allocations, all of them aligned and apart.
func TestArenaDivides(t *testing.T) {
	g, a := newSmall(1 << 30)
	var used []*mem
	for i := range 200 {
		m, err := a.alloc(int64(1 + 997*i))
		if err != nil {
			t.Fatal(err)
		}
		if start(m)%256 != 0 || m.Size() != a.size(int64(1+997*i)) {
			t.Errorf("buffer %d at %#x has %d bytes", i, start(m), m.Size())
		}
		for _, other := range used {
			if start(m) < start(other)+driver.Ptr(other.Size()) && start(other) < start(m)+driver.Ptr(m.Size()) {
				t.Fatal("two buffers overlap")
			}
		}
		used = append(used, m)
	}
	if g.calls > 3 {
		t.Errorf("%d allocations of the driver", g.calls)
	}
	for _, m := range used {
		if err := a.release(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.trim(); err != nil || g.room != 1<<30 || (a.heap.Stats != kernels.MemStats{Peak: a.heap.Stats.Peak}) {
		t.Errorf("after all is freed: %d of %d bytes free, %+v, %v", g.room, 1<<30, a.heap.Stats, err)
	}
}

// TestArenaInNeed: where memory is short a chunk is no larger than needed, and what is
// cached in pieces is given up for a larger one.
func TestArenaInNeed(t *testing.T) {
	g, a := newSmall(10 << 20)
	x, err := a.alloc(5 << 20) // less than a usual chunk
	if err != nil {
		t.Fatal(err)
	}
	if g.room != 4<<20 {
		t.Errorf("%d bytes left", g.room)
	}
	y, err := a.alloc(4 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.alloc(1 << 20); err != nil { // what is left of the first chunk
		t.Error(err)
	}
	if _, err := a.alloc(2 << 20); !isCode(err, driver.OutOfMemory) {
		t.Errorf("beyond the memory: %v", err)
	}
	if err := a.release(y); err != nil {
		t.Fatal(err)
	}
	// Weights get what the arena has cached.
	w, err := a.weights(3 << 20)
	if err != nil || a.heap.Stats.Mapped != 3<<20 {
		t.Fatalf("%v, %+v", err, a.heap.Stats)
	}
	for _, m := range []*mem{x, w} {
		if err := a.release(m); err != nil {
			t.Fatal(err)
		}
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("memory was freed twice")
			}
		}()
		_ = a.release(w)
	}()
}

// nothing is a driver on which calls do nothing.
type nothing struct{ *smallGPU }

func (nothing) ContextSetCurrent(driver.Context) error                           { return nil }
func (nothing) LaunchKernel(*driver.Launch) error                                { return nil }
func (nothing) StreamBeginCapture(driver.Stream) error                           { return nil }
func (nothing) StreamSynchronize(driver.Stream) error                            { return nil }
func (nothing) ModuleLoad([]byte) (driver.Module, error)                         { return 1, nil }
func (nothing) GraphLaunch(driver.GraphExec, driver.Stream) error                { return nil }
func (nothing) GraphDestroy(driver.Graph) error                                  { return nil }
func (nothing) GraphExecDestroy(driver.GraphExec) error                          { return nil }
func (nothing) StreamEndCapture(driver.Stream) (driver.Graph, error)             { return 1, nil }
func (nothing) GraphInstantiate(driver.Graph) (driver.GraphExec, error)          { return 1, nil }
func (nothing) ModuleGetFunction(driver.Module, string) (driver.Function, error) { return 1, nil }

// BenchmarkLaunch is what a launch takes of the host's time, besides the driver's:
// one by one, and in a step of 200 that is replayed as a graph.
func BenchmarkLaunch(b *testing.B) {
	for _, c := range []struct {
		name string
		n    int
	}{{"one", 1}, {"replayed", 200}} {
		b.Run(c.name, func(b *testing.B) {
			g, a := newSmall(1 << 30)
			be := &Backend{api: nothing{g}, arena: a, functions: map[kernel.Any]*function{}, emit: kernel.Module}
			be.replay = newReplayer(be.api, 1)
			m, err := be.Alloc(1 << 10)
			if err != nil {
				b.Fatal(err)
			}
			x := kernels.Buffer{Mem: m, DType: kernels.F32}
			b.ReportAllocs()
			for b.Loop() {
				for i := range c.n {
					be.Fill(kernels.FillArgs{Dst: x, N: 100 + i})
				}
				if err := be.Sync(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.n), "ns/launch")
			b.ReportMetric(float64(be.LaunchStats().Replayed)/float64(b.N*c.n), "replayed")
		})
	}
}
