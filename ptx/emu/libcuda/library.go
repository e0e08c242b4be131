package main

// #include <stdint.h>
// #include <stddef.h>
// typedef int CUresult;
// typedef unsigned long long CUdeviceptr;
import "C"

import (
	"unsafe"

	"github.com/selkie-ml/selkie/kernels/cuda/driver"
)

// A library is a module of the one emulated GPU, and its kernels are functions, in the
// context that is current when they are asked for.

//export cuLibraryLoadData
func cuLibraryLoadData(out *C.uintptr_t, p unsafe.Pointer, options *C.int, values *unsafe.Pointer, n C.uint, own *C.int, ownValues *unsafe.Pointer, ownN C.uint) C.CUresult {
	return cuModuleLoadDataEx(out, p, n, options, values)
}

//export cuLibraryUnload
func cuLibraryUnload(library C.uintptr_t) C.CUresult { return cuModuleUnload(library) }

//export cuLibraryGetModule
func cuLibraryGetModule(out *C.uintptr_t, library C.uintptr_t) C.CUresult {
	return result(func(*driver.Emulated) error { return set(out, library, nil) })
}

//export cuLibraryGetKernel
func cuLibraryGetKernel(out *C.uintptr_t, library C.uintptr_t, name *C.char) C.CUresult {
	return cuModuleGetFunction(out, library, name)
}

//export cuLibraryGetGlobal
func cuLibraryGetGlobal(out *C.CUdeviceptr, size *C.size_t, library C.uintptr_t, name *C.char) C.CUresult {
	return cuModuleGetGlobal_v2(out, size, library, name)
}

//export cuKernelGetFunction
func cuKernelGetFunction(out *C.uintptr_t, kernel C.uintptr_t) C.CUresult {
	return result(func(*driver.Emulated) error { return set(out, kernel, nil) })
}

//export cuKernelGetAttribute
func cuKernelGetAttribute(out *C.int, a C.int, kernel C.uintptr_t, _ C.int) C.CUresult {
	return cuFuncGetAttribute(out, a, kernel)
}

//export cuKernelSetAttribute
func cuKernelSetAttribute(a, v C.int, kernel C.uintptr_t, _ C.int) C.CUresult {
	return cuFuncSetAttribute(kernel, a, v)
}
