package vec

import "unsafe"

// The choice between assembly and plain Go. An empty slice has no first
// element to point at, and goes to plain Go. No function here needs more than AVX512.

func level(n int) ISA {
	if n == 0 {
		return Generic
	}
	return min(active, AVX512)
}

// dotRows leaves the last rows, fewer than four, to dot: the same sums.
func dotRows(dst, q, k []float32, stride int, scale float32) {
	done := 0
	if groups := len(dst) / 4; groups > 0 {
		switch level(len(q)) {
		case AVX512:
			dotRowsAVX512(&dst[0], &q[0], &k[0], stride, len(q), groups, scale)
			done = 4 * groups
		case AVX2:
			dotRowsAVX2(&dst[0], &q[0], &k[0], stride, len(q), groups, scale)
			done = 4 * groups
		}
	}
	for j := done; j < len(dst); j++ {
		dst[j] = scale * dot(q, k[j*stride:][:len(q)])
	}
}

func axpyRows(o, p, v []float32, stride int) {
	if len(p) == 0 {
		return
	}
	switch level(len(o)) {
	case AVX512:
		axpyRowsAVX512(&o[0], &p[0], &v[0], stride, len(o), len(p))
	case AVX2:
		axpyRowsAVX2(&o[0], &p[0], &v[0], stride, len(o), len(p))
	default:
		axpyRowsGeneric(o, p, v, stride)
	}
}

func dot(a, b []float32) float32 {
	switch level(len(a)) {
	case AVX512:
		return dotAVX512(&a[0], &b[0], len(a))
	case AVX2:
		return dotAVX2(&a[0], &b[0], len(a))
	}
	return dotGeneric(a, b)
}

func axpy(a float32, x, y []float32) {
	switch level(len(x)) {
	case AVX512:
		axpyAVX512(&y[0], &x[0], len(x), a)
	case AVX2:
		axpyAVX2(&y[0], &x[0], len(x), a)
	default:
		axpyGeneric(a, x, y)
	}
}

func sum(x []float32) float32 {
	switch level(len(x)) {
	case AVX512:
		return sumAVX512(&x[0], len(x))
	case AVX2:
		return sumAVX2(&x[0], len(x))
	}
	return sumGeneric(x)
}

func maximum(x []float32) float32 {
	switch level(len(x)) {
	case AVX512:
		return maxAVX512(&x[0], len(x))
	case AVX2:
		return maxAVX2(&x[0], len(x))
	}
	return maxGeneric(x)
}

func sumSquares(x []float32) float64 {
	switch level(len(x)) {
	case AVX512:
		return sumSquaresAVX512(&x[0], len(x))
	case AVX2:
		return sumSquaresAVX2(&x[0], len(x))
	}
	return sumSquaresGeneric(x)
}

func exp(dst, x []float32) {
	switch level(len(x)) {
	case AVX512:
		expAVX512(&dst[0], &x[0], len(x))
	case AVX2:
		expAVX2(&dst[0], &x[0], len(x))
	default:
		expGeneric(dst, x)
	}
}

func expSub(dst, x []float32, m float32) float32 {
	switch level(len(x)) {
	case AVX512:
		return expSubAVX512(&dst[0], &x[0], len(x), m)
	case AVX2:
		return expSubAVX2(&dst[0], &x[0], len(x), m)
	}
	return expSubGeneric(dst, x, m)
}

func add(dst, a, b []float32) {
	switch level(len(a)) {
	case AVX512:
		addAVX512(&dst[0], &a[0], &b[0], len(a))
	case AVX2:
		addAVX2(&dst[0], &a[0], &b[0], len(a))
	default:
		addGeneric(dst, a, b)
	}
}

func scale(dst []float32, a float32, x []float32) {
	switch level(len(x)) {
	case AVX512:
		scaleAVX512(&dst[0], &x[0], len(x), a)
	case AVX2:
		scaleAVX2(&dst[0], &x[0], len(x), a)
	default:
		scaleGeneric(dst, a, x)
	}
}

