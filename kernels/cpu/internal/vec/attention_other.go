//go:build !amd64

package vec

func softmax(x []float32, ld, blocks int, n []int32, scale float32, m, shift, sum []float32) {
	softmaxGeneric(x, ld, blocks*lanes, n, scale, m, shift, sum)
}

func softmaxGrad(p, dp []float32, ld, blocks int, n []int32, scale float32, lse, delta []float32) {
	softmaxGradGeneric(p, dp, ld, blocks*lanes, n, scale, lse, delta)
}

func scaleRows(x []float32, ld, d int, c []float32) { scaleRowsGeneric(x, ld, d, c) }

func rowDots(dst, a, b []float32, ld, d int) { rowDotsGeneric(dst, a, b, ld, d) }

func logSumExp(dst, m, l []float32) { logSumExpGeneric(dst, m, l) }

func prefetch(*byte, int) {}
