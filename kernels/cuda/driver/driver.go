// Package driver is the part of the CUDA driver API that Selkie calls, as an
// interface: libcuda opened at run time, the emulator of ptx/emu in process, and
// whatever a program brings along. Launch code, argument packing and memory
// handling are thus the same with a GPU and without one.
//
// It must not import kernels, or anything that knows tensors.
package driver

import "fmt"

// Handles of the driver. They mean something only to the API that gave them.
type (
	Device    int32  // ordinal handle of a GPU
	Context   uint64 // a GPU's primary context
	Ptr       uint64 // address in device memory
	Module    uint64
	Function  uint64
	Stream    uint64
	Event     uint64
	Graph     uint64
	GraphExec uint64
)

// Attribute is a CUdevice_attribute.
type Attribute int32

// Attributes of a device that Selkie asks for.
const (
	AttrClockRate        Attribute = 13 // kHz
	AttrMultiprocessors  Attribute = 16
	AttrMemoryClockRate  Attribute = 36 // kHz
	AttrMemoryBusWidth   Attribute = 37 // bits
	AttrL2Bytes          Attribute = 38
	AttrCapabilityMajor  Attribute = 75
	AttrCapabilityMinor  Attribute = 76
	AttrSharedPerSM      Attribute = 81
	AttrRegistersPerSM   Attribute = 82
	AttrSharedPerBlock   Attribute = 97 // most that a kernel can opt in to
	AttrReservedShared   Attribute = 111
	AttrMemoryPools      Attribute = 115
	AttrTensorMapAllowed Attribute = 127
)

// FuncAttribute is a CUfunction_attribute.
type FuncAttribute int32

// Attributes of a kernel.
const (
	FuncMaxThreads    FuncAttribute = 0
	FuncStaticShared  FuncAttribute = 1
	FuncLocalBytes    FuncAttribute = 3 // spilled registers among them
	FuncRegisters     FuncAttribute = 4
	FuncDynamicShared FuncAttribute = 8 // may be raised beyond 48 KiB
)

// Launch is a kernel to enqueue. Args is its parameters as one packed block, each
// at a multiple of its own size, which the call copies.
type Launch struct {
	Function Function
	Grid     [3]uint32
	Block    [3]uint32
	Shared   uint32 // dynamic shared memory in bytes
	Stream   Stream
	Args     []byte
}

// API is what Selkie calls. Every method is one call of the driver and returns its
// failure as an *Error. Contexts belong to OS threads: whoever calls has locked its
// thread and made a context current.
type API interface {
	// Name tells which implementation this is: a library's path, or "emulator".
	Name() string
	Init() error
	DriverVersion() (int, error) // 12040 for CUDA 12.4

	DeviceCount() (int, error)
	DeviceGet(ordinal int) (Device, error)
	DeviceName(Device) (string, error)
	DeviceAttribute(Attribute, Device) (int, error)
	DeviceTotalMem(Device) (int64, error)

	PrimaryContextRetain(Device) (Context, error)
	PrimaryContextRelease(Device) error
	ContextSetCurrent(Context) error
	ContextSynchronize() error

	MemGetInfo() (free, total int64, err error)
	MemAlloc(bytes int64) (Ptr, error)
	MemFree(Ptr) error
	// MemHostAlloc returns page-locked host memory, MemFreeHost takes it back.
	MemHostAlloc(bytes int) ([]byte, error)
	MemFreeHost([]byte) error
	// The asynchronous copies read and write host memory until the stream gets
	// there: it must be page-locked, or stay where it is until then.
	MemcpyHtoDAsync(Ptr, []byte, Stream) error
	MemcpyDtoHAsync([]byte, Ptr, Stream) error
	MemcpyDtoDAsync(dst, src Ptr, bytes int64, s Stream) error
	MemsetD8Async(p Ptr, value byte, bytes int64, s Stream) error

	StreamCreate() (Stream, error) // non-blocking with the default stream
	StreamDestroy(Stream) error
	StreamSynchronize(Stream) error
	StreamWaitEvent(Stream, Event) error
	EventCreate(timing bool) (Event, error)
	EventDestroy(Event) error
	EventRecord(Event, Stream) error
	EventQuery(Event) (done bool, err error)
	EventSynchronize(Event) error
	// EventElapsed returns milliseconds between two events made with timing.
	EventElapsed(from, to Event) (float32, error)

	// ModuleLoad loads PTX text. Its error holds the JIT compiler's log.
	ModuleLoad(ptx []byte) (Module, error)
	ModuleUnload(Module) error
	ModuleGetFunction(Module, string) (Function, error)
	FuncSetAttribute(Function, FuncAttribute, int) error
	FuncGetAttribute(FuncAttribute, Function) (int, error)
	LaunchKernel(*Launch) error

	// What is enqueued on a stream between the two calls becomes a graph instead.
	StreamBeginCapture(Stream) error
	StreamEndCapture(Stream) (Graph, error)
	GraphInstantiate(Graph) (GraphExec, error)
	GraphLaunch(GraphExec, Stream) error
	GraphDestroy(Graph) error
	GraphExecDestroy(GraphExec) error
}

// VersionString writes a version of CUDA as people do: 12040 is 12.4.
func VersionString(v int) string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

// Code is a CUresult.
type Code int32

// Results that Selkie tells apart.
const (
	Success            Code = 0
	InvalidValue       Code = 1
	OutOfMemory        Code = 2
	NotInitialized     Code = 3
	Deinitialized      Code = 4
	StubLibrary        Code = 34
	NoDevice           Code = 100
	InvalidDevice      Code = 101
	InvalidContext     Code = 201
	NoBinaryForGPU     Code = 209
	InvalidPTX         Code = 218
	NoJITCompiler      Code = 221
	UnsupportedPTX     Code = 222
	InvalidHandle      Code = 400
	NotFound           Code = 500
	NotReady           Code = 600
	IllegalAddress     Code = 700
	LaunchOutOfMemory  Code = 701
	LaunchTimeout      Code = 702
	MisalignedAddress  Code = 716
	IllegalInstruction Code = 715
	LaunchFailed       Code = 719
	NotSupported       Code = 801
	SystemNotReady     Code = 802
	DriverMismatch     Code = 803
	DeviceUnavailable  Code = 46
	Unknown            Code = 999
)

// Error is a failed call of the driver.
type Error struct {
	Call string // "cuMemAlloc_v2"
	Code Code
	Name string // "CUDA_ERROR_OUT_OF_MEMORY"
	Text string // the driver's description
	Log  string // the JIT compiler's, where one ran
}

func (e *Error) Error() string {
	s := e.Call + ": " + e.Name
	if e.Name == "" {
		s = e.Call + ": " + e.Code.String()
	}
	if e.Text != "" {
		s += " (" + e.Text + ")"
	}
	if e.Log != "" {
		s += "\n" + e.Log
	}
	return s
}
