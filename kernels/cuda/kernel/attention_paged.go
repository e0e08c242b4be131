package kernel

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// AttentionPagedMMA is AttentionMMA for rows over a KV cache, with the same bits. Its 16
// rows are the heads of a row that share a KV head. A warp takes a block of keys of its
// own: what all need of a block beforehand, the largest score so far, is exchanged when
// the scores are known; what blocks give is added up in order by threads that each have
// elements of the result.
type AttentionPagedMMA struct {
	QKV, O  kernels.DType
	HeadDim int
	Aligned bool // q and the cache to 16 bytes
	Step    PagedStep
}

// Name implements Any.
func (p AttentionPagedMMA) Name() string {
	return name("attention_paged_mma", p.QKV, p.O, p.HeadDim, p.Aligned) + p.Step.suffix()
}

// warps is how many fit into shared memory.
func (p AttentionPagedMMA) warps() int {
	if p.HeadDim > 64 {
		return 2
	}
	return 4
}

// partPitch keeps rows that are written together in different banks.
func (p AttentionPagedMMA) partPitch() int { return p.HeadDim + 8 }

// floats is what a warp hands to the others: its part of the result, its parts of the
// sums of exponentials, its largest scores, and its factors for what was summed before.
func (p AttentionPagedMMA) floats() int { return 16 * (p.partPitch() + 4 + 1 + 1) }

func (p AttentionPagedMMA) shared() int {
	tiles, floats := 2, 16 // of steps of a split: largest scores alone
	switch p.Step {
	case PagedWhole:
		floats = p.floats()
	case PagedTops:
		tiles = 1 // keys
	}
	return p.warps()*(tiles*kernels.KeyBlock*(2*p.HeadDim+16)+4*floats) + 16
}

// Launch is the launch for rows over a KV cache.
func (p AttentionPagedMMA) Launch(rows, heads, kvHeads int) Launch {
	l := cachedLaunch(rows, heads, kvHeads, 32*p.warps())
	l.Shared = p.shared()
	return l
}

// LaunchStep is the launch of a step of a split, or of the whole.
func (p AttentionPagedMMA) LaunchStep(s PagedSplit) Launch {
	return s.launch(p.Step, p.Launch(s.Rows, s.Heads, s.KVHeads))
}

// pagedWarps is what the warps of a block have: each keys and values of its own.
type pagedWarps struct {
	AttentionPagedMMA
	k             *ptx.Builder
	t             *attentionTile
	rows          *halfTile
	ks, vs        ptx.SharedPtr // the warp's keys and values
	tops, scratch ptx.SharedPtr
	lane, warp    ptx.RegU32
	g, col0       ptx.RegU32 // the lane's rows are g and g+8, its first column is col0
	exists        []ptx.RegPred
	queries       func(kk int) [][4]ptx.RegB32
	atK, atV      []ptx.TileAt
	hi            ptx.RegU32   // blocks of keys end here
	largest       []ptx.RegF32 // score of the lane's rows so far, in all warps
}

// own is the warp's part of something that there is for each.
func (w *pagedWarps) own(base ptx.SharedPtr, bytes int) ptx.SharedPtr {
	return base.At(w.warp.Times(bytes))
}

