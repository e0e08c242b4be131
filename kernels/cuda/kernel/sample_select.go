package kernel

import (
	"math"
	"math/bits"

	"github.com/selkie-ml/selkie/ptx"
)

// key orders the bits of logits: unsigned, ascending, both zeros alike.
func key(k *ptx.Builder, z ptx.RegF32) ptx.RegU32 {
	word := k.AddF32(z, ptx.F(0)).AsS32() // −0 + 0 is +0
	return k.ShrS32(word, ptx.I(31)).AsU32().Or(ptx.I(1 << 31)).Xor(word)
}

// logit is the number of a key.
func logit(k *ptx.Builder, key ptx.RegU32) ptx.RegF32 {
	negative := k.SetpLtU32(key, ptx.I(1<<31))
	return k.SelpB32(k.NotB32(key), key.Xor(ptx.I(1<<31)), negative).AsF32()
}

// cut is what top-k and top-p leave: keys above key, and of those equal to it the ids
// below end.
type cut struct{ key, end ptx.RegU32 }

func (c cut) keeps(k *ptx.Builder, i, key ptx.RegU32) ptx.RegPred {
	return k.SetpGtU32(key, c.key).Or(k.SetpEqU32(key, c.key).And(k.SetpLtU32(i, c.end)))
}

// filter finds where top-k cuts, and then top-p. Both walk down the order of logits
// until a mass is reached, the number of elements or their weight. Weights of zero
// are left out from the start: they are never drawn, and come last.
//
// The first histogram is over the distance from the largest logit, over which the
// weights spread evenly; the next ones refine the bin where the mass is reached by
// the bits of the keys, until it holds a single key.
func (s *sampler) filter(topP, topK ptx.RegF32) cut {
	k := s.Builder
	c := cut{k.VarU32(ptx.I(0)), k.VarU32(ptx.I(0))}
	need, have := k.VarU32(ptx.I(0)), k.VarU32(ptx.I(0)) // how many of the last key are kept, and there
	kept := k.VarU64(ptx.I(0))                           // weight
	most := k.CvtRziU32F32(k.MinF32(topK, ptx.F(1<<30)))
	bin := s.firstBins()

	k.For(ptx.I(0), ptx.I(2), ptx.I(1), func(turn ptx.RegU32) {
		byWeight := k.SetpEqU32(turn, ptx.I(1))
		byCount := k.SetpEqU32(turn, ptx.I(0))
		active := byWeight.And(k.SetpLtF32(topP, ptx.F(1))).
			Or(byCount.And(k.SetpGtU32(most, ptx.I(0))).And(k.SetpLtU32(most, s.vocab)))
		k.If(active, func() {
			h := &histogram{sampler: s, byWeight: byWeight, target: k.VarU64(most.U64()),
				count: k.VarU64(ptx.I(0)), weight: k.VarU64(ptx.I(0)), bin: k.VarU32(ptx.I(0)), have: have}
			h.clear()
			s.walk(sampleAheadWeight, func(_ ptx.RegU32, z ptx.RegF32) {
				w := s.weight(z)
				k.If(k.SetpGtU32(w, ptx.I(0)), func() { h.tally(bin(z), w) })
			})
			h.choose(func(total ptx.RegU64) {
				ptx.Set(k, kept, k.SelpU64(total, kept, k.SetpEqU64(kept, ptx.I(0))))
				share := k.CvtRpiU32F32(k.MulF32(topP, ptx.F(1<<24))).U64()
				enough := k.OrB64(k.ShlB64(k.MulHiU64(kept, share), ptx.I(40)), k.ShrU64(k.MulLoU64(kept, share), ptx.I(24))).AsU64()
				ptx.Set(k, h.target, k.SelpU64(k.MaxU64(enough, ptx.I(1)), h.target, byWeight))
			})
			// With top-k there may be fewer elements than that: all are kept.
			k.If(k.SetpLtU32(h.bin, ptx.I(s.bins)), func() {
				hi, lo := k.VarU32(key(k, s.top)), s.lowest(h.bin, bin)
				k.If(k.SetpGtU32(h.bin, ptx.I(0)), func() { k.AddU32To(hi, s.lowest(h.bin.Plus(-1), bin), ptx.I(-1)) })
				k.While(func() ptx.RegPred { return k.SetpNeU32(hi, lo) }, func() { h.refine(lo, hi) })
				ptx.Set(k, c.key, hi)
				weight := s.weight(logit(k, hi)).U64()
				rest := k.SubU64(h.target, k.SelpU64(h.weight, h.count, byWeight))
				step := k.SelpU64(weight, ptx.I(1), byWeight)
				number := k.DivU64(k.SubU64(k.AddU64(rest, step), ptx.I(1)), step)
				ptx.Set(k, need, k.CvtU32U64(number))
				ptx.Set(k, kept, k.MadLoU64(number, weight, h.weight))
			})
		})
	})

	// Where only some of the last key are kept, those of the lowest ids.
	k.If(k.SetpEqU32(need, have), func() { ptx.Set(k, c.end, s.vocab) })
	k.If(k.SetpLtU32(need, have), func() {
		last := s.locate(func(_ ptx.RegU32, z ptx.RegF32) ptx.RegU32 {
			return k.SelpU32(ptx.I(1), ptx.I(0), k.SetpEqU32(key(k, z), c.key))
		}, func(ptx.RegU64) ptx.RegU64 { return need.Plus(-1).U64() })
		ptx.Set(k, c.end, last.Plus(1))
	})
	return c
}

