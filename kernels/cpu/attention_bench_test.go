package cpu

import (
	"fmt"
	"testing"

	"github.com/selkie-ml/selkie/internal/peak"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
)

// normals is maker.random for large arrays: a few numbers over and over.
func normals(m *maker, dt kernels.DType, n int) kernels.Buffer {
	const period = 4099
	b, few := m.mem(n, dt), m.random(dt, period, 1)
	to, from := host.Bytes(b, n*dt.Size()), host.Bytes(few, period*dt.Size())
	for len(to) > 0 {
		to = to[copy(to, from):]
	}
	return b
}

// attentionProblem is packed sequences of equal length.
type attentionProblem struct {
	name         string
	seqs, n      int
	heads, kv, d int
	dt           kernels.DType
	rows         int
}

func (p *attentionProblem) args(m *maker) (f kernels.AttentionArgs, back kernels.AttentionBackwardArgs) {
	p.rows = p.seqs * p.n
	starts := make([]int32, p.seqs+1)
	for s := range starts {
		starts[s] = int32(s * p.n)
	}
	nq, nkv := p.rows*p.heads*p.d, p.rows*p.kv*p.d
	f = kernels.AttentionArgs{O: m.mem(nq, p.dt), LSE: m.f32(p.rows * p.heads), Q: normals(m, p.dt, nq), K: normals(m, p.dt, nkv), V: normals(m, p.dt, nkv),
		Starts: m.ints(starts...), NSeq: p.seqs, Rows: p.rows, Heads: p.heads, KVHeads: p.kv, HeadDim: p.d, Scale: 0.125}
	back = kernels.AttentionBackwardArgs{DQ: m.f32(nq), DK: m.f32(nkv), DV: m.f32(nkv), DO: normals(m, kernels.F32, nq), O: f.O, LSE: f.LSE, Q: f.Q, K: f.K, V: f.V,
		Starts: f.Starts, NSeq: p.seqs, Rows: p.rows, Heads: p.heads, KVHeads: p.kv, HeadDim: p.d, Scale: 0.125}
	if n := m.b.AttentionBackwardScratch(back); n > 0 {
		back.Scratch = m.mem(int(n/4), kernels.F32)
	}
	return f, back
}

// benchOf is bench with the share of what the machine reaches at most, measured in the same run:
// of multiply-adds in GFLOP/s, or of reading in GB/s if bytes are counted.
func benchOf(b *testing.B, name string, most, flops, bytes float64, f func()) {
	b.Run(name, func(b *testing.B) {
		f()
		b.ReportAllocs()
		for b.Loop() {
			f()
		}
		s := b.Elapsed().Seconds() / float64(b.N)
		b.ReportMetric(flops/s/1e9, "GFLOP/s")
		rate := flops / s / 1e9
		if bytes > 0 {
			rate = bytes / s / 1e9
			b.ReportMetric(rate, "GB/s")
		}
		b.ReportMetric(100*rate/most, "%peak")
	})
}

