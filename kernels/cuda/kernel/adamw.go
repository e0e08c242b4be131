package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// RunBlock is how many elements of a run of parameters are one item of work: those
// whose squares GradNorm sums in float64 before anything is added.
const RunBlock = 4096

const runThreads = 256

// Layout is where the ops over a parameter table keep what they compute first, in
// bytes: for every row of the table the number of items before it, u32, then one f64
// per item.
type Layout struct {
	NParam int
	Items  int // at most
}

// LayoutOf is the layout for a table of nparam runs within so many elements.
func LayoutOf(nparam int, elements int64) Layout {
	return Layout{nparam, nparam + int(elements/RunBlock)}
}

// Sums is where the sums of items begin.
func (l Layout) Sums() int64 { return int64(l.NParam+2) / 2 * 8 }

// Bytes is the size of it all.
func (l Layout) Bytes() int64 { return l.Sums() + int64(l.Items)*8 }

// tableRow is a row of a parameter table.
type tableRow struct{ group, offset, count, decay ptx.RegU32 }

// loadTableRow reads row i; as a table need not be aligned to rows, word by word.
func loadTableRow(k *ptx.Builder, table ptx.GlobalPtr, i ptx.RegU32) tableRow {
	at := table.Elem(i.Times(kernels.ParamColumns), ptx.S32)
	return tableRow{k.LdU32(at), k.LdU32(at.Plus(4)), k.LdU32(at.Plus(8)), k.LdU32(at.Plus(12))}
}

// ParamItems is the first kernel of both ops: before[i] = items of the runs before row
// i, before[nparam] = all. A row of a negative group has none, and a row that must be
// refused neither. Runs that overlap may hold more items than there is room for: the
// rows beyond are refused as well.
type ParamItems struct{}

const itemThreads = 1024

// Name implements Any.
func (p ParamItems) Name() string { return "param_items" }

// Launch is the launch for any table.
func (p ParamItems) Launch() Launch { return lines(1, itemThreads) }

// Emit implements Any: param_items(before, table, nparam, groups, elements, items, fault, fault_tag).
func (p ParamItems) Emit(k *ptx.Builder) {
	k.RequireThreads(itemThreads)
	before, table := k.ParamGlobal("before"), k.ParamGlobal("table")
	nparam, groups, elements, items := k.ParamU32("nparam"), k.ParamU32("groups"), k.ParamU32("elements"), k.ParamU32("items")
	refuse := newFaults(k)
	warps := k.Shared("warps", ptx.U32, itemThreads/32, 0)
	tid := k.TidX()
	sum := k.VarU32(ptx.I(0)) // of the rows before this turn's
	k.For(ptx.I(0), nparam, ptx.I(itemThreads), func(first ptx.RegU32) {
		i := first.Add(tid)
		n, group := k.VarU32(ptx.I(0)), k.VarU32(ptx.I(0))
		inTable := k.SetpLtU32(i, nparam)
		k.If(inTable, func() {
			r := loadTableRow(k, table, i)
			ptx.Set(k, group, r.group)
			ignored := k.SetpLtS32(r.group, ptx.I(0))
			within := k.SetpGeS32(r.offset, ptx.I(0)).And(k.SetpGeS32(r.count, ptx.I(0))).And(k.SetpLeU32(r.offset.Add(r.count), elements))
			good := k.SetpLtU32(r.group, groups).And(within)
			refuse.report(good.Not().And(ignored.Not()), i, r.group)
			k.If(good, func() { ptx.Set(k, n, r.count.CeilDivBy(RunBlock)) })
		})
		mine, all := blockScan(k, n, itemThreads/32, warps)
		mine = k.AddU32(sum, mine)
		full := k.SetpGtU32(mine.Add(n), items)
		refuse.report(full, i, group)
		k.If(inTable, func() { k.StU32(before.Elem(i, ptx.U32), k.MinU32(mine, items)) })
		k.AddU32To(sum, sum, all)
	})
	k.If(k.SetpEqU32(tid, ptx.I(0)), func() { k.StU32(before.Elem(nparam, ptx.U32), k.MinU32(sum, items)) })
}

// blockScan gives the sum of x over the threads before, and over all of a block of so
// many warps. scratch holds a word per warp.
func blockScan(k *ptx.Builder, x ptx.RegU32, warps int, scratch ptx.SharedPtr) (before, all ptx.RegU32) {
	tid := k.TidX()
	lane := tid.Mod(32)
	inWarp := warpScan(k, x, lane)
	k.If(k.SetpEqU32(lane, ptx.I(31)), func() { k.StU32(scratch.Elem(tid.DivBy(32), ptx.U32), inWarp) })
	k.BarSync(0)
	w := k.VarU32(ptx.I(0))
	k.Guard(k.SetpLtU32(lane, ptx.I(warps)), func() { k.MovU32To(w, k.LdU32(scratch.Elem(lane, ptx.U32))) })
	k.BarSync(0) // scratch may be used again
	upTo := warpScan(k, w, lane)
	all = ptx.ShflIdx(k, upTo, ptx.I(31))
	own := ptx.ShflIdx(k, upTo.Sub(w), tid.DivBy(32))
	return own.Add(inWarp).Sub(x), all
}

