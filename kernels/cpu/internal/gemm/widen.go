package gemm

import (
	"fmt"

	"github.com/selkie-ml/selkie/internal/half"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// widen expands 16-bit values to float32, exactly.
func widen(dst []float32, src []uint16, kind Kind) {
	switch src = src[:len(dst)]; kind {
	case KindBF16:
		vec.WidenBF16(dst, src)
	case KindF16:
		vec.WidenF16(dst, src)
	default:
		panic(fmt.Sprintf("gemm: %v is no 16-bit storage", kind))
	}
}

// narrow rounds as many f32 as dst holds to 16 bits.
func narrow(dst []uint16, src []float32, kind Kind) {
	switch src = src[:len(dst)]; kind {
	case KindBF16:
		vec.NarrowBF16(dst, src)
	case KindF16:
		vec.NarrowF16(dst, src)
	default:
		panic(fmt.Sprintf("gemm: %v is no 16-bit storage", kind))
	}
}

func widen1(v uint16, kind Kind) float32 {
	switch kind {
	case KindBF16:
		return half.BF16ToFloat32(v)
	case KindF16:
		return half.F16ToFloat32(v)
	}
	panic(fmt.Sprintf("gemm: %v is no 16-bit storage", kind))
}
