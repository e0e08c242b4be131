package vec

// Sum returns the sum of x, in 16 lanes.
func Sum(x []float32) float32 { return sum(x) }

// Max returns the largest element of x, −Inf where x is empty. NaNs are passed
// over: softmax meets them again in ExpSub. A zero is +0.
func Max(x []float32) float32 { return maximum(x) + 0 } // −0 + 0 = +0

// SumSquares returns the sum of squares of x in float64, in 16 lanes. Squares of
// float32 are exact in float64.
func SumSquares(x []float32) float64 { return sumSquares(x) }
