//go:build !amd64

package vec

import "unsafe"

func dotRows(dst, q, k []float32, stride int, scale float32) {
	for j := range dst {
		dst[j] = scale * dotGeneric(q, k[j*stride:][:len(q)])
	}
}

func axpyRows(o, p, v []float32, stride int) { axpyRowsGeneric(o, p, v, stride) }

func dot(a, b []float32) float32 { return dotGeneric(a, b) }

func axpy(a float32, x, y []float32) { axpyGeneric(a, x, y) }

func sum(x []float32) float32 { return sumGeneric(x) }

func maximum(x []float32) float32 { return maxGeneric(x) }

func sumSquares(x []float32) float64 { return sumSquaresGeneric(x) }

func exp(dst, x []float32) { expGeneric(dst, x) }

func expSub(dst, x []float32, m float32) float32 { return expSubGeneric(dst, x, m) }

func add(dst, a, b []float32) { addGeneric(dst, a, b) }

func scale(dst []float32, a float32, x []float32) { scaleGeneric(dst, a, x) }

func rmsNormRow(dst, x, w []float32, inv float32) { rmsNormRowGeneric(dst, x, w, inv) }

func swiGLU(dst, gate, up []float32) { swiGLUGeneric(dst, gate, up) }

func swiGLUBackward(dgate, dup, gate, up, dy []float32) {
	swiGLUBackwardGeneric(dgate, dup, gate, up, dy)
}

func adamW(p, g, m, v []float32, c *adamCoef) { adamWGeneric(p, g, m, v, c) }

func rmsNormSums(x, dy, w []float32) (squares float64, dot float32) {
	return rmsNormSumsGeneric(x, dy, w)
}

func rmsNormGrad(dx, dy, x, w []float32, inv, slope float32) {
	rmsNormGradGeneric(dx, dy, x, w, inv, slope)
}

func rmsNormGradAdd(dx, dy, x, w []float32, inv, slope float32) {
	rmsNormGradAddGeneric(dx, dy, x, w, inv, slope)
}

func rmsNormWeightRows(sum, x, dy, inv []float32, stride int) {
	rmsNormWeightRowsGeneric(sum, x, dy, inv, stride)
}

func rope(y, x, cos, sin []float32, heads int, sign float32) {
	ropeGeneric(y, x, cos, sin, heads, sign)
}

func groupMax(dst, x []float32) (nan bool) { return groupMaxGeneric(dst, x) }

func weights(dst []uint32, z []float32, m, t float32) { weightsGeneric(dst, z, m, t) }

func sumAtLeast(x []uint32, t uint32) uint64 { return sumAtLeastGeneric(x, t) }

func stream(dst, src unsafe.Pointer, n int) {} // never called: the level is Generic

func fence() {}

func swiGLUBF16(dst, gate, up []uint16) int { return 0 }

func swiGLUBackwardBF16(dgate, dup []float32, gate, up []uint16, dy []float32) int { return 0 }

func widenBF16(dst []float32, src []uint16) int { return 0 }

func widenF16(dst []float32, src []uint16) int { return 0 }

func narrowBF16(dst []uint16, src []float32) int { return 0 }

func narrowF16(dst []uint16, src []float32) int { return 0 }
