//go:build !unix

package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
)

// tempFile does what renameio, which is for Unix only, does there.
type tempFile struct {
	*os.File
	path   string
	closed bool
}

func newPending(path string) (pending, error) {
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix(path)+"*")
	if err != nil {
		return nil, err
	}
	return &tempFile{File: f, path: path}, nil
}

func (t *tempFile) replace() error {
	if err := t.Sync(); err != nil {
		return err
	}
	t.closed = true
	if err := t.Close(); err != nil {
		return err
	}
	return rename(t.Name(), t.path)
}

func (t *tempFile) discard() error {
	var closeErr error
	if !t.closed {
		closeErr = t.Close()
	}
	return errors.Join(closeErr, os.Remove(t.Name()))
}

// syncFolder does nothing: folders cannot be flushed here.
func syncFolder(string) error { return nil }
