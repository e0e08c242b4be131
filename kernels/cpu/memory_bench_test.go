package cpu

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
	"github.com/selkie-ml/selkie/kernels/host"
)

// streamTask reads an array in pieces.
type streamTask struct {
	x   []float32
	sum []float32 // per piece
}

const streamPiece = 1 << 18

func (t *streamTask) do(lo, hi int, _ *worker) {
	for i := lo; i < hi; i++ {
		t.sum[i] = vec.Max(t.x[i*streamPiece : (i+1)*streamPiece])
	}
}

// stream is the memory's speed: bytes per second of a read, and of a copy,
// counting bytes read and written.
type stream struct {
	m        *maker
	task     streamTask
	src, dst kernels.Buffer
}

const streamLen = 1 << 25 // 128 MiB

func newStream(m *maker) *stream {
	s := &stream{m: m, src: m.mem(streamLen, kernels.F32), dst: m.mem(streamLen, kernels.F32)}
	for _, b := range []kernels.Buffer{s.src, s.dst} {
		m.b.Fill(kernels.FillArgs{Dst: b, N: streamLen, Value: 1})
	}
	s.task = streamTask{host.F32(s.src, streamLen), make([]float32, streamLen/streamPiece)}
	return s
}

func (s *stream) measure() (read, copied float64) {
	best := func(f func()) float64 {
		least := time.Hour
		for range 3 {
			start := time.Now()
			f()
			least = min(least, time.Since(start))
		}
		return least.Seconds()
	}
	read = 4 * streamLen / best(func() { s.m.b.pool.run("stream", &s.task, streamLen/streamPiece, 1) })
	copied = 8 * streamLen / best(func() {
		s.m.b.Copy(kernels.CopyArgs{Dst: s.dst, Src: s.src, Rows: 1, Cols: streamLen, DstStride: streamLen, SrcStride: streamLen})
	})
	return read, copied
}

// BenchmarkMemory times what works at memory's speed, on arrays beyond any
// cache and on some of a training step's size, on 1 and 2 workers. "/read" is
// the fraction of the speed of a read measured just before.
func BenchmarkMemory(b *testing.B) {
	for _, threads := range []int{1, 2} {
		m := newMaker(b, threads)
		s := newStream(m)
		for _, c := range []struct {
			name      string
			rows, dim int
		}{{"large", 1 << 14, 896}, {"small", 128, 896}, {"mini", 1024, 256}} {
			run := func(name string, bytesPerElement float64, f func()) {
				n := c.rows * c.dim
				b.Run(fmt.Sprintf("%s/%s/threads=%d", name, c.name, threads), func(b *testing.B) {
					read, copied := 1.0, 1.0
					if c.name == "large" {
						read, copied = s.measure()
					}
					f()
					b.SetBytes(int64(bytesPerElement * float64(n)))
					b.ReportAllocs()
					b.ResetTimer()
					for b.Loop() {
						f()
					}
					if c.name == "large" {
						rate := bytesPerElement * float64(n) * float64(b.N) / b.Elapsed().Seconds()
						b.ReportMetric(rate/read, "/read")
						b.ReportMetric(rate/copied, "/copy")
						b.ReportMetric(read/1e9, "read-GB/s")
					}
				})
			}
			memoryOps(m, c.rows, c.dim, run)
		}
		m.b.Close()
	}
}

