package f32math

import "math"

// The logarithm's constants. Vector forms load the same bits.
const (
	// LogRootBits are the bits of √½, the least significand that is taken.
	LogRootBits = 0x3f3504f3
	// LogLn2Hi, exact in few bits, and LogLn2Lo sum to ln 2.
	LogLn2Hi = 0.693359375
	LogLn2Lo = -2.12194440e-4
)

// LogC holds the coefficients of f⁸ to 1 in (ln(1+f) - f + f²/2)/f³, those of
// Cephes' logf (Moshier 1992).
var LogC = [...]float32{7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
	-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1}

// Log32 returns ln x with an error below 1 ulp, for x that is +0, a positive
// normal number, +Inf or NaN, by this recipe, which every backend follows to the
// bit (fma rounds once; all else is float32 or integer):
//
//	x is NaN → NaN;  x = +Inf → +Inf;  x = 0 → -Inf
//	e = (bits(x) - LogRootBits) >> 23, with its sign
//	f = the float32 whose bits are bits(x) - e<<23, minus 1;  n = e as float32
//	p = LogC[0];  p = fma(p, f, c) for the other c in LogC
//	z = f·f;  p = (p·f)·z;  p = fma(n, LogLn2Lo, p);  p = fma(-0.5, z, p)
//	result: fma(n, LogLn2Hi, f + p)
func Log32(x float32) float32 {
	switch {
	case x != x || math.IsInf(float64(x), 1):
		return x
	case x == 0:
		return float32(math.Inf(-1))
	}
	b := math.Float32bits(x)
	e := int32(b-LogRootBits) >> 23
	f := math.Float32frombits(b-uint32(e)<<23) - 1
	n := float32(e)
	p := LogC[0]
	for _, c := range LogC[1:] {
		p = FMA32(p, f, c)
	}
	z := f * f
	p = float32(p*f) * z
	p = FMA32(n, LogLn2Lo, p)
	p = FMA32(-0.5, z, p)
	return FMA32(n, LogLn2Hi, f+p)
}
