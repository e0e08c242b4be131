package driver

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// Emulated is the emulator as a driver, in process. A GPU's work is done when the
// call that enqueues it returns; its failures, and what the sanitiser finds, come
// back when somebody waits, as from a GPU.
type Emulated struct {
	dev    *emu.Device
	gpu    *emu.GPU
	memory int64
	lostAt int64 // the launch at which the GPU is lost; 0: none
	count  int64 // of launches

	modules   table[*emu.Module]
	functions table[function]
	events    table[time.Time]
	graphs    table[[]func() error]
	streams   uint64
	capturing []func() error
	captures  bool
	fault     error          // sticky, as a GPU's is
	pinned    map[*byte]bool // host allocations
}

type function struct {
	mod    *emu.Module
	name   string
	shared int // dynamic shared memory allowed
}

// table hands out handles, from 1.
type table[T any] struct {
	items map[uint64]T
	last  uint64
}

func (t *table[T]) add(v T) uint64 {
	if t.items == nil {
		t.items = map[uint64]T{}
	}
	t.last++
	t.items[t.last] = v
	return t.last
}

// EmulatorConfig is how a device is emulated.
type EmulatorConfig struct {
	emu.Config
	Memory int64 // bytes of device memory; 0: 80 GiB, of which only what is used takes memory here
	LostAt int64 // the launch, from 1, at which the GPU is lost; 0: never
}

// NewEmulated returns a driver with one emulated GPU.
func NewEmulated(cfg EmulatorConfig) *Emulated {
	if cfg.Memory == 0 {
		cfg.Memory = 80 << 30
	}
	d := emu.New(cfg.Config)
	return &Emulated{dev: d, gpu: d.GPU(), memory: cfg.Memory, lostAt: cfg.LostAt, pinned: map[*byte]bool{}}
}

// Emulator returns the emulated GPU, for its profile and its findings.
func (d *Emulated) Emulator() *emu.Device { return d.dev }

func failure(call string, code Code, format string, args ...any) error {
	return &Error{Call: call, Code: code, Name: codeNames[code], Text: fmt.Sprintf(format, args...)}
}

// enqueue does work now, or keeps it for the graph that is being captured.
func (d *Emulated) enqueue(call string, work func() error) error {
	if d.fault != nil {
		return d.fault
	}
	if d.captures {
		d.capturing = append(d.capturing, work)
		return nil
	}
	return d.do(call, work)
}

func (d *Emulated) do(call string, work func() error) error {
	if err := work(); err != nil && d.fault == nil {
		code := LaunchFailed
		if errors.Is(err, errLost) {
			code = DeviceUnavailable
		}
		for text, c := range map[string]Code{"outside of any memory": IllegalAddress, "in no allocation": IllegalAddress, "was freed": IllegalAddress} {
			if strings.Contains(err.Error(), text) {
				code = c
			}
		}
		d.fault = failure(call, code, "%v", err)
	}
	return nil
}

// wait reports what went wrong since the last call. What the sanitiser found is no
// failure that a GPU has, and does not end its use.
func (d *Emulated) wait(call string) error {
	if d.fault != nil {
		return d.fault
	}
	list := d.dev.Findings()
	if len(list) == 0 {
		return nil
	}
	d.dev.ClearFindings()
	text := make([]string, 0, len(list))
	for _, f := range list[:min(len(list), 5)] {
		text = append(text, f.String())
	}
	if more := len(list) - len(text); more > 0 {
		text = append(text, fmt.Sprintf("and %d more", more))
	}
	return failure(call, Unknown, "the sanitiser found:\n%s", strings.Join(text, "\n"))
}

// Name implements API.
func (d *Emulated) Name() string { return "emulator" }

// Init implements API.
func (d *Emulated) Init() error { return nil }

// DriverVersion implements API: one that knows every version of PTX.
func (d *Emulated) DriverVersion() (int, error) { return 13000, nil }

// DeviceCount implements API.
func (d *Emulated) DeviceCount() (int, error) { return 1, nil }

