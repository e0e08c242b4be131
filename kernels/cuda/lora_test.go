package cuda_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
)

// adapted is a batch whose segments use adapters in turn, at aligned places.
type adapted struct {
	in, out int
	lengths []int
	ranks   []int // of adapters
}

func (a adapted) String() string {
	return fmt.Sprintf("%d→%d, ranks %v, segments of %v", a.in, a.out, a.ranks, a.lengths)
}

// run makes the three ops on the segments first…last-1, and returns what they leave.
func (a adapted) run(d *desk, first, last int) map[string][]float64 {
	type place struct{ a, b int }
	var places []place
	sizeA, sizeB, maxRank := 0, 0, slices.Max(a.ranks)
	for _, r := range a.ranks {
		places = append(places, place{sizeA, sizeB})
		sizeA, sizeB = sizeA+r*a.in, sizeB+(r*a.out+3)/4*4
	}
	var table []int32
	row, from := 0, 0
	for i, n := range a.lengths {
		if i == first {
			from = row
		}
		if i >= first && i < last {
			j := i % len(a.ranks)
			table = kernels.Segment{RowStart: int32(row - from), RowEnd: int32(row - from + n), Rank: int32(a.ranks[j]),
				AOffset: int32(places[j].a), BOffset: int32(places[j].b), Scale: 1.5}.AppendTo(table)
		}
		row += n
		if i == last-1 {
			break
		}
	}
	all, rows, nseg := 0, row-from, last-first
	for _, n := range a.lengths {
		all += n
	}
	part := func(dt kernels.DType, id uint64, width int, scale float64) kernels.Buffer {
		return d.put(dt, bf16Inputs(id, all*width, scale)[from*width:(from+rows)*width])
	}
	x, y := part(d.half, 31, a.in, 1), part(d.half, 32, a.out, 1)
	wa, wb := d.f32(33, sizeA, math.Pow(float64(a.in), -0.5)), d.f32(34, sizeB, math.Pow(float64(maxRank), -0.5))
	h, segments := d.zeros(rows*maxRank), d.ints(table...)
	d.b.LoRA(kernels.LoRAArgs{Y: y, H: h, X: x, A: wa, B: wb, Segments: segments, NSeg: nseg, Rows: rows, In: a.in, Out: a.out, MaxRank: maxRank})
	b := kernels.LoRABackwardArgs{DX: part(kernels.F32, 35, a.in, 1), DA: d.zeros(sizeA), DB: d.zeros(sizeB), DY: part(kernels.F32, 36, a.out, math.Pow(float64(a.out), -0.5)),
		X: x, H: h, A: wa, B: wb, Segments: segments, NSeg: nseg, Rows: rows, In: a.in, Out: a.out, MaxRank: maxRank}
	b.Scratch = d.alloc(kernels.F32, int(d.b.LoRABackwardScratch(b)+3)/4)
	d.b.LoRABackward(b)
	return map[string][]float64{"y": d.get(y, rows*a.out), "h": d.get(h, rows*maxRank), "dx": d.get(b.DX, rows*a.in), "da": d.get(b.DA, sizeA), "db": d.get(b.DB, sizeB)}
}

// TestLoRAAligned: at the alignment of real buffers, results are right, accesses of
// shared memory have no conflicts, and a segment has the same bits alone.
func TestLoRAAligned(t *testing.T) {
	for _, a := range []adapted{
		{in: 136, out: 72, lengths: []int{37, 3, 50, 1, 70, 9, 1, 2, 5, 20, 8, 33, 1, 1, 16, 4}, ranks: []int{1, 8, 32, 64}},
		{in: 64, out: 40, lengths: []int{33, 5}, ranks: []int{256}},
		{in: 200, out: 68, lengths: []int{1, 1, 1, 1, 1}, ranks: []int{16, 64}}, // generating
	} {
		t.Run(a.String(), func(t *testing.T) {
			beside(t, kernels.BF16, func(gpu, exact *desk) {
				n := len(a.lengths)
				got, want := a.run(gpu, 0, n), a.run(exact, 0, n)
				near(t, got, want, map[string]slack{"y": {rel: 0x1p-8}})
				last := a.run(gpu, n-1, n)
				for _, name := range []string{"y", "h", "dx"} {
					if together := got[name]; !slices.Equal(last[name], together[len(together)-len(last[name]):]) {
						t.Errorf("%s of the last segment has other bits alone", name)
					}
				}
			})
		})
	}
}
