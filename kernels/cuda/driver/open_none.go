//go:build nocuda || !((linux && !android) || windows) || !(amd64 || arm64)

package driver

import (
	"fmt"
	"runtime"
)

// Open says why there is no driver to open.
func Open() (API, error) {
	return nil, fmt.Errorf("%w: this program was built without, for %s/%s or with the build tag nocuda; "+
		"a build for 64-bit Linux or Windows without the tag has them: compute on the CPU (--device cpu)", ErrNone, runtime.GOOS, runtime.GOARCH)
}
