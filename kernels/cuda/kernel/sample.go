package kernel

import (
	"math"

	"github.com/selkie-ml/selkie/internal/f32math"
	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// Sample draws a token for every row of logits; kernels.SampleArgs says how, to the
// bit. A block takes a row. Each warp has a segment of it, in which a lane takes four
// neighbours in turn.
//
// Nothing is sorted. Integer weights may be added in any order, so that a place in the
// order of logits is found by histograms (sample_select.go), and the draw by sums of
// segments first, and then within one.
type Sample struct {
	LogProb bool
	Vec     bool // rows are aligned to four elements
	Warps   int  // of a block
}

// SampleOf is the kernel for rows of so many logits.
func SampleOf(vocab int, logProb, vec bool) Sample {
	p := Sample{LogProb: logProb, Vec: vec, Warps: 4}
	if vocab > 1024 {
		p.Warps = 16
	}
	return p
}

// Groups that a lane reads before it looks at them: few where it computes weights, for
// which it needs its registers.
const (
	sampleAhead       = 4
	sampleAheadWeight = 2
)

// Name implements Any.
func (p Sample) Name() string { return name("sample", p.LogProb, p.Vec, p.Warps) }

// Launch is the launch for so many rows.
func (p Sample) Launch(rows int) Launch { return lines(rows, 32*p.Warps) }

// sampler is a block at work on its row.
type sampler struct {
	*ptx.Builder
	vec                 bool
	warps, bins         int
	logits              ptx.GlobalPtr // of the row
	vocab, segment      ptx.RegU32    // elements of a row, and of a warp
	tid, lane, warp     ptx.RegU32
	words               ptx.SharedPtr // two for every warp, of reductions
	found               ptx.SharedPtr // a few words from the thread that found something
	top, temperature    ptx.RegF32    // largest logit
	counts, lows, highs ptx.SharedPtr // of bins: elements, and their weights
}

// Emit implements Any: sample(ids, logprob, logits, settings, draws, vocab, fault, fault_tag).
func (p Sample) Emit(k *ptx.Builder) {
	k.RequireThreads(32 * p.Warps)
	ids, logProb, logits := k.ParamGlobal("ids"), k.ParamGlobal("logprob"), k.ParamGlobal("logits")
	settings, draws := k.ParamGlobal("settings"), k.ParamGlobal("draws")
	vocab := k.ParamU32("vocab")
	refuse := newFaults(k)
	s := &sampler{Builder: k, vec: p.Vec, warps: p.Warps, bins: 2 * 32 * p.Warps, vocab: vocab, tid: k.TidX()}
	s.lane, s.warp = s.tid.Mod(32), s.tid.DivBy(32)
	s.words, s.found = k.Shared("words", ptx.U64, p.Warps, 0), k.Shared("found", ptx.U64, 4, 0)
	s.counts, s.lows, s.highs = k.Shared("counts", ptx.U32, s.bins, 8), k.Shared("lows", ptx.U32, s.bins, 8), k.Shared("highs", ptx.U32, s.bins, 8)
	s.segment = vocab.CeilDivBy(128 * p.Warps).Times(128)
	i := k.CtaidX()
	s.logits = row(k, logits, i, vocab, kernels.F32)

	var setting [kernels.SampleColumns]ptx.RegF32
	for c := range setting {
		setting[c] = k.LdF32(settings.Elem(i.Times(kernels.SampleColumns), ptx.F32).Plus(4 * c))
		wrong := k.SetpGeF32(setting[c], ptx.F(0)).And(k.SetpLeF32(setting[c], ptx.F(math.MaxFloat32))).Not()
		refuse.report(wrong, i, ptx.I(c))
		k.Return(wrong)
	}
	s.temperature = setting[kernels.SampleTemperature]

	// The largest logit, and the first id that has it.
	largest, best, bestID := k.VarF32(ptx.F(math.Inf(-1))), k.VarF32(ptx.F(math.Inf(-1))), k.VarU32(ptx.I(math.MaxUint32))
	s.walk(sampleAhead, func(i ptx.RegU32, z ptx.RegF32) {
		k.MaxNaNF32To(largest, largest, z)
		better := k.SetpGtF32(z, best)
		k.SelpF32To(best, z, best, better)
		k.SelpU32To(bestID, i, bestID, better)
	})
	s.top = ptx.BlockReduce(k, largest, p.Warps, k.VarF32(ptx.F(math.Inf(-1))), s.words, false,
		func(a, b ptx.RegF32) ptx.RegF32 { return k.MaxNaNF32(a, b) })
	id := k.VarU32(ptx.I(math.MaxUint32))
	logZ := k.VarF32(ptx.F(0))
	ok := k.TestpFiniteF32(s.top)
	k.If(ok, func() {
		if p.LogProb {
			sum := k.VarF32(ptx.F(0))
			s.walk(sampleAhead, func(_ ptx.RegU32, z ptx.RegF32) {
				k.AddF32To(sum, sum, k.Ex2ApproxF32(k.MulF32(k.SubF32(z, s.top), ptx.F(math.Log2E))))
			})
			sum = ptx.BlockReduce(k, sum, p.Warps, k.VarF32(ptx.F(0)), s.words, true,
				func(a, b ptx.RegF32) ptx.RegF32 { return k.AddF32(a, b) })
			k.MulF32To(logZ, k.Lg2ApproxF32(sum), ptx.F(math.Ln2))
		}
		k.IfElse(k.SetpEqF32(s.temperature, ptx.F(0)), func() {
			first := k.SelpU32(bestID, ptx.I(math.MaxUint32), k.SetpEqF32(best, s.top))
			ptx.Set(k, id, ptx.BlockReduce(k, first, p.Warps, k.VarU32(ptx.I(math.MaxUint32)), s.words, true,
				func(a, b ptx.RegU32) ptx.RegU32 { return k.MinU32(a, b) }))
		}, func() {
			k.BarSync(0)
			cut := s.filter(setting[kernels.SampleTopP], setting[kernels.SampleTopK])
			random := philoxWord(k, draws.Elem(i.Times(kernels.DrawColumns), ptx.S32))
			drawn := s.locate(func(i ptx.RegU32, z ptx.RegF32) ptx.RegU32 {
				return k.SelpU32(s.weight(z), ptx.I(0), cut.keeps(k, i, key(k, z)))
			}, func(total ptx.RegU64) ptx.RegU64 { // total·random / 2^32
				wide := random.U64()
				return k.OrB64(k.ShlB64(k.MulHiU64(total, wide), ptx.I(32)), k.ShrU64(k.MulLoU64(total, wide), ptx.I(32))).AsU64()
			})
			ptx.Set(k, id, drawn)
		})
	})
	k.If(k.SetpEqU32(s.tid, ptx.I(0)), func() {
		k.StU32(ids.Elem(i, ptx.S32), id)
		if p.LogProb {
			lp := k.VarF32(ptx.F(math.NaN()))
			k.If(ok, func() {
				k.SubF32To(lp, k.SubF32(k.LdF32(s.logits.Elem(id, ptx.F32)), s.top), logZ)
			})
			k.StF32(logProb.Elem(i, ptx.F32), lp)
		}
	})
}

// walk calls f for the thread's logits, in ascending order, reading so many groups
// ahead; those beyond the row are −∞.
func (s *sampler) walk(ahead int, f func(i ptx.RegU32, z ptx.RegF32)) {
	first := s.warp.Mul(s.segment)
	end := s.MinU32(first.Add(s.segment), s.vocab)
	s.For(first.Add(s.lane.Times(4)), end, ptx.I(128*ahead), func(i ptx.RegU32) {
		z := make([][4]ptx.RegF32, ahead)
		for u := range z {
			z[u] = s.group(i.Plus(128*u), end)
		}
		for u := range z {
			for j := range z[u] {
				f(i.Plus(128*u+j), z[u][j])
			}
		}
	})
}

// group reads logits i…i+3, −∞ from end on.
func (s *sampler) group(i, end ptx.RegU32) (z [4]ptx.RegF32) {
	for j := range z {
		z[j] = s.VarF32(ptx.F(math.Inf(-1)))
	}
	from := s.logits.Elem(i, ptx.F32)
	if s.vec {
		s.Guard(s.SetpLtU32(i, end), func() {
			for j, x := range s.LdV4F32(from) {
				s.MovF32To(z[j], x)
			}
		})
		return z
	}
	for j := range z {
		s.Guard(s.SetpLtU32(i.Plus(j), end), func() { s.MovF32To(z[j], s.LdF32(from.Plus(4*j))) })
	}
	return z
}

// weight is floor(Exp32((z−top)/temperature)·2^30), by the recipe of f32math.Exp32;
// below −30 it is zero anyway.
func (s *sampler) weight(z ptx.RegF32) ptx.RegU32 {
	x := s.MaxF32(s.DivRnF32(s.SubF32(z, s.top), s.temperature), ptx.F(-30))
	t := s.FmaRnF32(x, ptx.F(f32math.ExpLog2E), s.VarF32(ptx.F(f32math.ExpShift)))
	n := s.SubF32(t, ptx.F(f32math.ExpShift))
	r := s.FmaRnF32(n, ptx.F(-f32math.ExpLn2Hi), x)
	r = s.FmaRnF32(n, ptx.F(-f32math.ExpLn2Lo), r)
	e := s.VarF32(ptx.F(f32math.ExpC6))
	for _, c := range []float64{f32math.ExpC5, f32math.ExpC4, f32math.ExpC3, f32math.ExpC2, 1, 1} {
		e = s.FmaRnF32(e, r, ptx.F(c))
	}
	e = s.AddU32(e.AsU32(), s.ShlB32(t, ptx.I(23)).AsU32()).AsF32()
	return s.CvtRziU32F32(s.MulF32(e, ptx.F(1<<30)))
}

// locate returns the first id, ascending, at which the running sum of value exceeds
// limit, which must be below the sum of all.
func (s *sampler) locate(value func(i ptx.RegU32, z ptx.RegF32) ptx.RegU32, limit func(total ptx.RegU64) ptx.RegU64) ptx.RegU32 {
	k := s.Builder
	own := k.VarU64(ptx.I(0))
	s.walk(sampleAheadWeight, func(i ptx.RegU32, z ptx.RegF32) { k.AddU64To(own, own, value(i, z).U64()) })
	for m := 16; m > 0; m /= 2 {
		own = k.AddU64(own, shfl64(k, own, func(x ptx.RegB32) ptx.RegB32 { return ptx.ShflBfly(k, x, ptx.I(m)) }))
	}
	upTo := warpScan64(k, s.perWarp(own, k.SetpEqU32(s.lane, ptx.I(0))), s.lane)
	most := limit(lane64(k, upTo, ptx.I(31)))
	// The warp in whose segment it happens, and what the ones before it sum to.
	warp := k.PopcB32(k.Ballot(k.SetpLeU64(upTo, most), ptx.FullMask))
	running := k.SelpU64(lane64(k, upTo, warp.Plus(-1)), ptx.I(0), k.SetpGtU32(warp, ptx.I(0)))

	first := warp.Mul(s.segment)
	end := k.MinU32(first.Add(s.segment), s.vocab)
	k.For(first, end, ptx.I(4*32*s.warps), func(base ptx.RegU32) {
		i := base.Add(s.tid.Times(4))
		var v [4]ptx.RegU64
		sum := k.VarU64(ptx.I(0))
		for j, z := range s.group(i, end) {
			v[j] = value(i.Plus(j), z).U64()
			k.AddU64To(sum, sum, v[j])
		}
		before, all := s.scan(sum)
		at := k.AddU64(running, before)
		k.If(k.SetpLeU64(at, most).And(k.SetpGtU64(k.AddU64(at, sum), most)), func() {
			id := k.VarU32(i)
			for j := range 3 {
				at = k.AddU64(at, v[j])
				k.AddU32To(id, id, k.SelpU32(ptx.I(1), ptx.I(0), k.SetpLeU64(at, most)))
			}
			k.StU32(s.found, id)
		})
		k.AddU64To(running, running, all)
		k.Break(k.SetpGtU64(running, most))
	})
	k.BarSync(0)
	return k.LdU32(s.found)
}

// perWarp gathers x of each warp's thread where from holds: a lane gets that of the
// warp with its number, or zero.
func (s *sampler) perWarp(x ptx.RegU64, from ptx.RegPred) ptx.RegU64 {
	s.BarSync(0) // words may still be read
	s.Guard(from, func() { s.StU64(s.words.Elem(s.warp, ptx.U64), x) })
	s.BarSync(0)
	all := s.VarU64(ptx.I(0))
	s.Guard(s.SetpLtU32(s.lane, ptx.I(s.warps)), func() { s.MovU64To(all, s.LdU64(s.words.Elem(s.lane, ptx.U64))) })
	return all
}

// scan gives the sum of x over the threads before, and over all.
func (s *sampler) scan(x ptx.RegU64) (before, all ptx.RegU64) {
	inWarp := warpScan64(s.Builder, x, s.lane)
	sum := s.perWarp(inWarp, s.SetpEqU32(s.lane, ptx.I(31)))
	upTo := warpScan64(s.Builder, sum, s.lane)
	warps := lane64(s.Builder, s.SubU64(upTo, sum), s.warp)
	return s.AddU64(warps, s.SubU64(inWarp, x)), lane64(s.Builder, upTo, ptx.I(31))
}

// shfl64 moves both words of x between lanes.
func shfl64(k *ptx.Builder, x ptx.RegU64, move func(ptx.RegB32) ptx.RegB32) ptx.RegU64 {
	w := k.UnpackB64B32x2(x)
	return k.PackB64B32x2([2]ptx.RegB32{move(w[0]), move(w[1])}).AsU64()
}

func lane64(k *ptx.Builder, x ptx.RegU64, lane ptx.InI32) ptx.RegU64 {
	return shfl64(k, x, func(w ptx.RegB32) ptx.RegB32 { return ptx.ShflIdx(k, w, lane) })
}

// warpScan64 gives the sum of x over the lanes up to this one.
func warpScan64(k *ptx.Builder, x ptx.RegU64, lane ptx.RegU32) ptx.RegU64 {
	sum := k.VarU64(x)
	for d := 1; d < 32; d *= 2 {
		y := shfl64(k, sum, func(w ptx.RegB32) ptx.RegB32 { return ptx.ShflUp(k, w, ptx.I(d)) })
		k.Guard(k.SetpGeU32(lane, ptx.I(d)), func() { k.AddU64To(sum, sum, y) })
	}
	return sum
}

// philoxWord is the first word of philox.Block at the key and counter that a row of
// draws holds.
func philoxWord(k *ptx.Builder, draw ptx.GlobalPtr) ptx.RegU32 {
	key := [2]ptx.RegU32{k.LdU32(draw.Plus(4 * kernels.DrawKey0)), k.LdU32(draw.Plus(4 * kernels.DrawKey1))}
	zero := k.VarU32(ptx.I(0))
	c := [4]ptx.RegU32{k.LdU32(draw.Plus(4 * kernels.DrawCounter)), zero, zero, zero}
	for range philox.Rounds {
		hi0, lo0 := k.MulHiU32(c[0], ptx.I(philox.Mul0)), k.MulLoU32(c[0], ptx.I(philox.Mul0))
		hi1, lo1 := k.MulHiU32(c[2], ptx.I(philox.Mul1)), k.MulLoU32(c[2], ptx.I(philox.Mul1))
		c = [4]ptx.RegU32{hi1.Xor(c[1]).Xor(key[0]), lo1, hi0.Xor(c[3]).Xor(key[1]), lo0}
		key = [2]ptx.RegU32{key[0].Add(ptx.I(philox.Weyl0)), key[1].Add(ptx.I(philox.Weyl1))}
	}
	return c[0]
}
