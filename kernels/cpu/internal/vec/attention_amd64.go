package vec

func softmax(x []float32, ld, blocks int, n []int32, scale float32, m, shift, sum []float32) {
	switch level(len(n)) {
	case AVX512:
		softmaxAVX512(&x[0], ld, len(n), blocks, &n[0], &m[0], &shift[0], &sum[0], scale)
	case AVX2:
		softmaxAVX2(&x[0], ld, len(n), blocks, &n[0], &m[0], &shift[0], &sum[0], scale)
	default:
		softmaxGeneric(x, ld, blocks*lanes, n, scale, m, shift, sum)
	}
}

func softmaxGrad(p, dp []float32, ld, blocks int, n []int32, scale float32, lse, delta []float32) {
	switch level(len(n)) {
	case AVX512:
		softmaxGradAVX512(&p[0], &dp[0], ld, len(n), blocks, &n[0], &lse[0], &delta[0], scale)
	case AVX2:
		softmaxGradAVX2(&p[0], &dp[0], ld, len(n), blocks, &n[0], &lse[0], &delta[0], scale)
	default:
		softmaxGradGeneric(p, dp, ld, blocks*lanes, n, scale, lse, delta)
	}
}

func scaleRows(x []float32, ld, d int, c []float32) {
	switch level(len(c)) {
	case AVX512:
		scaleRowsAVX512(&x[0], ld, len(c), d, &c[0])
	case AVX2:
		scaleRowsAVX2(&x[0], ld, len(c), d, &c[0])
	default:
		scaleRowsGeneric(x, ld, d, c)
	}
}

func rowDots(dst, a, b []float32, ld, d int) {
	switch level(len(dst)) {
	case AVX512:
		rowDotsAVX512(&dst[0], &a[0], &b[0], ld, len(dst), d)
	case AVX2:
		rowDotsAVX2(&dst[0], &a[0], &b[0], ld, len(dst), d)
	default:
		rowDotsGeneric(dst, a, b, ld, d)
	}
}

func logSumExp(dst, m, l []float32) {
	switch level(len(l)) {
	case AVX512:
		logSumExpAVX512(&dst[0], &m[0], &l[0], len(l))
	case AVX2:
		logSumExpAVX2(&dst[0], &m[0], &l[0], len(l))
	default:
		logSumExpGeneric(dst, m, l)
	}
}
