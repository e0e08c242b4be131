package cuda_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/kerneltest"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// incomplete lets the suite run while ops are missing.
type incomplete struct {
	*cuda.Backend
	missing
}

type missing struct{ kernels.Backend }

// emulated returns a backend on an emulated GPU whose sanitiser sees everything.
func emulated(t *testing.T, gpu *emu.GPU, s emu.Schedule) kernels.Backend {
	t.Helper()
	api := driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: gpu, Schedule: s, Seed: 1, Checks: emu.AllChecks}})
	b, err := cuda.New(api, cuda.Options{Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	return incomplete{Backend: b}
}

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		schedule emu.Schedule
		gpu      *emu.GPU
		aligned  bool
	}{{emu.RoundRobin, emu.A100, false}, {emu.Random, emu.H100, true}, {emu.Adversarial, emu.A100, true}, {emu.Adversarial, emu.A100, false}} {
		name := fmt.Sprint(c.schedule)
		if c.aligned {
			name += "-aligned"
		}
		t.Run(name, func(t *testing.T) {
			kerneltest.Run(t, func(t *testing.T) kernels.Backend { return emulated(t, c.gpu, c.schedule) },
				kerneltest.Options{Seed: uint64(3 + c.schedule), SpreadNaN: true, Aligned: c.aligned, Limit: 1 << 16})
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
		return incomplete{Backend: b}
	}
	first := gpu(t).(incomplete)
	t.Log(first.Describe())
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	heavy := os.Getenv("SELKIE_HEAVY") != ""
	for _, aligned := range []bool{false, true} {
		t.Run(fmt.Sprintf("aligned %t", aligned), func(t *testing.T) {
			kerneltest.Run(t, gpu, kerneltest.Options{Seed: 7, SpreadNaN: true, Aligned: aligned, Heavy: heavy})
		})
	}
}
