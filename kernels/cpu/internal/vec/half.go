package vec

import "github.com/selkie-ml/selkie/internal/half"

// WidenBF16 sets dst[i] = half.BF16ToFloat32(src[i]), bit for bit.
func WidenBF16(dst []float32, src []uint16) {
	mustMatch("WidenBF16", len(dst), len(src))
	for i := widenBF16(dst, src); i < len(src); i++ {
		dst[i] = half.BF16ToFloat32(src[i])
	}
}

// WidenF16 sets dst[i] = half.F16ToFloat32(src[i]), bit for bit.
func WidenF16(dst []float32, src []uint16) {
	mustMatch("WidenF16", len(dst), len(src))
	for i := widenF16(dst, src); i < len(src); i++ {
		dst[i] = half.F16ToFloat32(src[i])
	}
}

// NarrowBF16 sets dst[i] = half.BF16FromFloat32(src[i]), bit for bit.
func NarrowBF16(dst []uint16, src []float32) {
	mustMatch("NarrowBF16", len(dst), len(src))
	for i := narrowBF16(dst, src); i < len(src); i++ {
		dst[i] = half.BF16FromFloat32(src[i])
	}
}

// NarrowF16 sets dst[i] = half.F16FromFloat32(src[i]), bit for bit.
func NarrowF16(dst []uint16, src []float32) {
	mustMatch("NarrowF16", len(dst), len(src))
	for i := narrowF16(dst, src); i < len(src); i++ {
		dst[i] = half.F16FromFloat32(src[i])
	}
}