// DeviceGet implements API.
func (d *Emulated) DeviceGet(i int) (Device, error) {
	if i != 0 {
		return 0, failure("cuDeviceGet", InvalidDevice, "device %d of 1", i)
	}
	return 0, nil
}

// DeviceName implements API.
func (d *Emulated) DeviceName(Device) (string, error) { return d.gpu.Name + " (emulated)", nil }

// DeviceTotalMem implements API.
func (d *Emulated) DeviceTotalMem(Device) (int64, error) { return d.memory, nil }

// PrimaryContextRetain implements API.
func (d *Emulated) PrimaryContextRetain(Device) (Context, error) { return 1, nil }

// PrimaryContextRelease implements API.
func (d *Emulated) PrimaryContextRelease(Device) error {
	d.dev.Close()
	return d.wait("cuDevicePrimaryCtxRelease_v2")
}

// ContextSetCurrent implements API.
func (d *Emulated) ContextSetCurrent(Context) error { return nil }

// ContextSynchronize implements API.
func (d *Emulated) ContextSynchronize() error { return d.wait("cuCtxSynchronize") }

// MemGetInfo implements API.
func (d *Emulated) MemGetInfo() (free, total int64, err error) {
	return d.memory - d.dev.Used(), d.memory, nil
}

// MemAlloc implements API.
func (d *Emulated) MemAlloc(n int64) (Ptr, error) {
	if n <= 0 {
		return 0, failure("cuMemAlloc_v2", InvalidValue, "%d bytes", n)
	}
	if d.dev.Used()+n > d.memory {
		return 0, failure("cuMemAlloc_v2", OutOfMemory, "%d bytes, %d of %d are in use", n, d.dev.Used(), d.memory)
	}
	p, err := d.dev.Alloc(int(n))
	if err != nil {
		return 0, failure("cuMemAlloc_v2", OutOfMemory, "%v", err)
	}
	return Ptr(p), nil
}

// MemFree implements API.
func (d *Emulated) MemFree(p Ptr) error {
	if err := d.dev.Free(emu.Ptr(p)); err != nil {
		return failure("cuMemFree_v2", InvalidValue, "%v", err)
	}
	return nil
}

// MemHostAlloc implements API.
func (d *Emulated) MemHostAlloc(n int) ([]byte, error) {
	if n <= 0 {
		return nil, failure("cuMemHostAlloc", InvalidValue, "%d bytes", n)
	}
	b := make([]byte, n)
	d.pinned[unsafe.SliceData(b)] = true
	return b, nil
}

// MemFreeHost implements API.
func (d *Emulated) MemFreeHost(b []byte) error {
	if !d.pinned[unsafe.SliceData(b)] {
		return failure("cuMemFreeHost", InvalidValue, "not page-locked memory")
	}
	delete(d.pinned, unsafe.SliceData(b))
	return nil
}

// MemcpyHtoDAsync implements API.
func (d *Emulated) MemcpyHtoDAsync(p Ptr, b []byte, _ Stream) error {
	return d.enqueue("cuMemcpyHtoDAsync_v2", func() error { return d.dev.CopyIn(emu.Ptr(p), b) })
}

// MemcpyDtoHAsync implements API.
func (d *Emulated) MemcpyDtoHAsync(b []byte, p Ptr, _ Stream) error {
	return d.enqueue("cuMemcpyDtoHAsync_v2", func() error { return d.dev.CopyOut(b, emu.Ptr(p)) })
}

// MemcpyDtoDAsync implements API.
func (d *Emulated) MemcpyDtoDAsync(dst, src Ptr, n int64, _ Stream) error {
	return d.enqueue("cuMemcpyDtoDAsync_v2", func() error { return d.dev.Copy(emu.Ptr(dst), emu.Ptr(src), int(n)) })
}

// MemsetD8Async implements API.
func (d *Emulated) MemsetD8Async(p Ptr, value byte, n int64, _ Stream) error {
	return d.enqueue("cuMemsetD8Async", func() error { return d.dev.Memset(emu.Ptr(p), value, int(n)) })
}

