package cuda_test

import (
	"fmt"
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
