package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// RowSum is how a row of Dim elements is dealt to threads: groups of four neighbours in
// turn, so that the order of a sum follows from Dim alone, however elements are read.
type RowSum struct {
	Threads int // of a row: a warp, or a block
	Groups  int // of a thread, which keeps them in registers; 0: too many, they are read in each pass
	Vec     int // 4 where the groups are aligned, otherwise 1
}

const rowGroup = 4

// RowSumOf is how rows of dim elements are summed.
func RowSumOf(dim, vec int) RowSum {
	p, most := RowSum{Threads: 32, Vec: vec}, 8
	switch {
	case dim > 8192:
		p.Threads, most = 1024, 4 // as 1024 threads have few registers
	case dim > 1024:
		p.Threads = 256
	}
	if p.Groups = max(1, CeilDiv(dim, rowGroup*p.Threads)); p.Groups > most {
		p.Groups = 0
	}
	return p
}

// block is threads of a block: a row's, or those of several rows of a warp each.
func (p RowSum) block() int { return max(p.Threads, 256) }

// launch is the launch for so many rows.
func (p RowSum) launch(rows int) Launch { return lines(CeilDiv(rows, p.block()/p.Threads), p.block()) }

// row returns the thread's row, and its place among the row's threads. Whole warps
// without a row end here.
func (p RowSum) row(k *ptx.Builder, rows ptx.RegU32) (row, thread ptx.RegU32) {
	k.RequireThreads(p.block())
	k.MinBlocks(max(1, 512/p.block())) // rather than more blocks and registers spilled
	row, thread = k.CtaidX(), k.TidX()
	if n := p.block() / p.Threads; n > 1 {
		row = row.Times(n).Add(thread.DivBy(p.Threads))
		thread = thread.Mod(p.Threads)
	}
	k.Return(k.SetpGeU32(row, rows))
	return row, thread
}

// pass calls f for the thread's groups, by their first column. What f reads is kept in
// slot of a Go slice for the next pass, unless slot is negative.
func (p RowSum) pass(k *ptx.Builder, dim, thread ptx.RegU32, f func(c ptx.RegU32, slot int)) {
	if p.Groups == 0 {
		k.For(thread.Times(rowGroup), dim, ptx.I(rowGroup*p.Threads), func(c ptx.RegU32) { f(c, -1) })
		return
	}
	for g := range p.Groups {
		f(thread.Plus(g*p.Threads).Times(rowGroup), g)
	}
}

// rowValues are a row's elements as a thread sees them.
type rowValues struct {
	RowSum
	row  ptx.GlobalPtr
	dt   kernels.DType
	dim  ptx.RegU32
	kept [][]ptx.RegF32
}

func (p RowSum) values(row ptx.GlobalPtr, dt kernels.DType, dim ptx.RegU32) *rowValues {
	return &rowValues{p, row, dt, dim, make([][]ptx.RegF32, p.Groups)}
}

// load gives the group from column c on, with zeros beyond the row's end.
func (v *rowValues) load(k *ptx.Builder, c ptx.RegU32, slot int) []ptx.RegF32 {
	if slot >= 0 && v.kept[slot] != nil {
		return v.kept[slot]
	}
	x := k.VarsF32(rowGroup, ptx.F(0))
	v.parts(k, c, func(from ptx.GlobalPtr, j int) {
		for i, e := range loads(k, from, v.dt, v.Vec) {
			ptx.Set(k, x[j+i], e)
		}
	})
	if slot >= 0 {
		v.kept[slot] = x
	}
	return x
}

// store writes the group from column c on.
func (v *rowValues) store(k *ptx.Builder, c ptx.RegU32, x []ptx.RegF32) {
	v.parts(k, c, func(to ptx.GlobalPtr, j int) { stores(k, to, v.dt, x[j:j+v.Vec]) })
}

// parts calls f, under a guard, for the parts of a group from column c on that lie in
// the row: Vec elements at an address, which are the group's from j on.
func (v *rowValues) parts(k *ptx.Builder, c ptx.RegU32, f func(p ptx.GlobalPtr, j int)) {
	guard := k.Guard
	if v.Threads == 1024 {
		guard = k.If // keeps loads from being moved to where 1024 threads lack registers
	}
	from := at(v.row, c, v.dt)
	for j := 0; j < rowGroup; j += v.Vec {
		guard(k.SetpLtU32(c.Plus(j), v.dim), func() { f(from.Plus(j*v.dt.Size()), j) })
	}
}

