package vec

// Exp sets dst[i] = f32math.Exp32(x[i]), bit for bit: below 1 ulp of error,
// subnormal results flushed to +0, NaN in gives the NaN 0x7FC00000.
func Exp(dst, x []float32) {
	mustMatch("Exp", len(dst), len(x))
	exp(dst, x)
}

// ExpSub sets dst[i] = f32math.Exp32(x[i] - m) and returns the sum of dst, in 16 lanes.
func ExpSub(dst, x []float32, m float32) (sum float32) {
	mustMatch("ExpSub", len(dst), len(x))
	return expSub(dst, x, m)
}
