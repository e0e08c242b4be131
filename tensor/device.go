package tensor

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu"
	"github.com/selkie-ml/selkie/kernels/dry"
	"github.com/selkie-ml/selkie/kernels/ref"
)

// DType is the storage type of a tensor's elements.
type DType = kernels.DType

// Storage types.
const (
	F32  = kernels.F32
	BF16 = kernels.BF16
	F16  = kernels.F16
	I32  = kernels.I32
)

// Device is where tensors live and ops run. One goroutine at a time uses a
// device and everything on it.
type Device struct {
	backend kernels.Backend
	spare   []*storage // records of freed memory, for reuse
}

// Options of Open.
type Options struct {
	Threads     int   // worker threads; 0: all physical cores
	MemoryLimit int64 // bytes the device may hand out; 0: no limit
	Poison      bool  // fill fresh and freed memory with NaN, for tests
}

// Open returns a device by name: "cpu", "ref" (the slow definition, for
// comparison) or "auto" (the fastest this machine has).
func Open(name string, opt Options) (*Device, error) {
	switch name {
	case "cpu", "auto", "":
		b, err := cpu.New(cpu.Options{Threads: opt.Threads, Poison: opt.Poison, Limit: opt.MemoryLimit})
		if err != nil {
			return nil, err
		}
		return &Device{backend: b}, nil
	case "ref":
		b := ref.New()
		b.Poison, b.Limit = opt.Poison, opt.MemoryLimit
		return &Device{backend: b}, nil
	}
	return nil, fmt.Errorf("device %q: want cpu, ref or auto", name)
}

// Dry returns a device that only counts the memory that work would take on d, in
// its Stats. It computes nothing: everything read from it is zero.
func (d *Device) Dry() *Device { return &Device{backend: dry.New(d.backend)} }

// Backend returns what the device computes with.
func (d *Device) Backend() kernels.Backend { return d.backend }

// IsGPU tells whether the device is a GPU, real or emulated.
func (d *Device) IsGPU() bool {
	_, yes := d.backend.(interface{ Describe() string })
	return yes
}

// Describe names a GPU and its driver; empty for a CPU.
func (d *Device) Describe() string {
	if g, ok := d.backend.(interface{ Describe() string }); ok {
		return g.Describe()
	}
	return ""
}

// NumericsID names everything that decides result bits on this device.
func (d *Device) NumericsID() string { return d.backend.NumericsID() }

// Sync waits for all work and returns the first error since the last Sync.
func (d *Device) Sync() error { return d.backend.Sync() }

// Stats returns the device's memory figures in bytes.
func (d *Device) Stats() kernels.MemStats { return d.backend.Stats() }

// Trim gives memory that was freed and kept for reuse back to the system: worth
// it between pieces of work of different shapes.
func (d *Device) Trim() { d.backend.Trim() }

// Close releases the device. Its tensors must not be used afterwards.
func (d *Device) Close() error { return d.backend.Close() }

// DeviceError is a failure to get memory in the middle of an op. Ops raise it
// as a panic; Recover turns it into an error at the edge of a training or
// generation step.
type DeviceError struct{ Err error }

func (e *DeviceError) Error() string { return e.Err.Error() }
func (e *DeviceError) Unwrap() error { return e.Err }

// Recover, deferred, stores a DeviceError panic in *err and lets every other
// panic pass.
func Recover(err *error) {
	switch r := recover().(type) {
	case nil:
	case *DeviceError:
		*err = r
	default:
		panic(r)
	}
}

// alloc returns fresh storage or raises a DeviceError.
func (d *Device) alloc(bytes int64) *storage {
	m, err := d.backend.Alloc(bytes)
	if err != nil {
		panic(&DeviceError{err})
	}
	n := len(d.spare)
	if n == 0 {
		return &storage{dev: d, mem: m, refs: 1}
	}
	s := d.spare[n-1]
	d.spare = d.spare[:n-1]
	s.mem, s.refs = m, 1
	return s
}

// storage is a reference-counted allocation that several views may share.
type storage struct {
	dev    *Device
	mem    kernels.Mem
	refs   int
	mapped bool // read-only host memory
}

func (s *storage) retain() { s.refs++ }

func (s *storage) release() {
	s.refs--
	switch {
	case s.refs < 0:
		panic("tensor: released more often than retained")
	case s.refs == 0:
		s.dev.backend.Free(s.mem)
		s.mem = nil
		if !s.mapped {
			s.dev.spare = append(s.dev.spare, s)
		}
	}
}
