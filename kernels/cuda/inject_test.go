package cuda_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// faulty is a driver whose calls fail where a test wants it. It also counts what is
// handed out and not given back.
type faulty struct {
	driver.API
	on    string // name of the call that fails
	from  int    // which of them, from 1, is the first to fail
	code  driver.Code
	lost  bool // every call fails from then on
	calls map[string]int
	live  map[string]int
	after int // calls since it failed
	fails bool
}

func newFaulty() *faulty {
	return &faulty{API: driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.A100}}), calls: map[string]int{}, live: map[string]int{}}
}

func (f *faulty) fail(on string, from int, code driver.Code, lost bool) {
	f.on, f.from, f.code, f.lost = on, from+f.calls[on], code, lost
}

func (f *faulty) call(name string) error {
	f.calls[name]++
	if f.fails && f.lost {
		f.after++
	} else if name != f.on || f.calls[name] < f.from {
		return nil
	}
	f.fails = true
	return &driver.Error{Call: name, Code: f.code, Name: f.code.String(), Text: "injected"}
}

// got counts a handle that a call returned.
func got[T any](f *faulty, name string, make func() (T, error)) (v T, err error) {
	if err = f.call(name); err == nil {
		if v, err = make(); err == nil {
			f.live[name]++
		}
	}
	return v, err
}

func (f *faulty) gone(name, of string, free func() error) error {
	if err := f.call(name); err != nil {
		return err
	}
	f.live[of]--
	return free()
}

func (f *faulty) done(name string, do func() error) error {
	if err := f.call(name); err != nil {
		return err
	}
	return do()
}

func (f *faulty) Init() error { return f.done("cuInit", f.API.Init) }
func (f *faulty) DriverVersion() (int, error) {
	if f.code == driver.UnsupportedPTX {
		return 10020, nil
	}
	return f.API.DriverVersion()
}
func (f *faulty) PrimaryContextRetain(d driver.Device) (driver.Context, error) {
	return got(f, "cuDevicePrimaryCtxRetain", func() (driver.Context, error) { return f.API.PrimaryContextRetain(d) })
}
func (f *faulty) PrimaryContextRelease(d driver.Device) error {
	f.live["cuDevicePrimaryCtxRetain"]--
	return f.API.PrimaryContextRelease(d)
}
func (f *faulty) ContextSetCurrent(c driver.Context) error {
	return f.done("cuCtxSetCurrent", func() error { return f.API.ContextSetCurrent(c) })
}
func (f *faulty) MemAlloc(n int64) (driver.Ptr, error) {
	return got(f, "cuMemAlloc", func() (driver.Ptr, error) { return f.API.MemAlloc(n) })
}
func (f *faulty) MemFree(p driver.Ptr) error {
	return f.gone("cuMemFree", "cuMemAlloc", func() error { return f.API.MemFree(p) })
}
func (f *faulty) MemHostAlloc(n int) ([]byte, error) {
	return got(f, "cuMemHostAlloc", func() ([]byte, error) { return f.API.MemHostAlloc(n) })
}
func (f *faulty) MemFreeHost(b []byte) error {
	return f.gone("cuMemFreeHost", "cuMemHostAlloc", func() error { return f.API.MemFreeHost(b) })
}
func (f *faulty) MemcpyHtoDAsync(p driver.Ptr, b []byte, s driver.Stream) error {
	return f.done("cuMemcpyHtoDAsync", func() error { return f.API.MemcpyHtoDAsync(p, b, s) })
}
func (f *faulty) MemcpyDtoHAsync(b []byte, p driver.Ptr, s driver.Stream) error {
	return f.done("cuMemcpyDtoHAsync", func() error { return f.API.MemcpyDtoHAsync(b, p, s) })
}
func (f *faulty) StreamCreate() (driver.Stream, error) {
	return got(f, "cuStreamCreate", f.API.StreamCreate)
}
func (f *faulty) StreamDestroy(s driver.Stream) error {
	return f.gone("cuStreamDestroy", "cuStreamCreate", func() error { return f.API.StreamDestroy(s) })
}
func (f *faulty) StreamSynchronize(s driver.Stream) error {
	return f.done("cuStreamSynchronize", func() error { return f.API.StreamSynchronize(s) })
}
func (f *faulty) EventCreate(timing bool) (driver.Event, error) {
	return got(f, "cuEventCreate", func() (driver.Event, error) { return f.API.EventCreate(timing) })
}
func (f *faulty) EventDestroy(e driver.Event) error {
	return f.gone("cuEventDestroy", "cuEventCreate", func() error { return f.API.EventDestroy(e) })
}
func (f *faulty) ModuleLoad(text []byte) (driver.Module, error) {
	return got(f, "cuModuleLoadDataEx", func() (driver.Module, error) { return f.API.ModuleLoad(text) })
}
func (f *faulty) ModuleUnload(m driver.Module) error {
	return f.gone("cuModuleUnload", "cuModuleLoadDataEx", func() error { return f.API.ModuleUnload(m) })
}
func (f *faulty) LaunchKernel(l *driver.Launch) error {
	return f.done("cuLaunchKernel", func() error { return f.API.LaunchKernel(l) })
}
func (f *faulty) GraphInstantiate(g driver.Graph) (driver.GraphExec, error) {
	return got(f, "cuGraphInstantiate", func() (driver.GraphExec, error) { return f.API.GraphInstantiate(g) })
}
func (f *faulty) GraphExecDestroy(g driver.GraphExec) error {
	return f.gone("cuGraphExecDestroy", "cuGraphInstantiate", func() error { return f.API.GraphExecDestroy(g) })
}

