package main

// #include <stdint.h>
// #include <stdlib.h>
// typedef int CUresult;
// typedef unsigned long long CUdeviceptr;
import "C"

import (
	"encoding/binary"
	"sync"
	"unsafe"

	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// host is memory of the caller.
func host(p unsafe.Pointer, n C.size_t) []byte { return unsafe.Slice((*byte)(p), int(n)) }

// finish waits after a call, for its form that is not asynchronous.
func finish(d *driver.Emulated, err error) error {
	if err != nil {
		return err
	}
	return d.ContextSynchronize()
}

//export cuMemGetInfo_v2
func cuMemGetInfo_v2(free, total *C.size_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		f, t, err := d.MemGetInfo()
		*free, *total = C.size_t(f), C.size_t(t)
		return err
	})
}

//export cuMemAlloc_v2
func cuMemAlloc_v2(out *C.CUdeviceptr, n C.size_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		p, err := d.MemAlloc(int64(n))
		return set(out, C.CUdeviceptr(p), err)
	})
}

//export cuMemAllocAsync
func cuMemAllocAsync(out *C.CUdeviceptr, n C.size_t, _ C.uintptr_t) C.CUresult {
	return cuMemAlloc_v2(out, n)
}

//export cuMemAllocPitch_v2
func cuMemAllocPitch_v2(out *C.CUdeviceptr, pitch *C.size_t, width, height C.size_t, _ C.uint) C.CUresult {
	*pitch = (width + 511) &^ 511
	return cuMemAlloc_v2(out, *pitch*height)
}

//export cuMemFree_v2
func cuMemFree_v2(p C.CUdeviceptr) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		if p == 0 {
			return nil
		}
		return d.MemFree(driver.Ptr(p))
	})
}

//export cuMemFreeAsync
func cuMemFreeAsync(p C.CUdeviceptr, _ C.uintptr_t) C.CUresult { return cuMemFree_v2(p) }

// pages are the addresses that cuMemHostAlloc gave.
var pages sync.Map

//export cuMemHostAlloc
func cuMemHostAlloc(out *unsafe.Pointer, n C.size_t, _ C.uint) C.CUresult {
	return inContext(func(*driver.Emulated) error {
		if n == 0 {
			return invalid("cuMemHostAlloc", "0 bytes")
		}
		*out = C.malloc(n)
		pages.Store(*out, true)
		return nil
	})
}

//export cuMemAllocHost_v2
func cuMemAllocHost_v2(out *unsafe.Pointer, n C.size_t) C.CUresult { return cuMemHostAlloc(out, n, 0) }

//export cuMemFreeHost
func cuMemFreeHost(p unsafe.Pointer) C.CUresult {
	return inContext(func(*driver.Emulated) error {
		if _, ok := pages.LoadAndDelete(p); !ok {
			return invalid("cuMemFreeHost", "memory that cuMemHostAlloc did not give")
		}
		C.free(p)
		return nil
	})
}

//export cuMemcpyHtoDAsync_v2
func cuMemcpyHtoDAsync_v2(to C.CUdeviceptr, from unsafe.Pointer, n C.size_t, s C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		return d.MemcpyHtoDAsync(driver.Ptr(to), host(from, n), driver.Stream(s))
	})
}

//export cuMemcpyDtoHAsync_v2
func cuMemcpyDtoHAsync_v2(to unsafe.Pointer, from C.CUdeviceptr, n C.size_t, s C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		return d.MemcpyDtoHAsync(host(to, n), driver.Ptr(from), driver.Stream(s))
	})
}

//export cuMemcpyDtoDAsync_v2
func cuMemcpyDtoDAsync_v2(to, from C.CUdeviceptr, n C.size_t, s C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		return d.MemcpyDtoDAsync(driver.Ptr(to), driver.Ptr(from), int64(n), driver.Stream(s))
	})
}

//export cuMemcpyHtoD_v2
func cuMemcpyHtoD_v2(to C.CUdeviceptr, from unsafe.Pointer, n C.size_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		return finish(d, d.MemcpyHtoDAsync(driver.Ptr(to), host(from, n), 0))
	})
}

//export cuMemcpyDtoH_v2
func cuMemcpyDtoH_v2(to unsafe.Pointer, from C.CUdeviceptr, n C.size_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		return finish(d, d.MemcpyDtoHAsync(host(to, n), driver.Ptr(from), 0))
	})
}

