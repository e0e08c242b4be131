package kernel

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// AttentionDelta prepares the backward of attention: for each row and head the pair
// log2(e)·LSE and δ = DO·O, and with Split DO as two bf16 arrays whose sum it is to 16
// bits and more. A warp takes a head of a row.
type AttentionDelta struct {
	O, DO   kernels.DType
	HeadDim int
	Split   bool
}

// Name implements Any.
func (p AttentionDelta) Name() string {
	return name("attention_delta", p.O, p.DO, p.HeadDim, p.Split)
}

const deltaWarps = 4

// Launch is the launch for so many heads of all rows together.
func (p AttentionDelta) Launch(rowHeads int) Launch {
	return lines(CeilDiv(rowHeads, deltaWarps), 32*deltaWarps)
}

// Emit implements Any: attention_delta(stats, hi, lo, do, o, lse, row_heads).
func (p AttentionDelta) Emit(k *ptx.Builder) {
	k.RequireThreads(32 * deltaWarps)
	stats, hi, lo := k.ParamGlobal("stats"), k.ParamGlobal("hi"), k.ParamGlobal("lo")
	do, o, lse := k.ParamGlobal("do"), k.ParamGlobal("o"), k.ParamGlobal("lse")
	n := k.ParamU32("row_heads")
	lane := k.TidX().Mod(32)
	row := k.MadLoU32(k.CtaidX(), ptx.I(deltaWarps), k.TidX().DivBy(32))
	k.Return(k.SetpGeU32(row, n))
	first := k.MulWideU32(row, ptx.I(p.HeadDim))
	sum := k.VarF32(ptx.F(0))
	k.For(lane, ptx.I(p.HeadDim), ptx.I(32), func(d ptx.RegU32) {
		i := first.Add(d.U64())
		x := load(k, at(do, i, p.DO), p.DO)
		k.FmaRnF32To(sum, x, load(k, at(o, i, p.O), p.O), sum)
		if p.Split {
			large := k.CvtRnBF16F32(x)
			k.StBF16(at(hi, i, kernels.BF16), large)
			k.StBF16(at(lo, i, kernels.BF16), k.CvtRnBF16F32(k.SubF32(x, k.WidenBF16(large))))
		}
	})
	sum = ptx.WarpReduce(k, sum, 32, func(a, b ptx.RegF32) ptx.RegF32 { return k.AddF32(a, b) })
	k.If(k.SetpEqU32(lane, ptx.I(0)), func() {
		k.StV2F32(stats.Elem(k.MulWideU32(row, ptx.I(2)), ptx.F32), [2]ptx.RegF32{k.MulF32(k.LdF32(lse.Elem(row, ptx.F32)), ptx.F(math.Log2E)), sum})
	})
}

// AttentionBackward is the backward of attention by fma in f32, for any storages. With
// Keys a block has a tile of keys and values and passes over the heads of the group and
// the queries from the tile on, in ascending order, for DK and DV; without, it has a tile
// of queries and passes over the keys up to it, for DQ. Scores and the like are one chain
// of fma over the head's elements; a tile passed over gives one chain over its rows, which
// is added to what those before gave.
type AttentionBackward struct {
	Q, KV, DO kernels.DType
	HeadDim   int
	Vec       int // as in Attention
	Keys      bool
	Sizes     AttentionSizes // Rows of a tile, the block's and those that pass: the order of sums follows from it
}

// MaxHeadDimBackward is the largest head dimension of the backward of attention.
const MaxHeadDimBackward = 256

// Name implements Any.
func (p AttentionBackward) Name() string {
	return name("attention_backward", p.Q, p.KV, p.DO, p.HeadDim, p.Vec, p.Keys, p.Sizes.Rows)
}

// backwardWidth is the threads that share a row; each has Rows/backwardWidth rows and as many columns.
const backwardWidth = 16

func (p AttentionBackward) shared() int {
	return 4 * (4*p.Sizes.Rows*floatPitch(p.HeadDim) + 2*p.Sizes.Rows*p.weightPitch())
}

// weightPitch is the elements from row to row of weights: such that the two rows of threads
// of a warp write to different banks.
func (p AttentionBackward) weightPitch() int {
	pitch := p.Sizes.Rows
	for pitch*p.Sizes.Rows/backwardWidth%32 != 16 {
		pitch += 4
	}
	return pitch
}

// Launch is the launch for packed sequences; heads are the KV heads if Keys.
func (p AttentionBackward) Launch(rows, nseq, heads int) Launch {
	l := packedLaunch(rows, nseq, heads, p.Sizes.Rows, backwardWidth*backwardWidth)
	l.Shared = p.shared()
	return l
}