// warpScan gives the sum of x over the lanes up to this one.
func warpScan(k *ptx.Builder, x, lane ptx.RegU32) ptx.RegU32 {
	s := k.VarU32(x)
	for d := 1; d < 32; d *= 2 {
		y := ptx.ShflUp(k, s, ptx.I(d))
		k.Guard(k.SetpGeU32(lane, ptx.I(d)), func() { k.AddU32To(s, s, y) })
	}
	return s
}

// eachItem calls f for the items that a block has to do, with the table's row and the
// elements of its run from and until which the item goes.
func eachItem(k *ptx.Builder, before, table ptx.GlobalPtr, nparam ptx.RegU32, f func(item ptx.RegU32, r tableRow, from, until ptx.RegU32)) {
	total := k.LdU32(before.Elem(nparam, ptx.U32))
	lane := k.TidX().Mod(32)
	k.For(k.CtaidX(), total, k.NctaidX(), func(item ptx.RegU32) {
		// The last row that begins at or before the item has it, since rows without items
		// begin where the next one does. A warp halves five times at once: rows lo…lo+n-1
		// are in question, of which the first does begin so.
		lo, n := k.VarU32(ptx.I(0)), k.VarU32(nparam)
		k.While(func() ptx.RegPred { return k.SetpGtU32(n, ptx.I(1)) }, func() {
			step := n.CeilDivBy(32)
			at := lane.Mul(step)
			probe := k.VarU32(ptx.I(0xFFFFFFFF))
			k.Guard(k.SetpLtU32(at, n), func() { k.MovU32To(probe, k.LdU32(before.Elem(lo.Add(at), ptx.U32))) })
			hits := k.PopcB32(k.Ballot(k.SetpLeU32(probe, item), ptx.FullMask))
			skip := k.MulLoU32(hits.Plus(-1), step)
			k.AddU32To(lo, lo, skip)
			k.MinU32To(n, step, n.Sub(skip))
		})
		r := loadTableRow(k, table, lo)
		from := item.Sub(k.LdU32(before.Elem(lo, ptx.U32))).Times(RunBlock)
		f(item, r, from, k.MinU32(from.Plus(RunBlock), r.count))
	})
}

// runBlocks is how many blocks share so many items, on a GPU with so many multiprocessors.
func runBlocks(items, sms int) int { return min(items, 32*sms) }

// GradNormItems is sums[item] = Σ grad², in float64: a thread's elements in steps of the
// block, then the threads as in BlockReduce.
type GradNormItems struct{}

// Name implements Any.
func (p GradNormItems) Name() string { return "grad_norm_items" }

// Launch is the launch for so many items at most.
func (p GradNormItems) Launch(items, sms int) Launch { return lines(runBlocks(items, sms), runThreads) }

// Emit implements Any: grad_norm_items(sums, before, table, grad, nparam).
func (p GradNormItems) Emit(k *ptx.Builder) {
	k.RequireThreads(runThreads)
	sums, before, table, grad := k.ParamGlobal("sums"), k.ParamGlobal("before"), k.ParamGlobal("table"), k.ParamGlobal("grad")
	nparam := k.ParamU32("nparam")
	scratch := k.Shared("scratch", ptx.F64, runThreads/32, 0)
	tid := k.TidX()
	eachItem(k, before, table, nparam, func(item ptx.RegU32, r tableRow, from, until ptx.RegU32) {
		const turns = RunBlock / runThreads
		first := grad.Elem(r.offset.Add(from).Add(tid), ptx.F32)
		mine := until.Sub(from) // of which the thread has tid, tid+256, …
		var x [turns]ptx.RegF32
		for i := range x {
			x[i] = k.VarF32(ptx.F(0))
			k.Guard(k.SetpLtU32(tid.Plus(i*runThreads), mine), func() { k.MovF32To(x[i], k.LdF32(first.Plus(4*i*runThreads))) })
		}
		sum := k.VarF64(ptx.F(0))
		for _, v := range x {
			wide := k.CvtF64F32(v)
			k.FmaRnF64To(sum, wide, wide, sum)
		}
		total := blockSumF64(k, sum, runThreads/32, scratch)
		k.If(k.SetpEqU32(tid, ptx.I(0)), func() { k.StF64(sums.Elem(item, ptx.F64), total) })
	})
}

