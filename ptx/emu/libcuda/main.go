// Libcuda is the emulator as a libcuda.so.1: what speaks CUDA's driver API runs on
// it, without a GPU. It serves tests, and proves names, argument lists and struct
// layouts of package driver.
//
//	go build -tags nocuda -buildmode=c-shared -o libcuda.so.1 ./ptx/emu/libcuda
//
// Work is done when the call that enqueues it returns. Every failure is written to
// standard error, with what the sanitiser found. SELKIE_EMU has the words of
// driver.Emulate: "h100", "unchecked", or both with a colon between them.
//
// It may import package driver, whose emulated driver it dresses in C.
package main

// typedef int CUresult;
// extern int selkieHasContext(void);
import "C"

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"unsafe"

	"github.com/selkie-ml/selkie/kernels/cuda/driver"
)

func main() {}

// The one emulated GPU, made by cuInit and anew when its last context is gone.
var (
	mu       sync.Mutex
	dev      *driver.Emulated
	contexts int // references to the primary context, and others
	primary  int
)

func start() (err error) {
	if dev, err = driver.Emulate(os.Getenv("SELKIE_EMU")); err != nil {
		return &driver.Error{Call: "cuInit", Code: driver.NoDevice, Text: "SELKIE_EMU: " + err.Error()}
	}
	return nil
}

// result is the CUresult of a call, which is done under the lock.
func result(call func(d *driver.Emulated) error) C.CUresult {
	mu.Lock()
	defer mu.Unlock()
	if dev == nil {
		return C.CUresult(driver.NotInitialized)
	}
	return code(call(dev))
}

// inContext is result for calls that need a current context.
func inContext(call func(d *driver.Emulated) error) C.CUresult {
	if C.selkieHasContext() == 0 {
		return C.CUresult(driver.InvalidContext)
	}
	return result(call)
}

func code(err error) C.CUresult {
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "emulated libcuda: %v\n", err)
	var e *driver.Error
	if errors.As(err, &e) {
		return C.CUresult(e.Code)
	}
	return C.CUresult(driver.Unknown)
}

func invalid(call, format string, args ...any) error {
	return &driver.Error{Call: call, Code: driver.InvalidValue, Text: fmt.Sprintf(format, args...)}
}

// set writes a result where the caller wants it, and reports whether it may.
func set[T any](out *T, v T, err error) error {
	if err != nil {
		return err
	}
	if out == nil {
		return &driver.Error{Call: "call", Code: driver.InvalidValue, Text: "the address for the result is NULL"}
	}
	*out = v
	return nil
}

//export cuInit
func cuInit(flags C.uint) C.CUresult {
	mu.Lock()
	defer mu.Unlock()
	if flags != 0 {
		return C.CUresult(driver.InvalidValue)
	}
	if dev != nil {
		return 0
	}
	return code(start())
}

//export cuDriverGetVersion
func cuDriverGetVersion(version *C.int) C.CUresult {
	v, err := (*driver.Emulated)(nil).DriverVersion()
	return code(set(version, C.int(v), err))
}

// texts are C strings that live for good.
var texts sync.Map

func text(s string) *C.char {
	if p, ok := texts.Load(s); ok {
		return p.(*C.char)
	}
	p, _ := texts.LoadOrStore(s, C.CString(s))
	return p.(*C.char)
}

//export cuGetErrorName
func cuGetErrorName(r C.CUresult, out **C.char) C.CUresult {
	name := driver.Code(r).String()
	if !strings.HasPrefix(name, "CUDA_") {
		*out = nil
		return C.CUresult(driver.InvalidValue)
	}
	*out = text(name)
	return 0
}

//export cuGetErrorString
func cuGetErrorString(r C.CUresult, out **C.char) C.CUresult {
	name, ok := strings.CutPrefix(driver.Code(r).String(), "CUDA_ERROR_")
	if name, ok = strings.CutPrefix(name, "CUDA_"); !ok && !strings.HasPrefix(driver.Code(r).String(), "CUDA_") {
		*out = nil
		return C.CUresult(driver.InvalidValue)
	}
	*out = text(strings.ToLower(strings.ReplaceAll(name, "_", " ")))
	return 0
}

//export cuDeviceGetCount
func cuDeviceGetCount(n *C.int) C.CUresult {
	return result(func(d *driver.Emulated) error {
		v, err := d.DeviceCount()
		return set(n, C.int(v), err)
	})
}

