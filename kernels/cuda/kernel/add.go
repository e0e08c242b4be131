package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// Add is dst[i] = a[i] + b[i], i < n. Vec is how many neighbours a thread takes by one
// access: more than 1 only where every array is aligned to as many elements.
type Add struct {
	Dst, A, B kernels.DType
	Vec       int
}

// Name implements Any.
func (p Add) Name() string { return name("add", p.Dst, p.A, p.B, p.Vec) }

// Launch is the launch for n elements.
func (p Add) Launch(n int) Launch { return elements(n, p.Vec*elementUnroll(p.Vec)) }

// Emit implements Any: add(dst, a, b, n).
func (p Add) Emit(k *ptx.Builder) {
	k.RequireThreads(elementThreads)
	dst, a, b := k.ParamGlobal("dst"), k.ParamGlobal("a"), k.ParamGlobal("b")
	n := k.ParamU32("n")
	eachElement(k, n, p.Vec, elementUnroll(p.Vec), func(i ptx.RegU32, count int) func() {
		x, y := loads(k, at(a, i, p.A), p.A, count), loads(k, at(b, i, p.B), p.B, count)
		return func() {
			for j := range x {
				x[j] = k.AddF32(x[j], y[j])
			}
			stores(k, at(dst, i, p.Dst), p.Dst, x)
		}
	})
}
