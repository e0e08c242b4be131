package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// threads of a block of the kernels that take elements one by one.
const elementThreads = 256

// elements is the launch of a kernel whose threads take perThread elements each.
func elements(n, perThread int) Launch {
	return lines(CeilDiv(n, elementThreads*perThread), elementThreads)
}

// Add is dst[i] = a[i] + b[i], i < n. Vec is how many neighbours a thread takes by one
// access: more than 1 only where every array is aligned to as many elements.
type Add struct {
	Dst, A, B kernels.DType
	Vec       int
}

// Name implements Any.
func (p Add) Name() string { return name("add", p.Dst, p.A, p.B, p.Vec) }

// Launch is the launch for n elements.
func (p Add) Launch(n int) Launch { return elements(n, p.Vec) }

// Emit implements Any: add(dst, a, b, n).
func (p Add) Emit(k *ptx.Builder) {
	k.RequireThreads(elementThreads)
	dst, a, b := k.ParamGlobal("dst"), k.ParamGlobal("a"), k.ParamGlobal("b")
	n := k.ParamU32("n")
	forElements(k, n, p.Vec, func(i ptx.RegU32, count int) {
		x, y := loads(k, at(a, i, p.A), p.A, count), loads(k, at(b, i, p.B), p.B, count)
		for j := range x {
			x[j] = k.AddF32(x[j], y[j])
		}
		stores(k, at(dst, i, p.Dst), p.Dst, x)
	})
}

// forElements calls f for a thread's vec elements from i on, or one by one where the
// array ends among them.
func forElements(k *ptx.Builder, n ptx.RegU32, vec int, f func(i ptx.RegU32, count int)) {
	first := k.MadLoU32(k.CtaidX(), ptx.I(elementThreads), k.TidX()).Times(vec)
	if vec == 1 {
		k.If(k.SetpLtU32(first, n), func() { f(first, 1) })
		return
	}
	k.IfElse(k.SetpLeU32(first.Plus(vec), n), func() { f(first, vec) }, func() {
		k.For(first, n, ptx.I(1), func(i ptx.RegU32) { f(i, 1) })
	})
}
