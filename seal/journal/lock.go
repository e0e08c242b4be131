package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// ErrLocked is in the error of Open when another process works in the folder.
var ErrLocked = errors.New("the run folder is in use")

// lock is held by the operating system for this process, so it ends with it. The
// process id beside it serves messages only.
type lock struct {
	flock *flock.Flock
	pid   string // path
}

func acquire(dir string) (*lock, error) {
	l := &lock{flock.New(filepath.Join(dir, ".lock")), filepath.Join(dir, ".pid")}
	ok, err := l.flock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("locking the run folder %s: %w", dir, err)
	}
	if !ok {
		holder := "another process"
		if text, err := os.ReadFile(l.pid); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				holder = fmt.Sprintf("process %d", pid)
			}
		}
		return nil, fmt.Errorf("%w: %s holds %s: wait until it ends, or choose another folder", ErrLocked, holder, dir)
	}
	if err := os.WriteFile(l.pid, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o666); err != nil {
		return nil, errors.Join(fmt.Errorf("the run folder %s is not writable: %w", dir, err), l.flock.Close())
	}
	return l, nil
}

func (l *lock) release() error {
	_ = os.Remove(l.pid) // it only serves messages
	return l.flock.Close()
}