// firstBins is the first histogram's bin of a logit, 0 for the largest: the distance to
// it in steps of which all bins reach as far down as weights are not zero.
func (s *sampler) firstBins() func(z ptx.RegF32) ptx.RegU32 {
	const reach = 30 * math.Ln2 // e^−reach·2^30 is 1
	scale := s.DivRnF32(s.VarF32(ptx.F(float64(s.bins)/reach)), s.temperature)
	return func(z ptx.RegF32) ptx.RegU32 {
		return s.MinU32(s.CvtRziU32F32(s.MulF32(s.SubF32(s.top, z), scale)), ptx.I(s.bins-1))
	}
}

// lowest is the smallest key whose logit's bin is at most b. A warp cuts 32 ways at once.
func (s *sampler) lowest(b ptx.RegU32, bin func(z ptx.RegF32) ptx.RegU32) ptx.RegU32 {
	k := s.Builder
	const least = ^uint32(0xFF800000) // the key of −∞
	lo := k.VarU32(ptx.I(least))
	n := k.VarU32(key(k, s.top).Sub(ptx.I(least - 1))) // keys in question: the last one's bin is 0
	k.While(func() ptx.RegPred { return k.SetpGtU32(n, ptx.I(1)) }, func() {
		step := k.ShrU32(n.Plus(-1), ptx.I(5)).Plus(1)
		first := s.lane.Mul(step)
		last := k.MinU32(first.Add(step), n).Plus(-1)
		short := k.SetpLtU32(bin(logit(k, lo.Add(last))), b.Plus(1))
		before := k.PopcB32(k.Ballot(short.Not(), ptx.FullMask)).Mul(step)
		k.AddU32To(lo, lo, before)
		k.MinU32To(n, step, n.Sub(before))
	})
	return lo
}

// histogram is how the order of logits is walked down: what lies above the bins, of
// which a thread looks after two, and, after choose, the bin in which the target is
// reached.
type histogram struct {
	*sampler
	byWeight      ptx.RegPred
	target        ptx.RegU64
	count, weight ptx.RegU64 // above
	bin, have     ptx.RegU32 // and how many elements are in it
}

// clear empties the bins.
func (h *histogram) clear() {
	zero := h.VarB32(ptx.I(0))
	for _, a := range []ptx.SharedPtr{h.counts, h.lows, h.highs} {
		h.StV2B32(a.Elem(h.tid.Times(2), ptx.U32), [2]ptx.RegB32{zero, zero})
	}
	h.BarSync(0)
}

