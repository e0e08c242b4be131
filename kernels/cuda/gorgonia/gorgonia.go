// Package gorgonia is the driver of kernels/cuda over gorgonia.org/cu, for programs
// that hold a context of its. What that package lacks (packed launches, capture,
// attributes of functions, page-locked memory) is called beside it, on the same handles.
//
// It is a module of its own: it needs cgo, cuda.h and libcuda to build. It must not
// import kernels.
package gorgonia

// #cgo LDFLAGS: -lcuda
// #include <cuda.h>
//
// // launch passes the parameters as one block.
// static CUresult launch(CUfunction f, const unsigned *dims, unsigned shared, CUstream s, void *args, size_t n) {
//	void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, args, CU_LAUNCH_PARAM_BUFFER_SIZE, &n, CU_LAUNCH_PARAM_END};
//	return cuLaunchKernel(f, dims[0], dims[1], dims[2], dims[3], dims[4], dims[5], shared, s, 0, extra);
// }
//
// static CUresult instantiate(CUgraphExec *out, CUgraph g) { return cuGraphInstantiateWithFlags(out, g, 0); }
import "C"

import (
	"bytes"
	"reflect"
	"strings"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/selkie-ml/selkie/kernels/cuda/driver"
)

// api is the driver within a program's context.
type api struct {
	device cu.Device
	ctx    cu.CUContext
}

// New returns the driver within a context, which the caller keeps until everything
// made by the driver is closed.
func New(device cu.Device, ctx cu.CUContext) driver.API { return &api{device, ctx} }

// failure makes an error of the driver's of one of gorgonia's, which is an integer.
func failure(call string, err error) error {
	if err == nil {
		return nil
	}
	if v := reflect.ValueOf(err); v.CanInt() {
		return coded(call, C.CUresult(v.Int()))
	}
	return &driver.Error{Call: call, Code: driver.Unknown, Text: err.Error()}
}

// coded is a result as an error; nil if it is success.
func coded(call string, r C.CUresult) error {
	if r == C.CUDA_SUCCESS {
		return nil
	}
	e := &driver.Error{Call: call, Code: driver.Code(r)}
	e.Name = e.Code.String()
	var text *C.char
	if C.cuGetErrorString(r, &text) == C.CUDA_SUCCESS {
		e.Text = C.GoString(text)
	}
	return e
}

// handle and value exchange a handle of gorgonia's, a struct of one pointer, for a number.
func handle[T any](v T) uint64 { return uint64(*(*uintptr)(unsafe.Pointer(&v))) }

func value[T any, H ~uint64](h H) (v T) {
	*(*uintptr)(unsafe.Pointer(&v)) = uintptr(h)
	return v
}

func start(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }

func (a *api) Name() string { return "gorgonia.org/cu" }

func (a *api) Init() error { return coded("cuInit", C.cuInit(0)) }

func (a *api) DriverVersion() (int, error) { return cu.Version(), nil }

// DeviceCount implements driver.API: the context's device is the only one.
func (a *api) DeviceCount() (int, error) { return 1, nil }

func (a *api) DeviceGet(ordinal int) (driver.Device, error) {
	if ordinal != 0 {
		return 0, &driver.Error{Call: "cuDeviceGet", Code: driver.InvalidDevice, Name: driver.InvalidDevice.String()}
	}
	return driver.Device(a.device), nil
}

func (a *api) DeviceName(d driver.Device) (string, error) {
	name, err := cu.Device(d).Name()
	return strings.TrimRight(name, "\x00"), failure("cuDeviceGetName", err)
}

func (a *api) DeviceAttribute(attr driver.Attribute, d driver.Device) (int, error) {
	v, err := cu.Device(d).Attribute(cu.DeviceAttribute(attr))
	return v, failure("cuDeviceGetAttribute", err)
}

func (a *api) DeviceTotalMem(d driver.Device) (int64, error) {
	n, err := cu.Device(d).TotalMem()
	return n, failure("cuDeviceTotalMem", err)
}

