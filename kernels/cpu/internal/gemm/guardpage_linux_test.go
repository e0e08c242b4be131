package gemm

import (
	"math/rand/v2"
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// beforeFault returns n elements whose end is the end of readable memory.
func beforeFault[T any](t *testing.T, n int) []T {
	t.Helper()
	size := n * int(unsafe.Sizeof(*new(T)))
	page := syscall.Getpagesize()
	readable := (size/page + 1) * page
	mem, err := syscall.Mmap(-1, 0, readable+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatalf("mmap: %v", err)
	}
	t.Cleanup(func() { syscall.Munmap(mem) })
	if err := syscall.Mprotect(mem[readable:], syscall.PROT_NONE); err != nil {
		t.Fatalf("mprotect: %v", err)
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&mem[readable-size])), n)
}

// Kernels read nothing past the end of their inputs, nor of dst.
func TestNothingIsReadPastTheEnd(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		rng := rand.New(rand.NewPCG(12, 12))
		for range 60 {
			m, n, k := 1+rng.IntN(20), 1+rng.IntN(70), 1+rng.IntN(40)
			a, w, dst, bias := beforeFault[float32](t, m*k), beforeFault[float32](t, n*k), beforeFault[float32](t, m*n), beforeFault[float32](t, n)
			half, halves := beforeFault[uint16](t, n*k), beforeFault[uint16](t, m*k)
			try := func(name string, f func()) {
				defer func() {
					if r := recover(); r != nil {
						t.Fatalf("%s, m=%d n=%d k=%d at level %s: %v", name, m, n, k, vec.Level(), r)
					}
				}()
				f()
			}
			try("NT", func() { NT(nil, dst, n, a, k, Matrix{F32: w, Ld: k}, bias, m, n, k, true) })
			try("NN", func() { NN(nil, dst, n, a, k, Matrix{F32: w, Ld: n}, bias, m, n, k, true) })
			try("TN", func() { TN(nil, dst, n, a, m, w, n, m, n, k, true) })
			for _, kind := range []Kind{KindBF16, KindF16} {
				try("NT "+kind.String(), func() { NT(nil, dst, n, a, k, Matrix{Bits: half, Kind: kind, Ld: k}, nil, m, n, k, true) })
				try("NN "+kind.String(), func() { NN(nil, dst, n, a, k, Matrix{Bits: half, Kind: kind, Ld: n}, nil, m, n, k, true) })
			}
			to, pairs := Matrix{F32: dst, Ld: n}, Matrix{Bits: halves, Kind: KindBF16, Ld: k}
			try("NT of pairs", func() {
				Product(nil, FormNT, to, pairs, Matrix{Bits: half, Kind: KindBF16, Ld: k}, bias, m, n, k, true)
			})
			try("NN of pairs", func() {
				Product(nil, FormNN, to, pairs, Matrix{Bits: half, Kind: KindBF16, Ld: n}, bias, m, n, k, true)
			})
		}
	})
}