// says fails the test unless an error contains all the words.
func says(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %v\ndoes not say %q", err, w)
		}
	}
}

func (f *faulty) allBack(t *testing.T) {
	t.Helper()
	for what, n := range f.live {
		if n != 0 {
			t.Errorf("%s: %d not given back", what, n)
		}
	}
}

// TestOpenFails: whatever fails in New, it says what to do and keeps nothing.
func TestOpenFails(t *testing.T) {
	for _, c := range []struct {
		on    string
		from  int
		code  driver.Code
		words []string
	}{
		{"cuInit", 1, driver.NoDevice, []string{"CUDA_ERROR_NO_DEVICE", "CUDA_VISIBLE_DEVICES", "--device cpu"}},
		{"cuInit", 1, driver.DriverMismatch, []string{"different versions", "restart"}},
		{"cuInit", 1, driver.SystemNotReady, []string{"fabricmanager"}},
		{"cuInit", 1, driver.StubLibrary, []string{"stub", "LD_LIBRARY_PATH"}},
		{"cuInit", 1, driver.Unknown, []string{"kernel module"}},
		{"cuDevicePrimaryCtxRetain", 1, driver.DeviceUnavailable, []string{"GPU 0, A100", "another process"}},
		{"cuStreamCreate", 1, driver.OutOfMemory, []string{"GPU 0, A100", "CUDA_ERROR_OUT_OF_MEMORY"}},
		{"cuMemHostAlloc", 1, driver.OutOfMemory, []string{"CUDA_ERROR_OUT_OF_MEMORY"}},
		{"cuMemHostAlloc", 2, driver.OutOfMemory, []string{"CUDA_ERROR_OUT_OF_MEMORY"}},
		{"cuEventCreate", 2, driver.OutOfMemory, []string{"CUDA_ERROR_OUT_OF_MEMORY"}},
		{"cuMemAlloc", 1, driver.OutOfMemory, []string{"CUDA_ERROR_OUT_OF_MEMORY"}},
	} {
		f := newFaulty()
		f.fail(c.on, c.from, c.code, false)
		_, err := cuda.New(f, cuda.Options{})
		says(t, err, c.words...)
		if c.on == "cuDevicePrimaryCtxRetain" {
			continue // nothing was taken
		}
		f.allBack(t)
	}
	_, err := cuda.New(newFaulty(), cuda.Options{Device: 3})
	says(t, err, "GPU 3", "1")
	_, err = cuda.New(driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.T4}}), cuda.Options{})
	says(t, err, "7.5", "8.0", "--device cpu")
}

func TestNoDriver(t *testing.T) {
	t.Setenv("SELKIE_LIBCUDA", "/nonexistent/libcuda.so.1")
	_, err := driver.Open()
	says(t, err, "--device cpu")
	if runtime.GOOS == "linux" {
		says(t, err, "no NVIDIA driver", "/nonexistent/libcuda.so.1", "SELKIE_LIBCUDA")
	}
}

// floats is n floats on a backend.
func floats(t *testing.T, b *cuda.Backend, n int) kernels.Buffer {
	t.Helper()
	m, err := b.Alloc(int64(4 * n))
	if err != nil {
		t.Fatal(err)
	}
	return kernels.Buffer{Mem: m, DType: kernels.F32}
}