// PrimaryContextRetain implements driver.API: the context is the caller's.
func (a *api) PrimaryContextRetain(driver.Device) (driver.Context, error) {
	return driver.Context(handle(a.ctx)), nil
}

func (a *api) PrimaryContextRelease(driver.Device) error { return nil }

func (a *api) ContextSetCurrent(driver.Context) error {
	return failure("cuCtxSetCurrent", cu.SetCurrentContext(a.ctx))
}

func (a *api) ContextSynchronize() error { return failure("cuCtxSynchronize", cu.Synchronize()) }

func (a *api) MemGetInfo() (free, total int64, err error) {
	free, total, err = cu.MemInfo()
	return free, total, failure("cuMemGetInfo", err)
}

func (a *api) MemAlloc(n int64) (driver.Ptr, error) {
	p, err := cu.MemAlloc(n)
	return driver.Ptr(p), failure("cuMemAlloc", err)
}

func (a *api) MemFree(p driver.Ptr) error { return failure("cuMemFree", cu.MemFree(cu.DevicePtr(p))) }

func (a *api) MemHostAlloc(n int) ([]byte, error) {
	var p unsafe.Pointer
	if err := coded("cuMemHostAlloc", C.cuMemHostAlloc(&p, C.size_t(n), C.CU_MEMHOSTALLOC_PORTABLE)); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), n), nil
}

func (a *api) MemFreeHost(b []byte) error {
	return failure("cuMemFreeHost", cu.MemFreeHost(start(b)))
}

func (a *api) MemcpyHtoDAsync(p driver.Ptr, b []byte, s driver.Stream) error {
	return failure("cuMemcpyHtoDAsync", cu.MemcpyHtoDAsync(cu.DevicePtr(p), start(b), int64(len(b)), value[cu.Stream](s)))
}

func (a *api) MemcpyDtoHAsync(b []byte, p driver.Ptr, s driver.Stream) error {
	return failure("cuMemcpyDtoHAsync", cu.MemcpyDtoHAsync(start(b), cu.DevicePtr(p), int64(len(b)), value[cu.Stream](s)))
}

func (a *api) MemcpyDtoDAsync(dst, src driver.Ptr, n int64, s driver.Stream) error {
	return failure("cuMemcpyDtoDAsync", cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), n, value[cu.Stream](s)))
}

func (a *api) MemsetD8Async(p driver.Ptr, v byte, n int64, s driver.Stream) error {
	return failure("cuMemsetD8Async", cu.MemsetD8Async(cu.DevicePtr(p), v, n, value[cu.Stream](s)))
}

func (a *api) StreamCreate() (driver.Stream, error) {
	s, err := cu.MakeStream(cu.NonBlocking)
	return driver.Stream(handle(s)), failure("cuStreamCreate", err)
}

func (a *api) StreamDestroy(s driver.Stream) error {
	v := value[cu.Stream](s)
	return failure("cuStreamDestroy", v.Destroy())
}

func (a *api) StreamSynchronize(s driver.Stream) error {
	return failure("cuStreamSynchronize", value[cu.Stream](s).Synchronize())
}

func (a *api) StreamWaitEvent(s driver.Stream, e driver.Event) error {
	return failure("cuStreamWaitEvent", value[cu.Stream](s).Wait(value[cu.Event](e), 0))
}

func (a *api) EventCreate(timing bool) (driver.Event, error) {
	flags := cu.DisableTiming
	if timing {
		flags = cu.DefaultEvent
	}
	e, err := cu.MakeEvent(flags)
	return driver.Event(handle(e)), failure("cuEventCreate", err)
}

func (a *api) EventDestroy(e driver.Event) error {
	v := value[cu.Event](e)
	return failure("cuEventDestroy", cu.DestroyEvent(&v))
}

func (a *api) EventRecord(e driver.Event, s driver.Stream) error {
	return failure("cuEventRecord", value[cu.Event](e).Record(value[cu.Stream](s)))
}

