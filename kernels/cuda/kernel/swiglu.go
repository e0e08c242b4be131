package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// SwiGLU is y[i] = silu(gate[i])·up[i], i < n.
type SwiGLU struct {
	Y, Gate, Up kernels.DType
	Vec         int
}

// Name implements Any.
func (p SwiGLU) Name() string { return name("swiglu", p.Y, p.Gate, p.Up, p.Vec) }

// Launch is the launch for n elements.
func (p SwiGLU) Launch(n int) Launch { return elements(n, p.Vec*elementUnroll(p.Vec)) }

// sigmoid returns s = 1/(1+e^−x) and 1−s, neither by a difference: both are exact
// where they are tiny.
func sigmoid(k *ptx.Builder, x ptx.RegF32) (s, rest ptx.RegF32) {
	e := exp(k, k.NegF32(k.AbsF32(x)))
	large := k.RcpRnF32(k.AddF32(e, ptx.F(1)))
	small := k.MulF32(e, large)
	positive := k.SetpGeF32(x, ptx.F(0))
	return k.SelpF32(large, small, positive), k.SelpF32(small, large, positive)
}

// Emit implements Any: swiglu(y, gate, up, n).
func (p SwiGLU) Emit(k *ptx.Builder) {
	k.RequireThreads(elementThreads)
	y, gate, up := k.ParamGlobal("y"), k.ParamGlobal("gate"), k.ParamGlobal("up")
	n := k.ParamU32("n")
	eachElement(k, n, p.Vec, elementUnroll(p.Vec), func(i ptx.RegU32, count int) func() {
		g, u := loads(k, at(gate, i, p.Gate), p.Gate, count), loads(k, at(up, i, p.Up), p.Up, count)
		return func() {
			out := make([]ptx.RegF32, count)
			for j := range g {
				s, _ := sigmoid(k, g[j])
				out[j] = k.MulF32(k.MulF32(g[j], s), u[j])
			}
			stores(k, at(y, i, p.Y), p.Y, out)
		}
	})
}

// SwiGLUBackward is, with s = sigmoid(gate[i]),
//
//	dup[i]   = dy[i]·gate[i]·s
//	dgate[i] = dy[i]·up[i]·s·(1 + gate[i]·(1−s))
//
// Gradients are f32, and either may be dy.
type SwiGLUBackward struct {
	Gate, Up kernels.DType
	Vec      int
}

// Name implements Any.
func (p SwiGLUBackward) Name() string { return name("swiglu_backward", p.Gate, p.Up, p.Vec) }

// Launch is the launch for n elements.
func (p SwiGLUBackward) Launch(n int) Launch { return elements(n, p.Vec*elementUnroll(p.Vec)) }

// Emit implements Any: swiglu_backward(dgate, dup, dy, gate, up, n).
func (p SwiGLUBackward) Emit(k *ptx.Builder) {
	k.RequireThreads(elementThreads)
	dgate, dup, dy := k.ParamGlobal("dgate"), k.ParamGlobal("dup"), k.ParamGlobal("dy")
	gate, up := k.ParamGlobal("gate"), k.ParamGlobal("up")
	n := k.ParamU32("n")
	const f32 = kernels.F32
	eachElement(k, n, p.Vec, elementUnroll(p.Vec), func(i ptx.RegU32, count int) func() {
		d := loads(k, at(dy, i, f32), f32, count)
		g, u := loads(k, at(gate, i, p.Gate), p.Gate, count), loads(k, at(up, i, p.Up), p.Up, count)
		return func() {
			dg, du := make([]ptx.RegF32, count), make([]ptx.RegF32, count)
			for j := range g {
				s, rest := sigmoid(k, g[j])
				du[j] = k.MulF32(d[j], k.MulF32(g[j], s))
				dg[j] = k.MulF32(k.MulF32(k.MulF32(d[j], u[j]), s), k.FmaRnF32(g[j], rest, ptx.F(1)))
			}
			stores(k, at(dup, i, f32), f32, du)
			stores(k, at(dgate, i, f32), f32, dg)
		}
	})
}
