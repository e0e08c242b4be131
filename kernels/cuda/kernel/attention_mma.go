package kernel

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// AttentionMMA is attention over packed sequences on tensor cores, for q, k and v in one
// 16-bit storage (see AttentionHalf). A warp has 16 queries; keys and values of a block
// of 64 take turns in shared memory, each copied while the other is used. Its sums:
//
//   - a score is one chain of mma over the head's elements;
//   - the exponentials of a block of keys, in two parts, times its values is one chain
//     from zero, which is added in f32 to what the blocks before gave, scaled to the new
//     largest score;
//   - a row's sum of exponentials is kept in 4 parts, one for each lane of its quad.
type AttentionMMA struct {
	QKV, O  kernels.DType
	HeadDim int
	Aligned bool // q, k and v to 16 bytes, o to 4
	LSE     bool
	Sizes   AttentionSizes // Rows, 16 of which a warp has, and Blocks
}

// Name implements Any.
func (p AttentionMMA) Name() string {
	return name("attention_mma", p.QKV, p.O, p.HeadDim, p.Aligned, p.LSE, p.Sizes.Rows, p.Sizes.Blocks)
}

func (p AttentionMMA) shared() int {
	return (p.Sizes.Rows+2*kernels.KeyBlock)*(2*p.HeadDim+16) + 4*max(4, p.Sizes.Rows/16)
}

// Launch is the launch for packed sequences.
func (p AttentionMMA) Launch(rows, nseq, heads int) Launch {
	l := packedLaunch(rows, nseq, heads, p.Sizes.Rows, 2*p.Sizes.Rows)
	l.Shared = p.shared()
	return l
}