func rmsNormRow(dst, x, w []float32, inv float32) {
	switch level(len(x)) {
	case AVX512:
		rmsNormRowAVX512(&dst[0], &x[0], &w[0], len(x), inv)
	case AVX2:
		rmsNormRowAVX2(&dst[0], &x[0], &w[0], len(x), inv)
	default:
		rmsNormRowGeneric(dst, x, w, inv)
	}
}

func swiGLU(dst, gate, up []float32) {
	switch level(len(gate)) {
	case AVX512:
		swiGLUAVX512(&dst[0], &gate[0], &up[0], len(gate))
	case AVX2:
		swiGLUAVX2(&dst[0], &gate[0], &up[0], len(gate))
	default:
		swiGLUGeneric(dst, gate, up)
	}
}

func swiGLUBackward(dgate, dup, gate, up, dy []float32) {
	switch level(len(gate)) {
	case AVX512:
		swiGLUBackwardAVX512(&dgate[0], &dup[0], &gate[0], &up[0], &dy[0], len(gate))
	case AVX2:
		swiGLUBackwardAVX2(&dgate[0], &dup[0], &gate[0], &up[0], &dy[0], len(gate))
	default:
		swiGLUBackwardGeneric(dgate, dup, gate, up, dy)
	}
}

func adamW(p, g, m, v []float32, c *adamCoef) {
	switch level(len(p)) {
	case AVX512:
		adamWAVX512(&p[0], &m[0], &v[0], &g[0], len(p), &c.decay)
	case AVX2:
		adamWAVX2(&p[0], &m[0], &v[0], &g[0], len(p), &c.decay)
	default:
		adamWGeneric(p, g, m, v, c)
	}
}

func rmsNormSums(x, dy, w []float32) (squares float64, dot float32) {
	switch level(len(x)) {
	case AVX512:
		return rmsNormSumsAVX512(&x[0], &dy[0], &w[0], len(x))
	case AVX2:
		return rmsNormSumsAVX2(&x[0], &dy[0], &w[0], len(x))
	}
	return rmsNormSumsGeneric(x, dy, w)
}

func rmsNormGrad(dx, dy, x, w []float32, inv, slope float32) {
	switch level(len(x)) {
	case AVX512:
		rmsNormGradAVX512(&dx[0], &dy[0], &x[0], &w[0], len(x), inv, slope)
	case AVX2:
		rmsNormGradAVX2(&dx[0], &dy[0], &x[0], &w[0], len(x), inv, slope)
	default:
		rmsNormGradGeneric(dx, dy, x, w, inv, slope)
	}
}

func rmsNormGradAdd(dx, dy, x, w []float32, inv, slope float32) {
	switch level(len(x)) {
	case AVX512:
		rmsNormGradAddAVX512(&dx[0], &dy[0], &x[0], &w[0], len(x), inv, slope)
	case AVX2:
		rmsNormGradAddAVX2(&dx[0], &dy[0], &x[0], &w[0], len(x), inv, slope)
	default:
		rmsNormGradAddGeneric(dx, dy, x, w, inv, slope)
	}
}

func rmsNormWeightRows(sum, x, dy, inv []float32, stride int) {
	switch level(len(sum)) {
	case AVX512:
		rmsNormWeightRowsAVX512(&sum[0], &x[0], &dy[0], &inv[0], stride, len(sum), len(inv))
	case AVX2:
		rmsNormWeightRowsAVX2(&sum[0], &x[0], &dy[0], &inv[0], stride, len(sum), len(inv))
	default:
		rmsNormWeightRowsGeneric(sum, x, dy, inv, stride)
	}
}

func rope(y, x, cos, sin []float32, heads int, sign float32) {
	switch level(len(cos)) {
	case AVX512:
		ropeAVX512(&y[0], &x[0], &cos[0], &sin[0], len(cos), heads, sign)
	case AVX2:
		ropeAVX2(&y[0], &x[0], &cos[0], &sin[0], len(cos), heads, sign)
	default:
		ropeGeneric(y, x, cos, sin, heads, sign)
	}
}

