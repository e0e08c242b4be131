package examples

import "github.com/selkie-ml/selkie/ptx"

// Sum adds up n elements of f32: each block adds those that its threads walk over, four
// at a time, and writes partial[block]. Launched again over the partial sums with one
// block, it gives the total; the order of additions depends only on the launch.
type Sum struct{ Warps int }

// Launch is the launch of so many blocks.
func (p Sum) Launch(blocks int) Launch {
	return Launch{Grid: [3]int{blocks, 1, 1}, Block: [3]int{32 * p.Warps, 1, 1}}
}

// Module emits the kernel sum(x, partial, n).
func (p Sum) Module() *ptx.Module {
	mod := ptx.NewModule(sm75)
	k := mod.Entry("sum")
	k.RequireThreads(32 * p.Warps)
	x, partial := k.ParamGlobal("x", ptx.PtrAlign(16)), k.ParamGlobal("partial")
	n := k.ParamU32("n")
	scratch := k.Shared("scratch", ptx.F32, p.Warps, 0)

	tid, block := k.TidX(), k.CtaidX()
	thread := block.Times(32 * p.Warps).Add(tid)
	threads := k.NctaidX().Times(32 * p.Warps)

	// acc is carried through the loops: AddF32To writes the register that exists.
	acc := k.VarF32(ptx.F(0))
	fours := n.DivBy(4)
	k.For(thread, fours, threads, func(i ptx.RegU32) {
		for _, v := range k.LdV4F32(x.Elem(i.Times(4), ptx.F32)) { // a Go loop: unrolled
			k.AddF32To(acc, acc, v)
		}
	})
	k.For(fours.Times(4).Add(thread), n, threads, func(i ptx.RegU32) {
		k.AddF32To(acc, acc, k.LdF32(x.Elem(i, ptx.F32)))
	})

	add := func(a, b ptx.RegF32) ptx.RegF32 { return k.AddF32(a, b) }
	total := ptx.BlockReduce(k, acc, p.Warps, k.VarF32(ptx.F(0)), scratch, false, add)
	k.If(k.SetpEqU32(tid, ptx.I(0)), func() {
		k.StF32(partial.Elem(block, ptx.F32), total)
	})
	return mod.Module()
}
