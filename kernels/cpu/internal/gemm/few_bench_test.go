package gemm

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/selkie-ml/selkie/internal/peak"
)

// threads is a Parallel of n goroutines that take the tasks one after the other.
func threads(n int) Parallel {
	if n == 1 {
		return nil
	}
	return func(tasks int, f func(i int)) {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				for i := int(next.Add(1)) - 1; i < tasks; i = int(next.Add(1)) - 1 {
					f(i)
				}
			})
		}
		wg.Wait()
	}
}

// BenchmarkFew walks over so many copies of b that it comes from memory, as in
// decoding, and compares with what the machine can read and compute.
func BenchmarkFew(b *testing.B) {
	memory := make([]float32, 512<<18)
	for i := range memory {
		memory[i] = 1
	}
	bits := unsafe.Slice((*uint16)(unsafe.Pointer(&memory[0])), 2*len(memory))
	for _, workers := range []int{1, 2} {
		p := threads(workers)
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
			for _, kind := range []Kind{KindF32, KindBF16} {
				for _, m := range []int{1, 2, 4, 8, 16, 24, 32, 33, 48, 64} {
					b.Run(fmt.Sprintf("threads=%d/%dto%d/%v/rows=%d", workers, k, n, kind, m), func(b *testing.B) {
						a, dst := make([]float32, m*k), make([]float32, m*n)
						size := n * k
						stored, bytes := Matrix{Kind: kind, Ld: k}, 2*size
						copies := len(bits) / size
						if kind == KindF32 {
							bytes, copies = 4*size, len(memory)/size
						}
						at := 0
						for b.Loop() {
							if at++; at >= copies {
								at = 0
							}
							if kind == KindF32 {
								stored.F32 = memory[at*size:][:size]
							} else {
								stored.Bits = bits[at*size:][:size]
							}
							NT(p, dst, n, a, k, stored, nil, m, n, k, false)
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