//export cuMemcpyDtoD_v2
func cuMemcpyDtoD_v2(to, from C.CUdeviceptr, n C.size_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		return finish(d, d.MemcpyDtoDAsync(driver.Ptr(to), driver.Ptr(from), int64(n), 0))
	})
}

// fill sets n elements of a few bytes.
func fill(p C.CUdeviceptr, pattern []byte, n C.size_t, s C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		if len(pattern) == 1 {
			return d.MemsetD8Async(driver.Ptr(p), pattern[0], int64(n), driver.Stream(s))
		}
		if n == 0 {
			return nil
		}
		b := make([]byte, int(n)*len(pattern))
		for i := range b {
			b[i] = pattern[i%len(pattern)]
		}
		return d.MemcpyHtoDAsync(driver.Ptr(p), b, driver.Stream(s))
	})
}

//export cuMemsetD8Async
func cuMemsetD8Async(p C.CUdeviceptr, v C.uchar, n C.size_t, s C.uintptr_t) C.CUresult {
	return fill(p, []byte{byte(v)}, n, s)
}

//export cuMemsetD16Async
func cuMemsetD16Async(p C.CUdeviceptr, v C.ushort, n C.size_t, s C.uintptr_t) C.CUresult {
	return fill(p, binary.LittleEndian.AppendUint16(nil, uint16(v)), n, s)
}

//export cuMemsetD32Async
func cuMemsetD32Async(p C.CUdeviceptr, v C.uint, n C.size_t, s C.uintptr_t) C.CUresult {
	return fill(p, binary.LittleEndian.AppendUint32(nil, uint32(v)), n, s)
}

//export cuMemsetD8_v2
func cuMemsetD8_v2(p C.CUdeviceptr, v C.uchar, n C.size_t) C.CUresult {
	return cuMemsetD8Async(p, v, n, 0)
}

//export cuMemsetD16_v2
func cuMemsetD16_v2(p C.CUdeviceptr, v C.ushort, n C.size_t) C.CUresult {
	return cuMemsetD16Async(p, v, n, 0)
}

//export cuMemsetD32_v2
func cuMemsetD32_v2(p C.CUdeviceptr, v C.uint, n C.size_t) C.CUresult {
	return cuMemsetD32Async(p, v, n, 0)
}

//export cuMemGetAddressRange_v2
func cuMemGetAddressRange_v2(base *C.CUdeviceptr, size *C.size_t, p C.CUdeviceptr) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		at, n, ok := d.Emulator().Allocation(emu.Ptr(p))
		if !ok {
			return &driver.Error{Call: "cuMemGetAddressRange", Code: driver.NotFound, Text: "the address lies in no allocation"}
		}
		if base != nil {
			*base = C.CUdeviceptr(at)
		}
		if size != nil {
			*size = C.size_t(n)
		}
		return nil
	})
}

//export cuPointerGetAttribute
func cuPointerGetAttribute(out unsafe.Pointer, attribute C.int, p C.CUdeviceptr) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		const memoryType, onDevice = 2, 2
		if attribute != memoryType {
			return &driver.Error{Call: "cuPointerGetAttribute", Code: driver.NotSupported, Text: "the emulator knows the type of memory only"}
		}
		if !isDevice(d, p) {
			return invalid("cuPointerGetAttribute", "an address of the host")
		}
		*(*C.uint)(out) = onDevice
		return nil
	})
}

// isDevice tells an address of the device from one of the host's.
func isDevice(d *driver.Emulated, p C.CUdeviceptr) bool {
	_, _, ok := d.Emulator().Allocation(emu.Ptr(p))
	return ok
}

//export cuMemcpyAsync
func cuMemcpyAsync(to, from C.CUdeviceptr, n C.size_t, s C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		dst, src := driver.Ptr(to), driver.Ptr(from)
		stream := driver.Stream(s)
		switch toDevice, fromDevice := isDevice(d, to), isDevice(d, from); {
		case toDevice && fromDevice:
			return d.MemcpyDtoDAsync(dst, src, int64(n), stream)
		case toDevice:
			return d.MemcpyHtoDAsync(dst, host(address(from), n), stream)
		case fromDevice:
			return d.MemcpyDtoHAsync(host(address(to), n), src, stream)
		}
		copy(host(address(to), n), host(address(from), n))
		return nil
	})
}

//export cuMemcpy
func cuMemcpy(to, from C.CUdeviceptr, n C.size_t) C.CUresult { return cuMemcpyAsync(to, from, n, 0) }

// address is host memory that a call names as if it were the device's.
func address(p C.CUdeviceptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }
