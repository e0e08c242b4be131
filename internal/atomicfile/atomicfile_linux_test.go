package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// /dev/full answers every write as a full disk does.
type fullDisk struct {
	pending
	dev *os.File
}

func (d fullDisk) Write(b []byte) (int, error) { return d.dev.Write(b) }

func TestDiskFull(t *testing.T) {
	dev, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer dev.Close()
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	f.p = fullDisk{f.p, dev}
	_, err = io.WriteString(f, "new")
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space left on the disk of "+dir) {
		t.Errorf("Write gave %v", err)
	}
	if again := f.Commit(); !errors.Is(again, syscall.ENOSPC) {
		t.Errorf("Commit gave %v", again)
	}
	expectContent(t, path, "old")
	if got := names(t, dir); got != "a" {
		t.Errorf("folder holds %q", got)
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	err := explain("writing", "d/a", &os.PathError{Op: "open", Path: "d/.a1", Err: syscall.EROFS})
	if !strings.Contains(err.Error(), "not writable") {
		t.Errorf("got %v", err)
	}
}