//export cuDeviceGet
func cuDeviceGet(out *C.int, ordinal C.int) C.CUresult {
	return result(func(d *driver.Emulated) error {
		v, err := d.DeviceGet(int(ordinal))
		return set(out, C.int(v), err)
	})
}

// device checks the handle of the one device.
func device(d *driver.Emulated, h C.int) error {
	if h != 0 {
		_, err := d.DeviceGet(int(h))
		return err
	}
	return nil
}

//export cuDeviceGetName
func cuDeviceGetName(name *C.char, n C.int, h C.int) C.CUresult {
	return result(func(d *driver.Emulated) error {
		if name == nil || n <= 0 {
			return invalid("cuDeviceGetName", "room for %d bytes", n)
		}
		s, err := d.DeviceName(driver.Device(h))
		if err := errors.Join(err, device(d, h)); err != nil {
			return err
		}
		room := unsafe.Slice((*byte)(unsafe.Pointer(name)), int(n))
		room[copy(room[:n-1], s)] = 0
		return nil
	})
}

//export cuDeviceGetAttribute
func cuDeviceGetAttribute(out *C.int, a C.int, h C.int) C.CUresult {
	return result(func(d *driver.Emulated) error {
		if err := device(d, h); err != nil {
			return err
		}
		v, err := d.DeviceAttribute(driver.Attribute(a), driver.Device(h))
		return set(out, C.int(v), err)
	})
}

//export cuDeviceTotalMem_v2
func cuDeviceTotalMem_v2(out *C.size_t, h C.int) C.CUresult {
	return result(func(d *driver.Emulated) error {
		if err := device(d, h); err != nil {
			return err
		}
		v, err := d.DeviceTotalMem(driver.Device(h))
		return set(out, C.size_t(v), err)
	})
}

//export cuDeviceGetUuid
func cuDeviceGetUuid(out unsafe.Pointer, h C.int) C.CUresult {
	return result(func(d *driver.Emulated) error {
		if err := device(d, h); err != nil {
			return err
		}
		return set((*[16]byte)(out), [16]byte([]byte("selkie emulated!")), nil)
	})
}

// leave drops n references to contexts; with the last, all that they held is gone.
func leave(d *driver.Emulated, n int) error {
	if contexts -= n; contexts > 0 {
		return nil
	}
	return errors.Join(d.PrimaryContextRelease(0), start())
}

//export selkieRetainPrimary
func selkieRetainPrimary(h C.int) C.CUresult {
	return result(func(d *driver.Emulated) error {
		if err := device(d, h); err != nil {
			return err
		}
		primary++
		contexts++
		return nil
	})
}

//export cuDevicePrimaryCtxRelease_v2
func cuDevicePrimaryCtxRelease_v2(h C.int) C.CUresult {
	return result(func(d *driver.Emulated) error {
		if err := device(d, h); err != nil {
			return err
		}
		if primary == 0 {
			return &driver.Error{Call: "cuDevicePrimaryCtxRelease", Code: driver.InvalidContext, Text: "the primary context is not retained"}
		}
		primary--
		return leave(d, 1)
	})
}

//export cuDevicePrimaryCtxReset_v2
func cuDevicePrimaryCtxReset_v2(h C.int) C.CUresult {
	return result(func(d *driver.Emulated) error {
		if err := device(d, h); err != nil || primary == 0 {
			return err
		}
		n := primary
		primary = 0
		return leave(d, n)
	})
}

//export cuDevicePrimaryCtxGetState
func cuDevicePrimaryCtxGetState(h C.int, flags *C.uint, active *C.int) C.CUresult {
	return result(func(d *driver.Emulated) error {
		*flags, *active = 0, C.int(min(primary, 1))
		return device(d, h)
	})
}

//export cuDevicePrimaryCtxSetFlags_v2
func cuDevicePrimaryCtxSetFlags_v2(h C.int, _ C.uint) C.CUresult {
	return result(func(d *driver.Emulated) error { return device(d, h) })
}

//export selkieEnter
func selkieEnter(h C.int) C.CUresult {
	return result(func(d *driver.Emulated) error {
		contexts++
		return device(d, h)
	})
}

//export selkieLeave
func selkieLeave() C.CUresult {
	return result(func(d *driver.Emulated) error { return leave(d, 1) })
}

//export cuCtxSynchronize
func cuCtxSynchronize() C.CUresult {
	return inContext(func(d *driver.Emulated) error { return d.ContextSynchronize() })
}
