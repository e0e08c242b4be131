package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fullFile takes some bytes, then behaves like a file on a full disk: it writes
// what fits and fails.
type fullFile struct {
	file
	room        int
	noTruncate  bool
	failingSync bool
	syncs       int
}

func (f *fullFile) Write(b []byte) (int, error) {
	n := min(len(b), f.room)
	f.room -= n
	n, err := f.file.Write(b[:n])
	if err == nil && n < len(b) {
		err = syscall.ENOSPC
	}
	return n, err
}

func (f *fullFile) Truncate(size int64) error {
	if f.noTruncate {
		return syscall.EIO
	}
	return f.file.Truncate(size)
}

func (f *fullFile) Sync() error {
	if f.failingSync {
		return syscall.EIO
	}
	f.syncs++
	return f.file.Sync()
}

// Flushing is batched, but nothing waits for longer than flushEvery and another
// record, and what rests on records comes after them.
func TestFlushes(t *testing.T) {
	r := open(t, t.TempDir())
	f := &fullFile{file: r.journal.f, room: 1 << 20}
	r.journal.f = f
	p := phase(t, r, "p")
	step := func(what string, want int, err error) {
		t.Helper()
		if err != nil || f.syncs != want {
			t.Errorf("%s: %d flushes, want %d; %v", what, f.syncs, want, err)
		}
	}
	r.journal.synced = time.Now().Add(time.Hour) // however slow the machine
	step("a record", 0, p.Put("a", 1))
	step("another", 0, p.Put("b", 1))
	r.journal.synced = time.Now().Add(-2 * flushEvery)
	step("a late one", 1, p.Put("c", 1))
	r.journal.synced = time.Now().Add(time.Hour)
	step("one more", 1, p.Put("d", 1))
	_, err := r.Artifact("x", func(path string) error {
		if f.syncs != 2 {
			t.Error("an artifact came before its records")
		}
		return os.WriteFile(path, nil, 0o666)
	})
	step("an artifact", 2, err)
	step("the last", 2, p.Put("e", 1))
	step("the end", 3, p.Finish(nil))
	step("nothing new", 3, r.Sync())
}

func TestFullDiskLosesNothing(t *testing.T) {
	for _, noTruncate := range []bool{false, true} {
		dir := t.TempDir()
		r := open(t, dir)
		r.journal.f = &fullFile{file: r.journal.f, room: 100, noTruncate: noTruncate}
		p := phase(t, r, "p")
		var failed error
		var put []string
		for _, key := range strings.Split("abcdefgh", "") {
			err := p.Put(key, "some data")
			if err == nil {
				put = append(put, key)
			}
			if p.Done(key) != (err == nil) {
				t.Errorf("Done(%s) is %v after %v", key, p.Done(key), err)
			}
			if failed != nil && err == nil {
				t.Error("a write after a failure succeeded")
			}
			if failed == nil {
				failed = err
			}
		}
		if !errors.Is(failed, syscall.ENOSPC) {
			t.Errorf("got %v", failed)
		}
		expectError(t, failed, filepath.Join(dir, journalFile), "kept", "the same command goes on")
		if p.Finish(nil) == nil {
			t.Error("finished a phase after a failure")
		}
		if _, err := r.Artifact("a", func(string) error { return nil }); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Artifact gave %v", err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("Close reported it again: %v", err)
		}
		r = open(t, dir)
		p = phase(t, r, "p")
		if len(put) < 2 || strings.Join(p.Keys(), "") != strings.Join(put, "") {
			t.Errorf("put %q, found %q", put, p.Keys())
		}
		if noTruncate != (len(r.Notices()) == 1) {
			t.Errorf("notices %q", r.Notices())
		}
		if err := errors.Join(p.Put("z", 1), p.Finish(nil)); err != nil {
			t.Error(err)
		}
	}
}

func TestFailingFlush(t *testing.T) {
	r := open(t, t.TempDir())
	r.journal.f = &fullFile{file: r.journal.f, room: 1000, failingSync: true}
	p := phase(t, r, "p")
	if err := p.Put("a", 1); err != nil {
		t.Fatal(err)
	}
	// Nothing may rest on records that might not be on the disk.
	if err := p.Finish(nil); !errors.Is(err, syscall.EIO) || p.Finished() {
		t.Errorf("Finish gave %v", err)
	}
	if _, err := os.Stat(filepath.Join(r.Dir(), "p.jsonl")); err == nil {
		t.Error("the canonical file is there")
	}
}

func TestFileInTheWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path, []byte(config), Options{})
	expectError(t, err, path, "choose a folder that can be written")
	_, err = Read(t.TempDir())
	expectError(t, err, "is not a run folder")
}

func TestUnwritableFolder(t *testing.T) {
	if os.Geteuid() <= 0 {
		t.Skip("needs a user bound by permissions")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, []byte(config), Options{})
	expectError(t, err, dir, "permission denied")
}
