package vec

import "unsafe"

// Stream copies src to dst past the caches. It is for results beyond any
// cache: memory is then not read before it is written. Fence must follow
// before another goroutine may read dst. The slices may not overlap.
func Stream[T float32 | uint16](dst, src []T) {
	mustMatch("Stream", len(dst), len(src))
	size := int(unsafe.Sizeof(T(0)))
	n := len(src)
	// To a line's start, whole lines, and what is left.
	head := n
	if n > 0 {
		head = min(n, int(-uintptr(unsafe.Pointer(unsafe.SliceData(dst)))%64)/size)
	}
	whole := (n - head) * size / 64 * 64 / size
	if whole == 0 || Active() == Generic {
		copy(dst, src)
		return
	}
	copy(dst[:head], src)
	stream(unsafe.Pointer(&dst[head]), unsafe.Pointer(&src[head]), whole*size/4)
	copy(dst[head+whole:], src[head+whole:])
}

// Fence makes what Stream stored visible before whatever is stored after.
func Fence() { fence() }
