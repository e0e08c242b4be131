package kerneltest

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/ref"
)

// An op that is added to the interface must be put on trial.
func TestEveryOpHasACase(t *testing.T) {
	elsewhere := []string{"Name", "NumericsID", "Alloc", "Free", "CopyIn", "CopyOut", "Sync", "Stats", "ResetPeak", "Trim", "Close",
		"LoRABackwardScratch", "AttentionBackwardScratch", "CrossEntropyScratch"} // used by other cases
	backend := reflect.TypeFor[kernels.Backend]()
	for i := range backend.NumMethod() {
		name := backend.Method(i).Name
		if !slices.Contains(elsewhere, name) && !slices.ContainsFunc(cases, func(c testCase) bool { return c.name == name }) {
			t.Errorf("no case for %s", name)
		}
	}
}

// verdict is a tb that keeps the first failure and stops there.
type verdict struct{ failure string }

type stopped struct{}

func (v *verdict) Helper()             {}
func (v *verdict) Logf(string, ...any) {}
func (v *verdict) Errorf(format string, args ...any) {
	v.failure = fmt.Sprintf(format, args...)
	panic(stopped{})
}
func (v *verdict) Fatalf(format string, args ...any) { v.Errorf(format, args...) }

// judge runs one case and returns its first failure, "" if there is none.
func judge(name string, k kernels.Backend, opt Options) (failure string) {
	v := new(verdict)
	defer func() {
		failure = v.failure
		if p := recover(); p != nil && p != (stopped{}) {
			failure = fmt.Sprint("panic: ", p)
		}
	}()
	i := slices.IndexFunc(cases, func(c testCase) bool { return c.name == name })
	runCase(v, cases[i], k, opt)
	return
}

// Every mutant, ref with one fault, must be caught by the case named.
func TestMutantsAreCaught(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.fault, func(t *testing.T) {
			failure := judge(m.caught, m.backend(ref.New()), Options{})
			if failure == "" {
				t.Errorf("the case %s does not notice", m.caught)
			}
			t.Logf("%s", failure)
		})
	}
}

func TestOptions(t *testing.T) {
	if failure := judge("Attention", attentionSpreads{ref.New()}, Options{SpreadNaN: true}); failure != "" {
		t.Errorf("SpreadNaN does not excuse: %s", failure)
	}
	if failure := judge("Attention", attentionCrosses{ref.New()}, Options{SpreadNaN: true}); failure == "" {
		t.Error("SpreadNaN excuses attention across sequences")
	}
	if failure := judge("Linear", linearOff{ref.New()}, Options{Loose: 1e3, DTypes: []kernels.DType{kernels.F32}}); failure != "" {
		t.Errorf("Loose does not loosen: %s", failure)
	}
	if failure := judge("Linear", linearPadding{ref.New()}, Options{Limit: 2000}); failure == "" {
		t.Error("small problems do not notice a read beyond the end")
	}
	for _, c := range cases {
		if failure := judge(c.name, ref.New(), Options{Limit: 16_000, DTypes: []kernels.DType{kernels.F32}}); failure != "" {
			t.Errorf("%s with small problems only: %s", c.name, failure)
		}
	}
}

func TestRequire(t *testing.T) {
	t.Setenv("SELKIE_REQUIRE_BACKENDS", "ref, cpu-avx2")
	if !demanded("ref") || !demanded("cpu-avx2") || demanded("cpu") || demanded("") {
		t.Error("the list is not read as it stands")
	}
	Require(t, "cpu-avx2", true)
	t.Run("not demanded", func(t *testing.T) {
		defer func() {
			if !t.Skipped() {
				t.Error("want a skip")
			}
		}()
		Require(t, "cuda", false)
	})
}
