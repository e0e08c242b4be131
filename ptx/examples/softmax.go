package examples

import (
	"math"

	"github.com/selkie-ml/selkie/ptx"
)

// Softmax is y[r][c] = exp(x[r][c]) / sum over the row, for f32 rows of any length; a
// block takes a row.
type Softmax struct{ Warps int }

// Launch is the launch for so many rows.
func (p Softmax) Launch(rows int) Launch {
	return Launch{Grid: [3]int{rows, 1, 1}, Block: [3]int{32 * p.Warps, 1, 1}}
}

// Module emits the kernel softmax(x, y, cols).
func (p Softmax) Module() *ptx.Module {
	mod := ptx.NewModule(sm75)
	k := mod.Entry("softmax")
	k.RequireThreads(32 * p.Warps)
	x, y := k.ParamGlobal("x"), k.ParamGlobal("y")
	cols := k.ParamU32("cols")
	scratch := k.Shared("scratch", ptx.F32, p.Warps, 0)

	tid := k.TidX()
	start := k.MulWideU32(k.CtaidX(), cols.Times(4))
	x, y = x.At(start), y.At(start)
	each := func(f func(i ptx.RegU32)) { k.For(tid, cols, ptx.I(32*p.Warps), f) }

	// exp(v - max) = 2^(v*log2e - max*log2e): ex2 is what the hardware has.
	max := k.VarF32(ptx.F(math.Inf(-1)))
	each(func(i ptx.RegU32) { k.MaxF32To(max, max, k.LdF32(x.Elem(i, ptx.F32))) })
	max = ptx.BlockReduce(k, max, p.Warps, k.VarF32(ptx.F(math.Inf(-1))), scratch, false,
		func(a, b ptx.RegF32) ptx.RegF32 { return k.MaxF32(a, b) })
	shift := k.MulF32(max, ptx.F(-math.Log2E))
	exp := func(i ptx.RegU32) ptx.RegF32 {
		return k.Ex2ApproxFtzF32(k.FmaRnF32(k.LdF32(x.Elem(i, ptx.F32)), ptx.F(math.Log2E), shift))
	}

	sum := k.VarF32(ptx.F(0))
	each(func(i ptx.RegU32) { k.AddF32To(sum, sum, exp(i)) })
	sum = ptx.BlockReduce(k, sum, p.Warps, k.VarF32(ptx.F(0)), scratch, true,
		func(a, b ptx.RegF32) ptx.RegF32 { return k.AddF32(a, b) })
	scale := k.RcpRnF32(sum)
	each(func(i ptx.RegU32) { k.StF32(y.Elem(i, ptx.F32), k.MulF32(exp(i), scale)) })
	return mod.Module()
}
