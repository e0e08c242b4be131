// Package atomicfile replaces files so that a reader, a crash or a full disk
// never meets half of one: the bytes go to a temporary file in the same folder,
// are flushed to the disk, take the name by a rename, and the folder is flushed
// too. Until the rename the previous file stays as it was. It imports nothing of
// the project.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// pending is the temporary file as the platform makes it.
type pending interface {
	io.Writer
	replace() error // flush to disk, close, take the final name
	discard() error // close and remove
}

// File is a file being written. It appears under its name at Commit. It is not
// safe for concurrent use.
type File struct {
	path string
	p    pending
	err  error // the first failure; Commit refuses after it
	done bool
}

// WriteFile replaces the file at path by data.
func WriteFile(path string, data []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Abort())
	}
	return f.Commit()
}

// Create starts a replacement of the file at path. The caller ends it by Commit
// or Abort; `defer f.Abort()` right after Create is safe, since Abort after
// Commit does nothing. A symbolic link at path is replaced, not followed.
func Create(path string) (*File, error) {
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("writing %s: it is a folder, expected a file name: choose another path", path)
	}
	p, err := newPending(path)
	if err != nil {
		return nil, explain("creating a temporary file for", path, err)
	}
	return &File{path: path, p: p}, nil
}

// Write appends to the temporary file. After a failure every further Write and
// Commit returns that failure.
func (f *File) Write(b []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if f.done {
		return 0, fmt.Errorf("writing %s: already committed or aborted: %w", f.path, fs.ErrClosed)
	}
	n, err := f.p.Write(b)
	if err != nil {
		f.err = explain("writing", f.path, err)
		return n, f.err
	}
	return n, nil
}

// Commit flushes what was written and gives it its name. On an error the
// temporary file is gone and the previous file unchanged, except that an error
// which says so concerns only the folder's flush after the rename.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("writing %s: already committed or aborted: %w", f.path, fs.ErrClosed)
	}
	if f.err != nil {
		f.Abort()
		return f.err
	}
	if err := f.p.replace(); err != nil {
		f.err = explain("writing", f.path, err)
		f.Abort()
		return f.err
	}
	f.done = true
	if err := syncFolder(filepath.Dir(f.path)); err != nil {
		return fmt.Errorf("writing %s: the new file is in place, but flushing its folder to disk failed, so a power cut may bring the previous one back: %w", f.path, err)
	}
	return nil
}

// Abort removes the temporary file; the previous file stays. After Commit or
// Abort it does nothing.
func (f *File) Abort() error {
	if f.done {
		return nil
	}
	f.done = true
	if err := f.p.discard(); err != nil {
		return fmt.Errorf("removing the temporary file of %s: %w", f.path, err)
	}
	return nil
}

// RemoveStale removes temporary files that a killed process left beside path.
// Call it only while no other process can be writing there, as under the lock of
// a run folder.
func RemoveStale(path string) error {
	dir, prefix := filepath.Dir(path), tempPrefix(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return explain("looking for stale temporary files of", path, err)
	}
	var errs []error
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok || rest == "" || strings.Trim(rest, "0123456789") != "" || !e.Type().IsRegular() {
			continue
		}
		errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}

// tempPrefix is the start of the temporary file's name; digits follow.
func tempPrefix(path string) string { return "." + filepath.Base(path) }

// explain says what was being done, what went wrong and what to do.
func explain(doing, path string, err error) error {
	dir := filepath.Dir(path)
	var what string
	switch {
	case isDiskFull(err):
		what = fmt.Sprintf("no space left on the disk of %s: free some and run again; the previous file, if any, is unchanged", dir)
	case errors.Is(err, fs.ErrPermission) || isReadOnly(err):
		what = fmt.Sprintf("the folder %s is not writable: change its permissions or choose another", dir)
	case errors.Is(err, fs.ErrNotExist):
		what = fmt.Sprintf("the folder %s does not exist: create it first", dir)
	default:
		return fmt.Errorf("%s %s: %w", doing, path, err)
	}
	return fmt.Errorf("%s %s: %s: %w", doing, path, what, err)
}
