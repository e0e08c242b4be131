// Package ptxas finds NVIDIA's assembler for tests that ask it. Only tests import it.
package ptxas

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// Find returns the assemblers that there are: those that SELKIE_PTXAS names, a list of
// files and of folders above them, then the one on PATH. Without any the test is skipped;
// it fails where SELKIE_PTXAS names nothing.
func Find(t testing.TB) []string {
	t.Helper()
	var found []string
	for _, p := range filepath.SplitList(os.Getenv("SELKIE_PTXAS")) {
		st, err := os.Stat(p)
		if err != nil {
			t.Fatalf("SELKIE_PTXAS: %v", err)
		}
		if !st.IsDir() {
			found = append(found, p)
			continue
		}
		before := len(found)
		err = filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && (d.Name() == "ptxas" || d.Name() == "ptxas.exe") {
				found = append(found, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == before {
			t.Fatalf("SELKIE_PTXAS: no ptxas below %s", p)
		}
	}
	if p, err := exec.LookPath("ptxas"); err == nil {
		found = append(found, p)
	}
	if found == nil {
		t.Skip("no ptxas: set SELKIE_PTXAS to it, or to a folder above it (the PyPI package nvidia-cuda-nvcc holds one)")
	}
	return found
}

var release = regexp.MustCompile(`V(\d+\.\d+\.\d+)`)

// Version is the version of an assembler, which is that of its package.
func Version(t testing.TB, bin string) string {
	t.Helper()
	out, err := exec.Command(bin, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	m := release.FindSubmatch(out)
	if m == nil {
		t.Fatalf("%s --version does not say which it is:\n%s", bin, out)
	}
	return string(m[1])
}

// Code is what an assembler makes of a module's text for a target such as sm_90.
func Code(bin, target string, text []byte) ([]byte, error) {
	dir, err := os.MkdirTemp("", "ptxas")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "code")
	cmd := exec.Command(bin, "-arch="+target, "-o", out, "-")
	cmd.Stdin = bytes.NewReader(text)
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, said)
	}
	return os.ReadFile(out)
}