// Emit implements Any: parameters as packedTile has them.
func (p AttentionMMA) Emit(k *ptx.Builder) {
	warps, threads := p.Sizes.Rows/16, 2*p.Sizes.Rows
	k.RequireThreads(threads)
	k.MinBlocks(p.Sizes.Blocks)
	few := p.HeadDim <= 64 // registers
	tid := k.TidX()
	lane, warp := tid.Mod(32), tid.DivBy(32)
	queries := newHalfTile(k, tid, p.HeadDim, 16*warps, threads, p.Aligned)
	rows := newHalfTile(k, tid, p.HeadDim, kernels.KeyBlock, threads, p.Aligned)
	layout := k.DynamicShared(16)
	qs, ks, vs := layout.Alloc(queries.bytes(), 16), layout.Alloc(rows.bytes(), 16), layout.Alloc(rows.bytes(), 16)
	scratch := layout.Alloc(4*max(4, warps), 16)

	t := packedTile(k, p.O, p.QKV, p.QKV, p.HeadDim, 16*warps, threads, p.LSE)
	queries.copy(qs, t.q, t.stride, t.rows)
	k.CpAsyncWaitAll()
	k.BarSync(0)
	atQ := queries.shared.FragmentA(lane, warp.Times(16)).At(qs)
	a := func(kk int) [][4]ptx.RegB32 { return [][4]ptx.RegB32{k.LdmatrixX4(atQ.Plus(0, kk/8))} }
	if few { // the queries stay in them
		all := make([][][4]ptx.RegB32, p.HeadDim/16)
		for i := range all {
			all[i] = a(16 * i)
		}
		a = func(kk int) [][4]ptx.RegB32 { return all[kk/16] }
	}
	atK, atV := []ptx.TileAt{rows.shared.FragmentB(lane, k.VarU32(ptx.I(0))).At(ks)}, []ptx.TileAt{rows.shared.FragmentBTrans(lane, k.VarU32(ptx.I(0))).At(vs)}

	row0 := warp.Times(16)
	exist := k.SetpLtU32(row0, t.rows) // the warp has rows that exist
	last := t.limit(row0.Plus(15))     // key that one of them sees
	row0 = row0.Add(lane.DivBy(4))
	col0 := lane.Mod(4).Times(2)
	limits := []ptx.RegU32{t.limit(row0), t.limit(row0.Plus(8))}
	o := zeroRows(k, p.HeadDim)
	largest, sum := k.VarsF32(2, ptx.F(0)), k.VarsF32(2, ptx.F(0))
	blocks := t.blocks()
	careful := k.VarU32(ptx.I(0))
	k.DoWhile(func() ptx.RegPred {
		for i := range 2 {
			k.MovF32To(largest[i], ptx.F(math.Inf(-1)))
			k.MovF32To(sum[i], ptx.F(0))
			for _, x := range o.byRow()[i] {
				k.MovF32To(x, ptx.F(0))
			}
		}
		key, _ := t.block(k.VarU32(ptx.I(0)))
		rows.copy(ks, key, t.keyStride, t.keys)
		k.CpAsyncCommitGroup()
		k.For(ptx.I(0), blocks, ptx.I(1), func(b ptx.RegU32) {
			left := t.left(b)
			active := exist.And(k.SetpLeU32(b.Times(kernels.KeyBlock), last))
			k.CpAsyncWaitGroup(0)
			k.BarSync(0) // the keys are there, and the values before have been used
			_, value := t.block(b)
			rows.copy(vs, value, t.keyStride, left)
			k.CpAsyncCommitGroup()
			s := zeroRows(k, kernels.KeyBlock)
			k.If(active, func() { s.addProduct(k, p.QKV, a, atK, [][2]int{{0, 0}}, p.HeadDim) })
			k.BarSync(0) // the keys have been used
			next := b.Plus(1)
			k.If(k.SetpLtU32(next, blocks), func() {
				key, _ := t.block(next)
				rows.copy(ks, key, t.keyStride, t.left(next))
			})
			k.CpAsyncCommitGroup()
			shift := k.VarsF32(2, ptx.F(1))
			k.If(active, func() {
				byRow := s.byRow()
				t.mask(k, left, byRow, limits, b.Times(kernels.KeyBlock).Add(col0), halfColumn)
				for i := range byRow {
					k.MovF32To(shift[i], t.rescale(k, largest[i], largestOf(k, byRow[i], 4)))
					k.FmaRnF32To(sum[i], sum[i], shift[i], t.exponentials(k, byRow[i], largest[i]))
				}
			})
			k.CpAsyncWaitGroup(1)
			k.BarSync(0) // the values are there
			k.If(k.SetpNeU32(careful, ptx.I(0)), func() {
				rows.makeFinite(vs, p.QKV)
				k.BarSync(0)
			})
			k.If(active, func() {
				w := splitWeights(k, p.QKV, s)
				for col := 0; col < p.HeadDim; col += 16 {
					part := w.times(k, p.QKV, atV, weightTerms, col)
					for j, d := range part {
						for e, x := range d {
							sum := o[col/8+j][e]
							k.FmaRnF32To(sum, sum, shift[e/2], x)
						}
					}
				}
			})
		})
		// As in Attention: once more if something is not finite.
		k.AddU32To(careful, careful, ptx.I(1))
		return spoilt(k, warps, scratch, o.byRow()...).And(k.SetpEqU32(careful, ptx.I(1)))
	})
	k.If(k.SetpEqU32(careful, ptx.I(2)), func() {
		cols := make([]column, p.HeadDim/4)
		for i := range cols {
			cols[i] = column{col0, halfColumn(i), false}
		}
		t.addInfinite(k, p.QKV, limits, cols, p.HeadDim, o.byRow())
	})
	for i, values := range o.byRow() {
		row := row0.Plus(8 * i)
		total := ptx.WarpReduce(k, sum[i], 4, func(a, b ptx.RegF32) ptx.RegF32 { return k.AddF32(a, b) })
		k.If(k.SetpLtU32(row, t.rows), func() {
			norm := k.RcpRnF32(total)
			to := at(t.o, k.MulWideU32(row, t.stride).Add(col0.U64()), p.O)
			for c := 0; c < len(values); c += 2 {
				v := []ptx.RegF32{k.MulF32(values[c], norm), k.MulF32(values[c+1], norm)}
				to := to.Plus(halfColumn(c) * p.O.Size())
				if p.Aligned {
					stores(k, to, p.O, v)
				} else {
					store(k, to, p.O, v[0])
					store(k, to.Plus(p.O.Size()), p.O, v[1])
				}
			}
			if p.LSE {
				k.If(k.SetpEqU32(col0, ptx.I(0)), func() { t.storeLSE(k, row, largest[i], total) })
			}
		})
	}
}

// weightTerms multiplies both parts of weights with values that have one.
var weightTerms = [][2]int{{0, 0}, {1, 0}}
