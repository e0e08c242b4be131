package cuda

import (
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/ptx"
)

// SetEmit has kernels that are not loaded yet written by f.
func (b *Backend) SetEmit(f func(kernel.Any) *ptx.Module) { b.emit = f }