// StreamCreate implements API.
func (d *Emulated) StreamCreate() (Stream, error) {
	d.streams++
	return Stream(d.streams), nil
}

// StreamDestroy implements API.
func (d *Emulated) StreamDestroy(Stream) error { return nil }

// StreamSynchronize implements API.
func (d *Emulated) StreamSynchronize(Stream) error { return d.wait("cuStreamSynchronize") }

// StreamWaitEvent implements API.
func (d *Emulated) StreamWaitEvent(Stream, Event) error { return nil }

// EventCreate implements API.
func (d *Emulated) EventCreate(bool) (Event, error) { return Event(d.events.add(time.Time{})), nil }

// EventDestroy implements API.
func (d *Emulated) EventDestroy(e Event) error {
	delete(d.events.items, uint64(e))
	return nil
}

// EventRecord implements API.
func (d *Emulated) EventRecord(e Event, _ Stream) error {
	return d.enqueue("cuEventRecord", func() error {
		d.events.items[uint64(e)] = time.Now()
		return nil
	})
}

// EventQuery implements API.
func (d *Emulated) EventQuery(Event) (bool, error) { return true, d.fault }

// EventSynchronize implements API.
func (d *Emulated) EventSynchronize(Event) error { return d.wait("cuEventSynchronize") }

// EventElapsed implements API: the time that emulation took.
func (d *Emulated) EventElapsed(from, to Event) (float32, error) {
	return float32(d.events.items[uint64(to)].Sub(d.events.items[uint64(from)]).Seconds() * 1e3), nil
}

// ModuleLoad implements API: the text is parsed and checked as a driver would.
func (d *Emulated) ModuleLoad(text []byte) (Module, error) {
	const call = "cuModuleLoadDataEx"
	m, err := ptx.Parse("module.ptx", text)
	if err == nil {
		raise(m)
		err = m.Check(ptx.Target{}, ptx.Version{})
	}
	if err != nil {
		return 0, &Error{Call: call, Code: InvalidPTX, Name: codeNames[InvalidPTX], Log: err.Error()}
	}
	if !m.Target.RunsOn(d.gpu.SM) {
		return 0, &Error{Call: call, Code: NoBinaryForGPU, Name: codeNames[NoBinaryForGPU], Log: fmt.Sprintf("%v does not run on sm_%d", m.Target, d.gpu.SM)}
	}
	mod, err := d.dev.Load(m)
	if err != nil {
		return 0, &Error{Call: call, Code: InvalidPTX, Name: codeNames[InvalidPTX], Log: err.Error()}
	}
	return Module(d.modules.add(mod)), nil
}

// raise takes PTX for GPUs that are older than what package ptx knows for that of the
// oldest: a driver runs it on all newer ones.
func raise(m *ptx.Module) {
	const oldest = 50
	if m.Target.SM >= oldest {
		return
	}
	m.Target.SM = oldest
	if least, _ := m.Target.MinVersion(); m.Version.Less(least) {
		m.Version = least
	}
}

// ModuleUnload implements API.
func (d *Emulated) ModuleUnload(m Module) error {
	delete(d.modules.items, uint64(m))
	return nil
}

// ModuleGetFunction implements API.
func (d *Emulated) ModuleGetFunction(m Module, name string) (Function, error) {
	mod := d.modules.items[uint64(m)]
	if mod == nil {
		return 0, failure("cuModuleGetFunction", InvalidValue, "no module %d", m)
	}
	for _, k := range mod.Kernels() {
		if k == name {
			return Function(d.functions.add(function{mod: mod, name: name, shared: 48 << 10})), nil
		}
	}
	return 0, failure("cuModuleGetFunction", NotFound, "no kernel %q; the module has %v", name, mod.Kernels())
}

