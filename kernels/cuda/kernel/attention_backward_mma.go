package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// AttentionBackwardMMA is AttentionBackward on tensor cores, for q, k and v in bf16 (see
// AttentionHalfBackward). A block has keys or queries, 16 a warp; tiles of 32 pass, the
// next of them copied while one is used. Gradients in f32 come in the two bf16 parts that
// AttentionDelta gives; weights are split in two as well. Of two such factors the product
// of the small parts is left out.
type AttentionBackwardMMA struct {
	HeadDim int
	Split   bool           // DO is two arrays, else one in bf16
	Aligned bool           // q, k, v, and do if it is not split, to 16 bytes
	Keys    bool           // as in AttentionBackward
	Sizes   AttentionSizes // Rows, 16 of which a warp has, Stages and Blocks
	Only    byte           // with Keys: 'k' for DK alone, 'v' for DV alone, where registers do not do for both; else 0
}

// firsts and seconds report whether DQ or DK, and DV, are this kernel's.
func (p AttentionBackwardMMA) firsts() bool  { return p.Only != 'v' }
func (p AttentionBackwardMMA) seconds() bool { return p.Keys && p.Only != 'k' }

// BackwardParts are the values of Only that together give what Keys asks for.
func BackwardParts(headDim int) []byte {
	if headDim > 64 {
		return []byte{'k', 'v'}
	}
	return []byte{0}
}

// AttentionHalfBackward reports whether the backward of attention is one of tensor cores.
// Gradients of f16 models may be too small, or too large, for f16.
func AttentionHalfBackward(q, kv, do kernels.DType, headDim int) bool {
	return AttentionHalf(q, kv, headDim) && q == kernels.BF16 && do != kernels.F16
}

// Name implements Any.
func (p AttentionBackwardMMA) Name() string {
	return name("attention_backward_mma", p.HeadDim, p.Split, p.Aligned, p.Keys, p.Only, p.Sizes.Rows, p.Sizes.Stages, p.Sizes.Blocks)
}

// backwardPassing is the rows of a tile that passes: the order of sums follows from it.
const backwardPassing = 32

// operands are a block's tiles in shared memory: keys, values; or queries and the parts
// of the gradients.
func (p AttentionBackwardMMA) operands(keys bool) int {
	if keys || !p.Split {
		return 2
	}
	return 3
}

func (p AttentionBackwardMMA) stage() int {
	return p.operands(!p.Keys)*backwardPassing*(2*p.HeadDim+16) + p.stats()
}

// stats is the bytes of what AttentionDelta prepared for the queries of a stage.
func (p AttentionBackwardMMA) stats() int {
	if p.Keys {
		return 8 * backwardPassing
	}
	return 0
}

// Launch is the launch for packed sequences; heads are the KV heads if Keys.
func (p AttentionBackwardMMA) Launch(rows, nseq, heads int) Launch {
	l := packedLaunch(rows, nseq, heads, p.Sizes.Rows, 2*p.Sizes.Rows)
	l.Shared = p.operands(p.Keys)*p.Sizes.Rows*(2*p.HeadDim+16) + p.Sizes.Stages*p.stage()
	return l
}

