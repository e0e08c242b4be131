// Package f32math holds float32 arithmetic that has the same bits on every
// processor: a correctly rounded fused multiply-add and the exponential that
// sampling and softmax are specified by.
//
// It imports nothing of Selkie, so that the reference backend and the fast ones
// can share it.
package f32math

import "math"

// FMA32 returns a·b + c rounded once to the nearest float32, ties to even:
// the bits of the hardware instruction, subnormal results included.
//
// The product of two float32 is exact in float64; the sum is rounded to
// float64 and then to float32. Only where the second rounding could see a
// false tie, or a result in float32's subnormal range, is the sum recomputed
// with round-to-odd, after which the second rounding is right (Boldo and
// Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms
// using rounding to odd", IEEE Transactions on Computers 57(4), 2008).
func FMA32(a, b, c float32) float32 {
	p := float64(a) * float64(b)
	s := p + float64(c)
	if math.Float64bits(s)&(1<<29-1) == 1<<28 || s < minNormal32 && s > -minNormal32 {
		return float32(addOdd(p, float64(c)))
	}
	return float32(s)
}

const minNormal32 = 0x1p-126

// addOdd returns x + y rounded to odd: the exact sum where float64 holds it,
// otherwise whichever of its two neighbours has an odd significand.
func addOdd(x, y float64) float64 {
	s := x + y
	if math.IsNaN(s) || math.IsInf(s, 0) {
		return s
	}
	// Knuth's two-sum: x + y = s + err exactly.
	t := s - x
	err := (x - (s - t)) + (y - t)
	if err == 0 || math.Float64bits(s)&1 == 1 {
		return s
	}
	// s is even and inexact, so it was rounded away from the exact sum by err:
	// step one place toward it.
	b := math.Float64bits(s)
	if (err > 0) == (s > 0) {
		return math.Float64frombits(b + 1)
	}
	return math.Float64frombits(b - 1)
}
