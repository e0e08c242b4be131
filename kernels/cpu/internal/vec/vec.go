// Package vec holds the CPU backend's vector primitives: dot products, the
// exponential and softmax's sums, activations and the optimiser's update, on
// float32 slices, in AVX-512 or AVX2 assembly or plain Go.
//
// Every function's result is specified to the bit and is the same at every
// [Level], for every alignment and on every processor. The order of a sum is a
// function of its length alone:
//
//   - A sum of n terms runs in 16 lanes. Term i goes to lane i mod 16, lanes
//     start at +0 and take their terms in ascending order; where n is no multiple of 16 the
//     last round is completed with terms made of zeros. At the end lane l+8 is
//     added to lane l, then l+4 to l, l+2 to l, and lane 1 to lane 0.
//   - fma(a, b, c) rounds once (f32math.FMA32); every other operation is one
//     float32 operation and is rounded as such.
//
// A NaN in an input makes the results that depend on it NaN, with unspecified
// payload (but see Exp). Slices of different lengths panic. Outputs may be the
// same slice as an input, but may not overlap it otherwise.
//
// The package runs in the calling goroutine, allocates nothing, and knows
// nothing of tensors, buffers or pools; it may import only internal/f32math and
// internal/half.
package vec

import "fmt"

//go:generate sh -c "cd _asm && go run . -out ../zvec_amd64.s -stubs ../zvec_amd64.go -pkg vec"

func mustMatch(op string, n int, others ...int) {
	for _, m := range others {
		if m != n {
			panic(fmt.Sprintf("vec.%s: lengths differ: %d and %d", op, n, m))
		}
	}
}

// mustRows panics unless n rows of width d, stride apart, lie within a slice of length have.
func mustRows(op string, have, n, d, stride int) {
	if n < 0 || stride < 0 || (n > 0 && (n-1)*stride+d > have) {
		panic(fmt.Sprintf("vec.%s: %d rows of %d, stride %d, do not fit in a slice of %d", op, n, d, stride, have))
	}
}
