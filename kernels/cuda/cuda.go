// Package cuda is the backend for NVIDIA GPUs: memory, streams and launches by the
// driver API, and for every op a kernel of package kernel, chosen by storage types,
// shapes and GPU generation. It needs nothing but the driver; without a GPU the same
// launches run on the emulator.
//
// It must not import tensor or another backend.
package cuda

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/ptx"
)

// Options of New.
type Options struct {
	Device int   // ordinal of the GPU
	Limit  int64 // most bytes of device memory in use; 0: what the GPU has
	Poison bool  // fills memory with NaN when it is handed out and when it is freed
	Direct bool  // an allocation of the driver for each of ours, so that an emulator can tell them apart
}

// Backend computes on one GPU. One goroutine at a time may use it; the OS thread
// does not matter.
type Backend struct {
	api    driver.API
	info   Info
	device driver.Device
	ctx    driver.Context
	stream driver.Stream
	arena  arena
	stage  staging
	replay replayer

	functions map[kernel.Any]*function
	emit      func(kernel.Any) *ptx.Module // kernel.Module, or what a test puts in its place
	args      argBlock
	tuner     tuner
	poison    bool

	pagedParts int // of attention over a KV cache, for tests; 0: as few rows and long caches call for

	lossStats int   // columns of a chunk of the loss's statistics, for tests; 0: kernel.LossStats
	lossBytes int64 // of a chunk of its gradient; 0: kernel.LossBytes

	faults faultRecord
	err    error // first failure since the last Sync
	lost   error // the failure that ended the use of the GPU, until Close
	closed bool
}

// Info describes a GPU.
type Info struct {
	Name           string
	Driver         string // whose API it is: a library, or the emulator
	DriverVersion  int    // 12040 for CUDA 12.4
	SM             int    // compute capability: 90
	SMs            int    // multiprocessors
	Memory         int64
	SharedPerBlock int // most shared memory that a block can have
	SharedPerSM    int
	L2             int
	BandwidthGBs   float64 // of memory, by its clock and width
	ClockGHz       float64
}

// Query describes GPU ordinal of a driver.
func Query(api driver.API, ordinal int) (Info, driver.Device, error) {
	info := Info{Driver: api.Name()}
	if err := api.Init(); err != nil {
		return info, 0, explain(err)
	}
	var err error
	if info.DriverVersion, err = api.DriverVersion(); err != nil {
		return info, 0, err
	}
	n, err := api.DeviceCount()
	if err != nil {
		return info, 0, err
	}
	if ordinal < 0 || ordinal >= n {
		return info, 0, fmt.Errorf("GPU %d: the driver knows %d, from 0; name one of them", ordinal, n)
	}
	dev, err := api.DeviceGet(ordinal)
	if err != nil {
		return info, 0, err
	}
	if info.Name, err = api.DeviceName(dev); err != nil {
		return info, 0, err
	}
	if info.Memory, err = api.DeviceTotalMem(dev); err != nil {
		return info, 0, err
	}
	attr := func(a driver.Attribute) int {
		v, e := api.DeviceAttribute(a, dev)
		err = errors.Join(err, e)
		return v
	}
	info.SM = 10*attr(driver.AttrCapabilityMajor) + attr(driver.AttrCapabilityMinor)
	info.SMs = attr(driver.AttrMultiprocessors)
	info.SharedPerBlock = attr(driver.AttrSharedPerBlock)
	info.SharedPerSM = attr(driver.AttrSharedPerSM)
	info.L2 = attr(driver.AttrL2Bytes)
	info.BandwidthGBs = 2 * float64(attr(driver.AttrMemoryClockRate)) * 1e3 * float64(attr(driver.AttrMemoryBusWidth)) / 8 / 1e9
	info.ClockGHz = float64(attr(driver.AttrClockRate)) / 1e6
	return info, dev, err
}

// leastSM is the oldest compute capability that the kernels run on.
const leastSM = 80

