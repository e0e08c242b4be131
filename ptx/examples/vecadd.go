package examples

import "github.com/selkie-ml/selkie/ptx"

// VecAdd is c[i] = a[i] + b[i] for n elements of f32, one per thread.
type VecAdd struct{ Threads int }

// Launch is the launch for n elements.
func (p VecAdd) Launch(n int) Launch {
	return Launch{Grid: [3]int{ceilDiv(n, p.Threads), 1, 1}, Block: [3]int{p.Threads, 1, 1}}
}

// Module emits the kernel vecadd(a, b, c, n).
func (p VecAdd) Module() *ptx.Module {
	mod := ptx.NewModule(sm75)
	k := mod.Entry("vecadd")
	a, b, c := k.ParamGlobal("a"), k.ParamGlobal("b"), k.ParamGlobal("c")
	n := k.ParamU32("n")

	i := k.MadLoU32(k.CtaidX(), k.NtidX(), k.TidX())
	k.If(k.SetpLtU32(i, n), func() {
		x := k.LdF32(a.Elem(i, ptx.F32))
		y := k.LdF32(b.Elem(i, ptx.F32))
		k.StF32(c.Elem(i, ptx.F32), k.AddF32(x, y))
	})
	return mod.Module()
}
