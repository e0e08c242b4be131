package vec

import (
	"math/rand/v2"
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"
)

// Nothing is read past the end of an input, nor of an output.
func TestNothingIsReadPastTheEnd(t *testing.T) {
	page := syscall.Getpagesize()
	// beforeFault returns n elements whose end is the end of readable memory.
	beforeFault := func(n int) []float32 {
		readable := (4*n/page + 1) * page
		mem, err := syscall.Mmap(-1, 0, readable+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			t.Fatalf("mmap: %v", err)
		}
		t.Cleanup(func() { syscall.Munmap(mem) })
		if err := syscall.Mprotect(mem[readable:], syscall.PROT_NONE); err != nil {
			t.Fatalf("mprotect: %v", err)
		}
		return unsafe.Slice((*float32)(unsafe.Pointer(&mem[readable-4*n])), n)
	}
	eachLevel(t, func(t *testing.T) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		a := &arena{rng: rand.New(rand.NewPCG(13, 13)), alloc: beforeFault}
		for _, o := range ops {
			for n := 1; n < 71; n += 3 {
				func() {
					defer func() {
						if r := recover(); r != nil {
							t.Fatalf("%s, n = %d: %v", o.name, n, r)
						}
					}()
					o.run(a, a.normal, n)
				}()
			}
		}
	})
}
