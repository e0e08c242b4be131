package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// Rope rotates every head of every row by its position, backwards where Back. A row
// with a position outside of the tables is refused. Vec neighbours of each half of a
// head, a divisor of HeadDim/2, are taken at once. y may be x. A Pair has heads of y2
// and x2 too.
type Rope struct {
	Y, X       kernels.DType
	HeadDim    int
	Back, Pair bool
	Vec        int
}

// Name implements Any.
func (p Rope) Name() string { return name("rope", p.Y, p.X, p.HeadDim, p.Back, p.Pair, p.Vec) }

// Items is the parameter items, for all heads, and items1, for those of y: how many times
// a row is taken Vec pairs from.
func (p Rope) Items(heads int) int { return heads * p.HeadDim / 2 / p.Vec }

// Launch is the launch for so many rows.
func (p Rope) Launch(rows, heads int) Launch { return rowItems(rows, p.Items(heads)) }

// RowsPerBlock is the parameter rows_per_block.
func (p Rope) RowsPerBlock(heads int) int { return rowsPerBlock(p.Items(heads)) }

// Emit implements Any: rope(y, x, y2, x2, positions, cos, sin, rows, items, items1, rows_per_block, max_pos, fault, fault_tag).
func (p Rope) Emit(k *ptx.Builder) {
	k.RequireThreads(elementThreads)
	y, x, y2, x2 := k.ParamGlobal("y"), k.ParamGlobal("x"), k.ParamGlobal("y2"), k.ParamGlobal("x2")
	positions, cos, sin := k.ParamGlobal("positions"), k.ParamGlobal("cos"), k.ParamGlobal("sin")
	rows, items, items1 := k.ParamU32("rows"), k.ParamU32("items"), k.ParamU32("items1")
	perBlock, maxPos := k.ParamU32("rows_per_block"), k.ParamU32("max_pos")
	refuse := newFaults(k)
	const f32 = kernels.F32
	half := p.HeadDim / 2
	eachRowItem(k, rows, items, perBlock, func(r, i ptx.RegU32) {
		pos := k.LdU32(positions.Elem(r, ptx.S32))
		good := k.SetpLtU32(pos, maxPos) // a negative one is a large one
		refuse.report(good.Not(), r, pos)
		k.If(good, func() {
			x, y, count := x, y, items1
			if p.Pair {
				first := k.SetpLtU32(i, items1)
				x, y = k.SelpU64(x.Value(), x2.Value(), first).AsGlobal(), k.SelpU64(y.Value(), y2.Value(), first).AsGlobal()
				others := items.Sub(items1)
				count, i = k.SelpU32(items1, others, first), k.SelpU32(i, i.Sub(items1), first)
			}
			width := count.Times(2 * p.Vec) // of a row
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
