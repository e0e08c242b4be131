package gemm

import (
	"fmt"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/selkie-ml/selkie/internal/peak"
)

// threads gives a Parallel of n goroutines, the caller among them, that take
// tasks one after the other. Like a pool's they look for work without sleeping.
func threads(n int) (p *Parallel, stop func()) {
	if n == 1 {
		return nil, func() {}
	}
	var job, next, done atomic.Int64
	var tasks int
	var task func(i int)
	work := func() {
		for i := int(next.Add(1)) - 1; i < tasks; i = int(next.Add(1)) - 1 {
			task(i)
		}
		done.Add(1)
	}
	for range n - 1 {
		go func() {
			for seen := int64(0); ; {
				switch now := job.Load(); {
				case now < 0:
					return
				case now > seen:
					seen = now
					work()
				}
			}
		}()
	}
	p = &Parallel{Threads: n, Run: func(count int, f func(i int)) {
		tasks, task = count, f
		next.Store(0)
		done.Store(0)
		job.Add(1)
		work()
		for done.Load() < int64(n) {
		}
	}}
	return p, func() { job.Store(-1) }
}

// BenchmarkFew walks over so many copies of b that it comes from memory, as in
// decoding, and compares with what the machine can read and compute.
func BenchmarkFew(b *testing.B) {
	memory := make([]float32, 640<<18)
	for i := range memory {
		memory[i] = 1
	}
	bits := unsafe.Slice((*uint16)(unsafe.Pointer(&memory[0])), 2*len(memory))
	for _, workers := range []int{1, 2} {
		p, stop := threads(workers)
		defer stop()
		b.Run(fmt.Sprintf("threads=%d/peak", workers), func(b *testing.B) {
			var read, fma float64
			for b.Loop() {
				read, fma = peak.Read(workers), peak.FMA(workers)
			}
			b.ReportMetric(read, "GB/s")
			b.ReportMetric(fma, "GFLOP/s")
			b.ReportMetric(0, "ns/op")
		})
		for _, s := range [][2]int{{896, 896}, {896, 4864}, {4864, 896}, {896, 151936}, {2048, 2048}} {
			k, n := s[0], s[1]
			for _, kinds := range [][2]Kind{{KindF32, KindF32}, {KindF32, KindBF16}, {KindBF16, KindBF16}} {
				for _, m := range []int{1, 2, 4, 8, 16, 24, 32, 48, 64, 65, 96} {
					b.Run(fmt.Sprintf("threads=%d/%dto%d/%vx%v/rows=%d", workers, k, n, kinds[0], kinds[1], m), func(b *testing.B) {
						dst := Matrix{F32: make([]float32, m*n), Ld: n}
						a := Matrix{F32: make([]float32, m*k), Bits: make([]uint16, m*k), Kind: kinds[0], Ld: k}
						size := n * k
						stored, bytes := Matrix{Kind: kinds[1], Ld: k}, 2*size
						copies := len(bits) / size
						if kinds[1] == KindF32 {
							bytes, copies = 4*size, len(memory)/size
						}
						at := 0
						for b.Loop() {
							if at++; at >= copies {
								at = 0
							}
							if kinds[1] == KindF32 {
								stored.F32 = memory[at*size:][:size]
							} else {
								stored.Bits = bits[at*size:][:size]
							}
							Product(p, FormNT, dst, a, stored, nil, m, n, k, false)
						}
						rate := float64(b.N) / b.Elapsed().Seconds() / 1e9
						b.ReportMetric(float64(bytes)*rate, "GB/s")
						b.ReportMetric(2*float64(m)*float64(size)*rate, "GFLOP/s")
						b.ReportMetric(0, "ns/op")
					})
				}
			}
		}
	}
}

// BenchmarkFewCached is a small model's decoding: b stays in the L2 cache.
func BenchmarkFewCached(b *testing.B) {
	const n, k = 320, 512
	for _, kind := range []Kind{KindF32, KindBF16, KindF16} {
		stored := Matrix{Kind: kind, Ld: k}
		if kind == KindF32 {
			stored.F32 = make([]float32, n*k)
		} else {
			stored.Bits = make([]uint16, n*k)
		}
		for _, m := range []int{1, 2, 3, 4, 6, 8, 10, 12, 16, 32} {
			a, dst := make([]float32, m*k), make([]float32, m*n)
			b.Run(fmt.Sprintf("%v/rows=%d", kind, m), func(b *testing.B) {
				for b.Loop() {
					NT(nil, dst, n, a, k, stored, nil, m, n, k, false)
				}
				b.ReportMetric(2*float64(m)*n*k*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
