package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// Path returns where an artifact lies or would lie; rel is relative to the run's
// folder and must not leave it.
func (r *Run) Path(rel string) string {
	if !filepath.IsLocal(rel) || rel == "." {
		panic(fmt.Sprintf("journal: artifact path %q leaves the run folder", rel))
	}
	return r.path(rel)
}

// Artifact makes the file or folder rel, such as an adapter or a checkpoint,
// whole or not at all: write gets a path to create it at, and it takes its name
// when write returns nil and everything is on the disk. An artifact that exists is
// complete, so write is not called again. The path is returned.
func (r *Run) Artifact(rel string, write func(path string) error) (string, error) {
	final := r.Path(rel)
	if has, err := exists(final); err != nil || has {
		return final, err
	}
	if err := r.Sync(); err != nil { // what it was made from comes first
		return "", err
	}
	staging := r.path(stagingDir)
	for _, dir := range []string{staging, filepath.Dir(final)} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return "", fmt.Errorf("making %s: %w", final, err)
		}
	}
	own, err := os.MkdirTemp(staging, "")
	if err != nil {
		return "", fmt.Errorf("making %s: %w", final, err)
	}
	defer os.RemoveAll(own)
	temporary := filepath.Join(own, filepath.Base(final))
	if err := write(temporary); err != nil {
		return "", fmt.Errorf("making %s: %w", final, err)
	}
	if err := syncTree(temporary); err != nil {
		return "", fmt.Errorf("making %s: flushing it to the disk: %w", final, err)
	}
	if err := os.Rename(temporary, final); err != nil {
		return "", fmt.Errorf("making %s: %w", final, err)
	}
	for dir := filepath.Dir(final); ; dir = filepath.Dir(dir) {
		if err := syncPath(dir, true); err != nil {
			return "", fmt.Errorf("making %s: flushing its folder to the disk: %w", final, err)
		}
		if dir == filepath.Clean(r.dir) {
			return final, nil
		}
	}
}

func syncTree(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncPath(path, entry.IsDir())
	})
}

func syncPath(path string, isDir bool) error {
	if isDir && runtime.GOOS == "windows" {
		return nil // folders cannot be flushed there
	}
	mode := os.O_RDWR // flushing needs it on Windows
	if isDir {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return err
	}
	err = f.Sync()
	if isDir && (errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP)) {
		err = nil // some network and overlay file systems cannot flush folders
	}
	return errors.Join(err, f.Close())
}
