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
}

// Name implements Any.
func (p AttentionPagedMMA) Name() string {
	return name("attention_paged_mma", p.QKV, p.O, p.HeadDim, p.Aligned)
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
	return p.warps()*(2*kernels.KeyBlock*(2*p.HeadDim+16)+4*p.floats()) + 16
}

// Launch is the launch for rows over a KV cache.
func (p AttentionPagedMMA) Launch(rows, heads, kvHeads int) Launch {
	l := cachedLaunch(rows, heads, kvHeads, 32*p.warps())
	l.Shared = p.shared()
	return l
}

// Emit implements Any: parameters as cachedTile has them.
func (p AttentionPagedMMA) Emit(k *ptx.Builder) {
	warps := p.warps()
	threads := 32 * warps
	k.RequireThreads(threads)
	tid := k.TidX()
	lane, warp := tid.Mod(32), tid.DivBy(32)
	rows := newHalfTile(k, lane, p.HeadDim, kernels.KeyBlock, 32, p.Aligned)
	layout := k.DynamicShared(16)
	ks, vs := layout.Alloc(warps*rows.bytes(), 16), layout.Alloc(warps*rows.bytes(), 16)
	parts, sums := layout.Alloc(warps*16*4*p.partPitch(), 16), layout.Alloc(warps*16*4*4, 16)
	tops, shifts := layout.Alloc(warps*16*4, 16), layout.Alloc(warps*16*4, 16)
	scratch := layout.Alloc(16, 16)
	own := func(base ptx.SharedPtr, bytes int) ptx.SharedPtr { return base.At(warp.Times(bytes)) }
	ks, vs = own(ks, rows.bytes()), own(vs, rows.bytes())

	t := cachedTile(k, p.O, p.QKV, p.QKV, p.HeadDim, threads, scratch)
	g, col0 := lane.DivBy(4), lane.Mod(4).Times(2)
	exists := []ptx.RegPred{k.SetpLtU32(g, t.rows), k.SetpLtU32(g.Plus(8), t.rows)}
	a := p.queries(k, t, lane, exists)
	atK, atV := []ptx.TileAt{rows.shared.FragmentB(lane, k.VarU32(ptx.I(0))).At(ks)}, []ptx.TileAt{rows.shared.FragmentBTrans(lane, k.VarU32(ptx.I(0))).At(vs)}
	limits := []ptx.RegU32{t.pos, t.pos}
	blocks := t.blocks()
	fetch := func(b ptx.RegU32, values bool) {
		k.If(k.SetpLtU32(b, blocks), func() {
			key, value := t.block(b)
			if values {
				rows.copy(vs, value, t.keyStride, t.left(b))
			} else {
				rows.copy(ks, key, t.keyStride, t.left(b))
			}
		})
		k.CpAsyncCommitGroup()
	}

	// Elements of the result and of the parts of the sums, threads apart.
	o, sum := k.VarsF32(CeilDiv(16*p.HeadDim, threads), ptx.F(0)), k.VarsF32(CeilDiv(16*4, threads), ptx.F(0))
	place := p.elements(k, tid, parts)
	largest := k.VarsF32(2, ptx.F(0))
	careful := k.VarU32(ptx.I(0))
	k.DoWhile(func() ptx.RegPred {
		for _, x := range append(o[:len(o):len(o)], sum...) {
			k.MovF32To(x, ptx.F(0))
		}
		for _, x := range largest {
			k.MovF32To(x, ptx.F(math.Inf(-1)))
		}
		fetch(warp, false)
		fetch(warp, true)
		k.For(ptx.I(0), blocks, ptx.I(warps), func(first ptx.RegU32) {
			b := first.Add(warp)
			has := k.SetpLtU32(b, blocks)
			k.CpAsyncWaitGroup(1)
			k.WarpSync(ptx.FullMask)
			s := zeroRows(k, kernels.KeyBlock)
			top := k.VarsF32(2, ptx.F(math.Inf(-1)))
			byRow := s.byRow()
			k.If(has, func() {
				s.addProduct(k, p.QKV, a, atK, [][2]int{{0, 0}}, p.HeadDim)
				t.mask(k, t.left(b), byRow, limits, b.Times(kernels.KeyBlock).Add(col0), halfColumn)
				for i := range top {
					k.MovF32To(top[i], largestOf(k, byRow[i], 4))
				}
			})
			k.WarpSync(ptx.FullMask)
			fetch(b.Plus(warps), false)
			k.If(k.SetpEqU32(col0, ptx.I(0)), func() {
				for i := range top {
					k.StF32(own(tops, 64).Elem(g, ptx.F32).Plus(32*i), top[i])
				}
			})
			k.BarSync(0) // the largest scores are there, and the parts before have been used
			before := k.VarsF32(2, ptx.F(0))
			now := k.VarsF32(2, ptx.F(0))
			for i := range largest {
				for w := range warps {
					top := k.LdF32(tops.Elem(g, ptx.F32).Plus(64*w + 32*i))
					mine := k.SetpEqU32(warp, ptx.I(w))
					k.Guard(mine, func() { k.MovF32To(before[i], largest[i]) })
					k.MaxF32To(largest[i], largest[i], top)
					k.Guard(mine, func() { k.MovF32To(now[i], largest[i]) })
				}
			}
			k.CpAsyncWaitGroup(1)
			k.WarpSync(ptx.FullMask)
			k.If(has, func() {
				for i := range byRow {
					shift := t.rescale(k, before[i], now[i])
					total := t.exponentials(k, byRow[i], now[i])
					k.If(exists[i], func() {
						k.StF32(own(sums, 256).At(lane.Times(4)).Plus(128*i), total)
						k.If(k.SetpEqU32(col0, ptx.I(0)), func() { k.StF32(own(shifts, 64).Elem(g, ptx.F32).Plus(32*i), shift) })
					})
				}
				k.If(k.SetpNeU32(careful, ptx.I(0)), func() {
					rows.makeFinite(vs, p.QKV)
					k.WarpSync(ptx.FullMask)
				})
				w := splitWeights(k, p.QKV, s)
				to := own(parts, 64*p.partPitch()).Elem(k.MadLoU32(g, ptx.I(p.partPitch()), col0), ptx.F32)
				for col := 0; col < p.HeadDim; col += 16 {
					for j, d := range w.times(k, p.QKV, atV, weightTerms, col) {
						for i := range exists {
							k.Guard(exists[i], func() {
								k.StV2F32(to.Plus(4*(8*i*p.partPitch()+col+8*j)), [2]ptx.RegF32{d[2*i], d[2*i+1]})
							})
						}
					}
				}
			})
			k.WarpSync(ptx.FullMask)
			fetch(b.Plus(warps), true)
			k.BarSync(0) // the parts are there
			for w := range warps {
				k.If(k.SetpLtU32(first.Plus(w), blocks), func() {
					add := func(sum ptx.RegF32, row ptx.RegU32, part ptx.SharedPtr) {
						k.If(k.SetpLtU32(row, t.rows), func() {
							k.FmaRnF32To(sum, sum, k.LdF32(shifts.Elem(row, ptx.F32).Plus(64*w)), k.LdF32(part))
						})
					}
					for i := range o {
						row, _, part := place(i)
						add(o[i], row, part.Plus(64*w*p.partPitch()))
					}
					for i := range sum {
						e := tid.Plus(i * threads)
						k.If(k.SetpLtU32(e, ptx.I(64)), func() { add(sum[i], e.DivBy(4), sums.Elem(e, ptx.F32).Plus(256*w)) })
					}
				})
			}
		})
		k.CpAsyncWaitAll()
		// As in Attention: once more if something is not finite.
		k.AddU32To(careful, careful, ptx.I(1))
		return spoilt(k, warps, scratch, o).And(k.SetpEqU32(careful, ptx.I(1)))
	})
	k.If(k.SetpEqU32(careful, ptx.I(2)), func() {
		cols := make([]column, len(o))
		for i := range cols {
			_, cols[i], _ = place(i)
		}
		t.addInfinite(k, p.QKV, limits[:1], cols, p.HeadDim, [][]ptx.RegF32{o})
	})

	k.BarSync(0)
	for i := range sum {
		e := tid.Plus(i * threads)
		k.If(k.SetpLtU32(e, ptx.I(64)), func() { k.StF32(sums.Elem(e, ptx.F32), sum[i]) })
	}
	k.BarSync(0)
	for i := range o {
		row, _, _ := place(i)
		k.If(k.SetpLtU32(row, t.rows), func() {
			v := k.LdV4F32(sums.Elem(row.Times(4), ptx.F32))
			total := k.AddF32(k.AddF32(v[0], v[2]), k.AddF32(v[1], v[3])) // as lanes that exchange them
			store(k, at(t.o, tid.Plus(i*threads), p.O), p.O, k.MulF32(o[i], k.RcpRnF32(total)))
		})
	}
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

// queries reads the rows as operand A.
func (p AttentionPagedMMA) queries(k *ptx.Builder, t *attentionTile, lane ptx.RegU32, exists []ptx.RegPred) func(kk int) [][4]ptx.RegB32 {
	from := at(t.q, k.MadLoU32(lane.DivBy(4), ptx.I(p.HeadDim), lane.Mod(4).Times(2)), p.QKV)
	q := make([][4]ptx.RegB32, p.HeadDim/16)
	for i := range q {
		for j := range q[i] {
			q[i][j] = k.VarB32(ptx.I(0))
			half := j % 2
			k.Guard(exists[half], func() { k.MovB32To(q[i][j], pair(k, from.Plus(2*(16*i+8*half*p.HeadDim+j/2*8)), p.Aligned)) })
		}
	}
	return func(kk int) [][4]ptx.RegB32 { return q[kk/16 : kk/16+1] }
}
