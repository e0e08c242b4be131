package driver

import (
	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

const emulatedBus = 4096 // bits of the emulated memory's

// attributes are those of an emulated GPU by their number in cuda.h.
func (d *Emulated) attributes() map[Attribute]int {
	g := d.gpu
	limits, _ := ptx.LimitsOf(g.SM)
	hopper := 0
	if g.SM >= 90 {
		hopper = 1
	}
	return map[Attribute]int{
		1: limits.ThreadsPerBlock, 2: 1024, 3: 1024, 4: 64, // threads of a block; in x, y and z
		5: 1<<31 - 1, 6: 65535, 7: 65535, // blocks in x, y and z
		8:                   ptx.StaticSharedLimit,
		9:                   64 << 10, // constant memory
		10:                  32,       // threads of a warp
		11:                  1<<31 - 1,
		12:                  limits.Registers,
		AttrClockRate:       int(g.ClockGHz * 1e6),
		14:                  512, // alignment of textures
		15:                  1,   // copies beside kernels
		AttrMultiprocessors: g.SMs,
		17:                  0,               // limit on run time
		18:                  0,               // integrated
		19:                  0,               // maps host memory
		20:                  0,               // compute mode: default
		31:                  1,               // kernels at once
		32:                  0,               // ECC
		33:                  0, 34: 0, 50: 0, // PCI
		AttrMemoryClockRate:  int(g.MemGBs * 1e6 * 8 / 2 / emulatedBus), // 2·clock·width is the bandwidth
		AttrMemoryBusWidth:   emulatedBus,
		AttrL2Bytes:          50 << 20,
		39:                   limits.Warps * 32, // threads of a multiprocessor
		40:                   1,                 // copy engines
		41:                   1,                 // unified addressing
		AttrCapabilityMajor:  g.SM / 10,
		AttrCapabilityMinor:  g.SM % 10,
		78:                   0, // priorities of streams
		AttrSharedPerSM:      limits.Shared,
		AttrRegistersPerSM:   limits.Registers,
		83:                   0, // managed memory
		95:                   0, // cooperative launches
		AttrSharedPerBlock:   g.SharedBytes,
		106:                  limits.Blocks,
		AttrReservedShared:   limits.SharedReserved,
		AttrMemoryPools:      0,
		AttrTensorMapAllowed: hopper,
	}
}

// DeviceAttribute implements API.
func (d *Emulated) DeviceAttribute(a Attribute, _ Device) (int, error) {
	v, ok := d.attributes()[a]
	if !ok {
		return 0, failure("cuDeviceGetAttribute", InvalidValue, "attribute %d is not known to the emulator", a)
	}
	return v, nil
}

// Params lists where the parameters of a kernel lie, for launches that give them one by one.
func (d *Emulated) Params(f Function) ([]emu.Param, error) {
	fn, ok := d.functions.items[uint64(f)]
	if !ok {
		return nil, failure("cuLaunchKernel", InvalidHandle, "no function %d", f)
	}
	return fn.mod.Params(fn.name)
}

// ModuleGetGlobal returns the address and the size of a module's variable.
func (d *Emulated) ModuleGetGlobal(m Module, name string) (Ptr, int, error) {
	const call = "cuModuleGetGlobal_v2"
	mod := d.modules.items[uint64(m)]
	if mod == nil {
		return 0, 0, failure(call, InvalidHandle, "no module %d", m)
	}
	p, n, err := mod.Global(name)
	if err != nil {
		return 0, 0, failure(call, NotFound, "%v", err)
	}
	return Ptr(p), n, nil
}

// Blocks is how many blocks of a kernel a multiprocessor holds at once, by what is
// known before ptxas has given it registers.
func (d *Emulated) Blocks(f Function, threads, shared int) (int, error) {
	limits, ok := ptx.LimitsOf(d.gpu.SM)
	if _, known := d.functions.items[uint64(f)]; !known || !ok {
		return 0, failure("cuOccupancyMaxActiveBlocksPerMultiprocessor", InvalidHandle, "no function %d", f)
	}
	o, err := limits.Occupancy(threads, 0, shared)
	if err != nil {
		return 0, failure("cuOccupancyMaxActiveBlocksPerMultiprocessor", InvalidValue, "%v", err)
	}
	return o.Blocks, nil
}