func memoryOps(m *maker, rows, dim int, run func(name string, bytesPerElement float64, f func())) {
	n := rows * dim
	filled := func(dt kernels.DType, v float32) kernels.Buffer {
		b := m.mem(n, dt)
		m.b.Fill(kernels.FillArgs{Dst: b, N: n, Value: v})
		return b
	}
	p, g, mo, v := filled(kernels.F32, 1), filled(kernels.F32, 0.5), filled(kernels.F32, 0.1), filled(kernels.F32, 0.01)
	z := filled(kernels.F32, 0)
	hp, hg, hv := filled(kernels.BF16, 1), filled(kernels.BF16, 0.5), filled(kernels.BF16, 0.25)
	fp := filled(kernels.F16, 1)
	w := m.f32(dim)

	// Adapters: runs of 32 rows.
	var table []int32
	const groups = 16
	run32 := 32 * dim
	count := 0
	for at := 0; at+run32 <= n; at += run32 {
		table = kernels.Param{Group: int32(count % groups), Offset: int32(at), Count: int32(run32)}.AppendTo(table)
		count++
	}
	var settings []float32
	for range groups {
		settings = append(settings, 1e-6, 0.1, 0.001, 1e-8, 0.01, 0.1, 0.001, 1, 1)
	}
	set, ss, tab := m.mem(len(settings), kernels.F32), m.f32(groups), m.ints(table...)
	copy(host.F32(set, len(settings)), settings)
	m.b.Fill(kernels.FillArgs{Dst: ss, N: groups, Value: 1})
	part := float64(count*run32) / float64(n)
	run("AdamW", 32*part, func() {
		m.b.AdamW(kernels.AdamWArgs{P: p, Grad: g, M: mo, V: v, SumSquares: ss, Settings: set, Table: tab, NParam: count, Groups: groups})
	})
	run("GradNorm", 4*part, func() {
		m.b.GradNorm(kernels.GradNormArgs{SumSquares: ss, Grad: p, Table: tab, NParam: count, Groups: groups})
	})

	run("Add", 12, func() { m.b.Add(kernels.AddArgs{Dst: z, A: p, B: g, N: n}) })
	run("Add/inplace", 12, func() { m.b.Add(kernels.AddArgs{Dst: z, A: z, B: g, N: n}) })
	run("Add/bf16", 6, func() { m.b.Add(kernels.AddArgs{Dst: hv, A: hp, B: hg, N: n}) })
	run("Fill", 4, func() { m.b.Fill(kernels.FillArgs{Dst: z, N: n, Value: 0}) })
	for _, c := range []struct {
		name     string
		dst, src kernels.Buffer
		bytes    float64
	}{{"f32-f32", z, p, 8}, {"f32-bf16", hv, p, 6}, {"bf16-f32", z, hp, 6}, {"f32-f16", fp, p, 6}, {"f16-f32", z, fp, 6}} {
		run("Copy/"+c.name, c.bytes, func() {
			m.b.Copy(kernels.CopyArgs{Dst: c.dst, Src: c.src, Rows: rows, Cols: dim, DstStride: dim, SrcStride: dim})
		})
	}
	index := m.indices(rows, rows)
	run("Gather", 8, func() {
		m.b.Gather(kernels.GatherArgs{Dst: z, Src: p, Index: index, Rows: rows, Cols: dim, SrcRows: rows})
	})
	run("Embedding/bf16-f32", 6, func() {
		m.b.Embedding(kernels.EmbeddingArgs{Y: z, Table: hp, IDs: index, Rows: rows, Dim: dim, Vocab: rows})
	})
	starts := m.ints(0, int32(rows/3), int32(rows))
	run("EmbeddingBackward", 12, func() {
		m.b.EmbeddingBackward(kernels.EmbeddingBackwardArgs{DTable: z, DY: g, IDs: index, Starts: starts, NSeq: 2, Rows: rows, Dim: dim, Vocab: rows})
	})

	run("RMSNorm", 8, func() { m.b.RMSNorm(kernels.RMSNormArgs{Y: z, X: p, W: w, Rows: rows, Dim: dim, Eps: 1e-5}) })
	run("RMSNorm/bf16", 6, func() { m.b.RMSNorm(kernels.RMSNormArgs{Y: hv, X: p, W: w, Rows: rows, Dim: dim, Eps: 1e-5}) })
	norm := kernels.RMSNormBackwardArgs{DX: z, DY: g, X: p, W: w, Rows: rows, Dim: dim, Eps: 1e-5}
	run("RMSNormBackward", 12, func() { m.b.RMSNormBackward(norm) })
	sum := norm
	sum.Accumulate = true
	run("RMSNormBackward/accumulate", 16, func() { m.b.RMSNormBackward(sum) })
	norm.DW, norm.Starts, norm.NSeq = m.f32(dim), starts, 2
	run("RMSNormBackward/dw", 20, func() { m.b.RMSNormBackward(norm) })

	headDim := 64
	cos, sin := m.f32(2048*headDim/2), m.f32(2048*headDim/2)
	for i, c := range host.F32(cos, 2048*headDim/2) { // rotations, lest what is rotated in place fades
		host.F32(cos, 2048*headDim/2)[i] = float32(math.Cos(float64(c)))
		host.F32(sin, 2048*headDim/2)[i] = float32(math.Sin(float64(c)))
	}
	pos := m.indices(rows, 2048)
	rope := kernels.RopeArgs{Y: z, X: p, Positions: pos, Cos: cos, Sin: sin, Rows: rows, Heads: dim / headDim, HeadDim: headDim, MaxPos: 2048}
	run("Rope", 8, func() { m.b.Rope(rope) })
	rope.X = rope.Y
	run("Rope/inplace", 8, func() { m.b.Rope(rope) })
	rope.X, rope.Y = hp, hp
	run("RopeBackward/bf16", 4, func() { m.b.RopeBackward(rope) })

	run("SwiGLU", 12, func() { m.b.SwiGLU(kernels.SwiGLUArgs{Y: z, Gate: p, Up: g, N: n}) })
	run("SwiGLU/bf16", 6, func() { m.b.SwiGLU(kernels.SwiGLUArgs{Y: hv, Gate: hp, Up: hg, N: n}) })
	run("SwiGLUBackward", 20, func() {
		m.b.SwiGLUBackward(kernels.SwiGLUBackwardArgs{DGate: z, DUp: mo, DY: v, Gate: p, Up: g, N: n})
	})
	run("SwiGLUBackward/inplace", 20, func() {
		m.b.SwiGLUBackward(kernels.SwiGLUBackwardArgs{DGate: z, DUp: mo, DY: mo, Gate: p, Up: g, N: n})
	})
	run("SwiGLUBackward/bf16", 16, func() {
		m.b.SwiGLUBackward(kernels.SwiGLUBackwardArgs{DGate: z, DUp: mo, DY: v, Gate: hp, Up: hg, N: n})
	})
}
