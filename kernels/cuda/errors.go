package cuda

import (
	"errors"
	"fmt"

	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/ptx"
)

// advice is what to do about a result of the driver.
var advice = map[driver.Code]string{
	driver.NoDevice:          "the driver sees no GPU: is CUDA_VISIBLE_DEVICES empty, or was none given to this container or machine? To compute without one: --device cpu",
	driver.StubLibrary:       "this library is the toolkit's stub, which is for linking only: take its folder out of LD_LIBRARY_PATH",
	driver.DeviceUnavailable: "another process has the GPU for itself, or it is not reachable any more: see nvidia-smi",
	driver.SystemNotReady:    "the system that links the GPUs is not up: is nvidia-fabricmanager running?",
	driver.DriverMismatch:    "the driver's library and its kernel module are of different versions, as after an update: restart the machine",
	driver.Unknown:           "often the driver's kernel module must be loaded anew, as after standby: see dmesg, or restart the machine",
	driver.NoJITCompiler:     "the part of the driver that compiles PTX is missing: install libnvidia-ptxjitcompiler of the driver's version",
	driver.NoBinaryForGPU:    "the kernel is for another generation of GPUs",
}

// explain adds what to do, where that is known.
func explain(err error) error {
	var e *driver.Error
	if errors.As(err, &e) && advice[e.Code] != "" {
		return fmt.Errorf("%w: %s", err, advice[e.Code])
	}
	return err
}

// drivers are the versions of PTX from which a newer driver is needed, and which
// (PTX ISA, release notes).
var drivers = []struct {
	ptx  ptx.Version
	cuda int
}{
	{ptx.Version{Major: 6, Minor: 5}, 10020}, {ptx.Version{Major: 7, Minor: 0}, 11000}, {ptx.Version{Major: 7, Minor: 1}, 11010},
	{ptx.Version{Major: 7, Minor: 2}, 11020}, {ptx.Version{Major: 7, Minor: 3}, 11030}, {ptx.Version{Major: 7, Minor: 4}, 11040},
	{ptx.Version{Major: 7, Minor: 5}, 11050}, {ptx.Version{Major: 7, Minor: 6}, 11060}, {ptx.Version{Major: 7, Minor: 7}, 11070},
	{ptx.Version{Major: 7, Minor: 8}, 11080}, {ptx.Version{Major: 8, Minor: 0}, 12000}, {ptx.Version{Major: 8, Minor: 1}, 12010},
	{ptx.Version{Major: 8, Minor: 2}, 12020}, {ptx.Version{Major: 8, Minor: 3}, 12030}, {ptx.Version{Major: 8, Minor: 4}, 12040},
	{ptx.Version{Major: 8, Minor: 5}, 12050}, {ptx.Version{Major: 8, Minor: 6}, 12070}, {ptx.Version{Major: 8, Minor: 7}, 12080},
	{ptx.Version{Major: 8, Minor: 8}, 12090}, {ptx.Version{Major: 9, Minor: 0}, 13000},
}

// tooOld says which driver a kernel's PTX needs.
func (b *Backend) tooOld(v ptx.Version, err error) error {
	for _, d := range drivers {
		if d.ptx == v {
			return fmt.Errorf("%w: its PTX is of version %v, which needs a driver for CUDA %s or later; this one is for CUDA %s: update the driver",
				err, v, driver.VersionString(d.cuda), driver.VersionString(b.info.DriverVersion))
		}
	}
	return fmt.Errorf("%w: its PTX is of version %v, too new for this driver, for CUDA %s: update the driver", err, v, driver.VersionString(b.info.DriverVersion))
}

// fatal are the results after which a context is of no use.
var fatal = map[driver.Code]bool{
	driver.Deinitialized: true, driver.DeviceUnavailable: true,
	214:                   true, // uncorrectable ECC error
	220:                   true, // NVLink
	226:                   true, // exception in a kernel
	driver.IllegalAddress: true, driver.LaunchTimeout: true, 709: true, 710: true, 714: true,
	driver.IllegalInstruction: true, driver.MisalignedAddress: true, 717: true, 718: true, driver.LaunchFailed: true,
}

// failure explains an error. After one that ends the use of the GPU, every later call
// returns it.
func (b *Backend) failure(err error) error {
	if b.lost != nil {
		return b.lost
	}
	var e *driver.Error
	if !errors.As(err, &e) || !fatal[e.Code] {
		return err
	}
	b.lost = fmt.Errorf("the GPU %s is lost to this process: %w; a kernel failed, or the device did, and nothing computed since the last Sync holds: "+
		"start the same command again, which goes on from what was saved (or with --device cpu and --accept-numerics on the CPU)", b.info.Name, explain(err))
	return b.lost
}