func open(t *testing.T, f *faulty, opt cuda.Options) *cuda.Backend {
	t.Helper()
	b, err := cuda.New(f, opt)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOutOfMemory: the message says what holds the memory and what lowers it, and the
// backend goes on.
func TestOutOfMemory(t *testing.T) {
	f := newFaulty()
	b := open(t, f, cuda.Options{})
	w, err := b.MapHost(make([]byte, 3<<20))
	if err != nil {
		t.Fatal(err)
	}
	x := floats(t, b, 1<<20)
	kept := floats(t, b, 1<<21)
	b.Free(kept.Mem)
	f.fail("cuMemAlloc", 1, driver.OutOfMemory, false)
	_, err = b.Alloc(1 << 30)
	says(t, err, "1073741824 bytes", "CUDA_ERROR_OUT_OF_MEMORY", "3.0 MiB are weights", "4.0 MiB activations", "12.0 MiB kept for reuse", "of 81920.0 MiB",
		"run.max_batch_tokens", "run.max_adapters", "run.recompute=true")
	_, err = b.MapHost(make([]byte, 1<<20))
	says(t, err, "weights of 1048576 bytes", "CUDA_ERROR_OUT_OF_MEMORY", "3.0 MiB are weights")
	f.on = ""
	y := floats(t, b, 1<<10) // memory that was kept
	b.Fill(kernels.FillArgs{Dst: y, N: 1 << 10, Value: 2})
	if err := b.Sync(); err != nil {
		t.Error(err)
	}
	b.Free(x.Mem)
	b.Free(y.Mem)
	b.Free(w)
	// Memory that is cached is given up where a larger piece is wanted.
	f.from, f.on, f.code = f.calls["cuMemAlloc"]+1, "cuMemAlloc", driver.OutOfMemory
	f.fails = false
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	f.allBack(t)

	b = open(t, newFaulty(), cuda.Options{Limit: 1 << 20})
	_, err = b.Alloc(2 << 20)
	says(t, err, "2097152 bytes", "memory limit is 1.0 MiB")
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// TestKernelDoesNotLoad: a driver that is too old or lacks its compiler, and text that
// it refuses.
func TestKernelDoesNotLoad(t *testing.T) {
	for _, c := range []struct {
		code  driver.Code
		words []string
	}{
		{driver.UnsupportedPTX, []string{"fill_4", "PTX", "7.0", "CUDA 11.0", "CUDA 10.2", "update"}},
		{driver.NoJITCompiler, []string{"libnvidia-ptxjitcompiler"}},
		{driver.InvalidPTX, []string{"CUDA_ERROR_INVALID_PTX"}},
	} {
		f := newFaulty()
		f.code = c.code
		b := open(t, f, cuda.Options{})
		x := floats(t, b, 8)
		f.fail("cuModuleLoadDataEx", 1, c.code, false)
		b.Fill(kernels.FillArgs{Dst: x, N: 8})
		says(t, b.Sync(), append(c.words, "Fill")...)
		f.on = ""
		b.Fill(kernels.FillArgs{Dst: x, N: 8})
		b.Free(x.Mem)
		if err := errors.Join(b.Sync(), b.Close()); err != nil {
			t.Errorf("after it loads: %v", err)
		}
		f.allBack(t)
	}
}

// TestLaunchFails: a launch that the driver refuses names op and kernel; the GPU goes on.
func TestLaunchFails(t *testing.T) {
	f := newFaulty()
	b := open(t, f, cuda.Options{})
	x := floats(t, b, 8)
	f.fail("cuLaunchKernel", 1, driver.LaunchOutOfMemory, false)
	b.Fill(kernels.FillArgs{Dst: x, N: 8})
	f.on = ""
	b.Fill(kernels.FillArgs{Dst: x, N: 8})
	says(t, b.Sync(), "Fill", "fill_4", "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "grid")
	b.Free(x.Mem)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// TestLost: after a fault every call says that the GPU is lost, none waits for it,
// and Close returns.
func TestLost(t *testing.T) {
	for _, c := range []struct {
		on   string
		code driver.Code
	}{
		{"cuStreamSynchronize", driver.IllegalAddress}, {"cuStreamSynchronize", driver.LaunchFailed}, {"cuStreamSynchronize", 214},
		{"cuLaunchKernel", driver.DeviceUnavailable}, {"cuMemcpyDtoHAsync", driver.LaunchTimeout}, {"cuCtxSetCurrent", driver.Deinitialized},
	} {
		f := newFaulty()
		b := open(t, f, cuda.Options{})
		x := floats(t, b, 8)
		b.CopyIn(x, make([]byte, 32))
		b.Fill(kernels.FillArgs{Dst: x, N: 8, Value: 1})
		f.fail(c.on, 1, c.code, true)
		b.Fill(kernels.FillArgs{Dst: x, N: 8, Value: 2})
		out := make([]byte, 32)
		words := []string{"lost", "A100", c.code.String(), "start the same command again"}
		says(t, b.CopyOut(out, x), words...)
		failed := f.after
		b.Fill(kernels.FillArgs{Dst: x, N: 8})
		says(t, b.Sync(), words...)
		says(t, b.CopyOut(out, x), words...)
		_, err := b.Alloc(8)
		says(t, err, words...)
		_, err = b.MapHost(out)
		says(t, err, words...)
		b.CopyIn(x, out)
		b.Free(x.Mem)
		b.Trim()
		says(t, b.Close(), words...)
		if f.after != failed {
			t.Errorf("%v: %d calls of the driver after it was known that the GPU is lost", c.code, f.after-failed)
		}
		if err := b.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	}
}

// TestIllegalAddress is one that the emulator finds.
func TestIllegalAddress(t *testing.T) {
	b, err := cuda.New(driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.A100}}), cuda.Options{Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	x := floats(t, b, 8)
	b.Fill(kernels.FillArgs{Dst: x, N: 1 << 20})
	says(t, b.Sync(), "lost", "CUDA_ERROR_ILLEGAL_ADDRESS", "fill_4")
	says(t, b.Close(), "lost")
}

// TestNothingLeaks runs a thousand steps of mixed ops: memory, handles and goroutines
// stay what they are after the first few.
func TestNothingLeaks(t *testing.T) {
	f := newFaulty()
	b := open(t, f, cuda.Options{})
	const n = 512
	table := floats(t, b, n)
	b.Fill(kernels.FillArgs{Dst: table, N: n, Value: 1})
	index := make([]byte, 4*8)
	step := func() {
		x, y := floats(t, b, n), floats(t, b, n)
		m, err := b.Alloc(int64(len(index)))
		if err != nil {
			t.Fatal(err)
		}
		at := kernels.Buffer{Mem: m, DType: kernels.I32}
		b.CopyIn(at, index)
		b.Fill(kernels.FillArgs{Dst: y, N: n, Value: 2})
		b.Gather(kernels.GatherArgs{Dst: x, Src: table, Index: at, Rows: 8, Cols: n / 8, SrcRows: 8})
		b.Add(kernels.AddArgs{Dst: x, A: x, B: y, N: n})
		b.Free(y.Mem)
		z := floats(t, b, n/2)
		b.Copy(kernels.CopyArgs{Dst: z, Src: x, Rows: 2, Cols: n / 4, DstStride: n / 4, SrcStride: n / 4})
		out := make([]byte, 4)
		if err := b.CopyOut(out, z.At(n/2-1)); err != nil {
			t.Fatal(err)
		}
		if out[3] != 0x40 || out[2] != 0x40 { // 3 as a float
			t.Fatalf("the step computes %x", out)
		}
		b.Free(x.Mem)
		b.Free(m)
		b.Free(z.Mem)
	}
	for range 10 {
		step()
	}
	stats, goroutines := b.Stats(), runtime.NumGoroutine()
	live := map[string]int{}
	for k, v := range f.live {
		live[k] = v
	}
	waits := f.calls["cuStreamSynchronize"]
	for range 1000 {
		step()
	}
	if got := b.Stats(); got != stats {
		t.Errorf("memory after 1,000 steps: %+v, before: %+v", got, stats)
	}
	for k, v := range f.live {
		if v != live[k] {
			t.Errorf("%s: %d are held after 1,000 steps, %d before", k, v, live[k])
		}
	}
	if got := f.calls["cuStreamSynchronize"] - waits; got != 1000 {
		t.Errorf("%d waits in 1,000 steps with one copy out each", got)
	}
	if got := runtime.NumGoroutine(); got > goroutines {
		t.Errorf("%d goroutines after 1,000 steps, %d before", got, goroutines)
	}
	t.Logf("%+v, held: %v", stats, live)
	b.Free(table.Mem)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	f.allBack(t)
}