// Emit implements Any: parameters as cachedTile has them, then flags, or those of newPagedPart.
func (p AttentionPagedMMA) Emit(k *ptx.Builder) {
	k.RequireThreads(32 * p.warps())
	tid := k.TidX()
	w := &pagedWarps{AttentionPagedMMA: p, k: k, lane: tid.Mod(32), warp: tid.DivBy(32)}
	w.rows = newHalfTile(k, w.lane, p.HeadDim, kernels.KeyBlock, 32, p.Aligned)
	layout := k.DynamicShared(16)
	w.ks = w.own(layout.Alloc(p.warps()*w.rows.bytes(), 16), w.rows.bytes())
	if p.Step != PagedTops {
		w.vs = w.own(layout.Alloc(p.warps()*w.rows.bytes(), 16), w.rows.bytes())
	}
	var handed handedOver
	if p.Step == PagedWhole {
		handed = handedOver{layout.Alloc(p.warps()*16*4*p.partPitch(), 16), layout.Alloc(p.warps()*16*4*4, 16), layout.Alloc(p.warps()*16*4, 16)}
	}
	w.tops, w.scratch = layout.Alloc(p.warps()*16*4, 16), layout.Alloc(16, 16)
	w.g, w.col0 = w.lane.DivBy(4), w.lane.Mod(4).Times(2)
	switch p.Step {
	case PagedWhole:
		w.aim(wholeTile)
		onlyFlagged(k, w.t)
		w.hi = w.t.blocks()
		w.whole(tid, handed)
	case PagedTops:
		w.aim(splitTile)
		part := newPagedPart(k, w.t, p.HeadDim, pagedSums(true))
		w.hi = part.hi
		part.beginTops(k.ParamGlobal("flags"))
		w.findTops(part)
	case PagedParts:
		w.aim(splitTile)
		part := newPagedPart(k, w.t, p.HeadDim, pagedSums(true))
		w.hi = part.hi
		w.leaveParts(part)
	}
}

// aim finds the block's tile and reads its queries.
func (w *pagedWarps) aim(tile func(k *ptx.Builder, o, q, kv kernels.DType, dim, threads int, flag ptx.SharedPtr) *attentionTile) {
	k := w.k
	w.t = tile(k, w.O, w.QKV, w.QKV, w.HeadDim, 32*w.warps(), w.scratch)
	w.exists = []ptx.RegPred{k.SetpLtU32(w.g, w.t.rows), k.SetpLtU32(w.g.Plus(8), w.t.rows)}
	w.queries = w.readQueries()
	w.atK = []ptx.TileAt{w.rows.shared.FragmentB(w.lane, k.VarU32(ptx.I(0))).At(w.ks)}
	if w.Step != PagedTops {
		w.atV = []ptx.TileAt{w.rows.shared.FragmentBTrans(w.lane, k.VarU32(ptx.I(0))).At(w.vs)}
	}
	w.largest = k.VarsF32(2, ptx.F(0))
}

// fetch starts to copy keys or values of a block, if it is one.
func (w *pagedWarps) fetch(b ptx.RegU32, values bool) {
	k := w.k
	k.If(k.SetpLtU32(b, w.hi), func() {
		key, value := w.t.block(b)
		if values {
			w.rows.copy(w.vs, value, w.t.keyStride, w.t.left(b))
		} else {
			w.rows.copy(w.ks, key, w.t.keyStride, w.t.left(b))
		}
	})
	k.CpAsyncCommitGroup()
}

// scores waits for the keys, with so many copies after them under way, multiplies the
// queries by those of block b, if there is one, and starts to fetch the next. It returns
// the scores and the largest of each row.
func (w *pagedWarps) scores(b ptx.RegU32, has ptx.RegPred, underWay int) (s halfRows, top []ptx.RegF32) {
	k := w.k
	k.CpAsyncWaitGroup(underWay)
	k.WarpSync(ptx.FullMask)
	s = zeroRows(k, kernels.KeyBlock)
	top = k.VarsF32(2, ptx.F(math.Inf(-1)))
	k.If(has, func() {
		byRow := s.byRow()
		s.addProduct(k, w.QKV, w.queries, w.atK, [][2]int{{0, 0}}, w.HeadDim)
		if w.Step != PagedTops {
			w.t.mask(k, w.t.left(b), byRow, []ptx.RegU32{w.t.pos, w.t.pos}, b.Times(kernels.KeyBlock).Add(w.col0), halfColumn)
		}
		for i := range top {
			k.MovF32To(top[i], largestOf(k, byRow[i], 4))
		}
	})
	k.WarpSync(ptx.FullMask)
	w.fetch(b.Plus(w.warps()), false)
	return s, top
}

// handTop leaves the warp's largest scores for the others.
func (w *pagedWarps) handTop(top []ptx.RegF32) {
	k := w.k
	k.If(k.SetpEqU32(w.col0, ptx.I(0)), func() {
		for i := range top {
			k.StF32(w.own(w.tops, 64).Elem(w.g, ptx.F32).Plus(32*i), top[i])
		}
	})
}

