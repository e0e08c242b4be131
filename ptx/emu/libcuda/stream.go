package main

// #include <stdint.h>
// typedef int CUresult;
// typedef unsigned long long CUdeviceptr;
import "C"

import "github.com/selkie-ml/selkie/kernels/cuda/driver"

//export cuStreamCreate
func cuStreamCreate(out *C.uintptr_t, _ C.uint) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		s, err := d.StreamCreate()
		return set(out, C.uintptr_t(s), err)
	})
}

//export cuStreamCreateWithPriority
func cuStreamCreateWithPriority(out *C.uintptr_t, flags C.uint, _ C.int) C.CUresult {
	return cuStreamCreate(out, flags)
}

//export cuStreamDestroy_v2
func cuStreamDestroy_v2(s C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error { return d.StreamDestroy(driver.Stream(s)) })
}

//export cuStreamSynchronize
func cuStreamSynchronize(s C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error { return d.StreamSynchronize(driver.Stream(s)) })
}

//export cuStreamQuery
func cuStreamQuery(s C.uintptr_t) C.CUresult { return cuStreamSynchronize(s) }

//export cuStreamWaitEvent
func cuStreamWaitEvent(s, e C.uintptr_t, _ C.uint) C.CUresult {
	return inContext(func(d *driver.Emulated) error { return d.StreamWaitEvent(driver.Stream(s), driver.Event(e)) })
}

//export cuEventCreate
func cuEventCreate(out *C.uintptr_t, flags C.uint) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		e, err := d.EventCreate(flags&2 == 0)
		return set(out, C.uintptr_t(e), err)
	})
}

//export cuEventDestroy_v2
func cuEventDestroy_v2(e C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error { return d.EventDestroy(driver.Event(e)) })
}

//export cuEventRecord
func cuEventRecord(e, s C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error { return d.EventRecord(driver.Event(e), driver.Stream(s)) })
}

//export cuEventQuery
func cuEventQuery(e C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		_, err := d.EventQuery(driver.Event(e))
		return err
	})
}

//export cuEventSynchronize
func cuEventSynchronize(e C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error { return d.EventSynchronize(driver.Event(e)) })
}

//export cuEventElapsedTime
func cuEventElapsedTime(out *C.float, from, to C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		ms, err := d.EventElapsed(driver.Event(from), driver.Event(to))
		return set(out, C.float(ms), err)
	})
}

//export cuStreamBeginCapture_v2
func cuStreamBeginCapture_v2(s C.uintptr_t, _ C.int) C.CUresult {
	return inContext(func(d *driver.Emulated) error { return d.StreamBeginCapture(driver.Stream(s)) })
}

//export cuStreamEndCapture
func cuStreamEndCapture(s C.uintptr_t, out *C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		g, err := d.StreamEndCapture(driver.Stream(s))
		return set(out, C.uintptr_t(g), err)
	})
}

//export cuGraphInstantiateWithFlags
func cuGraphInstantiateWithFlags(out *C.uintptr_t, g C.uintptr_t, _ C.ulonglong) C.CUresult {
	return inContext(func(d *driver.Emulated) error {
		e, err := d.GraphInstantiate(driver.Graph(g))
		return set(out, C.uintptr_t(e), err)
	})
}

//export cuGraphLaunch
func cuGraphLaunch(e, s C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error { return d.GraphLaunch(driver.GraphExec(e), driver.Stream(s)) })
}

//export cuGraphDestroy
func cuGraphDestroy(g C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error { return d.GraphDestroy(driver.Graph(g)) })
}

//export cuGraphExecDestroy
func cuGraphExecDestroy(e C.uintptr_t) C.CUresult {
	return inContext(func(d *driver.Emulated) error { return d.GraphExecDestroy(driver.GraphExec(e)) })
}
