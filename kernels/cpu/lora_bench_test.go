package cpu

import (
	"fmt"
	"testing"

	"github.com/selkie-ml/selkie/internal/peak"
	"github.com/selkie-ml/selkie/kernels"
)

// loraBench is a batch of segments, each with an adapter of its own or all with one.
type loraBench struct {
	name    string
	lengths []int
	shared  bool
}

func loraBenches() []loraBench {
	same := func(segs, rows int) []int {
		l := make([]int, segs)
		for i := range l {
			l[i] = rows
		}
		return l
	}
	ragged := make([]int, 40)
	for i := range ragged {
		ragged[i] = 50 + i*37%101
	}
	return []loraBench{{"16x64", same(16, 64), false}, {"1x1024", same(1, 1024), false}, {"ragged", ragged, false},
		{"16x64shared", same(16, 64), true}, {"32x1", same(32, 1), false}, {"64x8", same(64, 8), false}, {"40x12", same(40, 12), false}, {"24x20", same(24, 20), false}, {"16x31", same(16, 31), false}}
}

// BenchmarkGroupedLoRA measures forward and backward by rank, width and the segments' shape,
// as a fraction of the multiply-adds that the machine reaches.
func BenchmarkGroupedLoRA(b *testing.B) {
	m := newMaker(b, 0)
	most := peak.FMA(m.b.Threads())
	for _, l := range loraBenches() {
		for _, dim := range []int{256, 896, 4864} {
			for _, rank := range []int{16, 32, 64} {
				b.Run(fmt.Sprintf("%s/dim=%d/rank=%d", l.name, dim, rank), func(b *testing.B) { l.run(b, m, dim, rank, most) })
			}
		}
	}
}

func (l loraBench) run(b *testing.B, m *maker, dim, rank int, most float64) {
	var table []int32
	rows, adapters := 0, 0
	for _, n := range l.lengths {
		if !l.shared || adapters == 0 {
			adapters++
		}
		at := int32((adapters - 1) * rank * dim)
		table = kernels.Segment{RowStart: int32(rows), RowEnd: int32(rows + n), Rank: int32(rank), AOffset: at, BOffset: at, Scale: 2}.AppendTo(table)
		rows += n
	}
	slab, wide, nseg := adapters*rank*dim, rows*dim, len(l.lengths)
	fill := func(n int) kernels.Buffer { return m.filled(n) }
	a, bm, da, db, seg := fill(slab), fill(slab), fill(slab), fill(slab), m.ints(table...)
	x, y, dx, h := fill(wide), fill(wide), fill(wide), fill(rows*rank)
	args := kernels.LoRABackwardArgs{DX: dx, DA: da, DB: db, DY: y, X: x, H: h, A: a, B: bm, Segments: seg, NSeg: nseg, Rows: rows, In: dim, Out: dim, MaxRank: rank}
	args.Scratch = m.mem(int(m.b.LoRABackwardScratch(args)/4), kernels.F32)
	defer func() {
		for _, buf := range []kernels.Buffer{a, bm, da, db, seg, x, y, dx, h, args.Scratch} {
			m.b.Free(buf.Mem)
		}
	}()
	flops := 4 * float64(rows) * float64(rank) * float64(dim)
	run := func(name string, flops float64, f func()) {
		b.Run(name, func(b *testing.B) {
			f()
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
			rate := flops * float64(b.N) / b.Elapsed().Seconds() / 1e9
			b.ReportMetric(rate, "GFLOP/s")
			b.ReportMetric(100*rate/most, "%peak")
		})
	}
	run("forward", flops, func() {
		m.b.LoRA(kernels.LoRAArgs{Y: y, H: h, X: x, A: a, B: bm, Segments: seg, NSeg: nseg, Rows: rows, In: dim, Out: dim, MaxRank: rank})
	})
	run("backward", 2*flops, func() { m.b.LoRABackward(args) })
}

// filled is memory of small values, cheaper to make than random ones.
func (m *maker) filled(n int) kernels.Buffer {
	b := m.mem(n, kernels.F32)
	m.b.Fill(kernels.FillArgs{Dst: b, N: n, Value: 0x1p-10})
	return b
}
