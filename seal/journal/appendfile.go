package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// file is what an appendFile needs of *os.File.
type file interface {
	io.Writer
	Sync() error
	Truncate(size int64) error
	Close() error
}

// appendFile takes whole lines, each in one write. After a failure it takes no
// more: what was appended before stays whole.
type appendFile struct {
	path   string
	f      file
	size   int64 // bytes of whole lines
	err    error // the first failure
	dirty  bool  // something is not flushed to the disk yet
	synced time.Time
}

// openAppend opens path for appending after its first size bytes; the rest, an
// unfinished line, is cut off.
func openAppend(path string, size int64) (*appendFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		return nil, fmt.Errorf("opening the run folder for writing: %w", err)
	}
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(fmt.Errorf("cutting off an unfinished line: %w", err), f.Close())
	}
	return &appendFile{path: path, f: f, size: size, synced: time.Now()}, nil
}

func (a *appendFile) append(line []byte) error {
	if a.err != nil {
		return a.err
	}
	n, err := a.f.Write(line)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	if err != nil {
		// Half a line would be cut off on resuming, too; this is for readers.
		_ = a.f.Truncate(a.size)
		return a.fail(err)
	}
	a.size += int64(len(line))
	a.dirty = true
	if time.Since(a.synced) > flushEvery {
		return a.sync()
	}
	return nil
}

func (a *appendFile) sync() error {
	if a.err != nil || !a.dirty {
		return a.err
	}
	if err := a.f.Sync(); err != nil {
		return a.fail(err)
	}
	a.dirty, a.synced = false, time.Now()
	return nil
}

func (a *appendFile) fail(err error) error {
	a.err = fmt.Errorf("writing %s: %w: what was recorded before is kept; remove the cause, and the same command goes on", a.path, err)
	return a.err
}

// close reports a flush that fails now, not a failure already reported.
func (a *appendFile) close() error {
	var err error
	if a.err == nil {
		err = a.sync()
	}
	return errors.Join(err, a.f.Close())
}

// readLines calls f with every line that ends in a newline, numbered from 1, and
// returns how many bytes follow the last such line and how many precede. A
// missing file has no lines.
func readLines(path string, f func(number int, line []byte) error) (torn int, whole int64, err error) {
	r, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	lines := bufio.NewReaderSize(r, 1<<16)
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return len(line), whole, nil
		}
		if err != nil {
			return 0, whole, fmt.Errorf("reading %s: %w", path, err)
		}
		if err := f(number, line[:len(line)-1]); err != nil {
			return 0, whole, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		whole += int64(len(line))
	}
}