func (a *api) EventQuery(e driver.Event) (bool, error) {
	err := value[cu.Event](e).Query()
	if err == cu.NotReady {
		return false, nil
	}
	return err == nil, failure("cuEventQuery", err)
}

func (a *api) EventSynchronize(e driver.Event) error {
	return failure("cuEventSynchronize", value[cu.Event](e).Synchronize())
}

func (a *api) EventElapsed(from, to driver.Event) (float32, error) {
	ms, err := value[cu.Event](from).Elapsed(value[cu.Event](to))
	return float32(ms), failure("cuEventElapsedTime", err)
}

func (a *api) ModuleLoad(text []byte) (driver.Module, error) {
	log := &cu.JITErrorLogBuffer{Buffer: make([]byte, 16<<10)}
	m, err := cu.LoadDataEx(string(bytes.TrimRight(text, "\x00")), log)
	if err = failure("cuModuleLoadDataEx", err); err == nil {
		return driver.Module(handle(m)), nil
	}
	if e, ok := err.(*driver.Error); ok {
		said, _, _ := bytes.Cut(log.Buffer, []byte{0})
		e.Log = string(said)
	}
	return 0, err
}

func (a *api) ModuleUnload(m driver.Module) error {
	return failure("cuModuleUnload", value[cu.Module](m).Unload())
}

func (a *api) ModuleGetFunction(m driver.Module, name string) (driver.Function, error) {
	f, err := value[cu.Module](m).Function(name)
	return driver.Function(handle(f)), failure("cuModuleGetFunction", err)
}

func (a *api) FuncSetAttribute(f driver.Function, attr driver.FuncAttribute, v int) error {
	return coded("cuFuncSetAttribute", C.cuFuncSetAttribute(value[C.CUfunction](f), C.CUfunction_attribute(attr), C.int(v)))
}

func (a *api) FuncGetAttribute(attr driver.FuncAttribute, f driver.Function) (int, error) {
	v, err := value[cu.Function](f).Attribute(cu.FunctionAttribute(attr))
	return v, failure("cuFuncGetAttribute", err)
}

func (a *api) LaunchKernel(l *driver.Launch) error {
	dims := [6]C.uint{C.uint(l.Grid[0]), C.uint(l.Grid[1]), C.uint(l.Grid[2]), C.uint(l.Block[0]), C.uint(l.Block[1]), C.uint(l.Block[2])}
	return coded("cuLaunchKernel", C.launch(value[C.CUfunction](l.Function), &dims[0], C.uint(l.Shared), value[C.CUstream](l.Stream), start(l.Args), C.size_t(len(l.Args))))
}

func (a *api) StreamBeginCapture(s driver.Stream) error {
	return coded("cuStreamBeginCapture", C.cuStreamBeginCapture(value[C.CUstream](s), C.CU_STREAM_CAPTURE_MODE_RELAXED))
}

func (a *api) StreamEndCapture(s driver.Stream) (driver.Graph, error) {
	var g C.CUgraph
	err := coded("cuStreamEndCapture", C.cuStreamEndCapture(value[C.CUstream](s), &g))
	return driver.Graph(handle(g)), err
}

func (a *api) GraphInstantiate(g driver.Graph) (driver.GraphExec, error) {
	var e C.CUgraphExec
	err := coded("cuGraphInstantiate", C.instantiate(&e, value[C.CUgraph](g)))
	return driver.GraphExec(handle(e)), err
}

func (a *api) GraphLaunch(e driver.GraphExec, s driver.Stream) error {
	return coded("cuGraphLaunch", C.cuGraphLaunch(value[C.CUgraphExec](e), value[C.CUstream](s)))
}

func (a *api) GraphDestroy(g driver.Graph) error {
	return failure("cuGraphDestroy", value[cu.Graph](g).Destroy())
}

func (a *api) GraphExecDestroy(e driver.GraphExec) error {
	return failure("cuGraphExecDestroy", value[cu.ExecGraph](e).Destroy())
}
