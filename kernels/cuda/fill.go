package cuda

import (
	"math"

	"github.com/selkie-ml/selkie/internal/half"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// Fill implements kernels.Backend.
func (b *Backend) Fill(a kernels.FillArgs) {
	k := kernel.Fill{Bytes: a.Dst.DType.Size(), Vec: vector(8, a.Dst)}
	bits := math.Float32bits(a.Value)
	switch a.Dst.DType {
	case kernels.BF16:
		bits = uint32(half.BF16FromFloat32(a.Value))
	case kernels.F16:
		bits = uint32(half.F16FromFloat32(a.Value))
	case kernels.I32:
		bits = uint32(int32(a.Value))
	}
	b.launch("Fill", k, k.Launch(a.N), ptr(a.Dst), num(a.N), arg{bits: uint64(bits)})
}
