package peak

import "syscall"

// allocate asks the system for n bytes in huge pages, or in small ones.
func allocate(n int) (mem []byte, free func()) {
	mem, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n), func() {}
	}
	syscall.Madvise(mem, syscall.MADV_HUGEPAGE) // an offer: small pages serve too
	return mem, func() { syscall.Munmap(mem) }
}
