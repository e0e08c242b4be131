//go:build !amd64

package vec

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