// Emit implements Any: parameters as newBackwardPlace has them, and do_lo, the small part
// of do.
func (p AttentionBackwardMMA) Emit(k *ptx.Builder) {
	const bf16 = kernels.BF16
	size, threads := p.Sizes.Rows, 2*p.Sizes.Rows
	k.RequireThreads(threads)
	k.MinBlocks(p.Sizes.Blocks)
	tid := k.TidX()
	lane, warp := tid.Mod(32), tid.DivBy(32)
	c := newBackwardPlace(k, bf16, bf16, bf16, p.HeadDim, size, threads, p.Keys)
	small := k.ParamGlobal("do_lo")

	own := newHalfTile(k, tid, p.HeadDim, size, threads, p.Aligned)
	passing := newHalfTile(k, tid, p.HeadDim, backwardPassing, threads, p.Aligned)
	layout := k.DynamicShared(16)
	owns := layout.Alloc(p.operands(p.Keys)*own.bytes(), 16)
	stages := layout.Alloc(p.Sizes.Stages*p.stage(), 16)
	fetch := func(h *halfTile, to ptx.SharedPtr, keys bool, head, from ptx.RegU32) {
		arrays := []ptx.GlobalPtr{c.k, c.v}
		off, stride := ptx.RegU64{}, ptx.RegU32{}
		if keys {
			off, stride = c.key(from)
		} else {
			arrays = []ptx.GlobalPtr{c.q, c.do, small}[:p.operands(false)]
			off, stride = c.query(head, from)
		}
		for i, a := range arrays {
			h.copy(to.Plus(i*h.bytes()), at(a, off, bf16), stride, c.n.Sub(from))
		}
	}
	fetch(own, owns, p.Keys, c.head, c.from)
	k.CpAsyncCommitGroup()

	// Operand A of the products that give scores and DO·V: the block's rows.
	place := own.shared.FragmentA(lane, warp.Times(16))
	var ownAt []ptx.TileAt
	for i := range p.operands(p.Keys) {
		ownAt = append(ownAt, place.At(owns.Plus(i*own.bytes())))
	}
	row0, col0 := warp.Times(16).Add(lane.DivBy(4)), lane.Mod(4).Times(2)
	active := k.SetpLtU32(c.from.Add(warp.Times(16)), c.n)
	mine := [2]ptx.RegU32{c.from.Add(row0), c.from.Add(row0).Plus(8)}
	var stats [2][2]ptx.RegF32
	if !p.Keys {
		for i := range stats {
			lse, delta := c.stat(c.head, k.MinU32(mine[i], c.n.Plus(-1)))
			stats[i] = [2]ptx.RegF32{lse, delta}
		}
	}

	var first, second halfRows // DK or DQ, and DV
	if p.firsts() {
		first = zeroRows(k, p.HeadDim)
	}
	if p.seconds() {
		second = zeroRows(k, p.HeadDim)
	}
	across, along := passing.shared.FragmentB(lane, k.VarU32(ptx.I(0))), passing.shared.FragmentBTrans(lane, k.VarU32(ptx.I(0)))
	gradientTerms := [][2]int{{0, 0}, {0, 1}} // of the block's rows and those that pass
	if !p.Keys {
		gradientTerms = [][2]int{{0, 0}, {1, 0}}
	}
	valueTerms := [][2]int{{0, 0}, {0, 1}, {1, 0}} // of weights and DO
	if !p.Split {
		gradientTerms, valueTerms = [][2]int{{0, 0}}, weightTerms
	}
	use := func(from ptx.RegU32, stage ptx.SharedPtr) {
		s, dp := zeroRows(k, backwardPassing), zeroRows(k, backwardPassing)
		var acrossAt, alongAt []ptx.TileAt
		for i := range p.operands(!p.Keys) {
			acrossAt = append(acrossAt, across.At(stage.Plus(i*passing.bytes())))
			alongAt = append(alongAt, along.At(stage.Plus(i*passing.bytes())))
		}
		fragments := func(of []ptx.TileAt) func(kk int) [][4]ptx.RegB32 {
			return func(kk int) (a [][4]ptx.RegB32) {
				for _, t := range of {
					a = append(a, k.LdmatrixX4(t.Plus(0, kk/8)))
				}
				return a
			}
		}
		s.addProduct(k, bf16, fragments(ownAt[:1]), acrossAt[:1], [][2]int{{0, 0}}, p.HeadDim)
		if p.firsts() {
			dp.addProduct(k, bf16, fragments(ownAt[1:]), acrossAt[1:], gradientTerms, p.HeadDim)
		}
		p.weigh(k, c, s, dp, mine, from.Add(col0), stats, stage.Plus(p.stage()-p.stats()).At(col0.Times(8)))
		add := func(sum halfRows, w weights, b []ptx.TileAt, terms [][2]int) {
			for col := 0; col < p.HeadDim; col += 16 {
				for j, d := range w.times(k, bf16, b, terms, col) {
					for e, x := range d {
						k.AddF32To(sum[col/8+j][e], sum[col/8+j][e], x)
					}
				}
			}
		}
		if p.seconds() {
			add(second, splitWeights(k, bf16, s), alongAt[1:], valueTerms)
		}
		if p.firsts() {
			add(first, splitWeights(k, bf16, dp), alongAt[:1], weightTerms)
		}
	}
	c.passAhead(k, size, ptx.CpAsyncPipeline{Stages: p.Sizes.Stages, Bytes: p.stage(), Base: stages}, func(head, from ptx.RegU32, stage ptx.SharedPtr) {
		fetch(passing, stage, !p.Keys, head, from)
		if p.Keys {
			row := k.MinU32(from.Add(tid), c.n.Plus(-1))
			k.If(k.SetpLtU32(tid, ptx.I(backwardPassing)), func() {
				k.CpAsync(stage.Plus(p.stage()-p.stats()).At(tid.Times(8)), c.statAt(head, row), 8)
			})
		}
	}, func(from ptx.RegU32, stage ptx.SharedPtr) {
		// A warp leaves out tiles of which its rows see nothing, whatever the block's size.
		sees := k.SetpLeU32(from, c.from.Add(warp.Times(16)).Plus(15))
		if p.Keys {
			sees = k.SetpGeU32(from.Plus(backwardPassing-1), c.from.Add(warp.Times(16)))
		}
		k.If(active.And(sees), func() {
			use(from, stage)
		})
	})

	for i := range mine {
		k.If(k.SetpLtU32(mine[i], c.n), func() {
			off := c.result(mine[i]).Add(col0.U64())
			for j := range p.HeadDim / 8 {
				at := func(p ptx.GlobalPtr) ptx.GlobalPtr { return p.Elem(off, ptx.F32).Plus(32 * j) }
				if p.firsts() {
					storePair(k, at(c.first), p.Aligned, k.MulF32(first[j][2*i], c.scale), k.MulF32(first[j][2*i+1], c.scale))
				}
				if p.seconds() {
					storePair(k, at(c.second), p.Aligned, second[j][2*i], second[j][2*i+1])
				}
			}
		})
	}
}

