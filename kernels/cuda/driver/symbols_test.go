//go:build !nocuda && ((linux && !android) || windows) && (amd64 || arm64)

package driver

import (
	"errors"
	"strings"
	"testing"
)

// TestMissingSymbol: an old driver's library, and one that is no driver's.
func TestMissingSymbol(t *testing.T) {
	all := func(without string) func(string) (uintptr, error) {
		return func(name string) (uintptr, error) {
			if name == without {
				return 0, errors.New("undefined symbol")
			}
			return uintptr(len(name)), nil
		}
	}
	version := func(fn uintptr) int {
		if fn != uintptr(len("cuDriverGetVersion")) {
			t.Errorf("the version is asked by %d", fn)
		}
		return 11020
	}
	if fn, err := resolve("libcuda.so.1", all(""), version); err != nil || fn[symLaunchKernel] != uintptr(len("cuLaunchKernel")) {
		t.Errorf("complete library: %v", err)
	}
	for without, words := range map[string][]string{
		"cuGraphInstantiateWithFlags": {"libcuda.so.1", "CUDA 11.2", "cuGraphInstantiateWithFlags", "came with CUDA 11.4", "11.4 or later", "--device cpu"},
		"cuMemAlloc_v2":               {"cuMemAlloc_v2", "CUDA 3.2"},
		"cuInit":                      {"an unknown version", "cuInit"},
	} {
		_, err := resolve("libcuda.so.1", all(without), version)
		for _, w := range words {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("without %s: %v does not say %q", without, err, w)
			}
		}
	}
}

// TestSuffixes: calls whose ABI changed have their suffix, and no name comes twice.
func TestSuffixes(t *testing.T) {
	v2 := map[string]bool{}
	for _, name := range strings.Fields(`cuDeviceTotalMem cuDevicePrimaryCtxRelease cuMemGetInfo cuMemAlloc cuMemFree cuMemcpyHtoDAsync cuMemcpyDtoHAsync
		cuMemcpyDtoDAsync cuStreamDestroy cuEventDestroy cuStreamBeginCapture`) {
		v2[name] = true
	}
	seen := map[string]bool{}
	for _, e := range entries {
		bare, suffixed := strings.CutSuffix(e.name, "_v2")
		if seen[bare] || bare == "" {
			t.Errorf("%q comes twice, or is missing", bare)
		}
		seen[bare] = true
		if suffixed != v2[bare] {
			t.Errorf("%s: suffix %t, want %t", e.name, suffixed, v2[bare])
		}
	}
}
