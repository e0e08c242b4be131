package amx

import (
	"sync"
	"syscall"

	"github.com/klauspost/cpuid/v2"
)

// BF16 reports whether the processor has TDPBF16PS, and asks the system to let
// this process use it.
var BF16 = sync.OnceValue(func() bool {
	if !cpuid.CPU.Supports(cpuid.AMXTILE, cpuid.AMXBF16) {
		return false
	}
	// ARCH_REQ_XCOMP_PERM of XFEATURE_XTILEDATA (Linux, Documentation/arch/x86/xstate.rst).
	// A kernel older than 5.16, or a hypervisor that does not keep tiles, refuses.
	const request, tileData = 0x1023, 18
	_, _, errno := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, request, tileData, 0)
	return errno == 0
})
