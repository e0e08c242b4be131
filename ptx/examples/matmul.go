package examples

import "github.com/selkie-ml/selkie/ptx"

// Matmul is c = a*b in f32 on plain cores: a [m][k], b [k][n], c [m][n], any sizes. A
// block's tiles of a and b stand in shared memory, a thread's TMxTN sums in registers.
type Matmul struct {
	BM, BN, BK int // a block's tile of c, and the depth of those of a and b
	TM, TN     int // a thread's sums: rows BM/TM apart, columns BN/TN apart
}

func (p Matmul) threads() (rows, cols int) { return p.BM / p.TM, p.BN / p.TN }

// Launch is the launch for c of m rows and n columns.
func (p Matmul) Launch(m, n int) Launch {
	rows, cols := p.threads()
	return Launch{Grid: [3]int{ceilDiv(n, p.BN), ceilDiv(m, p.BM), 1}, Block: [3]int{rows * cols, 1, 1}}
}

// Module emits the kernel matmul(a, b, c, m, n, k).
func (p Matmul) Module() *ptx.Module {
	mod := ptx.NewModule(sm75)
	k := mod.Entry("matmul")
	rows, cols := p.threads()
	k.RequireThreads(rows * cols)
	a, b, c := k.ParamGlobal("a"), k.ParamGlobal("b"), k.ParamGlobal("c")
	m, n, depth := k.ParamU32("m"), k.ParamU32("n"), k.ParamU32("k")
	tileA := k.Shared("tile_a", ptx.F32, p.BK*(p.BM+1), 0) // [k][m], padded: written down columns
	tileB := k.Shared("tile_b", ptx.F32, p.BK*p.BN, 0)     // [k][n]

	tid := k.TidX()
	tr, tc := tid.DivBy(cols), tid.Mod(cols)
	row0, col0 := k.CtaidY().Times(p.BM), k.CtaidX().Times(p.BN)

	// fill copies a tile of h rows and w columns from (r0, c0) of a matrix, zeros outside.
	fill := func(src ptx.GlobalPtr, r0, c0, nr, nc ptx.RegU32, h, w int, to func(r, c ptx.RegU32) ptx.SharedPtr) {
		for i := 0; i < h*w; i += rows * cols {
			r, c := tid.Plus(i).DivBy(w), tid.Plus(i).Mod(w)
			gr, gc := r0.Add(r), c0.Add(c)
			v := k.VarF32(ptx.F(0))
			k.If(k.SetpLtU32(gr, nr).And(k.SetpLtU32(gc, nc)), func() {
				ptx.Set(k, v, k.LdF32(src.At(k.MulWideU32(gr, nc.Times(4))).Elem(gc, ptx.F32)))
			})
			k.StF32(to(r, c), v)
		}
	}

	acc := k.VarsF32(p.TM*p.TN, ptx.F(0))
	k.For(ptx.I(0), depth, ptx.I(p.BK), func(k0 ptx.RegU32) {
		fill(a, row0, k0, m, depth, p.BM, p.BK, func(r, c ptx.RegU32) ptx.SharedPtr {
			return tileA.Elem(c.Times(p.BM+1).Add(r), ptx.F32)
		})
		fill(b, k0, col0, depth, n, p.BK, p.BN, func(r, c ptx.RegU32) ptx.SharedPtr {
			return tileB.Elem(r.Times(p.BN).Add(c), ptx.F32)
		})
		k.BarSync(0)
		atA, atB := tileA.Elem(tr, ptx.F32), tileB.Elem(tc, ptx.F32)
		for kk := range p.BK {
			as, bs := make([]ptx.RegF32, p.TM), make([]ptx.RegF32, p.TN)
			for i := range as {
				as[i] = k.LdF32(atA.Plus(4 * (kk*(p.BM+1) + i*rows)))
			}
			for j := range bs {
				bs[j] = k.LdF32(atB.Plus(4 * (kk*p.BN + j*cols)))
			}
			for i := range as {
				for j := range bs {
					d := acc[i*p.TN+j]
					k.FmaRnF32To(d, as[i], bs[j], d)
				}
			}
		}
		k.BarSync(0) // the next turn overwrites the tiles
	})

	for i := range p.TM {
		row := row0.Add(tr).Plus(i * rows)
		to := c.At(k.MulWideU32(row, n.Times(4)))
		for j := range p.TN {
			col := col0.Add(tc).Plus(j * cols)
			k.If(k.SetpLtU32(row, m).And(k.SetpLtU32(col, n)), func() {
				k.StF32(to.Elem(col, ptx.F32), acc[i*p.TN+j])
			})
		}
	}
	return mod.Module()
}
