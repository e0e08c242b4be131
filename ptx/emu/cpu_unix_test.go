//go:build unix

package emu_test

import (
	"syscall"
	"time"
)

// cpuTime is the processor time of this process: what a benchmark costs on a busy machine too.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