// FuncSetAttribute implements API.
func (d *Emulated) FuncSetAttribute(f Function, a FuncAttribute, v int) error {
	fn, ok := d.functions.items[uint64(f)]
	if !ok || a != FuncDynamicShared || v > d.gpu.SharedBytes {
		return failure("cuFuncSetAttribute", InvalidValue, "attribute %d = %d", a, v)
	}
	fn.shared = v
	d.functions.items[uint64(f)] = fn
	return nil
}

// FuncGetAttribute implements API. Registers are not known before ptxas has
// allocated them: 0.
func (d *Emulated) FuncGetAttribute(a FuncAttribute, f Function) (int, error) {
	fn, ok := d.functions.items[uint64(f)]
	if !ok {
		return 0, failure("cuFuncGetAttribute", InvalidValue, "no function %d", f)
	}
	switch a {
	case FuncMaxThreads:
		return 1024, nil
	case FuncDynamicShared:
		return fn.shared, nil
	}
	return 0, nil
}

// LaunchKernel implements API.
func (d *Emulated) LaunchKernel(l *Launch) error {
	const call = "cuLaunchKernel"
	fn, ok := d.functions.items[uint64(l.Function)]
	if !ok {
		return failure(call, InvalidValue, "no function %d", l.Function)
	}
	if int(l.Shared) > fn.shared {
		return failure(call, InvalidValue, "%s: %d bytes of dynamic shared memory, %d are allowed", fn.name, l.Shared, fn.shared)
	}
	for i := range 3 {
		if l.Grid[i] == 0 || l.Block[i] == 0 {
			return failure(call, InvalidValue, "%s: grid %v, block %v", fn.name, l.Grid, l.Block)
		}
	}
	args := append(emu.Packed(nil), l.Args...)
	spec := emu.Launch{Kernel: fn.name, Grid: dim(l.Grid), Block: dim(l.Block), Shared: int(l.Shared)}
	if err := fn.mod.Check(spec, args); err != nil {
		return failure(call, InvalidValue, "%v", err)
	}
	return d.enqueue(call, func() error {
		if d.count++; d.count == d.lostAt {
			return errLost
		}
		return fn.mod.Launch(spec, args)
	})
}

var errLost = errors.New("the emulated GPU is taken away at this launch, as its name asks for")

func dim(v [3]uint32) emu.Dim { return emu.Dim{int(v[0]), int(v[1]), int(v[2])} }

// StreamBeginCapture implements API.
func (d *Emulated) StreamBeginCapture(Stream) error {
	if d.captures {
		return failure("cuStreamBeginCapture_v2", InvalidValue, "a capture is going on already")
	}
	d.captures = true
	return nil
}

// StreamEndCapture implements API.
func (d *Emulated) StreamEndCapture(Stream) (Graph, error) {
	if !d.captures {
		return 0, failure("cuStreamEndCapture", InvalidValue, "no capture is going on")
	}
	g := d.graphs.add(d.capturing)
	d.captures, d.capturing = false, nil
	return Graph(g), nil
}

// GraphInstantiate implements API.
func (d *Emulated) GraphInstantiate(g Graph) (GraphExec, error) {
	work, ok := d.graphs.items[uint64(g)]
	if !ok {
		return 0, failure("cuGraphInstantiateWithFlags", InvalidValue, "no graph %d", g)
	}
	return GraphExec(d.graphs.add(work)), nil
}

// GraphLaunch implements API.
func (d *Emulated) GraphLaunch(g GraphExec, _ Stream) error {
	work, ok := d.graphs.items[uint64(g)]
	if !ok {
		return failure("cuGraphLaunch", InvalidValue, "no graph %d", g)
	}
	if d.fault != nil {
		return d.fault
	}
	for _, w := range work {
		if err := d.do("cuGraphLaunch", w); err != nil {
			return err
		}
	}
	return nil
}

// GraphDestroy implements API.
func (d *Emulated) GraphDestroy(g Graph) error {
	delete(d.graphs.items, uint64(g))
	return nil
}

// GraphExecDestroy implements API.
func (d *Emulated) GraphExecDestroy(g GraphExec) error {
	delete(d.graphs.items, uint64(g))
	return nil
}
