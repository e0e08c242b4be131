package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// floatTile is rows of dim elements in shared memory as f32.
type floatTile struct {
	dim, pitch, vec, threads int
}

// load copies rows from global memory, those from valid on as zeros. Where *careful is
// not 0, so are numbers that are not finite.
func (f floatTile) load(k *ptx.Builder, dst ptx.SharedPtr, src ptx.GlobalPtr, dt kernels.DType, stride, valid ptx.RegU32, rows int, careful *ptx.RegU32) {
	per := f.dim / f.vec
	units := rows * per
	batch := min(4, CeilDiv(units, f.threads)) // accesses under way at once
	valid = k.MinU32(valid, ptx.I(rows))
	k.For(k.TidX(), ptx.I(units), ptx.I(f.threads*batch), func(u ptx.RegU32) {
		x := make([][]ptx.RegF32, batch)
		row, col := make([]ptx.RegU32, batch), make([]ptx.RegU32, batch)
		for i := range x {
			x[i] = k.VarsF32(f.vec, ptx.F(0))
			row[i], col[i] = u.Plus(i*f.threads).DivBy(per), u.Plus(i*f.threads).Mod(per).Times(f.vec)
			in := k.SetpLtU32(row[i], valid)
			from := at(src, k.MulWideU32(row[i], stride).Add(col[i].U64()), dt)
			k.Guard(in, func() {
				for j, v := range loads(k, from, dt, f.vec) {
					k.MovF32To(x[i][j], v)
				}
			})
		}
		if careful != nil {
			k.If(k.SetpNeU32(*careful, ptx.I(0)), func() {
				for i := range x {
					for j := range x[i] {
						k.Guard(k.TestpFiniteF32(x[i][j]).Not(), func() { k.MovF32To(x[i][j], ptx.F(0)) })
					}
				}
			})
		}
		for i := range x {
			to := dst.Elem(k.MadLoU32(row[i], ptx.I(f.pitch), col[i]), ptx.F32)
			write := func() {
				if f.vec == 4 {
					k.StV4F32(to, [4]ptx.RegF32(x[i]))
				} else {
					k.StF32(to, x[i][0])
				}
			}
			if units%(f.threads*batch) == 0 {
				write()
			} else {
				k.Guard(k.SetpLtU32(row[i], ptx.I(rows)), write)
			}
		}
	})
}

// weighted adds to part[i][c], which starts as 0 in every tile, the products of row i of
// weights and column tx+width·c of rows, one chain of fma over n rows. weights is the
// thread's first row, of pitch weightPitch.
func (f floatTile) weighted(k *ptx.Builder, part [][]ptx.RegF32, weights ptx.SharedPtr, weightPitch int, rows ptx.SharedPtr, n ptx.InI32, tx ptx.RegU32, width int) {
	cols := len(part[0])
	last := k.MinU32(tx.Plus(width*(cols-1)), ptx.I(f.dim-1)) // some threads have no last column
	k.For(ptx.I(0), n, ptx.I(4), func(j ptx.RegU32) {
		e := make([][4]ptx.RegF32, len(part))
		for i := range e {
			e[i] = k.LdV4F32(weights.Elem(j, ptx.F32).Plus(4 * i * weightPitch))
		}
		v, tail := rows.Elem(k.MadLoU32(j, ptx.I(f.pitch), tx), ptx.F32), rows.Elem(k.MadLoU32(j, ptx.I(f.pitch), last), ptx.F32)
		for jj := range 4 {
			for c := range cols {
				from := v.Plus(4 * (jj*f.pitch + width*c))
				if c == cols-1 {
					from = tail.Plus(4 * jj * f.pitch)
				}
				x := k.LdF32(from)
				for i := range e {
					k.FmaRnF32To(part[i][c], e[i][jj], x, part[i][c])
				}
			}
		}
	})
}

// floatSquare makes n×n registers that start as 0.
func floatSquare(k *ptx.Builder, n int) [][]ptx.RegF32 {
	s := make([][]ptx.RegF32, n)
	for i := range s {
		s[i] = k.VarsF32(n, ptx.F(0))
	}
	return s
}

// dots adds to s[i][c], c from c0 on for n columns, the products of row i of a and row
// c−c0 of b, one chain of fma over dim elements. Rows of a are pitch elements apart,
// those of b bPitch.
func dots(k *ptx.Builder, dim int, a, b ptx.SharedPtr, pitch, bPitch int, s [][]ptx.RegF32, c0, n int) {
	vec, unroll := 1, 1
	for _, u := range []int{4, 8, 16} {
		if dim%u == 0 {
			vec, unroll = 4, u
		}
	}
	read := func(p ptx.SharedPtr) []ptx.RegF32 {
		if vec == 1 {
			return []ptx.RegF32{k.LdF32(p)}
		}
		v := k.LdV4F32(p)
		return v[:]
	}
	k.For(ptx.I(0), ptx.I(dim), ptx.I(unroll), func(d ptx.RegU32) {
		atA, atB := a.Elem(d, ptx.F32), b.Elem(d, ptx.F32)
		for u := 0; u < unroll; u += vec {
			x := make([][]ptx.RegF32, len(s))
			for i := range x {
				x[i] = read(atA.Plus(4 * (i*pitch + u)))
			}
			for c := range n {
				y := read(atB.Plus(4 * (c*bPitch + u)))
				for i := range x {
					for e := range y {
						k.FmaRnF32To(s[i][c0+c], x[i][e], y[e], s[i][c0+c])
					}
				}
			}
		}
	})
}