// groupMax leaves an incomplete span to plain Go.
func groupMax(dst, x []float32) (nan bool) {
	spans := len(x) / GroupSpan
	bad := 0
	switch level(spans) {
	case AVX512:
		bad = groupMaxAVX512(&dst[0], &x[0], spans)
	case AVX2:
		bad = groupMaxAVX2(&dst[0], &x[0], spans)
	default:
		return groupMaxGeneric(dst, x)
	}
	return groupMaxGeneric(dst[spans*lanes:], x[spans*GroupSpan:]) || bad != 0
}

func weights(dst []uint32, z []float32, m, t float32) {
	switch level(len(z)) {
	case AVX512:
		weightsAVX512(&dst[0], &z[0], len(z), m, t)
	case AVX2:
		weightsAVX2(&dst[0], &z[0], len(z), m, t)
	default:
		weightsGeneric(dst, z, m, t)
	}
}

func sumAtLeast(x []uint32, t uint32) uint64 {
	switch level(len(x)) {
	case AVX512:
		return sumAtLeastAVX512(&x[0], len(x), uint64(t))
	case AVX2:
		return sumAtLeastAVX2(&x[0], len(x), uint64(t))
	}
	return sumAtLeastGeneric(x, t)
}

func stream(dst, src unsafe.Pointer, n int) {
	switch level(n) {
	case AVX512:
		streamAVX512((*float32)(dst), (*float32)(src), n)
	case AVX2:
		streamAVX2((*float32)(dst), (*float32)(src), n)
	}
}

func fence() { storeFence() }

// Functions on 16-bit storage return how many elements they did: in AVX2, and
// in conversions, those of whole vectors.

func swiGLUBF16(dst, gate, up []uint16) int {
	n := len(dst)
	switch level(n) {
	case AVX512:
		swiGLUBF16AVX512(&dst[0], &gate[0], &up[0], n)
		return n
	case AVX2:
		if n &^= 7; n > 0 {
			swiGLUBF16AVX2(&dst[0], &gate[0], &up[0], n)
		}
		return n
	}
	return 0
}

func swiGLUBackwardBF16(dgate, dup []float32, gate, up []uint16, dy []float32) int {
	n := len(dy)
	switch level(n) {
	case AVX512:
		swiGLUBackwardBF16AVX512(&dgate[0], &dup[0], &gate[0], &up[0], &dy[0], n)
		return n
	case AVX2:
		if n &^= 7; n > 0 {
			swiGLUBackwardBF16AVX2(&dgate[0], &dup[0], &gate[0], &up[0], &dy[0], n)
		}
		return n
	}
	return 0
}

func widenBF16(dst []float32, src []uint16) int {
	n := len(src) &^ (lanes - 1)
	switch level(n) {
	case AVX512:
		widenBF16AVX512(&dst[0], &src[0], n)
		return n
	case AVX2:
		widenBF16AVX2(&dst[0], &src[0], n)
		return n
	}
	return 0
}

func widenF16(dst []float32, src []uint16) int {
	n := len(src) &^ (lanes - 1)
	switch level(n) {
	case AVX512:
		widenF16AVX512(&dst[0], &src[0], n)
		return n
	case AVX2:
		widenF16AVX2(&dst[0], &src[0], n)
		return n
	}
	return 0
}

func narrowBF16(dst []uint16, src []float32) int {
	n := len(src) &^ (lanes - 1)
	switch level(n) {
	case AVX512:
		narrowBF16AVX512(&dst[0], &src[0], n)
		return n
	case AVX2:
		narrowBF16AVX2(&dst[0], &src[0], n)
		return n
	}
	return 0
}

func narrowF16(dst []uint16, src []float32) int {
	n := len(src) &^ (lanes - 1)
	switch level(n) {
	case AVX512:
		narrowF16AVX512(&dst[0], &src[0], n)
		return n
	case AVX2:
		narrowF16AVX2(&dst[0], &src[0], n)
		return n
	}
	return 0
}