// sum adds up what all threads of the row hold; scratch is that of BlockReduce.
func (p RowSum) sum(k *ptx.Builder, x ptx.RegF32, scratch ptx.SharedPtr, again bool) ptx.RegF32 {
	add := func(a, b ptx.RegF32) ptx.RegF32 { return k.AddF32(a, b) }
	return ptx.BlockReduce(k, x, p.Threads/32, k.VarF32(ptx.F(0)), scratch, again, add)
}

// scratch is shared memory for a sum.
func (p RowSum) scratch(k *ptx.Builder) (s ptx.SharedPtr) {
	if p.Threads > 32 {
		s = k.Shared("scratch", ptx.F32, p.Threads/32, 0)
	}
	return s
}

// rms returns 1/√(mean(x²) + eps) from the sum of squares.
func rms(k *ptx.Builder, squares, dim ptx.InF32, eps ptx.RegF32) ptx.RegF32 {
	return k.RcpRnF32(k.SqrtRnF32(k.AddF32(k.DivRnF32(squares, dim), eps)))
}

// RMSNorm is, for every row, y[c] = x[c]·r·w[c] with r = 1/√(mean(x²) + eps). The row
// stays in registers between the two passes. With Add, which is then add's storage, x is
// x + add, and goes to sum.
type RMSNorm struct {
	Y, W, Add kernels.DType
	RowSum
}

// Name implements Any.
func (p RMSNorm) Name() string { return name("rmsnorm", p.Y, p.W, p.Add, p.Threads, p.Groups, p.Vec) }

// Launch is the launch for so many rows.
func (p RMSNorm) Launch(rows int) Launch { return p.launch(rows) }

// Emit implements Any: rmsnorm(y, x, w, add, sum, rows, dim, eps).
func (p RMSNorm) Emit(k *ptx.Builder) {
	y, x, w, add, sum := k.ParamGlobal("y"), k.ParamGlobal("x"), k.ParamGlobal("w"), k.ParamGlobal("add"), k.ParamGlobal("sum")
	rows, dim, eps := k.ParamU32("rows"), k.ParamU32("dim"), k.ParamF32("eps")
	scratch := p.scratch(k)
	i, thread := p.row(k, rows)
	const f32 = kernels.F32
	xs, ws, ys := p.values(row(k, x, i, dim, f32), f32, dim), p.values(w, p.W, dim), p.values(row(k, y, i, dim, p.Y), p.Y, dim)
	var adds, sums *rowValues
	if p.Add != kernels.Invalid {
		adds, sums = p.values(row(k, add, i, dim, p.Add), p.Add, dim), p.values(row(k, sum, i, dim, f32), f32, dim)
	}
	squares := k.VarF32(ptx.F(0))
	p.pass(k, dim, thread, func(c ptx.RegU32, slot int) {
		e := xs.load(k, c, slot)
		if adds != nil {
			for j, a := range adds.load(k, c, -1) {
				k.AddF32To(e[j], e[j], a)
			}
			sums.store(k, c, e)
		}
		for _, e := range e {
			k.FmaRnF32To(squares, e, e, squares)
		}
	})
	if adds != nil && p.Groups == 0 {
		xs = sums // which every thread reads where it wrote
	}
	r := rms(k, p.sum(k, squares, scratch, false), k.CvtRnF32U32(dim), eps)
	p.pass(k, dim, thread, func(c ptx.RegU32, slot int) {
		e, weights := xs.load(k, c, slot), ws.load(k, c, slot)
		out := make([]ptx.RegF32, rowGroup)
		for j := range out {
			out[j] = k.MulF32(k.MulF32(e[j], r), weights[j])
		}
		ys.store(k, c, out)
	})
}

// RMSNormBackward is, for every row with r as in forward and g[c] = dy[c]·w[c],
//
//	dx[c] (+)= r·(g[c] − x[c]·r²·mean(g·x))
//
// and writes r, which the gradient of w wants, to scale where Scale holds.
type RMSNormBackward struct {
	W                 kernels.DType
	Accumulate, Scale bool
	RowSum
}

// Name implements Any.
func (p RMSNormBackward) Name() string {
	return name("rmsnorm_backward", p.W, p.Accumulate, p.Scale, p.Threads, p.Groups, p.Vec)
}