// BenchmarkAttentionTraining counts two products forward and five backward,
// half of each: what PyTorch's figures are counted by.
func BenchmarkAttentionTraining(b *testing.B) {
	most := []float64{peak.FMA(1), peak.FMA(2)}
	for _, p := range []attentionProblem{
		{name: "qwen2.5-0.5b/1x512", seqs: 1, n: 512, heads: 14, kv: 2, d: 64},
		{name: "qwen2.5-0.5b/1x512/bf16", seqs: 1, n: 512, heads: 14, kv: 2, d: 64, dt: kernels.BF16},
		{name: "qwen2.5-0.5b/1x4096", seqs: 1, n: 4096, heads: 14, kv: 2, d: 64},
		{name: "llama3.2-1b/1x512", seqs: 1, n: 512, heads: 32, kv: 8, d: 64},
		{name: "mini/1x128", seqs: 1, n: 128, heads: 4, kv: 2, d: 64},
		{name: "mini/16x128", seqs: 16, n: 128, heads: 4, kv: 2, d: 64},
		{name: "mini/64x100", seqs: 64, n: 100, heads: 4, kv: 2, d: 64},
		{name: "mini/64x100/bf16", seqs: 64, n: 100, heads: 4, kv: 2, d: 64, dt: kernels.BF16},
		{name: "mini/64x50", seqs: 64, n: 50, heads: 4, kv: 2, d: 64},
		{name: "mini/1000x10", seqs: 1000, n: 10, heads: 4, kv: 2, d: 64},
		{name: "heads=8/d=128/1x512", seqs: 1, n: 512, heads: 8, kv: 8, d: 128},
	} {
		if p.dt == kernels.Invalid {
			p.dt = kernels.F32
		}
		for i, threads := range []int{1, 2} {
			name := fmt.Sprintf("%s/threads=%d", p.name, threads)
			m := newMaker(b, threads)
			f, back := p.args(m)
			product := float64(p.seqs) * float64(p.n) * float64(p.n) * float64(p.heads*p.d)
			benchOf(b, name+"/forward", most[i], 2*product, 0, func() { m.b.Attention(f) })
			benchOf(b, name+"/backward", most[i], 5*product, 0, func() { m.b.AttentionBackward(back) })
			benchOf(b, name+"/both", most[i], 7*product, 0, func() { m.b.Attention(f); m.b.AttentionBackward(back) })
		}
	}
}

// BenchmarkAttentionDecoding reads the cache of keys rows times, or once where
// the sequences share it; GB/s count each page once.
func BenchmarkAttentionDecoding(b *testing.B) {
	most := []float64{peak.Read(1), peak.Read(2)}
	const heads, kv, d = 14, 2, 64
	for _, c := range []struct {
		rows, keys int
		dt         kernels.DType
		shared     bool
	}{
		{1, 512, kernels.F32, false}, {1, 4096, kernels.F32, false}, {1, 4096, kernels.BF16, false},
		{8, 2048, kernels.F32, false}, {8, 2048, kernels.BF16, false}, {32, 512, kernels.F32, false}, {32, 512, kernels.BF16, false},
		{32, 512, kernels.F32, true}, {32, 2048, kernels.BF16, true},
	} {
		for i, threads := range []int{1, 2} {
			m := newMaker(b, threads)
			perSeq := c.keys / kernels.PageSize
			pages := c.rows * perSeq
			if c.shared {
				pages = perSeq
			}
			table, seq, pos := make([]int32, c.rows*perSeq), make([]int32, c.rows), make([]int32, c.rows)
			for i := range table {
				table[i] = int32(i % pages)
			}
			for i := range seq {
				seq[i], pos[i] = int32(i), int32(c.keys-1)
			}
			// Enough layers that no cache holds them all.
			layers := max(1, (128<<20)/(pages*2*kv*kernels.PageSize*d*c.dt.Size()))
			cache := normals(m, c.dt, pages*layers*2*kv*kernels.PageSize*d)
			p := kernels.PagedShape{Cache: cache, PageTable: m.ints(table...), Pages: pages, Layers: layers, MaxPages: perSeq, NSeq: c.rows, KVHeads: kv, HeadDim: d}
			q, o, rs, rp := m.random(c.dt, c.rows*heads*d, 1), m.random(c.dt, c.rows*heads*d, 1), m.ints(seq...), m.ints(pos...)
			bytes := float64(pages * 2 * kv * kernels.PageSize * d * c.dt.Size())
			benchOf(b, fmt.Sprintf("rows=%d/keys=%d/%v/shared=%v/threads=%d", c.rows, c.keys, c.dt, c.shared, threads), most[i], 4*float64(c.rows*c.keys*heads*d), bytes, func() {
				p.Layer = (p.Layer + 1) % layers
				m.b.AttentionPaged(kernels.AttentionPagedArgs{PagedShape: p, O: o, Q: q, RowSeq: rs, RowPos: rp, Rows: c.rows, Heads: heads, Scale: 0.125})
			})
		}
	}
}
