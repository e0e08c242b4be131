package cuda_test

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/kernels/kerneltest"
	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
	"github.com/selkie-ml/selkie/ptx/mutate"
	"github.com/selkie-ml/selkie/ptx/mutate/mutatetest"
)

// suite is one way of running a case of kerneltest on the emulator.
type suite struct {
	schedule emu.Schedule
	aligned  bool
}

var suites = []suite{{emu.RoundRobin, true}, {emu.RoundRobin, false}, {emu.Adversarial, true}, {emu.Adversarial, false}}

// try runs a case with the kernels that emit gives, up to the first failure.
func (s suite) try(name string, emit func(kernel.Any) *ptx.Module) error {
	api := driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.A100, Schedule: s.schedule, Seed: 1, Checks: emu.AllChecks, Workers: 1, Budget: 1 << 22}})
	b, err := cuda.New(api, cuda.Options{Direct: true})
	if err != nil {
		return err
	}
	b.SetEmit(emit)
	limit := 1 << 13
	if name == "KVStore" || name == "AttentionPaged" {
		limit = 1 << 16 // caches have pages
	}
	return kerneltest.Try(name, b, kerneltest.Options{Seed: 5, SpreadNaN: true, Aligned: s.aligned, Limit: limit,
		DTypes: []kernels.DType{kernels.F32, kernels.BF16}})
}

// subject is a kernel and the case that uses it.
type subject struct {
	caseName string
	kernel   kernel.Any
}

// kind tells kernels apart that differ in more than which storages they convert:
// their Go type, their sizes, and where all storages are halves.
func (s subject) kind() string {
	v := reflect.ValueOf(s.kernel)
	text := s.caseName + " " + v.Type().Name()
	for i := range v.NumField() {
		if dt, ok := v.Field(i).Interface().(kernels.DType); ok {
			text += fmt.Sprintf(" %t", dt == kernels.F32)
		} else {
			text += fmt.Sprintf(" %v", v.Field(i).Interface())
		}
	}
	return text
}

// subjects are the kernels that the suite uses, one of each kind.
func subjects(t *testing.T) []subject {
	seen := map[string]bool{}
	var out []subject
	for _, name := range kerneltest.Cases() {
		switch name {
		case "Memory", "MapHost", "Errors", "PagedEqualsPrefill":
			continue // other cases have their kernels
		}
		for _, s := range suites[:2] {
			err := s.try(name, func(k kernel.Any) *ptx.Module {
				if sub := (subject{name, k}); !seen[sub.kind()] {
					seen[sub.kind()] = true
					out = append(out, sub)
				}
				return kernel.Module(k)
			})
			if err != nil {
				t.Fatalf("%s without a mutant: %v", name, err)
			}
		}
	}
	return out
}

// killed runs the case with a mutant in the kernel's place and says what noticed it.
func (s subject) killed(m *mutate.Mutant) string {
	for _, try := range append(suites[:len(suites):len(suites)], suite{emu.Random, true}) {
		for _, name := range []string{s.caseName, "Errors"} {
			if name == "Errors" && try != suites[1] {
				continue // once is enough
			}
			err := try.try(name, func(k kernel.Any) *ptx.Module {
				if k == s.kernel {
					return m.Module()
				}
				return kernel.Module(k)
			})
			if err != nil {
				return noticed(err)
			}
		}
	}
	return ""
}

// noticed says in a few words what noticed a mutant.
func noticed(err error) string {
	text := err.Error()
	if _, finding, ok := strings.Cut(text, "the sanitiser found:\n"); ok {
		kind, _, _ := strings.Cut(finding, ":")
		return "finding " + kind
	}
	if strings.Contains(text, "CUDA_ERROR") {
		return "failed launch"
	}
	return "wrong result"
}

// TestMutants plants defects in a seeded sample of as many places as SELKIE_MUTANTS says.
// It fails for now: about half survive, since the suite's problems are smaller than large
// tiles. CONTRIBUTING.md says so.
func TestMutants(t *testing.T) {
	if os.Getenv("SELKIE_MUTANTS") == "" {
		t.Skip("takes minutes: SELKIE_MUTANTS=200 tries so many")
	}
	sample := mutatetest.Sample(t, 200)
	var jobs []mutatetest.Job
	for _, s := range subjects(t) {
		for _, m := range mutate.All(kernel.Module(s.kernel)) {
			jobs = append(jobs, mutatetest.Job{Group: s.caseName, Kernel: s.kernel.Name(), Mutant: m, Killed: func() string { return s.killed(m) }})
		}
	}
	total := len(jobs)
	mutatetest.Run(t, "testdata/mutants.txt", "Mutants of the GPU kernels, by SELKIE_MUTANTS=all", mutatetest.Pick(jobs, sample), total, sample == 0)
}