// New returns a backend on a GPU of a driver.
func New(api driver.API, opt Options) (*Backend, error) {
	info, dev, err := Query(api, opt.Device)
	if err != nil {
		return nil, err
	}
	if info.SM < leastSM {
		return nil, fmt.Errorf("GPU %d, %s, has compute capability %d.%d; Selkie needs 8.0 or later (A100, RTX 30 and newer): use --device cpu",
			opt.Device, info.Name, info.SM/10, info.SM%10)
	}
	b := &Backend{api: api, info: info, device: dev, poison: opt.Poison, functions: map[kernel.Any]*function{}, emit: kernel.Module}
	if b.ctx, err = api.PrimaryContextRetain(dev); err != nil {
		return nil, fmt.Errorf("GPU %d, %s: %w", opt.Device, info.Name, explain(err))
	}
	defer b.enter()()
	b.arena = newArena(api, opt.Limit, opt.Direct, b.catchUp)
	if b.stream, err = api.StreamCreate(); err == nil {
		b.replay = newReplayer(api, b.stream)
		if b.stage, err = newStaging(api); err == nil {
			b.faults, err = newFaultRecord(api, b.stream)
		}
	}
	if err != nil {
		_ = b.release() // what failed first says more
		return nil, fmt.Errorf("GPU %d, %s: %w", opt.Device, info.Name, explain(err))
	}
	return b, nil
}

// enter makes the GPU's context current on this OS thread, and returns what lets the
// goroutine go where it likes again.
func (b *Backend) enter() func() {
	runtime.LockOSThread()
	if err := b.api.ContextSetCurrent(b.ctx); err != nil {
		b.fail("", err)
	}
	return runtime.UnlockOSThread
}

// Name implements kernels.Backend.
func (b *Backend) Name() string { return "cuda" }

// NumericsID implements kernels.Backend.
func (b *Backend) NumericsID() string { return fmt.Sprintf("cuda-sm_%d-1", b.info.SM) }

// Info describes the GPU.
func (b *Backend) Info() Info { return b.info }

// Sync implements kernels.Backend.
func (b *Backend) Sync() error {
	if b.lost != nil {
		return b.lost
	}
	defer b.enter()()
	return b.wait()
}

// wait waits for all work and returns the first failure since the last time.
func (b *Backend) wait() error {
	b.catchUp()
	b.faults.fetch(b)
	if b.lost == nil {
		err := b.api.StreamSynchronize(b.stream)
		if err != nil {
			b.fail("", err)
		}
		if refused := b.faults.take(b, err == nil); refused != nil && b.err == nil {
			b.err = refused
		}
	}
	err := b.err
	b.err = nil
	return err
}

// catchUp gives the stream what is held back of it, before anything but a launch
// follows.
func (b *Backend) catchUp() {
	if err := b.replay.flush(); err != nil {
		b.fail("", err)
	}
}

// fail keeps the first failure until the next Sync.
func (b *Backend) fail(op string, err error) {
	if op != "" {
		err = fmt.Errorf("%s: %w", op, err)
	}
	if err = b.failure(err); b.err == nil {
		b.err = err
	}
}

// Close implements kernels.Backend. Where the GPU was lost, it says so once more, and
// waits for nothing.
func (b *Backend) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	if b.lost == nil {
		defer b.enter()()
		if err := b.wait(); b.lost == nil {
			return errors.Join(err, b.release())
		}
	}
	_ = b.api.PrimaryContextRelease(b.device) // takes with it all that is left
	return b.lost
}

// release gives everything back that New and use have taken.
func (b *Backend) release() error {
	err := b.replay.close()
	for _, f := range b.functions {
		err = errors.Join(err, b.api.ModuleUnload(f.module))
	}
	err = errors.Join(err, b.stage.close(b.api), b.faults.close(b.api), b.arena.trim())
	if b.stream != 0 {
		err = errors.Join(err, b.api.StreamDestroy(b.stream))
	}
	return errors.Join(err, b.api.PrimaryContextRelease(b.device))
}
