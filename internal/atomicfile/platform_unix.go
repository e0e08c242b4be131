//go:build unix

package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// perm is what a new file gets, less the umask; a replaced file keeps its own
// permissions.
const perm fs.FileMode = 0o644

type renamed struct{ *renameio.PendingFile }

func newPending(path string) (pending, error) {
	f, err := renameio.NewPendingFile(path,
		renameio.WithTempDir(filepath.Dir(path)), // never $TMPDIR: a killed process leaves nothing elsewhere
		renameio.WithPermissions(perm),
		renameio.WithExistingPermissions())
	if err != nil {
		return nil, err
	}
	return renamed{f}, nil
}

func (r renamed) replace() error { return r.CloseAtomicallyReplace() }
func (r renamed) discard() error { return r.Cleanup() }

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	// Some network and overlay file systems cannot flush a folder at all.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }
