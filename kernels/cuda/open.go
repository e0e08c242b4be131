package cuda

import (
	"errors"
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
)

var _ kernels.Backend = (*Backend)(nil)

// ErrNoGPU is why Open fails where there is no driver, or one that sees no GPU.
var ErrNoGPU = errors.New("there is no NVIDIA GPU")

// Open opens a GPU of this machine's driver.
func Open(opt Options) (*Backend, error) {
	api, err := driver.Open()
	if errors.Is(err, driver.ErrNone) {
		return nil, fmt.Errorf("%w: %w", ErrNoGPU, err)
	}
	if err != nil {
		return nil, err
	}
	b, err := New(api, opt)
	if isCode(err, driver.NoDevice) {
		return nil, fmt.Errorf("%w: %w", ErrNoGPU, err)
	}
	return b, err
}

// OpenEmulated opens an emulated GPU; driver.Emulate tells how words choose it.
func OpenEmulated(words string, opt Options) (*Backend, error) {
	api, err := driver.Emulate(words)
	if err != nil {
		return nil, err
	}
	return New(api, opt)
}
