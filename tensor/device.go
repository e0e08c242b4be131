package tensor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu"
	"github.com/selkie-ml/selkie/kernels/cuda"
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

// Open returns a device by name:
//
//	auto            the first NVIDIA GPU if this machine has a driver that sees one, else cpu
//	cpu             all cores
//	cuda, cuda:1    an NVIDIA GPU, counted from 0
//	emulated        the GPU's kernels on an emulated A100, with every check: very slow
//	emulated:h100   the same on another model; :unchecked without checks, :profile with counters,
//	                :lost@1000 taken away at its 1,000th launch
//	ref             the slow definition, for comparison
//
// A GPU that is there and cannot be used is an error, under auto too: nothing ever
// computes elsewhere than it seems to.
func Open(name string, opt Options) (*Device, error) {
	b, err := open(name, opt)
	if err != nil {
		return nil, err
	}
	return &Device{backend: b}, nil
}

func open(name string, opt Options) (kernels.Backend, error) {
	kind, which, _ := strings.Cut(name, ":")
	switch {
	case name == "auto" || name == "":
		b, err := openGPU("", opt)
		if errors.Is(err, cuda.ErrNoGPU) {
			return open("cpu", opt)
		}
		return b, err
	case name == "cpu":
		return cpu.New(cpu.Options{Threads: opt.Threads, Poison: opt.Poison, Limit: opt.MemoryLimit})
	case name == "ref":
		b := ref.New()
		b.Poison, b.Limit = opt.Poison, opt.MemoryLimit
		return b, nil
	case kind == "cuda":
		return openGPU(which, opt)
	case kind == "emulated":
		// Allocations of their own, so that the sanitiser sees where one ends.
		return cuda.OpenEmulated(which, cuda.Options{Limit: opt.MemoryLimit, Poison: opt.Poison, Direct: true})
	}
	return nil, fmt.Errorf("device %q: want auto, cpu, cuda, cuda:1, emulated, emulated:h100 or ref", name)
}

var openCUDA = cuda.Open // tests put other GPUs in its place

// openGPU opens a GPU by its number, the first one if which is empty.
func openGPU(which string, opt Options) (kernels.Backend, error) {
	ordinal := 0
	if which != "" {
		n, err := strconv.Atoi(which)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("device cuda:%s: want the number of a GPU, as in cuda:0", which)
		}
		ordinal = n
	}
	return openCUDA(cuda.Options{Device: ordinal, Limit: opt.MemoryLimit, Poison: opt.Poison})
}

// Dry returns a device that only counts the memory that work would take on d, in
// its Stats. It computes nothing: everything read from it is zero.
func (d *Device) Dry() *Device { return &Device{backend: dry.New(d.backend)} }

// Backend returns what the device computes with.
func (d *Device) Backend() kernels.Backend { return d.backend }

// IsGPU tells whether the device is a GPU, real or emulated.
func (d *Device) IsGPU() bool {
	_, yes := d.backend.(*cuda.Backend)
	return yes
}

// Available returns the bytes that a device with memory of its own has left; own is
// false where it shares the system's.
func (d *Device) Available() (bytes int64, own bool) {
	g, own := d.backend.(*cuda.Backend)
	if !own {
		return 0, false
	}
	return g.Available(), true
}

// Describe names a GPU and its driver; empty for a CPU.
func (d *Device) Describe() string {
	if g, ok := d.backend.(*cuda.Backend); ok {
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
