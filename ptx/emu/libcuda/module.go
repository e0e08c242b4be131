package main

// #include <stdint.h>
// #include <stddef.h>
// typedef int CUresult;
// typedef unsigned long long CUdeviceptr;
// extern uintptr_t selkieContext(void);
import "C"

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"unsafe"

	"github.com/selkie-ml/selkie/kernels/cuda/driver"
)

// image is PTX text up to its NUL. Compiled code cannot be emulated.
func image(p unsafe.Pointer) ([]byte, error) {
	if p == nil {
		return nil, invalid("cuModuleLoadData", "the image is NULL")
	}
	magic := binary.LittleEndian.Uint32(unsafe.Slice((*byte)(p), 4))
	if magic == 0x464C457F || magic == 0xBA55ED50 || magic == 0x466243B1 { // ELF, fat binaries
		return nil, &driver.Error{Call: "cuModuleLoadData", Code: 200, Text: "the image is compiled code; the emulator runs PTX text"}
	}
	return []byte(C.GoString((*C.char)(p))), nil
}

func load(d *driver.Emulated, out *C.uintptr_t, text []byte, err error) error {
	if err != nil {
		return err
	}
	m, err := d.ModuleLoad(bytes.TrimRight(text, "\x00"))
	return set(out, C.uintptr_t(m), err)
}

//export cuModuleLoadData
func cuModuleLoadData(out *C.uintptr_t, p unsafe.Pointer) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		text, err := image(p)
		return load(d, out, text, err)
	})
}

//export cuModuleLoad
func cuModuleLoad(out *C.uintptr_t, name *C.char) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		text, err := os.ReadFile(C.GoString(name))
		if err != nil {
			return &driver.Error{Call: "cuModuleLoad", Code: 301, Text: err.Error()}
		}
		return load(d, out, text, nil)
	})
}

//export cuModuleLoadDataEx
func cuModuleLoadDataEx(out *C.uintptr_t, p unsafe.Pointer, n C.uint, options *C.int, values *unsafe.Pointer) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		text, err := image(p)
		err = load(d, out, text, err)
		var e *driver.Error
		log := ""
		if errors.As(err, &e) {
			log = e.Log
		}
		if n == 0 {
			return err
		}
		writeLog(unsafe.Slice(options, n), unsafe.Slice(values, n), log)
		return err
	})
}

// writeLog puts the log where the options of the JIT compiler want it: 5 is the
// buffer for errors, 6 its size, which becomes that of the log; 4 that of the other.
func writeLog(options []C.int, values []unsafe.Pointer, log string) {
	var room []byte
	for i, o := range options {
		if o == 6 {
			size := (*C.uintptr_t)(unsafe.Pointer(&values[i]))
			for j, o := range options {
				if o == 5 && *size > 0 {
					room = host(values[j], C.size_t(*size))
				}
			}
			*size = 0
			if len(room) > 0 {
				n := copy(room[:len(room)-1], log)
				room[n] = 0
				*size = C.uintptr_t(n)
			}
		}
		if o == 4 {
			*(*C.uintptr_t)(unsafe.Pointer(&values[i])) = 0
		}
	}
}

//export cuModuleUnload
func cuModuleUnload(m C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error { return d.ModuleUnload(driver.Module(m)) })
}

//export cuModuleGetFunction
func cuModuleGetFunction(out *C.uintptr_t, m C.uintptr_t, name *C.char) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		f, err := d.ModuleGetFunction(driver.Module(m), C.GoString(name))
		owners[f] = C.selkieContext()
		return set(out, C.uintptr_t(f), err)
	})
}

//export cuModuleGetGlobal_v2
func cuModuleGetGlobal_v2(out *C.CUdeviceptr, size *C.size_t, m C.uintptr_t, name *C.char) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		p, n, err := d.ModuleGetGlobal(driver.Module(m), C.GoString(name))
		if out != nil {
			*out = C.CUdeviceptr(p)
		}
		if size != nil {
			*size = C.size_t(n)
		}
		return err
	})
}

//export cuFuncSetAttribute
func cuFuncSetAttribute(f C.uintptr_t, a, v C.int) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		return d.FuncSetAttribute(driver.Function(f), driver.FuncAttribute(a), int(v))
	})
}

