package vec

import "github.com/klauspost/cpuid/v2"

// CacheL2 is the size of a core's second-level cache in bytes, or a cautious
// guess where the processor does not tell.
func CacheL2() int {
	if n := cpuid.CPU.Cache.L2; n > 0 {
		return n
	}
	return 512 << 10
}

// Intel tells whether the processor is one of Intel's.
func Intel() bool { return cpuid.CPU.VendorID == cpuid.Intel }