// Launch is the launch for so many rows.
func (p RMSNormBackward) Launch(rows int) Launch { return p.launch(rows) }

// Emit implements Any: rmsnorm_backward(dx, dy, x, w, scale, rows, dim, eps).
func (p RMSNormBackward) Emit(k *ptx.Builder) {
	dx, dy, x, w := k.ParamGlobal("dx"), k.ParamGlobal("dy"), k.ParamGlobal("x"), k.ParamGlobal("w")
	scale := k.ParamGlobal("scale")
	rows, dim, eps := k.ParamU32("rows"), k.ParamU32("dim"), k.ParamF32("eps")
	scratch := p.scratch(k)
	i, thread := p.row(k, rows)
	const f32 = kernels.F32
	xs, dys := p.values(row(k, x, i, dim, f32), f32, dim), p.values(row(k, dy, i, dim, f32), f32, dim)
	ws, dxs := p.values(w, p.W, dim), p.values(row(k, dx, i, dim, f32), f32, dim)
	squares, product := k.VarF32(ptx.F(0)), k.VarF32(ptx.F(0))
	gs := make([][]ptx.RegF32, p.Groups)
	gradient := func(c ptx.RegU32, slot int) []ptx.RegF32 { // dy·w
		if slot >= 0 && gs[slot] != nil {
			return gs[slot]
		}
		d, weights := dys.load(k, c, -1), ws.load(k, c, -1)
		g := make([]ptx.RegF32, rowGroup)
		for j := range g {
			g[j] = k.MulF32(d[j], weights[j])
		}
		if slot >= 0 {
			gs[slot] = g
		}
		return g
	}
	p.pass(k, dim, thread, func(c ptx.RegU32, slot int) {
		e, g := xs.load(k, c, slot), gradient(c, slot)
		for j := range e {
			k.FmaRnF32To(squares, e[j], e[j], squares)
			k.FmaRnF32To(product, g[j], e[j], product)
		}
	})
	width := k.CvtRnF32U32(dim)
	r := rms(k, p.sum(k, squares, scratch, false), width, eps)
	mean := k.DivRnF32(p.sum(k, product, scratch, true), width)
	if p.Scale {
		k.If(k.SetpEqU32(thread, ptx.I(0)), func() { k.StF32(scale.Elem(i, ptx.F32), r) })
	}
	pull := k.NegF32(k.MulF32(k.MulF32(r, r), mean))
	p.pass(k, dim, thread, func(c ptx.RegU32, slot int) {
		e, g := xs.load(k, c, slot), gradient(c, slot)
		out := make([]ptx.RegF32, rowGroup)
		for j := range out {
			out[j] = k.MulF32(r, k.FmaRnF32(e[j], pull, g[j]))
		}
		if p.Accumulate {
			for j, old := range dxs.load(k, c, -1) {
				out[j] = k.AddF32(old, out[j])
			}
		}
		dxs.store(k, c, out)
	})
}

// RMSNormWeight is dw[c] += Σ dy[i, c]·x[i, c]·scale[i], sequence by sequence.
type RMSNormWeight struct{ ColumnSums }

// Name implements Any.
func (p RMSNormWeight) Name() string { return name("rmsnorm_weight", p.Chunks) }

// Emit implements Any: rmsnorm_weight(dw, dy, x, scale, starts, nseq, rows, dim, fault, fault_tag).
func (p RMSNormWeight) Emit(k *ptx.Builder) {
	dw, dy, x, scale := k.ParamGlobal("dw"), k.ParamGlobal("dy"), k.ParamGlobal("x"), k.ParamGlobal("scale")
	starts, nseq, rows, dim := k.ParamGlobal("starts"), k.ParamU32("nseq"), k.ParamU32("rows"), k.ParamU32("dim")
	refuse := newFaults(k)
	p.emit(k, dw, starts, nseq, rows, dim, refuse, func(i, c ptx.RegU32) ptx.RegF32 {
		e := k.MulWideU32(i, dim).Add(c.U64())
		return k.MulF32(k.MulF32(k.LdF32(dy.Elem(e, ptx.F32)), k.LdF32(x.Elem(e, ptx.F32))), k.LdF32(scale.Elem(i, ptx.F32)))
	})
}
