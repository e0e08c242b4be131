package driver_test

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// scalePTX multiplies n floats at p by a factor, and counts its blocks.
const scalePTX = `.version 7.0
.target sm_80
.address_size 64
.visible .entry scale(.param .u64 p, .param .u32 n, .param .f32 factor)
{
	.reg .pred %q;
	.reg .b32 %r<6>;
	.reg .f32 %f<3>;
	.reg .b64 %d<4>;
	ld.param.u64 %d0, [p];
	ld.param.u32 %r0, [n];
	ld.param.f32 %f0, [factor];
	cvta.to.global.u64 %d0, %d0;
	mov.u32 %r1, %ctaid.x;
	mov.u32 %r2, %ntid.x;
	mov.u32 %r3, %tid.x;
	mad.lo.u32 %r4, %r1, %r2, %r3;
	setp.ge.u32 %q, %r4, %r0;
	@%q ret;
	mul.wide.u32 %d1, %r4, 4;
	add.u64 %d2, %d0, %d1;
	ld.global.f32 %f1, [%d2];
	mul.f32 %f2, %f1, %f0;
	st.global.f32 [%d2], %f2;
	ret;
}
`

// must fails the test where a call fails.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// wants fails the test unless a call failed with one of the codes.
func wants(t *testing.T, what string, err error, codes ...driver.Code) {
	t.Helper()
	var e *driver.Error
	if !errors.As(err, &e) {
		t.Errorf("%s: %v, want one of %v", what, err, codes)
		return
	}
	for _, c := range codes {
		if e.Code == c {
			if e.Name != c.String() {
				t.Errorf("%s: result %d is called %q, cuda.h says %q", what, c, e.Name, c)
			}
			return
		}
	}
	t.Errorf("%s: %v, want one of %v", what, err, codes)
}

