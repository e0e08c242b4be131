package examples

import "github.com/selkie-ml/selkie/ptx"

// Transpose is y[c][r] = x[r][c] for f32 of rows x cols, in tiles of 32x32 through
// shared memory, so that both reading and writing touch whole lines.
type Transpose struct{ Rows int } // of threads in a block: a divisor of 32

// Launch is the launch for a matrix.
func (p Transpose) Launch(rows, cols int) Launch {
	return Launch{Grid: [3]int{ceilDiv(cols, 32), ceilDiv(rows, 32), 1}, Block: [3]int{32, p.Rows, 1}}
}

// Module emits the kernel transpose(x, y, rows, cols).
func (p Transpose) Module() *ptx.Module {
	mod := ptx.NewModule(sm75)
	k := mod.Entry("transpose")
	k.RequireThreads(32, p.Rows)
	x, y := k.ParamGlobal("x"), k.ParamGlobal("y")
	rows, cols := k.ParamU32("rows"), k.ParamU32("cols")
	const pitch = 33 // one more than 32, so that a column touches all banks
	tile := k.Shared("tile", ptx.F32, 32*pitch, 0)

	tx, ty := k.TidX(), k.TidY()
	row0, col0 := k.CtaidY().Times(32), k.CtaidX().Times(32)
	for r := 0; r < 32; r += p.Rows {
		row, col := row0.Add(ty).Plus(r), col0.Add(tx)
		inside := k.SetpLtU32(row, rows).And(k.SetpLtU32(col, cols))
		k.If(inside, func() {
			v := k.LdF32(x.Elem(k.MadLoU32(row, cols, col), ptx.F32))
			k.StF32(tile.Elem(ty.Plus(r).Times(pitch).Add(tx), ptx.F32), v)
		})
	}
	k.BarSync(0)
	for r := 0; r < 32; r += p.Rows {
		row, col := col0.Add(ty).Plus(r), row0.Add(tx) // of y
		inside := k.SetpLtU32(row, cols).And(k.SetpLtU32(col, rows))
		k.If(inside, func() {
			v := k.LdF32(tile.Elem(tx.Times(pitch).Add(ty.Plus(r)), ptx.F32))
			k.StF32(y.Elem(k.MadLoU32(row, rows, col), ptx.F32), v)
		})
	}
	return mod.Module()
}
