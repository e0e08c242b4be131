package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// Rope rotates every head of every row by its position, backwards where Back. A row
// with a position outside of the tables is refused. Vec neighbours of each half of a
// head, a divisor of HeadDim/2, are taken at once. y may be x.
type Rope struct {
	Y, X    kernels.DType
	HeadDim int
	Back    bool
	Vec     int
}

// Name implements Any.
func (p Rope) Name() string { return name("rope", p.Y, p.X, p.HeadDim, p.Back, p.Vec) }

// Items is the parameter items: how many times a row is taken Vec pairs from.
func (p Rope) Items(heads int) int { return heads * p.HeadDim / 2 / p.Vec }

// Launch is the launch for so many rows.
func (p Rope) Launch(rows, heads int) Launch { return rowItems(rows, p.Items(heads)) }

// RowsPerBlock is the parameter rows_per_block.
func (p Rope) RowsPerBlock(heads int) int { return rowsPerBlock(p.Items(heads)) }

// Emit implements Any: rope(y, x, positions, cos, sin, rows, items, rows_per_block, max_pos, fault, fault_tag).
func (p Rope) Emit(k *ptx.Builder) {
	k.RequireThreads(elementThreads)
	y, x, positions := k.ParamGlobal("y"), k.ParamGlobal("x"), k.ParamGlobal("positions")
	cos, sin := k.ParamGlobal("cos"), k.ParamGlobal("sin")
	rows, items, perBlock, maxPos := k.ParamU32("rows"), k.ParamU32("items"), k.ParamU32("rows_per_block"), k.ParamU32("max_pos")
	refuse := newFaults(k)
	const f32 = kernels.F32
	half := p.HeadDim / 2
	width := items.Times(2 * p.Vec) // of a row
	eachRowItem(k, rows, items, perBlock, func(r, i ptx.RegU32) {
		pos := k.LdU32(positions.Elem(r, ptx.S32))
		good := k.SetpLtU32(pos, maxPos) // a negative one is a large one
		refuse.report(good.Not(), r, pos)
		k.If(good, func() {
			head := i.DivBy(half / p.Vec)
			j := i.Sub(head.Times(half / p.Vec)).Times(p.Vec)
			c := loads(k, at(row(k, cos, pos, ptx.I(half), f32), j, f32), f32, p.Vec)
			s := loads(k, at(row(k, sin, pos, ptx.I(half), f32), j, f32), f32, p.Vec)
			at0 := k.MadLoU32(head, ptx.I(p.HeadDim), j)
			from, to := at(row(k, x, r, width, p.X), at0, p.X), at(row(k, y, r, width, p.Y), at0, p.Y)
			lo, hi := loads(k, from, p.X, p.Vec), loads(k, from.Plus(half*p.X.Size()), p.X, p.Vec)
			for v := range lo {
				sn := s[v]
				if p.Back {
					sn = k.NegF32(sn)
				}
				a, b := lo[v], hi[v]
				lo[v] = k.FmaRnF32(a, c[v], k.NegF32(k.MulF32(b, sn)))
				hi[v] = k.FmaRnF32(b, c[v], k.MulF32(a, sn))
			}
			stores(k, to, p.Y, lo)
			stores(k, to.Plus(half*p.Y.Size()), p.Y, hi)
		})
	})
}