// testAPI uses every call of a driver once, and the failures that need no luck.
func testAPI(t *testing.T, api driver.API) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	check(t, api.Init())
	if v := must[int](t)(api.DriverVersion()); v < 11040 {
		t.Errorf("driver version %d", v)
	}
	if n := must[int](t)(api.DeviceCount()); n < 1 {
		t.Fatalf("%d devices", n)
	}
	_, err := api.DeviceGet(1 << 20)
	wants(t, "a device that there is not", err, driver.InvalidDevice)
	dev := must[driver.Device](t)(api.DeviceGet(0))
	name := must[string](t)(api.DeviceName(dev))
	major := must[int](t)(api.DeviceAttribute(driver.AttrCapabilityMajor, dev))
	if name == "" || strings.Contains(name, "\x00") || major < 7 {
		t.Errorf("device %q of compute capability %d.x", name, major)
	}
	_, err = api.DeviceAttribute(1<<20, dev)
	wants(t, "an attribute that there is not", err, driver.InvalidValue)
	total := must[int64](t)(api.DeviceTotalMem(dev))
	ctx := must[driver.Context](t)(api.PrimaryContextRetain(dev))
	check(t, api.ContextSetCurrent(ctx))
	free, total2, err := api.MemGetInfo()
	if err != nil || free <= 0 || free > total2 || total2 > total {
		t.Errorf("memory: %d free of %d, the device has %d: %v", free, total2, total, err)
	}
	t.Logf("%s: %s with %d MiB", api.Name(), name, total>>20)

	const n = 1000
	p := must[driver.Ptr](t)(api.MemAlloc(4 * n))
	q := must[driver.Ptr](t)(api.MemAlloc(4 * n))
	_, err = api.MemAlloc(0)
	wants(t, "no bytes", err, driver.InvalidValue)
	_, err = api.MemAlloc(1 << 50)
	wants(t, "a petabyte", err, driver.OutOfMemory)
	host := must[[]byte](t)(api.MemHostAlloc(4 * n))
	s := must[driver.Stream](t)(api.StreamCreate())
	from, to := must[driver.Event](t)(api.EventCreate(true)), must[driver.Event](t)(api.EventCreate(true))
	plain := must[driver.Event](t)(api.EventCreate(false))

	_, err = api.ModuleLoad([]byte("this is no PTX"))
	wants(t, "text that is no PTX", err, driver.InvalidPTX)
	var e *driver.Error
	if errors.As(err, &e); e == nil || e.Log == "" {
		t.Errorf("text that is no PTX: no log of the JIT compiler in %v", err)
	}
	mod := must[driver.Module](t)(api.ModuleLoad([]byte(scalePTX)))
	_, err = api.ModuleGetFunction(mod, "absent")
	wants(t, "a kernel that there is not", err, driver.NotFound)
	f := must[driver.Function](t)(api.ModuleGetFunction(mod, "scale"))
	if v := must[int](t)(api.FuncGetAttribute(driver.FuncMaxThreads, f)); v < 64 || v > 1024 {
		t.Errorf("blocks may have %d threads", v)
	}
	check(t, api.FuncSetAttribute(f, driver.FuncDynamicShared, 64<<10))
	wants(t, "more shared memory than a block has", api.FuncSetAttribute(f, driver.FuncDynamicShared, 1<<20), driver.InvalidValue)

	for i := range n {
		binary.LittleEndian.PutUint32(host[4*i:], math.Float32bits(float32(i)))
	}
	args := binary.LittleEndian.AppendUint64(nil, uint64(q))
	args = binary.LittleEndian.AppendUint32(args, n)
	args = binary.LittleEndian.AppendUint32(args, math.Float32bits(3))
	scale := &driver.Launch{Function: f, Grid: [3]uint32{(n + 63) / 64, 1, 1}, Block: [3]uint32{64, 1, 1}, Shared: 1 << 10, Stream: s, Args: args}
	check(t, api.EventRecord(from, s), api.MemcpyHtoDAsync(p, host, s), api.MemsetD8Async(q, 0, 4*n, s), api.MemcpyDtoDAsync(q, p, 4*n, s),
		api.LaunchKernel(scale), api.EventRecord(to, s), api.EventRecord(plain, s), api.StreamWaitEvent(s, plain), api.EventSynchronize(to))
	if done := must[bool](t)(api.EventQuery(to)); !done {
		t.Error("an event that was waited for has not happened")
	}
	if ms := must[float32](t)(api.EventElapsed(from, to)); ms < 0 || ms > 60e3 {
		t.Errorf("%v ms", ms)
	}
	bad := *scale
	bad.Block[0] = 4096
	wants(t, "a block of 4,096 threads", api.LaunchKernel(&bad), driver.InvalidValue)

	// A graph does again what was enqueued, on the data that it finds.
	check(t, api.StreamBeginCapture(s), api.LaunchKernel(scale), api.MemcpyDtoHAsync(host, q, s))
	g := must[driver.Graph](t)(api.StreamEndCapture(s))
	x := must[driver.GraphExec](t)(api.GraphInstantiate(g))
	for i := range 2 {
		check(t, api.GraphLaunch(x, s), api.StreamSynchronize(s))
		want := float32(9)
		if i == 1 {
			want = 27
		}
		for i := range n {
			if got := math.Float32frombits(binary.LittleEndian.Uint32(host[4*i:])); got != want*float32(i) {
				t.Fatalf("element %d is %v, want %v", i, got, want*float32(i))
			}
		}
	}
	check(t, api.GraphExecDestroy(x), api.GraphDestroy(g), api.ContextSynchronize(), api.ModuleUnload(mod), api.EventDestroy(from), api.EventDestroy(to),
		api.EventDestroy(plain), api.StreamDestroy(s), api.MemFreeHost(host), api.MemFree(p), api.MemFree(q), api.PrimaryContextRelease(dev))
}

func TestEmulated(t *testing.T) {
	testAPI(t, driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.A100, Checks: emu.AllChecks}}))
}

// TestLibrary runs where there is a driver, or SELKIE_LIBCUDA names one.
func TestLibrary(t *testing.T) {
	api, err := driver.Open()
	if err != nil && os.Getenv("SELKIE_LIBCUDA") != "" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	testAPI(t, api)
}

func BenchmarkLibrary(b *testing.B) {
	api, err := driver.Open()
	if err != nil {
		b.Skip(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := api.Init(); err != nil {
		b.Skip(err)
	}
	ctx, err := api.PrimaryContextRetain(0)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := api.ContextSetCurrent(ctx); err != nil {
			b.Fatal(err)
		}
	}
}
