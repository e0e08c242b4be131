package journal

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// tmpfs gives a folder on a file system of its own.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mounting a small file system needs rights: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	return dir
}

func TestReallyFullDisk(t *testing.T) {
	dir := tmpfs(t, "size=64k")
	r := open(t, dir)
	p := phase(t, r, "p")
	n := 0
	var err error
	for ; err == nil && n < 100; n++ {
		err = p.Put(fmt.Sprintf("%03d", n), strings.Repeat("x", 3000))
	}
	n--
	if !errors.Is(err, syscall.ENOSPC) || n < 2 {
		t.Fatalf("%d records, then %v", n, err)
	}
	r.Close()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=400k"); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	p = phase(t, r, "p")
	if got := len(p.Keys()); got != n {
		t.Errorf("%d records, want %d", got, n)
	}
	if err := p.Finish(nil); err != nil {
		t.Error(err)
	}
	r.Close()
}

func TestReadOnlyFileSystem(t *testing.T) {
	dir := tmpfs(t, "size=64k")
	open(t, dir).Close()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, []byte(config), Options{Numerics: "cpu-1"})
	if !errors.Is(err, syscall.EROFS) {
		t.Errorf("got %v", err)
	}
	expectError(t, err, dir, "read-only file system")
	if _, err := Read(dir); err != nil {
		t.Errorf("reading a read-only folder: %v", err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}
