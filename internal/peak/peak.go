// Package peak measures what a machine can do at most, for kernels to be
// compared with in the same run: multiply-adds on registers, and reading memory
// in order. Every measurement keeps the threads it is told busy for about 0.2
// seconds and reports what they did together.
//
// It imports nothing of this module but internal/amx.
package peak

//go:generate sh -c "cd _asm && go run . -out ../zpeak_amd64.s -stubs ../zpeak_amd64.go -pkg peak"

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	duration = 200 * time.Millisecond
	piece    = 1 << 14 // rounds between looks at the clock, some 0.1 ms
	memory   = 256 << 20
)

// unit is a loop and the work of one of its rounds.
type unit struct {
	run  func(rounds int)
	work float64
}

// FMA returns the f32 multiply-adds that threads reach, in GFLOP/s: two
// operations each, in the widest vectors that the processor has.
func FMA(threads int) (gflops float64) { return measure(threads, fma) }

// FMA256 is FMA in vectors of 256 bits where the processor has some of 512, else 0.
// A core with two units of 512 bits reaches half of FMA with it, a core with one
// all of it.
func FMA256(threads int) (gflops float64) {
	if half.run == nil {
		return 0
	}
	return measure(threads, half)
}

// FMALoads is FMA on operands that are read from the L1 cache, as a product has to:
// two vectors and, for every other multiply-add, an element. A processor whose clock or
// whose rate of instructions falls with the power that this takes stays below FMA,
// however few the reads; 0 where there are no vectors.
func FMALoads(threads int) (gflops float64) {
	if loads.run == nil {
		return 0
	}
	return measure(threads, loads)
}

// DotBF16 is FMA for products of bf16 added in f32: on tiles (TDPBF16PS) where the
// processor has them and the system allows, or in vectors (VDPBF16PS: four operations
// a lane); 0 where there is neither.
func DotBF16(threads int) (gflops float64) {
	if dot.run == nil {
		return 0
	}
	return measure(threads, dot)
}

func measure(threads int, u unit) float64 {
	return rate(threads, func(int) float64 {
		u.run(piece)
		return piece * u.work
	})
}

// Read returns how fast threads read memory beyond the caches, in GB/s: each a
// part of 256 MiB, in order, again and again. Where the system allows it the
// memory lies in huge pages.
func Read(threads int) (gbs float64) {
	mem, free := allocate(memory)
	defer free()
	for i := 0; i < len(mem); i += 4096 {
		mem[i] = 1
	}
	const step = 1 << 20
	part := len(mem) / max(threads, 1) / step * step
	at := make([]int, threads)
	return rate(threads, func(t int) float64 {
		read(mem[t*part+at[t]:][:step])
		at[t] = (at[t] + step) % part
		return step
	})
}

// rate calls work(t) on each thread t until time is up, and sums what it returns, in 1e9 a second.
func rate(threads int, work func(t int) float64) float64 {
	var wg sync.WaitGroup
	var stop atomic.Bool
	sums := make([]float64, threads)
	for t := range threads {
		work(t) // wakes the vector units, and touches the caches
	}
	start := time.Now()
	for t := range threads {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for !stop.Load() {
				sums[t] += work(t)
				if time.Since(start) > duration {
					stop.Store(true)
				}
			}
		})
	}
	wg.Wait()
	elapsed, sum := time.Since(start).Seconds(), 0.0
	for _, s := range sums {
		sum += s
	}
	return sum / elapsed / 1e9
}