// exchange raises the largest scores to those of the warps' blocks, and returns what they
// were before the warp's own and are with it. It waits for all warps.
func (w *pagedWarps) exchange(top []ptx.RegF32) (before, now []ptx.RegF32) {
	k := w.k
	w.handTop(top)
	k.BarSync(0) // the largest scores are there, and the parts before have been used
	before, now = k.VarsF32(2, ptx.F(0)), k.VarsF32(2, ptx.F(0))
	for i, largest := range w.largest {
		for of := range w.warps() {
			top := k.LdF32(w.tops.Elem(w.g, ptx.F32).Plus(64*of + 32*i))
			mine := k.SetpEqU32(w.warp, ptx.I(of))
			k.Guard(mine, func() { k.MovF32To(before[i], largest) })
			k.MaxF32To(largest, largest, top)
			k.Guard(mine, func() { k.MovF32To(now[i], largest) })
		}
	}
	return before, now
}

// turn does what a warp does of its block b, if it is one: sum takes the factor for what
// was summed before and the lane's part of the sum of exponentials, of each of its rows;
// use takes the exponentials while the values are there. Then it fetches the next values.
func (w *pagedWarps) turn(b ptx.RegU32, sum func(i int, shift, total ptx.RegF32), use func(s halfRows)) {
	k := w.k
	has := k.SetpLtU32(b, w.hi)
	s, top := w.scores(b, has, 1)
	before, now := w.exchange(top)
	k.CpAsyncWaitGroup(1)
	k.WarpSync(ptx.FullMask)
	k.If(has, func() {
		for i, row := range s.byRow() {
			shift := w.t.rescale(k, before[i], now[i])
			sum(i, shift, w.t.exponentials(k, row, now[i]))
		}
		use(s)
	})
	k.WarpSync(ptx.FullMask)
	w.fetch(b.Plus(w.warps()), true)
}

// part multiplies the values by the exponentials s, and gives them to use: two
// neighbours of row i from column col0+col on.
func (w *pagedWarps) part(s halfRows, use func(i, col int, v [2]ptx.RegF32)) {
	k := w.k
	split := splitWeights(k, w.QKV, s)
	for col := 0; col < w.HeadDim; col += 16 {
		for j, d := range split.times(k, w.QKV, w.atV, weightTerms, col) {
			for i := range w.exists {
				k.Guard(w.exists[i], func() { use(i, col+8*j, [2]ptx.RegF32{d[2*i], d[2*i+1]}) })
			}
		}
	}
}

// handedOver is where warps leave for each other what they have of a block of keys: the
// parts of the result and of the sums, and the factors for what was summed before.
type handedOver struct{ parts, sums, shifts ptx.SharedPtr }

