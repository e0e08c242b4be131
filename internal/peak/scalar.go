package peak

import "unsafe"

// scalar is what compiled Go reaches in eight chains. Their product is rounded
// before it is added, as in the kernels in plain Go.
var scalar = unit{func(rounds int) {
	var s [8]float32
	x := float32(0)
	for range rounds {
		for i := range s {
			s[i] += float32(x * x)
		}
	}
	if s != [8]float32{} {
		panic("peak: sums of zeros are not zero")
	}
}, 16}

func readScalar(p []byte) {
	words := unsafe.Slice((*uint64)(unsafe.Pointer(&p[0])), len(p)/8)
	var s0, s1, s2, s3 uint64
	for i := 0; i+4 <= len(words); i += 4 {
		s0, s1, s2, s3 = s0+words[i], s1+words[i+1], s2+words[i+2], s3+words[i+3]
	}
	if s0+s1+s2+s3 == 1 {
		panic("peak: the memory was filled with other values")
	}
}
