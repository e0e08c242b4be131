package cpu

import (
	"fmt"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
	"github.com/selkie-ml/selkie/kernels/host"
)

// loraFixture is a batch of segments of several adapters, with what LoRA and its gradient need.
type loraFixture struct {
	*maker
	rows, in, out, max   int
	segments             []kernels.Segment
	x, y0, dy, dx0, a, b kernels.Buffer
	y, h, dx, da, db     kernels.Buffer
	sizeA, sizeB         int
}

// newLoRAFixture gives segment i lengths[i] rows and adapter use[i].
func newLoRAFixture(m *maker, in, out int, dt kernels.DType, ranks, lengths, use []int) *loraFixture {
	f := &loraFixture{maker: m, in: in, out: out, max: slices.Max(ranks)}
	var at [][2]int
	for _, r := range ranks {
		at = append(at, [2]int{f.sizeA, f.sizeB})
		f.sizeA, f.sizeB = f.sizeA+r*in, f.sizeB+r*out
	}
	for i, n := range lengths {
		f.segments = append(f.segments, kernels.Segment{RowStart: int32(f.rows), RowEnd: int32(f.rows + n), Rank: int32(ranks[use[i]]),
			AOffset: int32(at[use[i]][0]), BOffset: int32(at[use[i]][1]), Scale: 0.7})
		f.rows += n
	}
	f.x, f.y0, f.y = m.random(dt, f.rows*in, 1), m.random(dt, f.rows*out, 1), m.mem(f.rows*out, dt)
	f.dy, f.dx0, f.dx = m.f32(f.rows*out), m.f32(f.rows*in), m.mem(f.rows*in, kernels.F32)
	f.a, f.b = m.f32(f.sizeA), m.f32(f.sizeB)
	f.h, f.da, f.db = m.mem(f.rows*f.max, kernels.F32), m.mem(f.sizeA, kernels.F32), m.mem(f.sizeB, kernels.F32)
	return f
}

// reset gives outputs their first values.
func (f *loraFixture) reset() {
	n := f.rows * f.out * f.y.DType.Size()
	copy(host.Bytes(f.y, n), host.Bytes(f.y0, n))
	copy(host.F32(f.dx, f.rows*f.in), host.F32(f.dx0, f.rows*f.in))
	for _, o := range []struct {
		kernels.Buffer
		n int
	}{{f.h, f.rows * f.max}, {f.da, f.sizeA}, {f.db, f.sizeB}} {
		x := host.F32(o.Buffer, o.n)
		for i := range x {
			x[i] = 0.5
		}
	}
}

// calls returns both ops on segments lo…hi-1 as a batch of their own.
func (f *loraFixture) calls(b *Backend, lo, hi int) (forward, backward func()) {
	var table []int32
	first, end := int(f.segments[lo].RowStart), int(f.segments[hi-1].RowEnd)
	for _, s := range f.segments[lo:hi] {
		s.RowStart, s.RowEnd = s.RowStart-int32(first), s.RowEnd-int32(first)
		table = s.AppendTo(table)
	}
	seg, rows := f.ints(table...), end-first
	fw := kernels.LoRAArgs{Y: f.y.At(first * f.out), H: f.h.At(first * f.max), X: f.x.At(first * f.in), A: f.a, B: f.b,
		Segments: seg, NSeg: hi - lo, Rows: rows, In: f.in, Out: f.out, MaxRank: f.max}
	bw := kernels.LoRABackwardArgs{DX: f.dx.At(first * f.in), DA: f.da, DB: f.db, DY: f.dy.At(first * f.out), X: fw.X, H: fw.H, A: f.a, B: f.b,
		Segments: seg, NSeg: hi - lo, Rows: rows, In: f.in, Out: f.out, MaxRank: f.max}
	bw.Scratch = f.mem(int(b.LoRABackwardScratch(bw)/4), kernels.F32)
	return func() { b.LoRA(fw) }, func() { b.LoRABackward(bw) }
}

// results copies what the ops wrote.
func (f *loraFixture) results() map[string][]float32 {
	y := make([]float32, f.rows*f.out)
	floats("test", "y", f.y, len(y)).widen(y, 0)
	return map[string][]float32{"Y": y, "H": slices.Clone(host.F32(f.h, f.rows*f.max)), "DX": slices.Clone(host.F32(f.dx, f.rows*f.in)),
		"DA": slices.Clone(host.F32(f.da, f.sizeA)), "DB": slices.Clone(host.F32(f.db, f.sizeB))}
}

// TestLoRAAloneAndTogether: rows, H and gradients of adapters have the same bits
// for every number of workers, and when every segment is a batch of its own.
func TestLoRAAloneAndTogether(t *testing.T) {
	for _, level := range vec.Levels() {
		for _, c := range []struct {
			in, out             int
			ranks, lengths, use []int
			threads             []int
		}{
			// Ranks that fill vectors and that do not; rows of a tile and around it.
			{70, 100, []int{1, 7, 16, 33, 64}, []int{13, 1, 12, 11, 64, 5, 65, 1, 24}, []int{0, 1, 2, 3, 4, 4, 2, 1, 3}, []int{1, 2, 3}},
			// One adapter's segments together and apart, with another between; more rows than a piece.
			{48, 40, []int{8, 5}, []int{150, 90, 3, 140, 1, 1}, []int{0, 0, 1, 0, 0, 1}, []int{1, 2, 3}},
			// More columns than a block of A or B.
			{1100, 1060, []int{256, 128, 17}, []int{30, 14, 2, 26}, []int{0, 1, 1, 2}, []int{1, 3}},
			// Rows that share sets of the cache.
			{1024, 1024, []int{16}, []int{40, 33}, []int{0, 0}, []int{2}},
		} {
			if level == "generic" && c.in > 1000 {
				continue
			}
			for _, dt := range []kernels.DType{kernels.F32, kernels.BF16} {
				t.Run(fmt.Sprintf("%s/in=%d/%v", level, c.in, dt), func(t *testing.T) {
					defer vec.ForceLevel(level)()
					m := newMaker(t, 1)
					f := newLoRAFixture(m, c.in, c.out, dt, c.ranks, c.lengths, c.use)
					f.reset()
					for i := range f.segments {
						forward, backward := f.calls(m.b, i, i+1)
						forward()
						backward()
					}
					want := f.results()
					for _, threads := range c.threads {
						b, err := New(Options{Threads: threads})
						if err != nil {
							t.Fatal(err)
						}
						f.reset()
						forward, backward := f.calls(b, 0, len(f.segments))
						forward()
						backward()
						for name, got := range f.results() {
							if !slices.Equal(got, want[name]) {
								t.Errorf("%s differs between %d threads and segments alone", name, threads)
							}
						}
						b.Close()
					}
				})
			}
		}
	}
}

func TestLoRAAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("pools of scratch drop items at random under the race detector")
	}
	for _, dt := range []kernels.DType{kernels.F32, kernels.BF16} {
		m := newMaker(t, 2)
		f := newLoRAFixture(m, 1024, 200, dt, []int{16, 8, 3}, []int{70, 1, 64, 3}, []int{0, 1, 2, 1})
		forward, backward := f.calls(m.b, 0, len(f.segments))
		for name, op := range map[string]func(){"LoRA": forward, "LoRABackward": backward} {
			if n := testing.AllocsPerRun(20, op); n >= 1 {
				t.Errorf("%s, activations in %v: %v allocations", name, dt, n)
			}
		}
	}
}
