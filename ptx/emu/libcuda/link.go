package main

// #include <stdint.h>
// #include <stdlib.h>
// typedef int CUresult;
import "C"

import (
	"sync"
	"unsafe"

	"github.com/selkie-ml/selkie/kernels/cuda/driver"
)

// linker is a CUlinkState. It takes one piece of PTX, which is its result: modules
// are compiled when they are loaded.
type linker struct{ text *C.char }

var (
	links    sync.Map // of linkers by handle
	lastLink uintptr
)

//export cuLinkCreate_v2
func cuLinkCreate_v2(options C.uint, names *C.int, values *unsafe.Pointer, out *C.uintptr_t) C.CUresult {
	return inContext(func(*driver.Emulated) error {
		lastLink++
		links.Store(lastLink, &linker{})
		return set(out, C.uintptr_t(lastLink), nil)
	})
}

//export cuLinkAddData_v2
func cuLinkAddData_v2(h C.uintptr_t, kind C.int, data unsafe.Pointer, n C.size_t, name *C.char, options C.uint, names *C.int, values *unsafe.Pointer) C.CUresult {
	return inContext(func(*driver.Emulated) error {
		const isPTX = 1
		l, ok := links.Load(uintptr(h))
		switch {
		case !ok:
			return &driver.Error{Call: "cuLinkAddData", Code: driver.InvalidHandle}
		case kind != isPTX || l.(*linker).text != nil:
			return &driver.Error{Call: "cuLinkAddData", Code: driver.NotSupported, Text: "the emulator links one piece of PTX only"}
		}
		l.(*linker).text = C.CString(string(host(data, n)))
		return nil
	})
}

//export cuLinkComplete
func cuLinkComplete(h C.uintptr_t, out *unsafe.Pointer, size *C.size_t) C.CUresult {
	return inContext(func(*driver.Emulated) error {
		l, ok := links.Load(uintptr(h))
		if !ok || l.(*linker).text == nil {
			return &driver.Error{Call: "cuLinkComplete", Code: driver.InvalidHandle}
		}
		*out = unsafe.Pointer(l.(*linker).text)
		if size != nil {
			*size = C.size_t(len(C.GoString(l.(*linker).text)))
		}
		return nil
	})
}

//export cuLinkDestroy
func cuLinkDestroy(h C.uintptr_t) C.CUresult {
	return inContext(func(*driver.Emulated) error {
		if l, ok := links.LoadAndDelete(uintptr(h)); ok {
			C.free(unsafe.Pointer(l.(*linker).text))
		}
		return nil
	})
}
