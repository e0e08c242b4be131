package sysmem

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAvailableHere(t *testing.T) {
	if n, ok := Available(); !ok || n < 1<<20 || n > 1<<50 {
		t.Errorf("available: %d bytes, %v", n, ok)
	}
}

func TestMemAvailable(t *testing.T) {
	if n, ok := memAvailable("MemTotal:  100 kB\nMemFree: 5 kB\nMemAvailable:   42 kB\n"); !ok || n != 42<<10 {
		t.Errorf("got %d, %v", n, ok)
	}
	if _, ok := memAvailable("MemTotal:  100 kB\n"); ok {
		t.Error("found a figure where there is none")
	}
}

// The tightest group on the way up counts; cached files of a group do not.
func TestGroupLeft(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("a/b/memory.max", "max\n")
	write("a/b/memory.current", "900\n")
	write("a/memory.max", "1000\n")
	write("a/memory.current", "700\n")
	write("a/memory.stat", "anon 100\nactive_file 150\ninactive_file 50\n")
	write("memory/v1/memory.limit_in_bytes", "800\n")
	write("memory/v1/memory.usage_in_bytes", "700\n")
	write("memory/memory.limit_in_bytes", "9223372036854771712\n")
	write("memory/memory.usage_in_bytes", "1\n")
	for groups, want := range map[string]int64{"0::/a/b\n": 500, "3:cpu,memory:/v1\n0::/a/b\n": 100, "5:cpu:/v1\n": -1, "0::/none\n": -1} {
		left, limited := groupLeft(root, groups)
		if limited != (want >= 0) || limited && left != want {
			t.Errorf("%q: got %d, %v, want %d", groups, left, limited, want)
		}
	}
}

func TestCheck(t *testing.T) {
	if err := Check("the plan", 1<<10, 0, ""); err != nil {
		t.Error(err)
	}
	if err := Check("the plan", 1<<60, 0, "take less"); err == nil || !strings.Contains(err.Error(), "the plan needs about 1073741824.0 GiB of memory, but available are") {
		t.Error(err)
	}
	if err := Check("the plan", 2<<20, 1<<20, "take less"); err == nil || err.Error() != "the plan needs about 2.0 MiB of memory, but the memory limit is 1.0 MiB: take less" {
		t.Error(err)
	}
}
