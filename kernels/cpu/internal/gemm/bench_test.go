package gemm

import (
	"fmt"
	"sync"
	"testing"

	"github.com/selkie-ml/selkie/internal/peak"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// Peaks are measured once a run, to compare with.
var (
	peakFMA  = sync.OnceValue(func() float64 { return peak.FMA(1) })
	peakBF16 = sync.OnceValue(func() float64 { return peak.DotBF16(1) })
)

// benchmark reports GFLOP/s of f on one goroutine, at every level, and what part
// that is of the processor's f32 multiply-adds.
func benchmark(b *testing.B, name string, m, n, k int, f func()) {
	for _, level := range vec.Levels() {
		b.Run(fmt.Sprintf("%s/%dx%dx%d/%s", name, m, n, k, level), func(b *testing.B) {
			defer vec.ForceLevel(level)()
			limit := peakFMA()
			if name == "pairs" && HasBF16() {
				limit = peakBF16()
			}
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
			rate := 2 * float64(m) * float64(n) * float64(k) * float64(b.N) / b.Elapsed().Seconds() / 1e9
			b.ReportMetric(rate, "GFLOP/s")
			b.ReportMetric(100*rate/limit, "%peak")
		})
	}
}

// shapes are m, n, k of linear layers: prefill or training, decoding, a small model, LoRA.
var shapes = [][3]int{
	{512, 896, 896}, {512, 128, 896}, {512, 896, 4864}, {512, 4864, 896}, {100, 896, 896}, {512, 128, 320}, {128, 320, 128}, {1024, 1024, 1024},
	{1, 4864, 896}, {8, 4864, 896}, {200, 8, 896}, {200, 896, 8}, {200, 32, 896}, {200, 896, 32},
}

func BenchmarkNT(b *testing.B) {
	for _, s := range shapes {
		m, n, k := s[0], s[1], s[2]
		x, w, y := make([]float32, m*k), make([]float32, n*k), make([]float32, m*n)
		h := make([]uint16, n*k)
		benchmark(b, "f32", m, n, k, func() { NT(nil, y, n, x, k, Matrix{F32: w, Ld: k}, nil, m, n, k, false) })
		hx := make([]uint16, m*k)
		benchmark(b, "pairs", m, n, k, func() {
			Product(nil, FormNT, Matrix{F32: y, Ld: n}, Matrix{Bits: hx, Kind: KindBF16, Ld: k}, Matrix{Bits: h, Kind: KindBF16, Ld: k}, nil, m, n, k, false)
		})
		benchmark(b, "bf16", m, n, k, func() { NT(nil, y, n, x, k, Matrix{Bits: h, Kind: KindBF16, Ld: k}, nil, m, n, k, false) })
	}
}

func BenchmarkNN(b *testing.B) {
	for _, s := range shapes {
		m, n, k := s[0], s[1], s[2]
		x, w, y := make([]float32, m*k), make([]float32, n*k), make([]float32, m*n)
		h := make([]uint16, n*k)
		benchmark(b, "f32", m, n, k, func() { NN(nil, y, n, x, k, Matrix{F32: w, Ld: n}, nil, m, n, k, false) })
		hx := make([]uint16, m*k)
		benchmark(b, "pairs", m, n, k, func() {
			Product(nil, FormNN, Matrix{F32: y, Ld: n}, Matrix{Bits: hx, Kind: KindBF16, Ld: k}, Matrix{Bits: h, Kind: KindBF16, Ld: n}, nil, m, n, k, false)
		})
		benchmark(b, "bf16", m, n, k, func() { NN(nil, y, n, x, k, Matrix{Bits: h, Kind: KindBF16, Ld: n}, nil, m, n, k, false) })
	}
}

func BenchmarkTN(b *testing.B) {
	for _, s := range [][3]int{{128, 320, 16}, {128, 320, 512}, {896, 896, 16}, {896, 896, 100}, {896, 4864, 100}, {896, 896, 512}, {4864, 896, 512}, {16, 896, 100}, {896, 16, 100}} {
		m, n, k := s[0], s[1], s[2]
		x, dy, dw := make([]float32, m*k), make([]float32, n*k), make([]float32, m*n)
		benchmark(b, "f32", m, n, k, func() { TN(nil, dw, n, x, m, dy, n, m, n, k, true) })
	}
	// 40 sequences of 50 tokens into one gradient.
	m, n, k := 896, 896, 2000
	x, dy, dw := make([]float32, m*k), make([]float32, n*k), make([]float32, m*n)
	var starts []int32
	for r := 0; r <= k; r += 50 {
		starts = append(starts, int32(r))
	}
	benchmark(b, "segments", m, n, k, func() { TNSegments(nil, dw, n, x, m, dy, n, m, n, starts, true) })
}