// Emit implements Any: parameters as newBackwardPlace has them.
func (p AttentionBackward) Emit(k *ptx.Builder) {
	const threads, width = backwardWidth * backwardWidth, backwardWidth
	k.RequireThreads(threads)
	tile, pitch := p.Sizes.Rows, floatPitch(p.HeadDim)
	m := tile / width
	layout := k.DynamicShared(16)
	var own, passing [2]ptx.SharedPtr // keys and values, or queries and gradients
	for i := range own {
		own[i], passing[i] = layout.Alloc(4*tile*pitch, 16), layout.Alloc(4*tile*pitch, 16)
	}
	weightPitch := p.weightPitch()
	ps, dss := layout.Alloc(4*tile*weightPitch, 16), layout.Alloc(4*tile*weightPitch, 16)

	c := newBackwardPlace(k, p.Q, p.KV, p.DO, p.HeadDim, tile, threads, p.Keys)
	tx, row0 := k.TidX().Mod(width), k.TidX().DivBy(width).Times(m)
	fill := floatTile{dim: p.HeadDim, pitch: pitch, vec: p.Vec, threads: threads}
	fetch := func(to [2]ptx.SharedPtr, keys bool, head, from ptx.RegU32) {
		if keys {
			off, stride := c.key(from)
			fill.load(k, to[0], at(c.k, off, p.KV), p.KV, stride, c.n.Sub(from), tile, nil)
			fill.load(k, to[1], at(c.v, off, p.KV), p.KV, stride, c.n.Sub(from), tile, nil)
			return
		}
		off, stride := c.query(head, from)
		fill.load(k, to[0], at(c.q, off, p.Q), p.Q, stride, c.n.Sub(from), tile, nil)
		fill.load(k, to[1], at(c.do, off, p.DO), p.DO, stride, c.n.Sub(from), tile, nil)
	}
	fetch(own, p.Keys, c.head, c.from)

	cols := CeilDiv(p.HeadDim, width)
	first, second := make([][]ptx.RegF32, m), make([][]ptx.RegF32, m) // DK or DQ, and DV
	for i := range m {
		first[i] = k.VarsF32(cols, ptx.F(0))
		if p.Keys {
			second[i] = k.VarsF32(cols, ptx.F(0))
		}
	}
	weights := k.MadLoU32(row0, ptx.I(weightPitch), tx)
	c.pass(k, tile, tile, func(head, from ptx.RegU32) {
		k.BarSync(0)
		fetch(passing, !p.Keys, head, from)
		k.BarSync(0)
		s, dp := floatSquare(k, m), floatSquare(k, m)
		dots(k, p.HeadDim, own[0].Elem(row0.Times(pitch), ptx.F32), passing[0].Elem(tx.Times(pitch), ptx.F32), pitch, width*pitch, s, 0, m)
		dots(k, p.HeadDim, own[1].Elem(row0.Times(pitch), ptx.F32), passing[1].Elem(tx.Times(pitch), ptx.F32), pitch, width*pitch, dp, 0, m)
		for i := range m {
			for j := range m {
				mine, theirs := c.from.Add(row0.Plus(i)), from.Add(tx.Plus(width*j))
				query, key := mine, theirs
				if p.Keys {
					query, key = theirs, mine
				}
				e, ds := k.VarF32(ptx.F(0)), k.VarF32(ptx.F(0))
				k.If(k.SetpLeU32(key, query).And(k.SetpLtU32(query, c.n)), func() {
					lse, delta := c.stat(head, query)
					k.Ex2ApproxF32To(e, k.FmaRnF32(s[i][j], c.log2Scale, k.NegF32(lse)))
					k.MulF32To(ds, e, k.SubF32(dp[i][j], delta))
				})
				k.StF32(dss.Elem(weights, ptx.F32).Plus(4*(i*weightPitch+width*j)), ds)
				if p.Keys {
					k.StF32(ps.Elem(weights, ptx.F32).Plus(4*(i*weightPitch+width*j)), e)
				}
			}
		}
		k.WarpSync(ptx.FullMask) // a row's weights are its own threads' business
		add := func(sum [][]ptx.RegF32, weights, rows ptx.SharedPtr) {
			part := make([][]ptx.RegF32, m)
			for i := range part {
				part[i] = k.VarsF32(cols, ptx.F(0))
			}
			fill.weighted(k, part, weights.Elem(row0.Times(weightPitch), ptx.F32), weightPitch, rows, ptx.I(tile), tx, width)
			for i := range sum {
				for j := range sum[i] {
					k.AddF32To(sum[i][j], sum[i][j], part[i][j])
				}
			}
		}
		add(first, dss, passing[0])
		if p.Keys {
			add(second, ps, passing[1])
		}
	})
	for i := range m {
		row := c.from.Add(row0.Plus(i))
		k.If(k.SetpLtU32(row, c.n), func() {
			off := c.result(row)
			for j := range cols {
				inColumn(k, p.HeadDim, tx, width, j, func() {
					to := off.Add(tx.U64())
					k.StF32(c.first.Elem(to, ptx.F32).Plus(4*width*j), k.MulF32(first[i][j], c.scale))
					if p.Keys {
						k.StF32(c.second.Elem(to, ptx.F32).Plus(4*width*j), second[i][j])
					}
				})
			}
		})
	}
}