// tally counts an element. Weights are summed in two words, as shared memory adds no
// others quickly: who makes the lower one overflow carries.
func (h *histogram) tally(bin, w ptx.RegU32) {
	h.RedAddU32(h.counts.Elem(bin, ptx.U32), ptx.I(1))
	old := h.AtomAddU32(h.lows.Elem(bin, ptx.U32), w)
	h.Guard(h.SetpLtU32(h.AddU32(old, w), w), func() { h.RedAddU32(h.highs.Elem(bin, ptx.U32), ptx.I(1)) })
}

// choose finds the bin in which the target is reached, or one beyond the last. total
// may set the target, from the weight of all.
func (h *histogram) choose(total func(weight ptx.RegU64)) {
	k := h.Builder
	k.BarSync(0)
	first := h.tid.Times(2)
	n := k.LdV2U32(h.counts.Elem(first, ptx.U32))
	lo, hi := k.LdV2B32(h.lows.Elem(first, ptx.U32)), k.LdV2B32(h.highs.Elem(first, ptx.U32))
	var counts, weights [2]ptx.RegU64
	for j := range 2 {
		counts[j], weights[j] = n[j].U64(), k.PackB64B32x2([2]ptx.RegB32{lo[j], hi[j]}).AsU64()
	}
	k.Guard(k.SetpEqU32(h.tid, ptx.I(0)), func() { k.StU32(h.found, ptx.I(h.bins)) })
	countBefore, _ := h.scan(k.AddU64(counts[0], counts[1]))
	weightBefore, all := h.scan(k.AddU64(weights[0], weights[1]))
	total(all)
	count, weight := k.AddU64(h.count, countBefore), k.AddU64(h.weight, weightBefore)
	for j := range 2 {
		nextCount, nextWeight := k.AddU64(count, counts[j]), k.AddU64(weight, weights[j])
		before, after := k.SelpU64(weight, count, h.byWeight), k.SelpU64(nextWeight, nextCount, h.byWeight)
		k.If(k.SetpLtU64(before, h.target).And(k.SetpGeU64(after, h.target)), func() {
			k.StU32(h.found, first.Plus(j))
			k.StU32(h.found.Plus(4), n[j])
			k.StU64(h.found.Plus(8), count)
			k.StU64(h.found.Plus(16), weight)
		})
		count, weight = nextCount, nextWeight
	}
	k.BarSync(0)
	ptx.Set(k, h.bin, k.LdU32(h.found))
	k.If(k.SetpLtU32(h.bin, ptx.I(h.bins)), func() {
		ptx.Set(k, h.have, k.LdU32(h.found.Plus(4)))
		ptx.Set(k, h.count, k.LdU64(h.found.Plus(8)))
		ptx.Set(k, h.weight, k.LdU64(h.found.Plus(16)))
	})
}

// refine replaces the keys lo…hi by those of a bin among them.
func (h *histogram) refine(lo, hi ptx.RegU32) {
	k := h.Builder
	span := k.SubU32(hi, lo)
	width := ptx.I(bits.Len(uint(h.bins)) - 1) // of a bin's number
	shift := k.SubU32(k.MaxU32(k.SubU32(k.VarU32(ptx.I(32)), k.ClzB32(span)), width), width)
	h.clear()
	h.walk(sampleAheadWeight, func(_ ptx.RegU32, z ptx.RegF32) {
		below := k.SubU32(hi, key(k, z))
		k.If(k.SetpLeU32(below, span), func() {
			w := h.sampler.weight(z)
			k.If(k.SetpGtU32(w, ptx.I(0)), func() { h.tally(k.ShrU32(below, shift), w) })
		})
	})
	h.choose(func(ptx.RegU64) {})
	off := k.ShlB32(h.bin, shift).AsU32()
	others := k.SubU32(k.ShlB32(k.VarU32(ptx.I(1)), shift).AsU32(), ptx.I(1)) // keys of a bin but one
	k.SubU32To(hi, hi, off)
	k.SubU32To(lo, hi, k.MinU32(others, k.SubU32(span, off)))
}
