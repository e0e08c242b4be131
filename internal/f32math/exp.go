package f32math

import "math"

// The exponential's constants. Vector forms load the same bits.
const (
	// ExpHi is the largest x whose exponential is finite; above it the result is +Inf.
	ExpHi = 0x1.62e42ep+6
	// ExpLo is the smallest x whose exponential is a normal number (≥ 2⁻¹²⁶); below it the result is +0.
	ExpLo = -0x1.5d589ep+6

	// ExpLog2E is 1/ln 2.
	ExpLog2E = 0x1.715476p+0
	// ExpShift, 1.5·2²³, added and taken away again rounds to an integer, ties to even.
	ExpShift = 0x1.8p+23
	// ExpLn2Hi and ExpLn2Lo sum to ln 2.
	ExpLn2Hi = 0x1.62e430p-1
	ExpLn2Lo = -0x1.05c610p-29

	// ExpC2 to ExpC6 are the polynomial's coefficients of r² to r⁶: a minimax fit
	// of (eʳ-1-r)/r² on |r| ≤ ½ ln 2, rounded to float32 (those of 1 and r are 1).
	ExpC2 = 0x1.fffffcp-2
	ExpC3 = 0x1.555492p-3
	ExpC4 = 0x1.5558f2p-5
	ExpC5 = 0x1.123a20p-7
	ExpC6 = 0x1.6a23d0p-10
)

// Exp32 returns eˣ with an error below 1 ulp, by this recipe, which every
// backend follows to the bit (fma rounds once; all else is float32):
//
//	x is NaN   → the NaN 0x7FC00000
//	x > ExpHi  → +Inf
//	x < ExpLo  → +0 (subnormal results are flushed)
//	t = fma(x, ExpLog2E, ExpShift);  n = t - ExpShift
//	r = fma(n, -ExpLn2Hi, x);        r = fma(n, -ExpLn2Lo, r)
//	p = ExpC6;  p = fma(p, r, c) for c in ExpC5, ExpC4, ExpC3, ExpC2, 1, 1
//	result: the float32 whose bits are bits(p) + bits(t)<<23  (p·2ⁿ)
func Exp32(x float32) float32 {
	switch {
	case x != x:
		return math.Float32frombits(0x7FC00000)
	case x > ExpHi:
		return float32(math.Inf(1))
	case x < ExpLo:
		return 0
	}
	t := FMA32(x, ExpLog2E, ExpShift)
	n := t - ExpShift
	r := FMA32(n, -ExpLn2Hi, x)
	r = FMA32(n, -ExpLn2Lo, r)
	p := FMA32(ExpC6, r, ExpC5)
	p = FMA32(p, r, ExpC4)
	p = FMA32(p, r, ExpC3)
	p = FMA32(p, r, ExpC2)
	p = FMA32(p, r, 1)
	p = FMA32(p, r, 1)
	return math.Float32frombits(math.Float32bits(p) + math.Float32bits(t)<<23)
}