// backwardPlace is where a block of the backward finds its tile and what passes it.
type backwardPlace struct {
	b                               *ptx.Builder
	first, second, do, q, k, v, lse ptx.GlobalPtr // first and second are results
	heads, kvHeads, head            ptx.RegU32    // head is the block's, a KV head if keys
	start, n, from                  ptx.RegU32    // of the sequence, and the tile's first row in it
	log2Scale, scale                ptx.RegF32
	dim                             int
	keys                            bool
}

// newBackwardPlace declares the parameters (dq or dk, dv, do, q, k, v, starts, stats,
// nseq, rows, heads, kv_heads, log2_scale, scale, fault, fault_tag) and finds the block's
// tile. Of the tiles of queries the last have most to do, of those of keys the first.
func newBackwardPlace(k *ptx.Builder, q, kv, do kernels.DType, dim, size, threads int, keys bool) *backwardPlace {
	c := &backwardPlace{b: k, dim: dim, keys: keys}
	c.first, c.second = k.ParamGlobal("dq_dk"), k.ParamGlobal("dv")
	c.do, c.q, c.k, c.v = k.ParamGlobal("do"), k.ParamGlobal("q"), k.ParamGlobal("k"), k.ParamGlobal("v")
	starts := k.ParamGlobal("starts")
	c.lse = k.ParamGlobal("stats")
	nseq, rows := k.ParamU32("nseq"), k.ParamU32("rows")
	c.heads, c.kvHeads = k.ParamU32("heads"), k.ParamU32("kv_heads")
	c.log2Scale, c.scale = k.ParamF32("log2_scale"), k.ParamF32("scale")
	refuse := newFaults(k)
	c.head = k.CtaidY()
	tile := k.CtaidX()
	if !keys {
		tile = k.NctaidX().Plus(-1).Sub(tile)
	}
	c.start, c.n, c.from = sequenceTile(k, refuse, starts, nseq, rows, tile, size, threads)
	return c
}

// key is the element where a row's key starts, of the block's KV head, and the elements
// from key to key.
func (c *backwardPlace) key(row ptx.RegU32) (off ptx.RegU64, stride ptx.RegU32) {
	k, head := c.b, c.head
	if !c.keys {
		head = k.DivU32(head, k.DivU32(c.heads, c.kvHeads))
	}
	return k.MadWideU32(c.start.Add(row), c.kvHeads, head.U64()).Mul(ptx.I(c.dim)), c.kvHeads.Times(c.dim)
}

// query is key for queries of a head.
func (c *backwardPlace) query(head, row ptx.RegU32) (off ptx.RegU64, stride ptx.RegU32) {
	return c.b.MadWideU32(c.start.Add(row), c.heads, head.U64()).Mul(ptx.I(c.dim)), c.heads.Times(c.dim)
}

// result is the element where a row's results start.
func (c *backwardPlace) result(row ptx.RegU32) ptx.RegU64 {
	if c.keys {
		off, _ := c.key(row)
		return off
	}
	off, _ := c.query(c.head, row)
	return off
}

// stat gives what AttentionDelta prepared for a query.
func (c *backwardPlace) stat(head, row ptx.RegU32) (lse, delta ptx.RegF32) {
	v := c.b.LdV2F32(c.statAt(head, row))
	return v[0], v[1]
}

func (c *backwardPlace) statAt(head, row ptx.RegU32) ptx.GlobalPtr {
	return c.lse.Elem(c.b.MadWideU32(c.start.Add(row), c.heads, head.U64()).Mul(ptx.I(2)), ptx.F32)
}

// pass emits f for every tile of size rows that passes the block's tile of own rows.
func (c *backwardPlace) pass(k *ptx.Builder, own, size int, f func(head, from ptx.RegU32)) {
	if !c.keys {
		k.For(ptx.I(0), k.MinU32(c.from.Plus(own), c.n), ptx.I(size), func(from ptx.RegU32) { f(c.head, from) })
		return
	}
	group := k.DivU32(c.heads, c.kvHeads)
	head := c.head.Mul(group)
	k.For(head, head.Add(group), ptx.I(1), func(head ptx.RegU32) {
		k.For(c.from, c.n, ptx.I(size), func(from ptx.RegU32) { f(head, from) })
	})
}
