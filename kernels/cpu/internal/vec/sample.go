package vec

// GroupSize is how many elements a group of GroupMax has, GroupSpan how many
// elements sixteen groups share.
const (
	GroupSize = 16
	GroupSpan = lanes * GroupSize
)

// Groups returns the number of groups of n elements.
func Groups(n int) int { return (n + GroupSpan - 1) / GroupSpan * lanes }

// GroupMax sets dst[g] to the maximum of group g, and reports whether a NaN is
// among x; the maxima of its group are then unspecified. Element i belongs to
// group i/GroupSpan·16 + i%16. The maximum of no elements is −Inf, of +0 and −0 either.
func GroupMax(dst, x []float32) (nan bool) {
	mustMatch("GroupMax", len(dst), Groups(len(x)))
	return groupMax(dst, x)
}

// Weights sets dst[i] = floor(Exp32((z[i]−m)/t) · 2^30). m is finite and no less than any
// of z, which has no NaN; t is positive.
func Weights(dst []uint32, z []float32, m, t float32) {
	mustMatch("Weights", len(dst), len(z))
	weights(dst, z, m, t)
}

// SumAtLeast returns the sum of those x that are at least t.
func SumAtLeast(x []uint32, t uint32) (sum uint64) {
	whole := len(x) &^ (lanes - 1)
	if whole > 0 {
		sum = sumAtLeast(x[:whole], t)
	}
	return sum + sumAtLeastGeneric(x[whole:], t)
}