//export cuFuncGetAttribute
func cuFuncGetAttribute(out *C.int, a C.int, f C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		v, err := d.FuncGetAttribute(driver.FuncAttribute(a), driver.Function(f))
		return set(out, C.int(v), err)
	})
}

//export cuFuncSetCacheConfig
func cuFuncSetCacheConfig(C.uintptr_t, C.int) C.CUresult { return 0 }

//export cuFuncSetSharedMemConfig
func cuFuncSetSharedMemConfig(C.uintptr_t, C.int) C.CUresult { return 0 }

// arguments gathers the parameters of a launch into one block, from the list of
// their addresses or the packed form.
func arguments(d *driver.Emulated, f driver.Function, params, extra *unsafe.Pointer) ([]byte, error) {
	if extra != nil {
		var from unsafe.Pointer
		var size C.size_t
		for list := extra; uintptr(*list) != 0; list = next(next(list)) {
			switch value := *next(list); uintptr(*list) {
			case 1: // CU_LAUNCH_PARAM_BUFFER_POINTER
				from = value
			case 2: // CU_LAUNCH_PARAM_BUFFER_SIZE
				size = *(*C.size_t)(value)
			}
		}
		return bytes.Clone(host(from, size)), nil
	}
	list, err := d.Params(f)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	if params == nil {
		return nil, invalid("cuLaunchKernel", "the kernel has %d parameters, and none are given", len(list))
	}
	last := list[len(list)-1]
	block := make([]byte, last.Off+last.Size)
	for i, p := range list {
		copy(block[p.Off:], host(unsafe.Slice(params, len(list))[i], C.size_t(p.Size)))
	}
	return block, nil
}

func next(p *unsafe.Pointer) *unsafe.Pointer {
	return (*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(p), unsafe.Sizeof(*p)))
}

// owners are the contexts that functions were made in. Memory belongs to all.
var owners = map[driver.Function]C.uintptr_t{}

//export cuLaunchKernel
func cuLaunchKernel(f C.uintptr_t, gx, gy, gz, bx, by, bz, shared C.uint, s C.uintptr_t, params, extra *unsafe.Pointer) C.CUresult {
	return launch(&driver.Launch{Function: driver.Function(f), Grid: [3]uint32{uint32(gx), uint32(gy), uint32(gz)},
		Block: [3]uint32{uint32(bx), uint32(by), uint32(bz)}, Shared: uint32(shared), Stream: driver.Stream(s)}, params, extra)
}

// launchConfig is CUlaunchConfig.
type launchConfig struct {
	grid, block [3]uint32
	shared      uint32
	stream      uintptr
	attributes  unsafe.Pointer
	n           uint32
}

//export cuLaunchKernelEx
func cuLaunchKernelEx(p unsafe.Pointer, f C.uintptr_t, params, extra *unsafe.Pointer) C.CUresult {
	c := (*launchConfig)(p)
	if c.n > 0 {
		return result(func(*driver.Emulated) error {
			return &driver.Error{Call: "cuLaunchKernelEx", Code: driver.NotSupported, Text: "attributes of a launch are not emulated"}
		})
	}
	return launch(&driver.Launch{Function: driver.Function(f), Grid: c.grid, Block: c.block, Shared: c.shared, Stream: driver.Stream(c.stream)}, params, extra)
}

func launch(l *driver.Launch, params, extra *unsafe.Pointer) C.CUresult {
	return inContext(func(d *driver.Emulated) (err error) {
		if owner := owners[l.Function]; owner != C.selkieContext() {
			return &driver.Error{Call: "cuLaunchKernel", Code: driver.InvalidHandle, Text: "the kernel is of another context"}
		}
		if l.Args, err = arguments(d, l.Function, params, extra); err != nil {
			return err
		}
		return d.LaunchKernel(l)
	})
}

//export cuOccupancyMaxActiveBlocksPerMultiprocessor
func cuOccupancyMaxActiveBlocksPerMultiprocessor(out *C.int, f C.uintptr_t, threads C.int, shared C.size_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		n, err := d.Blocks(driver.Function(f), int(threads), int(shared))
		return set(out, C.int(n), err)
	})
}

//export cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags
func cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(out *C.int, f C.uintptr_t, threads C.int, shared C.size_t, _ C.uint) C.CUresult {
	return cuOccupancyMaxActiveBlocksPerMultiprocessor(out, f, threads, shared)
}