// warpSumF64 adds up x of the lanes, as ptx.WarpReduce.
func warpSumF64(k *ptx.Builder, x ptx.RegF64) ptx.RegF64 {
	for m := 16; m > 0; m /= 2 {
		w := k.UnpackB64B32x2(x)
		y := k.PackB64B32x2([2]ptx.RegB32{ptx.ShflBfly(k, w[0], ptx.I(m)), ptx.ShflBfly(k, w[1], ptx.I(m))})
		x = k.AddF64(x, y.AsF64())
	}
	return x
}

// blockSumF64 adds up x of a block of so many warps; scratch may be used again after it.
func blockSumF64(k *ptx.Builder, x ptx.RegF64, warps int, scratch ptx.SharedPtr) ptx.RegF64 {
	x = warpSumF64(k, x)
	tid := k.TidX()
	lane := tid.Mod(32)
	k.If(k.SetpEqU32(lane, ptx.I(0)), func() { k.StF64(scratch.Elem(tid.DivBy(32), ptx.F64), x) })
	k.BarSync(0)
	y := k.VarF64(ptx.F(0))
	k.Guard(k.SetpLtU32(lane, ptx.I(warps)), func() { k.MovF64To(y, k.LdF64(scratch.Elem(lane, ptx.F64))) })
	k.BarSync(0)
	return warpSumF64(k, y)
}

// GradNorm is the last kernel of its op: a block adds the runs of a group, in order. A
// warp adds up a run's items, each lane every 32nd, then the lanes.
type GradNorm struct{}

const normWarps = 32

// Name implements Any.
func (p GradNorm) Name() string { return "grad_norm" }

// Launch is the launch for so many groups.
func (p GradNorm) Launch(groups int) Launch { return lines(groups, 32*normWarps) }

// Emit implements Any: grad_norm(sum_squares, sums, before, table, nparam).
func (p GradNorm) Emit(k *ptx.Builder) {
	k.RequireThreads(32 * normWarps)
	squares, sums, before, table := k.ParamGlobal("sum_squares"), k.ParamGlobal("sums"), k.ParamGlobal("before"), k.ParamGlobal("table")
	nparam := k.ParamU32("nparam")
	runs := k.Shared("runs", ptx.F64, normWarps, 0)
	tid, group := k.TidX(), k.CtaidX()
	lane, warp := tid.Mod(32), tid.DivBy(32)
	to := squares.Elem(group, ptx.F32)
	total := k.VarF32(ptx.F(0))
	adds := k.SetpEqU32(tid, ptx.I(0))
	k.If(adds, func() { ptx.Set(k, total, k.LdF32(to)) })
	k.For(ptx.I(0), nparam, ptx.I(normWarps), func(first ptx.RegU32) {
		row := first.Add(warp)
		sum := k.VarF64(ptx.F(0))
		k.If(k.SetpLtU32(row, nparam), func() {
			k.If(k.SetpEqU32(loadTableRow(k, table, row).group, group), func() {
				at := before.Elem(row, ptx.U32)
				k.For(k.LdU32(at).Add(lane), k.LdU32(at.Plus(4)), ptx.I(32), func(item ptx.RegU32) {
					k.AddF64To(sum, sum, k.LdF64(sums.Elem(item, ptx.F64)))
				})
			})
		})
		sum = warpSumF64(k, sum)
		k.If(k.SetpEqU32(lane, ptx.I(0)), func() { k.StF64(runs.Elem(warp, ptx.F64), sum) })
		k.BarSync(0)
		k.If(adds, func() { // a run of another group, or none, adds zero
			for w := range normWarps {
				k.CvtRnF32F64To(total, k.AddF64(k.CvtF64F32(total), k.LdF64(runs.Plus(8*w))))
			}
		})
		k.BarSync(0)
	})
	k.If(adds, func() { k.StF32(to, total) })
}

// AdamW is the step over all items; see kernels.AdamWArgs. Four neighbours are taken at
// once where Vec holds: then the slabs are aligned to 16 bytes, whatever runs are.
type AdamW struct{ Vec bool }

// Name implements Any.
func (p AdamW) Name() string { return name("adamw", p.Vec) }

// Launch is the launch for so many items at most.
func (p AdamW) Launch(items, sms int) Launch { return lines(runBlocks(items, sms), runThreads) }

// adamStep is a group's settings as the step wants them.
type adamStep struct {
	clip, shrink, rate1, keep1, rate2, keep2, lr, root2, eps ptx.RegF32
	active                                                   ptx.RegPred
}

