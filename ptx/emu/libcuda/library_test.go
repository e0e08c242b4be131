package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThroughPurego builds the library and runs tests on it, in a process without
// cgo: those of the driver's calls, and a part of the conformance suite.
func TestThroughPurego(t *testing.T) {
	library := build(t)
	for _, c := range []struct{ pkg, run string }{
		{"../../../kernels/cuda/driver", "^TestLibrary$"},
		{"../../../kernels/cuda", "^TestConformanceGPU$/^aligned_false$/^(Memory|Copy|Fill|Gather|Add|Embedding)$"},
	} {
		binary := filepath.Join(t.TempDir(), "test")
		compile := exec.Command("go", "test", "-c", "-o", binary, c.pkg)
		compile.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := compile.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", compile, err, out)
		}
		test := exec.Command(binary, "-test.v", "-test.run", c.run)
		// Two Go runtimes share the process, and a signal reaches only one of them.
		test.Env = append(os.Environ(), "SELKIE_LIBCUDA="+library, "SELKIE_REQUIRE_BACKENDS=cuda", "GODEBUG=asyncpreemptoff=1")
		out, err := test.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", c.pkg, err, out)
			continue
		}
		passed := len(regexp.MustCompile(`(?m)^ *--- PASS`).FindAll(out, -1))
		if passed == 0 || strings.Contains(string(out), "--- SKIP") {
			t.Errorf("%s: %d tests passed, none may skip\n%s", c.pkg, passed, out)
		}
		t.Logf("%s: %d tests passed", c.pkg, passed)
	}
}

// build returns the library, and skips where there is no C compiler.
func build(t *testing.T) string {
	t.Helper()
	cc, err := exec.Command("go", "env", "CC").Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath(strings.TrimSpace(string(cc))); err != nil {
		t.Skipf("the emulated libcuda needs a C compiler: %v", err)
	}
	library := filepath.Join(t.TempDir(), "libcuda.so.1")
	cmd := exec.Command("go", "build", "-tags", "nocuda", "-buildmode=c-shared", "-o", library, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return library
}
