package gemm

// MulRows computes dst (+)= a·b, dst [m,n] and b [k,n], and reads b where it
// lies: for an op that has b's rows together and uses them a few times. Element
// (i, l) of a is a[i*as + l*ak], as in MulPanels. The bits are those of NN and TN.
//
// b's rows start ldb elements apart. b must have PanelFloats(n, 1) elements
// from the start of its last row on; those beyond n are read and show nowhere.
func MulRows(dst []float32, ldd int, a []float32, as, ak int, b []float32, ldb, m, n, k int, accumulate bool) {
	must("MulRows", "dst", len(dst), m, n, ldd)
	if m == 0 || n == 0 {
		return
	}
	if k == 0 {
		MulPanels(dst, ldd, nil, as, ak, nil, m, n, 0, accumulate)
		return
	}
	must("MulRows", "b", len(b), k, n, ldb)
	must("MulRows", "b's last row", len(b)-(k-1)*ldb, 1, PanelFloats(n, 1), n)
	_ = a[(m-1)*as+(k-1)*ak]
	set := kernels(n, false)
	for k0 := 0; k0 < k; k0 += KC {
		kc := min(KC, k-k0)
		for c := 0; c < n; c += set.width {
			set.mul(m, kc, &a[k0*ak], as, ak, &b[k0*ldb+c], ldb, &dst[c], ldd, min(set.width, n-c), nil, accumulate || k0 > 0, ask{p: address(&a[0])})
		}
	}
}