// whole does it all.
func (w *pagedWarps) whole(tid ptx.RegU32, handed handedOver) {
	k, p, t := w.k, w.AttentionPagedMMA, w.t
	threads, warps := 32*p.warps(), p.warps()
	// Elements of the result and of the parts of the sums, threads apart.
	o, sum := k.VarsF32(CeilDiv(16*p.HeadDim, threads), ptx.F(0)), k.VarsF32(CeilDiv(16*4, threads), ptx.F(0))
	place := p.elements(k, tid, handed.parts)
	careful := k.VarU32(ptx.I(0))
	k.DoWhile(func() ptx.RegPred {
		for _, x := range append(o[:len(o):len(o)], sum...) {
			k.MovF32To(x, ptx.F(0))
		}
		for _, x := range w.largest {
			k.MovF32To(x, ptx.F(math.Inf(-1)))
		}
		w.fetch(w.warp, false)
		w.fetch(w.warp, true)
		k.For(ptx.I(0), w.hi, ptx.I(warps), func(first ptx.RegU32) {
			w.turn(first.Add(w.warp), func(i int, shift, total ptx.RegF32) {
				k.If(w.exists[i], func() {
					k.StF32(w.own(handed.sums, 256).At(w.lane.Times(4)).Plus(128*i), total)
					k.If(k.SetpEqU32(w.col0, ptx.I(0)), func() { k.StF32(w.own(handed.shifts, 64).Elem(w.g, ptx.F32).Plus(32*i), shift) })
				})
			}, func(s halfRows) {
				k.If(k.SetpNeU32(careful, ptx.I(0)), func() {
					w.rows.makeFinite(w.vs, p.QKV)
					k.WarpSync(ptx.FullMask)
				})
				to := w.own(handed.parts, 64*p.partPitch()).Elem(k.MadLoU32(w.g, ptx.I(p.partPitch()), w.col0), ptx.F32)
				w.part(s, func(i, col int, v [2]ptx.RegF32) { k.StV2F32(to.Plus(4*(8*i*p.partPitch()+col)), v) })
			})
			k.BarSync(0) // the parts are there
			for of := range warps {
				k.If(k.SetpLtU32(first.Plus(of), w.hi), func() {
					add := func(sum ptx.RegF32, row ptx.RegU32, part ptx.SharedPtr) {
						k.If(k.SetpLtU32(row, t.rows), func() {
							k.FmaRnF32To(sum, sum, k.LdF32(handed.shifts.Elem(row, ptx.F32).Plus(64*of)), k.LdF32(part))
						})
					}
					for i := range o {
						row, _, part := place(i)
						add(o[i], row, part.Plus(64*of*p.partPitch()))
					}
					for i := range sum {
						e := tid.Plus(i * threads)
						k.If(k.SetpLtU32(e, ptx.I(64)), func() { add(sum[i], e.DivBy(4), handed.sums.Elem(e, ptx.F32).Plus(256*of)) })
					}
				})
			}
		})
		k.CpAsyncWaitAll()
		// As in Attention: once more if something is not finite.
		k.AddU32To(careful, careful, ptx.I(1))
		return spoilt(k, warps, w.scratch, o).And(k.SetpEqU32(careful, ptx.I(1)))
	})
	k.If(k.SetpEqU32(careful, ptx.I(2)), func() {
		cols := make([]column, len(o))
		for i := range cols {
			_, cols[i], _ = place(i)
		}
		t.addInfinite(k, p.QKV, []ptx.RegU32{t.pos}, cols, p.HeadDim, [][]ptx.RegF32{o})
	})

	k.BarSync(0)
	for i := range sum {
		e := tid.Plus(i * threads)
		k.If(k.SetpLtU32(e, ptx.I(64)), func() { k.StF32(handed.sums.Elem(e, ptx.F32), sum[i]) })
	}
	k.BarSync(0)
	for i := range o {
		row, _, _ := place(i)
		k.If(k.SetpLtU32(row, t.rows), func() {
			v := k.LdV4F32(handed.sums.Elem(row.Times(4), ptx.F32))
			total := k.AddF32(k.AddF32(v[0], v[2]), k.AddF32(v[1], v[3])) // as lanes that exchange them
			store(k, at(t.o, tid.Plus(i*threads), p.O), p.O, k.MulF32(o[i], k.RcpRnF32(total)))
		})
	}
}

// findTops leaves the largest scores of the part.
func (w *pagedWarps) findTops(part *pagedPart) {
	k := w.k
	for _, x := range w.largest {
		k.MovF32To(x, ptx.F(math.Inf(-1)))
	}
	w.fetch(part.lo.Add(w.warp), false)
	k.For(part.lo, w.hi, ptx.I(w.warps()), func(first ptx.RegU32) {
		b := first.Add(w.warp)
		_, top := w.scores(b, k.SetpLtU32(b, w.hi), 0)
		for i, largest := range w.largest {
			k.MaxF32To(largest, largest, top[i])
		}
	})
	k.CpAsyncWaitAll()
	w.handTop(w.largest)
	k.BarSync(0)
	row := k.TidX()
	k.If(k.SetpLtU32(row, w.t.rows), func() {
		top := k.LdF32(w.tops.Elem(row, ptx.F32))
		for of := 1; of < w.warps(); of++ {
			top = k.MaxF32(top, k.LdF32(w.tops.Elem(row, ptx.F32).Plus(64*of)))
		}
		k.StF32(part.top(part.part, row), top)
	})
}

