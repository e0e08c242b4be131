package vec

// Dot returns the inner product of a and b: in 16 lanes, each term added by fma.
//
//	for i := range a { lane[i%16] = fma(a[i], b[i], lane[i%16]) }
//	return tree(lane)
func Dot(a, b []float32) float32 {
	mustMatch("Dot", len(a), len(b))
	return dot(a, b)
}

// DotRows sets dst[j] = scale · Dot(q, k[j·stride : j·stride+len(q)]) for j < n.
func DotRows(dst, q, k []float32, stride, n int, scale float32) {
	mustRows("DotRows", len(k), n, len(q), stride)
	mustRows("DotRows", len(dst), n, 1, 1)
	dotRows(dst[:n], q, k, stride, scale)
}

// AxpyRows adds to o the rows of v weighted by p, in ascending order:
//
//	for j := range n { for d := range o { o[d] = fma(p[j], v[j*stride+d], o[d]) } }
func AxpyRows(o, p, v []float32, stride, n int) {
	mustRows("AxpyRows", len(v), n, len(o), stride)
	mustRows("AxpyRows", len(p), n, 1, 1)
	axpyRows(o, p[:n], v, stride)
}

// Axpy sets y[i] = fma(a, x[i], y[i]).
func Axpy(a float32, x, y []float32) {
	mustMatch("Axpy", len(y), len(x))
	axpy(a, x, y)
}
