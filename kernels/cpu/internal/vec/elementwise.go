package vec

import "github.com/selkie-ml/selkie/internal/half"

// Add sets dst[i] = a[i] + b[i].
func Add(dst, a, b []float32) {
	mustMatch("Add", len(dst), len(a), len(b))
	add(dst, a, b)
}

// Scale sets dst[i] = a · x[i].
func Scale(dst []float32, a float32, x []float32) {
	mustMatch("Scale", len(dst), len(x))
	scale(dst, a, x)
}

// SwiGLU sets dst[i] = silu(gate[i]) · up[i], with
//
//	silu(g) = g / (1 + Exp32(-g))
func SwiGLU(dst, gate, up []float32) {
	mustMatch("SwiGLU", len(dst), len(gate), len(up))
	swiGLU(dst, gate, up)
}

// SwiGLUBackward sets the gradients of SwiGLU's inputs, given dy of its output:
//
//	s        = 1 / (1 + Exp32(-g))
//	dup[i]   = dy · (g·s)
//	dgate[i] = (dy · up) · fma(g·s, 1-s, s)
func SwiGLUBackward(dgate, dup, gate, up, dy []float32) {
	mustMatch("SwiGLUBackward", len(dgate), len(dup), len(gate), len(up), len(dy))
	swiGLUBackward(dgate, dup, gate, up, dy)
}

// SwiGLUBF16 is SwiGLU of bfloat16: widened before, narrowed after.
func SwiGLUBF16(dst, gate, up []uint16) {
	mustMatch("SwiGLUBF16", len(dst), len(gate), len(up))
	for i := swiGLUBF16(dst, gate, up); i < len(dst); i++ {
		dst[i] = half.BF16FromFloat32(swiGLU1(half.BF16ToFloat32(gate[i]), half.BF16ToFloat32(up[i])))
	}
}

// SwiGLUBackwardBF16 is SwiGLUBackward, widening gate and up before.
func SwiGLUBackwardBF16(dgate, dup []float32, gate, up []uint16, dy []float32) {
	mustMatch("SwiGLUBackwardBF16", len(dgate), len(dup), len(gate), len(up), len(dy))
	for i := swiGLUBackwardBF16(dgate, dup, gate, up, dy); i < len(dy); i++ {
		dgate[i], dup[i] = swiGLUBackward1(half.BF16ToFloat32(gate[i]), half.BF16ToFloat32(up[i]), dy[i])
	}
}

// AdamW applies one step of AdamW (Loshchilov and Hutter 2019, in PyTorch's form)
// to the parameters p and the moments m and v, given the gradient g, and clears g:
//
//	g' = gscale·g
//	p  = p · (1 - lr·wd)
//	m  = (1-rate1)·m + rate1·g'
//	v  = (1-rate2)·v + rate2·(g'·g')
//	p  = p - (lr/bc1) · m / (√v/√bc2 + eps)
//	g  = 0
//
// bc1 and bc2 are the bias corrections 1-beta1ᵗ and 1-beta2ᵗ; rate1 and
// rate2 are 1-beta1 and 1-beta2, which beta in float32 would not give exactly. Every operation
// is rounded to float32; there is no fma in it.
func AdamW(p, g, m, v []float32, lr, rate1, rate2, eps, wd, gscale, bc1, bc2 float32) {
	mustMatch("AdamW", len(p), len(g), len(m), len(v))
	adamW(p, g, m, v, newAdamCoef(lr, rate1, rate2, eps, wd, gscale, bc1, bc2))
}
