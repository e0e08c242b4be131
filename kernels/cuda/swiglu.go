package cuda

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// SwiGLU implements kernels.Backend.
func (b *Backend) SwiGLU(a kernels.SwiGLUArgs) {
	k := kernel.SwiGLU{Y: a.Y.DType, Gate: a.Gate.DType, Up: a.Up.DType, Vec: vector(8, a.Y, a.Gate, a.Up)}
	b.launch("SwiGLU", k, k.Launch(a.N), ptr(a.Y), ptr(a.Gate), ptr(a.Up), num(a.N))
}

// SwiGLUBackward implements kernels.Backend.
func (b *Backend) SwiGLUBackward(a kernels.SwiGLUBackwardArgs) {
	k := kernel.SwiGLUBackward{Gate: a.Gate.DType, Up: a.Up.DType, Vec: vector(4, a.DGate, a.DUp, a.DY, a.Gate, a.Up)}
	b.launch("SwiGLUBackward", k, k.Launch(a.N), ptr(a.DGate), ptr(a.DUp), ptr(a.DY), ptr(a.Gate), ptr(a.Up), num(a.N))
}