// storePair writes two neighbours in f32.
func storePair(k *ptx.Builder, to ptx.GlobalPtr, aligned bool, x, y ptx.RegF32) {
	if aligned {
		k.StV2F32(to, [2]ptx.RegF32{x, y})
		return
	}
	k.StF32(to, x)
	k.StF32(to.Plus(4), y)
}

// weigh turns scores into exponentials e, and DO·V into e·(DO·V − δ); both are 0 where
// the query does not see the key. other is the lane's first passing row; stats are of
// the block's queries, or lie in shared memory if they pass.
func (p AttentionBackwardMMA) weigh(k *ptx.Builder, c *backwardPlace, s, dp halfRows, mine [2]ptx.RegU32, other ptx.RegU32, stats [2][2]ptx.RegF32, passing ptx.SharedPtr) {
	for j := range s {
		for e := range 2 {
			theirs := other.Plus(8*j + e)
			if p.Keys {
				v := k.LdV2F32(passing.Plus(8 * (8*j + e)))
				stats = [2][2]ptx.RegF32{v, v}
			}
			for i := range mine {
				query, key := mine[i], theirs
				if p.Keys {
					query, key = theirs, mine[i]
				}
				sees := k.SetpLeU32(key, query).And(k.SetpLtU32(query, c.n))
				at := 2*i + e
				x := k.Ex2ApproxF32(k.FmaRnF32(s[j][at], c.log2Scale, k.NegF32(stats[i][0])))
				s[j][at] = k.SelpF32(x, ptx.F(0), sees)
				dp[j][at] = k.SelpF32(k.MulF32(x, k.SubF32(dp[j][at], stats[i][1])), ptx.F(0), sees)
			}
		}
	}
}

// passAhead is pass, for tiles that are copied ahead: load issues the copies of a tile to
// a stage, use finds them there.
func (c *backwardPlace) passAhead(k *ptx.Builder, own int, pipeline ptx.CpAsyncPipeline, load func(head, from ptx.RegU32, stage ptx.SharedPtr), use func(from ptx.RegU32, stage ptx.SharedPtr)) {
	begin, end, head, heads := k.VarU32(ptx.I(0)), k.MinU32(c.from.Plus(own), c.n), c.head, k.VarU32(ptx.I(1))
	if c.keys {
		heads = k.DivU32(c.heads, c.kvHeads)
		begin, end, head = c.from, c.n, c.head.Mul(heads)
	}
	perHead := end.Sub(begin).CeilDivBy(backwardPassing)
	// The next tile to load, and the one in use: a head and a row each.
	loadHead, loadFrom, useFrom := k.VarU32(head), k.VarU32(begin), k.VarU32(begin)
	next := func(from, head ptx.RegU32) {
		k.AddU32To(from, from, ptx.I(backwardPassing))
		k.If(k.SetpGeU32(from, end), func() {
			k.MovU32To(from, begin)
			if head != (ptx.RegU32{}) {
				k.AddU32To(head, head, ptx.I(1))
			}
		})
	}
	pipeline.Run(k, perHead.Mul(heads), func(_ ptx.RegU32, stage ptx.SharedPtr) {
		load(loadHead, loadFrom, stage)
		next(loadFrom, loadHead)
	}, func(_ ptx.RegU32, stage ptx.SharedPtr) {
		use(useFrom, stage)
		next(useFrom, ptx.RegU32{})
	})
}
