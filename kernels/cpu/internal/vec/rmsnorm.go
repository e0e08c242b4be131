package vec

// RMSNormRow sets dst[i] = (x[i] · inv) · w[i], inv being the row's 1/√(mean square + ε).
func RMSNormRow(dst, x, w []float32, inv float32) {
	mustMatch("RMSNormRow", len(dst), len(x), len(w))
	rmsNormRow(dst, x, w, inv)
}

// RMSNormSums returns SumSquares(x) and Dot(g, x), where g[i] = dy[i] · w[i].
func RMSNormSums(x, dy, w []float32) (squares float64, dot float32) {
	mustMatch("RMSNormSums", len(x), len(dy), len(w))
	return rmsNormSums(x, dy, w)
}

// RMSNormGrad sets, or where add is true increments, the gradient of a row:
//
//	g     = dy[i] · w[i]
//	dx[i] = fma(slope, x[i], add ? fma(inv, g, dx[i]) : inv · g)
func RMSNormGrad(dx, dy, x, w []float32, inv, slope float32, add bool) {
	mustMatch("RMSNormGrad", len(dx), len(dy), len(x), len(w))
	if add {
		rmsNormGradAdd(dx, dy, x, w, inv, slope)
	} else {
		rmsNormGrad(dx, dy, x, w, inv, slope)
	}
}

// RMSNormWeightRows adds up rows of x and dy, stride apart, in ascending order:
//
//	for r := range inv { for i := range sum {
//		sum[i] += (x[r*stride+i] · inv[r]) · dy[r*stride+i]
//	} }
func RMSNormWeightRows(sum, x, dy, inv []float32, stride int) {
	mustRows("RMSNormWeightRows", len(x), len(inv), len(sum), stride)
	mustRows("RMSNormWeightRows", len(dy), len(inv), len(sum), stride)
	if len(inv) > 0 {
		rmsNormWeightRows(sum, x, dy, inv, stride)
	}
}
