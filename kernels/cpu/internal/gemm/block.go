package gemm

// Products inside a caller's own loops, for ops that reuse a packed block of b
// or work on blocks too small for tasks of their own: attention, grouped LoRA.
// They run in the calling goroutine and need no scratch but the caller's.

// PanelFloats is how much room PackPanels needs for n columns of k products.
func PanelFloats(n, k int) int { return ceil(n, panel) * panel * k }

// PackPanels writes b, [n,k] in FormNT or [k,n] in FormNN, to dst as MulPanels
// reads it: chunks of KC products, panels of the chunk one after the other.
// 16-bit values are widened.
func PackPanels(dst []float32, b Matrix, form Form, n, k int) {
	rows, cols := n, k
	if form == FormNN {
		rows, cols = k, n
	}
	must("PackPanels", "b", b.len(), rows, cols, b.Ld)
	must("PackPanels", "dst", len(dst), 1, PanelFloats(n, k), PanelFloats(n, k))
	for k0 := 0; k0 < k; k0 += KC {
		packBlock(dst[PanelFloats(n, k0):], &b, form, 0, n, k0, min(KC, k-k0))
	}
}

// MulPanels computes dst (+)= a·b: dst [m,n], b packed by PackPanels. Element (i, l) of
// a is a[i*as + l*ak]: as, ak = lda, 1 for a [m,k], and 1, lda for a transposed [k,m].
// The bits are those of NT, NN and TN.
func MulPanels(dst []float32, ldd int, a []float32, as, ak int, panels []float32, m, n, k int, accumulate bool) {
	must("MulPanels", "dst", len(dst), m, n, ldd)
	must("MulPanels", "panels", len(panels), 1, PanelFloats(n, k), PanelFloats(n, k))
	if m == 0 || n == 0 {
		return
	}
	if k == 0 {
		if !accumulate {
			for i := range m {
				clear(dst[i*ldd:][:n])
			}
		}
		return
	}
	_ = a[(m-1)*as+(k-1)*ak]
	set := kernels(n, false)
	for k0 := 0; k0 < k; k0 += KC {
		kc := min(KC, k-k0)
		chunk := panels[PanelFloats(n, k0):]
		for n0 := 0; n0 < n; n0 += panel {
			end := min(n0+panel, n)
			for c := n0; c < end; c += set.width {
				set.mul(m, kc, &a[k0*ak], as, ak, &chunk[n0*kc+c-n0], panel, &dst[c], ldd, min(set.width, end-c), nil, accumulate || k0 > 0, ask{p: address(&a[0])})
			}
		}
	}
}
