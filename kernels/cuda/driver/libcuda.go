//go:build !nocuda && ((linux && !android) || windows) && (amd64 || arm64)

package driver

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"unsafe"
)

// library is the driver's own, opened at run time.
type library struct {
	name string
	fn   [numSymbols]uintptr
}

// EnvLibrary is the variable that names another library than the driver's.
const EnvLibrary = "SELKIE_LIBCUDA"

// Open opens the driver's library. Whether there is a GPU, Init tells.
func Open() (API, error) {
	names := libraryNames
	if name := os.Getenv(EnvLibrary); name != "" {
		names = []string{name}
	}
	var reasons []string
	for _, name := range names {
		h, err := openLibrary(name)
		if err != nil {
			reasons = append(reasons, err.Error())
			continue
		}
		l := &library{name: name}
		l.fn, err = resolve(name, func(s string) (uintptr, error) { return lookup(h, s) }, versionBy)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	return nil, fmt.Errorf("%w: install it, name its library in %s, or compute on the CPU (--device cpu); tried:\n%s",
		ErrNone, EnvLibrary, strings.Join(reasons, "\n"))
}

func versionBy(fn uintptr) int {
	var v int32
	syscallN(fn, uintptr(unsafe.Pointer(&v)))
	return int(v)
}

// call calls an entry point. What its arguments point to lives until it returns, but
// not what lies behind pointers in memory.
//
//go:uintptrescapes
func (l *library) call(s symbol, args ...uintptr) error {
	if r := Code(uint32(syscallN(l.fn[s], args...))); r != Success {
		return l.failure(s, r)
	}
	return nil
}

func (l *library) failure(s symbol, code Code) *Error {
	return &Error{Call: entries[s].name, Code: code, Name: l.describe(symGetErrorName, code), Text: l.describe(symGetErrorString, code)}
}

// describe asks for the name or the text of a result.
func (l *library) describe(s symbol, code Code) string {
	var text *byte
	if r := syscallN(l.fn[s], uintptr(uint32(code)), uintptr(unsafe.Pointer(&text))); uint32(r) != 0 || text == nil {
		return codeNames[code]
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(text), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(text, n))
}

func (l *library) Name() string { return l.name }

func (l *library) Init() error { return l.call(symInit, 0) }

func (l *library) DriverVersion() (int, error) {
	var v int32
	err := l.call(symDriverGetVersion, uintptr(unsafe.Pointer(&v)))
	return int(v), err
}

func (l *library) DeviceCount() (int, error) {
	var n int32
	err := l.call(symDeviceGetCount, uintptr(unsafe.Pointer(&n)))
	return int(n), err
}

func (l *library) DeviceGet(ordinal int) (Device, error) {
	var d Device
	err := l.call(symDeviceGet, uintptr(unsafe.Pointer(&d)), uintptr(ordinal))
	return d, err
}

func (l *library) DeviceName(d Device) (string, error) {
	var name [256]byte
	err := l.call(symDeviceGetName, uintptr(unsafe.Pointer(&name)), uintptr(len(name)), uintptr(d))
	return cstring(name[:]), err
}

func (l *library) DeviceAttribute(a Attribute, d Device) (int, error) {
	var v int32
	err := l.call(symDeviceGetAttribute, uintptr(unsafe.Pointer(&v)), uintptr(a), uintptr(d))
	return int(v), err
}

func (l *library) DeviceTotalMem(d Device) (int64, error) {
	var n uintptr
	err := l.call(symDeviceTotalMem, uintptr(unsafe.Pointer(&n)), uintptr(d))
	return int64(n), err
}

func (l *library) PrimaryContextRetain(d Device) (Context, error) {
	var c Context
	err := l.call(symPrimaryCtxRetain, uintptr(unsafe.Pointer(&c)), uintptr(d))
	return c, err
}

func (l *library) PrimaryContextRelease(d Device) error {
	return l.call(symPrimaryCtxRelease, uintptr(d))
}

func (l *library) ContextSetCurrent(c Context) error { return l.call(symCtxSetCurrent, uintptr(c)) }

func (l *library) ContextSynchronize() error { return l.call(symCtxSynchronize) }

func (l *library) MemGetInfo() (free, total int64, err error) {
	var f, t uintptr
	err = l.call(symMemGetInfo, uintptr(unsafe.Pointer(&f)), uintptr(unsafe.Pointer(&t)))
	return int64(f), int64(t), err
}

func (l *library) MemAlloc(n int64) (Ptr, error) {
	var p Ptr
	err := l.call(symMemAlloc, uintptr(unsafe.Pointer(&p)), uintptr(n))
	return p, err
}

func (l *library) MemFree(p Ptr) error { return l.call(symMemFree, uintptr(p)) }

func (l *library) MemHostAlloc(n int) ([]byte, error) {
	const portable = 1 // page-locked for every context
	var p *byte
	if err := l.call(symMemHostAlloc, uintptr(unsafe.Pointer(&p)), uintptr(n), portable); err != nil {
		return nil, err
	}
	return unsafe.Slice(p, n), nil
}

func (l *library) MemFreeHost(b []byte) error { return l.call(symMemFreeHost, start(b)) }

// start is where a slice begins. The caller keeps the slice alive.
func start(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

func (l *library) MemcpyHtoDAsync(p Ptr, b []byte, s Stream) error {
	err := l.call(symMemcpyHtoDAsync, uintptr(p), start(b), uintptr(len(b)), uintptr(s))
	runtime.KeepAlive(b)
	return err
}

func (l *library) MemcpyDtoHAsync(b []byte, p Ptr, s Stream) error {
	err := l.call(symMemcpyDtoHAsync, start(b), uintptr(p), uintptr(len(b)), uintptr(s))
	runtime.KeepAlive(b)
	return err
}

func (l *library) MemcpyDtoDAsync(dst, src Ptr, n int64, s Stream) error {
	return l.call(symMemcpyDtoDAsync, uintptr(dst), uintptr(src), uintptr(n), uintptr(s))
}

func (l *library) MemsetD8Async(p Ptr, value byte, n int64, s Stream) error {
	return l.call(symMemsetD8Async, uintptr(p), uintptr(value), uintptr(n), uintptr(s))
}

func (l *library) StreamCreate() (Stream, error) {
	const nonBlocking = 1
	var s Stream
	err := l.call(symStreamCreate, uintptr(unsafe.Pointer(&s)), nonBlocking)
	return s, err
}

func (l *library) StreamDestroy(s Stream) error { return l.call(symStreamDestroy, uintptr(s)) }

func (l *library) StreamSynchronize(s Stream) error { return l.call(symStreamSynchronize, uintptr(s)) }

func (l *library) StreamWaitEvent(s Stream, e Event) error {
	return l.call(symStreamWaitEvent, uintptr(s), uintptr(e), 0)
}

func (l *library) EventCreate(timing bool) (Event, error) {
	flags := uintptr(2) // CU_EVENT_DISABLE_TIMING
	if timing {
		flags = 0
	}
	var e Event
	err := l.call(symEventCreate, uintptr(unsafe.Pointer(&e)), flags)
	return e, err
}

func (l *library) EventDestroy(e Event) error { return l.call(symEventDestroy, uintptr(e)) }

func (l *library) EventRecord(e Event, s Stream) error {
	return l.call(symEventRecord, uintptr(e), uintptr(s))
}

func (l *library) EventQuery(e Event) (bool, error) {
	switch r := Code(uint32(syscallN(l.fn[symEventQuery], uintptr(e)))); r {
	case Success:
		return true, nil
	case NotReady:
		return false, nil
	default:
		return false, l.failure(symEventQuery, r)
	}
}

func (l *library) EventSynchronize(e Event) error { return l.call(symEventSynchronize, uintptr(e)) }

func (l *library) EventElapsed(from, to Event) (float32, error) {
	var ms float32
	err := l.call(symEventElapsedTime, uintptr(unsafe.Pointer(&ms)), uintptr(from), uintptr(to))
	return ms, err
}

// Options of the JIT compiler, and the room for each of its logs.
const (
	jitInfoLog       = 3
	jitInfoLogBytes  = 4
	jitErrorLog      = 5
	jitErrorLogBytes = 6
	logBytes         = 16 << 10
)

func (l *library) ModuleLoad(text []byte) (Module, error) {
	if n := len(text); n == 0 || text[n-1] != 0 {
		text = append(bytes.Clone(text), 0)
	}
	logs := new([2][logBytes]byte)
	options := new([4]uint32)
	values := new([4]uintptr) // void*: buffers, and sizes as if they were addresses
	*options = [4]uint32{jitInfoLog, jitInfoLogBytes, jitErrorLog, jitErrorLogBytes}
	var pins runtime.Pinner
	defer pins.Unpin()
	pins.Pin(logs)
	*values = [4]uintptr{uintptr(unsafe.Pointer(&logs[0])), logBytes, uintptr(unsafe.Pointer(&logs[1])), logBytes}
	var m Module
	r := Code(uint32(syscallN(l.fn[symModuleLoadDataEx], uintptr(unsafe.Pointer(&m)), uintptr(unsafe.Pointer(unsafe.SliceData(text))), uintptr(len(options)),
		uintptr(unsafe.Pointer(options)), uintptr(unsafe.Pointer(values)))))
	if r == Success {
		return m, nil
	}
	e := l.failure(symModuleLoadDataEx, r)
	e.Log = strings.TrimSpace(cstring(logs[1][:]) + "\n" + cstring(logs[0][:]))
	return 0, e
}

func (l *library) ModuleUnload(m Module) error { return l.call(symModuleUnload, uintptr(m)) }

func (l *library) ModuleGetFunction(m Module, name string) (Function, error) {
	var f Function
	text := append([]byte(name), 0)
	err := l.call(symModuleGetFunction, uintptr(unsafe.Pointer(&f)), uintptr(m), uintptr(unsafe.Pointer(unsafe.SliceData(text))))
	return f, err
}

func (l *library) FuncSetAttribute(f Function, a FuncAttribute, v int) error {
	return l.call(symFuncSetAttribute, uintptr(f), uintptr(a), uintptr(v))
}

func (l *library) FuncGetAttribute(a FuncAttribute, f Function) (int, error) {
	var v int32
	err := l.call(symFuncGetAttribute, uintptr(unsafe.Pointer(&v)), uintptr(a), uintptr(f))
	return int(v), err
}

// paramBlock is the packed parameters of a launch with the list that announces them,
// in memory that stays where it is.
type paramBlock struct {
	extra [5]uintptr
	size  uintptr
	args  [maxParams]byte
}

const maxParams = 4096 // bytes

// blocks that no launch uses now, pinned for good.
var blocks struct {
	sync.Mutex
	free []*paramBlock
	pins runtime.Pinner
}

func takeBlock() *paramBlock {
	blocks.Lock()
	defer blocks.Unlock()
	if n := len(blocks.free); n > 0 {
		b := blocks.free[n-1]
		blocks.free = blocks.free[:n-1]
		return b
	}
	b := new(paramBlock)
	blocks.pins.Pin(b)
	const pointer, size, end = 1, 2, 0 // CU_LAUNCH_PARAM_…
	b.extra = [5]uintptr{pointer, uintptr(unsafe.Pointer(&b.args)), size, uintptr(unsafe.Pointer(&b.size)), end}
	return b
}

func giveBlock(b *paramBlock) {
	blocks.Lock()
	defer blocks.Unlock()
	blocks.free = append(blocks.free, b)
}

func (l *library) LaunchKernel(k *Launch) error {
	if len(k.Args) > maxParams {
		return &Error{Call: entries[symLaunchKernel].name, Code: InvalidValue, Name: codeNames[InvalidValue],
			Text: fmt.Sprintf("%d bytes of parameters, at most %d", len(k.Args), maxParams)}
	}
	b := takeBlock()
	defer giveBlock(b)
	b.size = uintptr(copy(b.args[:], k.Args))
	return l.call(symLaunchKernel, uintptr(k.Function), uintptr(k.Grid[0]), uintptr(k.Grid[1]), uintptr(k.Grid[2]),
		uintptr(k.Block[0]), uintptr(k.Block[1]), uintptr(k.Block[2]), uintptr(k.Shared), uintptr(k.Stream), 0, uintptr(unsafe.Pointer(&b.extra)))
}

func (l *library) StreamBeginCapture(s Stream) error {
	const relaxed = 2 // calls of other threads, and modules loaded meanwhile, are no business of the capture
	return l.call(symStreamBeginCapture, uintptr(s), relaxed)
}

func (l *library) StreamEndCapture(s Stream) (Graph, error) {
	var g Graph
	err := l.call(symStreamEndCapture, uintptr(s), uintptr(unsafe.Pointer(&g)))
	return g, err
}

func (l *library) GraphInstantiate(g Graph) (GraphExec, error) {
	var e GraphExec
	err := l.call(symGraphInstantiate, uintptr(unsafe.Pointer(&e)), uintptr(g), 0)
	return e, err
}

func (l *library) GraphLaunch(g GraphExec, s Stream) error {
	return l.call(symGraphLaunch, uintptr(g), uintptr(s))
}

func (l *library) GraphDestroy(g Graph) error { return l.call(symGraphDestroy, uintptr(g)) }

func (l *library) GraphExecDestroy(g GraphExec) error {
	return l.call(symGraphExecDestroy, uintptr(g))
}

// cstring is text up to its NUL.
func cstring(b []byte) string {
	text, _, _ := bytes.Cut(b, []byte{0})
	return string(text)
}
