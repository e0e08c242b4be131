package cuda_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/kerneltest"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// emulated returns a backend on an emulated GPU whose sanitiser sees everything.
func emulated(t *testing.T, gpu *emu.GPU, s emu.Schedule) kernels.Backend {
	t.Helper()
	api := driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: gpu, Schedule: s, Seed: 1, Checks: emu.AllChecks}})
	b, err := cuda.New(api, cuda.Options{Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestConformance is the suite on emulated GPUs under every schedule, at odd addresses and
// at those of real buffers, large problems under one of them; SELKIE_HEAVY tries every
// combination.
func TestConformance(t *testing.T) {
	f32, bf16, f16 := kernels.F32, kernels.BF16, kernels.F16
	type suite struct {
		schedule emu.Schedule
		gpu      *emu.GPU
		aligned  bool
		dtypes   []kernels.DType
		limit    int
	}
	const large, small = 1 << 16, 1 << 14
	list := []suite{
		{emu.RoundRobin, emu.A100, false, []kernels.DType{f32, bf16}, large},
		{emu.Random, emu.H100, true, []kernels.DType{bf16, f16}, small},
		{emu.Adversarial, emu.A100, true, []kernels.DType{f32, bf16}, small},
	}
	if os.Getenv("SELKIE_HEAVY") != "" {
		list = nil
		for _, s := range []emu.Schedule{emu.RoundRobin, emu.Random, emu.Adversarial} {
			for _, gpu := range []*emu.GPU{emu.A100, emu.H100} {
				for _, aligned := range []bool{false, true} {
					list = append(list, suite{s, gpu, aligned, []kernels.DType{f32, bf16, f16}, large})
				}
			}
		}
	}
	for _, c := range list {
		name, _, _ := strings.Cut(fmt.Sprintf("%v-%s", c.schedule, c.gpu.Name), " ")
		if c.aligned {
			name += "-aligned"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, func(t *testing.T) kernels.Backend { return emulated(t, c.gpu, c.schedule) },
				kerneltest.Options{Seed: uint64(3 + c.schedule), SpreadNaN: true, Aligned: c.aligned, DTypes: c.dtypes, Limit: c.limit})
		})
	}
}

// TestConformanceGPU is the suite on a real GPU, if there is one.
func TestConformanceGPU(t *testing.T) {
	gpu := func(t *testing.T) kernels.Backend {
		api, err := driver.Open()
		if err != nil {
			t.Log(err)
			kerneltest.Require(t, "cuda", false)
		}
		b, err := cuda.New(api, cuda.Options{})
		if err != nil {
			t.Log(err)
			kerneltest.Require(t, "cuda", false)
		}
		return b
	}
	first := gpu(t).(*cuda.Backend)
	t.Log(first.Describe())
	limit := 0
	if strings.Contains(first.Info().Name, "emulated") { // by a library that SELKIE_LIBCUDA names
		limit = 1 << 14
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	heavy := os.Getenv("SELKIE_HEAVY") != ""
	for _, aligned := range []bool{false, true} {
		t.Run(fmt.Sprintf("aligned %t", aligned), func(t *testing.T) {
			kerneltest.Run(t, gpu, kerneltest.Options{Seed: 7, SpreadNaN: true, Aligned: aligned, Heavy: heavy, Limit: limit})
		})
	}
}

// Steps that repeat go out as graphs, and what they read may change in between.
func TestReplayedSteps(t *testing.T) {
	b, err := cuda.New(driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.A100, Checks: emu.AllChecks}}), cuda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, b: b}
	const n, steps = 1000, 6
	x, sum := d.zeros(n), d.zeros(n)
	want := 0.0
	for step := range steps {
		d.b.CopyIn(x, encode(float32(step), n))
		for range 5 {
			part, err := b.Alloc(4 * n) // the arena gives the same memory every time
			if err != nil {
				t.Fatal(err)
			}
			half := kernels.Buffer{Mem: part, DType: kernels.F32}
			b.Add(kernels.AddArgs{Dst: half, A: x, B: x, N: n})
			b.Add(kernels.AddArgs{Dst: sum, A: sum, B: half, N: n})
			b.Free(part)
			want += 2 * float64(step)
		}
		for i, v := range d.get(sum, n) {
			if v != want {
				t.Fatalf("step %d: sum[%d] is %v, want %v", step, i, v, want)
			}
		}
	}
	if s := b.LaunchStats(); s.Graphs != steps-1 || s.Direct != 10 {
		t.Errorf("%+v, want the first step's launches direct and %d graphs", s, steps-1)
	}
	d.free()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// An allocation that takes the memory of what was freed waits for launches that use it and
// are still held back.
func TestTrimBehindHeldLaunches(t *testing.T) {
	const n = 1 << 18
	b, err := cuda.New(driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.A100, Checks: emu.AllChecks}, Memory: 50 << 20}), cuda.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, b: b}
	alloc := func(bytes int64) kernels.Buffer {
		m, err := b.Alloc(bytes)
		if err != nil {
			t.Fatal(err)
		}
		return kernels.Buffer{Mem: m, DType: kernels.F32}
	}
	sum := d.zeros(n)
	for step := range 3 {
		part := alloc(20 << 20) // in a chunk of its own
		for range 5 {
			b.Fill(kernels.FillArgs{Dst: part, N: n, Value: 1})
			b.Add(kernels.AddArgs{Dst: sum, A: sum, B: part, N: n})
		}
		b.Free(part.Mem)
		if step > 0 { // the launches are those of the step before, and wait for the last of them
			b.Free(alloc(30 << 20).Mem)
		}
		if err := b.Sync(); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
	}
	for i, v := range d.get(sum, n) {
		if v != 15 {
			t.Fatalf("sum[%d] is %v, want 15", i, v)
		}
	}
	d.free()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func encode(v float32, n int) []byte {
	var raw []byte
	for range n {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return raw
}
