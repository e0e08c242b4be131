package ptx

import "fmt"

// SM holds the limits of a multiprocessor by compute capability (CUDA C++ Programming
// Guide, "Compute Capabilities"; CUDA occupancy calculator).
type SM struct {
	SM              int // compute capability, 90 for 9.0
	Warps           int // resident
	Blocks          int // resident
	Registers       int // 32-bit
	RegisterUnit    int // registers are given to a warp in multiples of this
	Shared          int // bytes
	SharedPerBlock  int // bytes, static and dynamic, after opting in
	SharedUnit      int // bytes; a block's share is rounded up to this
	SharedReserved  int // bytes that the system takes of each block's share
	ThreadsPerBlock int
	RegsPerThread   int
}

// StaticSharedLimit is the most shared memory, in bytes, that a kernel may declare with
// a size; more must be dynamic.
const StaticSharedLimit = 48 << 10

func sm(cc, warps, blocks, sharedKB, perBlock, unit, reserved int) SM {
	return SM{cc, warps, blocks, 64 << 10, 256, sharedKB << 10, perBlock, unit, reserved, 1024, 255}
}

var smLimits = []SM{
	sm(75, 32, 16, 64, 64<<10, 256, 0),
	sm(80, 64, 32, 164, 163<<10, 128, 1<<10),
	sm(86, 48, 16, 100, 99<<10, 128, 1<<10),
	sm(87, 48, 16, 164, 163<<10, 128, 1<<10),
	sm(89, 48, 24, 100, 99<<10, 128, 1<<10),
	sm(90, 64, 32, 228, 227<<10, 128, 1<<10),
	sm(100, 64, 32, 228, 227<<10, 128, 1<<10),
	sm(103, 64, 32, 228, 227<<10, 128, 1<<10),
	sm(110, 48, 24, 228, 227<<10, 128, 1<<10),
	sm(120, 48, 24, 100, 99<<10, 128, 1<<10),
	sm(121, 48, 24, 100, 99<<10, 128, 1<<10),
}

// LimitsOf gives the limits of a compute capability, 90 for 9.0.
func LimitsOf(cc int) (SM, bool) {
	for _, s := range smLimits {
		if s.SM == cc {
			return s, true
		}
	}
	return SM{}, false
}

// Occupancy is how many blocks of a kernel a multiprocessor holds at once.
type Occupancy struct {
	Blocks  int
	Warps   int
	Percent float64 // of the warps it could hold
	Limit   string  // what allows no more: "warps", "blocks", "registers" or "shared memory"
}

// Occupancy computes how many blocks of the given threads, registers per thread and
// bytes of shared memory (static and dynamic) fit.
func (s SM) Occupancy(threads, regs, shared int) (Occupancy, error) {
	switch {
	case threads < 1 || threads > s.ThreadsPerBlock:
		return Occupancy{}, fmt.Errorf("ptx: a block of %d threads; 1 to %d are possible", threads, s.ThreadsPerBlock)
	case regs < 0 || regs > s.RegsPerThread:
		return Occupancy{}, fmt.Errorf("ptx: %d registers per thread; at most %d are possible", regs, s.RegsPerThread)
	case shared < 0 || shared > s.SharedPerBlock:
		return Occupancy{}, fmt.Errorf("ptx: %d bytes of shared memory per block; sm_%d has at most %d", shared, s.SM, s.SharedPerBlock)
	}
	warps := (threads + 31) / 32
	o := Occupancy{Blocks: s.Warps / warps, Limit: "warps"}
	lower := func(blocks int, limit string) {
		if blocks < o.Blocks {
			o.Blocks, o.Limit = blocks, limit
		}
	}
	lower(s.Blocks, "blocks")
	if regs > 0 {
		// Each of the four partitions of the multiprocessor holds whole warps.
		perWarp := roundUp(regs*32, s.RegisterUnit)
		lower(s.Registers/4/perWarp*4/warps, "registers")
	}
	if use := roundUp(shared+s.SharedReserved, s.SharedUnit); use > 0 {
		lower(s.Shared/use, "shared memory")
	}
	o.Warps = o.Blocks * warps
	o.Percent = 100 * float64(o.Warps) / float64(s.Warps)
	if o.Blocks == 0 {
		return o, fmt.Errorf("ptx: no block of %d threads with %d registers and %d bytes of shared memory fits on sm_%d: too many %s", threads, regs, shared, s.SM, o.Limit)
	}
	return o, nil
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }
