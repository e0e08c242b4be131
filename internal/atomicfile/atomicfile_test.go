package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// names lists a folder, so that a forgotten temporary file shows.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func expectContent(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Fatalf("%s holds %q (%v), want %q", path, got, err, want)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, want := range []string{"first", "", "a longer third"} {
		if err := WriteFile(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		expectContent(t, path, want)
	}
	if got := names(t, dir); got != "a" {
		t.Errorf("folder holds %q", got)
	}
}

func TestRelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := WriteFile("a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	expectContent(t, "a", "x")
}

func TestNothingShowsBeforeCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, "new"); err != nil {
		t.Fatal(err)
	}
	expectContent(t, path, "old")
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	expectContent(t, path, "new")
	if err := f.Abort(); err != nil {
		t.Errorf("Abort after Commit: %v", err)
	}
	expectContent(t, path, "new")
	if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second Commit: %v", err)
	}
	if _, err := f.Write(nil); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Write after Commit: %v", err)
	}
}

func TestAbort(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, "half")
	if err := f.Abort(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != "" {
		t.Errorf("folder holds %q after Abort", got)
	}
	if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Commit after Abort: %v", err)
	}
}

func TestPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("permissions are Unix's")
	}
	path := filepath.Join(t.TempDir(), "a")
	if err := WriteFile(path, nil); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm()&^0o644 != 0 || info.Mode().Perm()&0o600 != 0o600 {
		t.Errorf("a new file has mode %v", info.Mode())
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, nil); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o640 {
		t.Errorf("a replaced file of mode 0640 has %v", info.Mode())
	}
}

// failing breaks an otherwise working temporary file.
type failing struct {
	pending
	writesLeft int
	onReplace  error
	err        error
}

func (f *failing) Write(b []byte) (int, error) {
	if f.writesLeft == 0 {
		return 0, f.err
	}
	f.writesLeft--
	return f.pending.Write(b)
}

func (f *failing) replace() error {
	if f.onReplace != nil {
		return f.onReplace
	}
	return f.pending.replace()
}

func TestFailureLeavesTheOldFile(t *testing.T) {
	broken := errors.New("the disk broke")
	for _, c := range []failing{
		{writesLeft: 0, err: broken},
		{writesLeft: 1, err: broken},
		{writesLeft: 9, onReplace: broken},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "a")
		if err := WriteFile(path, []byte("old")); err != nil {
			t.Fatal(err)
		}
		f, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		c.pending = f.p
		f.p = &c
		for i := 0; i < 3; i++ {
			io.WriteString(f, "new") // failure is remembered for Commit
		}
		if err := f.Commit(); !errors.Is(err, broken) || !strings.Contains(err.Error(), path) {
			t.Errorf("%+v: Commit gave %v", c, err)
		}
		expectContent(t, path, "old")
		if got := names(t, dir); got != "a" {
			t.Errorf("folder holds %q after a failure", got)
		}
	}
}

func TestMissingFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no", "a")
	err := WriteFile(path, nil)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "does not exist: create it") {
		t.Errorf("got %v", err)
	}
}

func TestUnwritableFolder(t *testing.T) {
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		t.Skip("needs Unix permissions and a user bound by them")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	err := WriteFile(filepath.Join(dir, "a"), nil)
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "not writable") {
		t.Errorf("got %v", err)
	}
}

func TestExplain(t *testing.T) {
	err := explain("writing", filepath.Join("d", "a"), &fs.PathError{Op: "open", Path: "d/.a1", Err: fs.ErrPermission})
	for _, want := range []string{"writing " + filepath.Join("d", "a"), "folder d is not writable", "choose another"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

func TestFolderInTheWay(t *testing.T) {
	dir := t.TempDir()
	if err := WriteFile(dir, nil); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("got %v", err)
	}
}

func TestRemoveStale(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := WriteFile(path, []byte("kept")); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path); err != nil { // as if killed here
		t.Fatal(err)
	}
	for _, other := range []string{".a", ".a1b", ".b12", "a12"} {
		if err := os.WriteFile(filepath.Join(dir, other), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveStale(path); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != ".a .a1b .b12 a a12" {
		t.Errorf("folder holds %q", got)
	}
}

// A reader meets one whole version or another, whenever it looks.
func TestReadersSeeWholeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	version := func(i int) []byte { return bytes.Repeat([]byte(fmt.Sprint(i%10)), 5000) }
	if err := WriteFile(path, version(0)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			got, err := os.ReadFile(path)
			if err != nil || len(got) != 5000 || bytes.Count(got, got[:1]) != 5000 {
				t.Errorf("read %d bytes, %v", len(got), err)
				return
			}
		}
	})
	for i := 1; i < 30; i++ {
		if err := WriteFile(path, version(i)); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	wg.Wait()
}