// leaveParts leaves what the part's blocks of keys give.
func (w *pagedWarps) leaveParts(part *pagedPart) {
	k := w.k
	for i := range w.largest {
		k.MovF32To(w.largest[i], part.before(k.MinU32(w.g.Plus(8*i), w.t.rows.Plus(-1)), w.lane.Mod(4), 4))
	}
	w.fetch(part.lo.Add(w.warp), false)
	w.fetch(part.lo.Add(w.warp), true)
	k.For(part.lo, w.hi, ptx.I(w.warps()), func(first ptx.RegU32) {
		b, record := first.Add(w.warp), make([]ptx.GlobalPtr, 2)
		w.turn(b, func(i int, shift, total ptx.RegF32) {
			record[i] = part.record(b, w.g.Plus(8*i))
			k.If(w.exists[i], func() {
				k.StF32(record[i].Plus(4*w.HeadDim).Elem(w.lane.Mod(4), ptx.F32), total)
				k.If(k.SetpEqU32(w.col0, ptx.I(0)), func() { k.StF32(record[i].Plus(4*(w.HeadDim+part.sums)), shift) })
			})
			record[i] = record[i].Elem(w.col0, ptx.F32)
		}, func(s halfRows) {
			w.part(s, func(i, col int, v [2]ptx.RegF32) { k.StV2F32(record[i].Plus(4*col), v) })
		})
		k.BarSync(0) // the largest scores have been read
	})
	k.CpAsyncWaitAll()
}

// elements says where the i-th element of the result lies that a thread adds up: its row
// and column, and its place in the first warp's part.
func (p AttentionPagedMMA) elements(k *ptx.Builder, tid ptx.RegU32, parts ptx.SharedPtr) func(i int) (row ptx.RegU32, col column, part ptx.SharedPtr) {
	threads, dim, pitch := 32*p.warps(), p.HeadDim, p.partPitch()
	switch {
	case dim%threads == 0: // rows are known in Go
		own := parts.Elem(tid, ptx.F32)
		return func(i int) (ptx.RegU32, column, ptx.SharedPtr) {
			r, c := i*threads/dim, i*threads%dim
			return k.VarU32(ptx.I(r)), column{base: tid, n: c}, own.Plus(4 * (r*pitch + c))
		}
	case threads%dim == 0: // all of one column
		row0, col := tid.DivBy(dim), tid.Mod(dim)
		own := parts.Elem(k.MadLoU32(row0, ptx.I(pitch), col), ptx.F32)
		return func(i int) (ptx.RegU32, column, ptx.SharedPtr) {
			r := i * threads / dim
			return row0.Plus(r), column{base: col}, own.Plus(4 * r * pitch)
		}
	}
	return func(i int) (ptx.RegU32, column, ptx.SharedPtr) {
		e := tid.Plus(i * threads)
		row, col := e.DivBy(dim), e.Mod(dim)
		return row, column{base: col}, parts.Elem(k.MadLoU32(row, ptx.I(pitch), col), ptx.F32)
	}
}

// readQueries reads the rows as operand A.
func (w *pagedWarps) readQueries() func(kk int) [][4]ptx.RegB32 {
	k := w.k
	from := at(w.t.q, k.MadLoU32(w.g, ptx.I(w.HeadDim), w.col0), w.QKV)
	q := make([][4]ptx.RegB32, w.HeadDim/16)
	for i := range q {
		for j := range q[i] {
			q[i][j] = k.VarB32(ptx.I(0))
			half := j % 2
			k.Guard(w.exists[half], func() { k.MovB32To(q[i][j], pair(k, from.Plus(2*(16*i+8*half*w.HeadDim+j/2*8)), w.Aligned)) })
		}
	}
	return func(kk int) [][4]ptx.RegB32 { return q[kk/16 : kk/16+1] }
}
