package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// Fill is dst[i] = value, i < n; value is the element's bits.
type Fill struct{ Bytes int } // of an element

// Name implements Any.
func (p Fill) Name() string { return name("fill", p.Bytes) }

// Launch is the launch for n elements.
func (p Fill) Launch(n int) Launch { return elements(n, 1) }

// Emit implements Any: fill(dst, n, value).
func (p Fill) Emit(k *ptx.Builder) {
	k.RequireThreads(elementThreads)
	dst, n, value := k.ParamGlobal("dst"), k.ParamU32("n"), k.ParamU32("value")
	forElements(k, n, 1, func(i ptx.RegU32, _ int) {
		if p.Bytes == kernels.F32.Size() {
			k.StU32(dst.Elem(i, ptx.U32), value)
		} else {
			k.StU16(dst.Elem(i, ptx.U16), k.CvtU16U32(value))
		}
	})
}