func loadAdamStep(k *ptx.Builder, settings, squares ptx.GlobalPtr, r tableRow) adamStep {
	row := settings.Elem(r.group.Times(kernels.AdamColumns), ptx.F32)
	get := func(column int) ptx.RegF32 { return k.LdF32(row.Plus(4 * column)) }
	one := k.VarF32(ptx.F(1))
	sum, most := k.LdF32(squares.Elem(r.group, ptx.F32)), get(kernels.AdamMaxNorm)
	var s adamStep
	clip := k.MinF32(one, k.DivRnF32(most, k.AddF32(k.SqrtRnF32(sum), ptx.F(1e-6))))
	s.clip = k.SelpF32(clip, one, k.SetpGtF32(most, ptx.F(0)))
	rate := get(kernels.AdamLR)
	s.shrink = k.SelpF32(k.MulF32(rate, get(kernels.AdamDecay)), ptx.F(0), k.SetpNeU32(r.decay, ptx.I(0)))
	s.rate1, s.rate2 = get(kernels.AdamRate1), get(kernels.AdamRate2)
	s.keep1, s.keep2 = k.SubF32(one, s.rate1), k.SubF32(one, s.rate2)
	s.lr = k.DivRnF32(rate, get(kernels.AdamBias1))
	s.root2, s.eps = k.SqrtRnF32(get(kernels.AdamBias2)), get(kernels.AdamEps)
	s.active = k.SetpNeF32(get(kernels.AdamActive), ptx.F(0)).And(k.TestpFiniteF32(sum))
	return s
}

// update is the step of one element.
func (s adamStep) update(k *ptx.Builder, p, grad, m, v ptx.RegF32) (p1, m1, v1 ptx.RegF32) {
	g := k.MulF32(s.clip, grad)
	p = k.FmaRnF32(k.NegF32(s.shrink), p, p)
	m = k.FmaRnF32(s.rate1, g, k.MulF32(s.keep1, m))
	v = k.FmaRnF32(k.MulF32(s.rate2, g), g, k.MulF32(s.keep2, v))
	down := k.AddF32(k.DivRnF32(k.SqrtRnF32(v), s.root2), s.eps)
	return k.SubF32(p, k.DivRnF32(k.MulF32(s.lr, m), down)), m, v
}

// Emit implements Any: adamw(p, grad, m, v, sum_squares, settings, before, table, nparam).
func (p AdamW) Emit(k *ptx.Builder) {
	k.RequireThreads(runThreads)
	param, grad, mom, vel := k.ParamGlobal("p"), k.ParamGlobal("grad"), k.ParamGlobal("m"), k.ParamGlobal("v")
	squares, settings := k.ParamGlobal("sum_squares"), k.ParamGlobal("settings")
	before, table := k.ParamGlobal("before"), k.ParamGlobal("table")
	nparam := k.ParamU32("nparam")
	vec := 1
	if p.Vec {
		vec = 4
	}
	tid := k.TidX()
	eachItem(k, before, table, nparam, func(_ ptx.RegU32, r tableRow, from, until ptx.RegU32) {
		s := loadAdamStep(k, settings, squares, r)
		lo, hi := r.offset.Add(from), r.offset.Add(until)
		step := func(e ptx.RegU32, n int) {
			const f32 = kernels.F32
			gs := at(grad, e, f32)
			k.If(s.active, func() {
				ps, ms, vs := at(param, e, f32), at(mom, e, f32), at(vel, e, f32)
				g, x, m, v := loads(k, gs, f32, n), loads(k, ps, f32, n), loads(k, ms, f32, n), loads(k, vs, f32, n)
				for i := range x {
					x[i], m[i], v[i] = s.update(k, x[i], g[i], m[i], v[i])
				}
				stores(k, ps, f32, x)
				stores(k, ms, f32, m)
				stores(k, vs, f32, v)
			})
			stores(k, gs, f32, k.VarsF32(n, ptx.F(0)))
		}
		// Groups of neighbours lie at multiples of their size in the slabs; a run's first
		// and last may be shared with its neighbours.
		start := k.AndB32(lo, ptx.I(-vec)).AsU32()
		k.For(start.Add(tid.Times(vec)), hi, ptx.I(vec*runThreads), func(e ptx.RegU32) {
			if vec == 1 {
				step(e, 1)
				return
			}
			k.IfElse(k.SetpGeU32(e, lo).And(k.SetpLeU32(e.Plus(vec), hi)), func() { step(e, vec) }, func() {
				k.For(k.MaxU32(e, lo), k.MinU32(e.Plus(vec), hi), ptx.I(1), func(e ptx.RegU32) { step(e, 1) })
			})
		})
	})
}
