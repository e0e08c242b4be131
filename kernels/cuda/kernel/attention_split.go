package kernel

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// PagedStep is what a kernel of attention over a KV cache does. Few rows with long caches
// leave most of a GPU idle; then the keys of a row are split over blocks, in parts of
// neighbouring pages, with the same bits: what a block of keys gives depends on the
// largest score up to it, which is found first, and is added up in order, last.
type PagedStep uint8

// The steps of a split, in order, are PagedTops, PagedParts, AttentionPagedSum, and
// PagedWhole once more for tiles whose result is not finite.
const (
	PagedWhole PagedStep = iota // all, of tiles that have a flag if there are flags
	PagedTops                   // the largest scores of each part
	PagedParts                  // what each block of keys gives
)

func (s PagedStep) suffix() string {
	return [...]string{"", "_tops", "_parts"}[s]
}

// PagedSplit is the shape of a split: what its steps leave for each other. Tiles are
// those of cachedTile. A record is what a block of keys gives a row: its part of the
// result, its Sums parts of the sum of exponentials, and the factor for what was summed
// before.
type PagedSplit struct {
	HeadDim, Sums                         int
	Rows, Heads, KVHeads, MaxPages, Parts int
}

// pagedSums are the parts of a row's sum of exponentials.
func pagedSums(half bool) int {
	if half {
		return 4
	}
	return 16
}

// PagedSplitOf is the split for a GPU of so many multiprocessors; one of less than two
// parts is none.
func PagedSplitOf(half bool, rows, heads, kvHeads, headDim, maxPages, sms int) PagedSplit {
	s := PagedSplit{HeadDim: headDim, Sums: pagedSums(half), Rows: rows, Heads: heads, KVHeads: kvHeads, MaxPages: maxPages}
	s.Parts = min(maxPages/pagesOfPart, 2*sms/max(1, rows*kvHeads*s.groups()))
	return s
}

// pagesOfPart are the least for which a part pays.
const pagesOfPart = 4

func (s PagedSplit) groups() int { return CeilDiv(s.Heads/s.KVHeads, attentionGroup) }
func (s PagedSplit) tiles() int  { return s.Rows * s.KVHeads * s.groups() }

// Bytes are those of the tops, flags and records.
func (s PagedSplit) Bytes() (tops, flags, records int64) {
	lines := min(s.Heads/s.KVHeads, attentionGroup)
	return 4 * int64(s.tiles()*s.Parts*attentionGroup), 4 * int64(s.tiles()),
		4 * int64(s.tiles()) * int64(s.MaxPages*lines*recordPitch(s.HeadDim, s.Sums))
}

// recordPitch is the elements of a record, aligned to 16 bytes.
func recordPitch(dim, sums int) int { return CeilDiv(dim+sums+1, 4) * 4 }

// launch gives a launch over tiles one more dimension for the parts, if the step has any.
func (s PagedSplit) launch(step PagedStep, l Launch) Launch {
	if step != PagedWhole {
		l.Grid[2] *= s.Parts
	}
	return l
}

// pagedPart is a tile's part of a split.
type pagedPart struct {
	k             *ptx.Builder
	t             *attentionTile
	dim, sums     int
	tops, records ptx.GlobalPtr
	parts, part   ptx.RegU32
	lo, hi        ptx.RegU32 // blocks of keys
	blocks        ptx.RegU32 // of the sequence
}

// newPagedPart declares the parameters tops, records and parts behind those of
// cachedTile. Blocks whose part has no keys return.
func newPagedPart(k *ptx.Builder, t *attentionTile, dim, sums int) *pagedPart {
	p := &pagedPart{k: k, t: t, dim: dim, sums: sums, tops: k.ParamGlobal("tops"), records: k.ParamGlobal("records"), parts: k.ParamU32("parts"), part: t.part}
	p.blocks = t.blocks()
	each := k.DivU32(p.blocks.Plus(-1), p.parts).Plus(1)
	p.lo = p.part.Mul(each)
	p.hi = k.MinU32(p.lo.Add(each), p.blocks)
	k.Return(k.SetpGeU32(p.lo, p.blocks))
	return p
}

// top is where the largest score of a row of the tile is, of a part.
func (p *pagedPart) top(part, row ptx.RegU32) ptx.GlobalPtr {
	return p.tops.Elem(p.k.MadLoU32(p.t.number, p.parts, part).Times(attentionGroup).Add(row), ptx.F32)
}

// before is the largest score of a row in the parts before, −Inf in the first. Lanes that
// share a row, lane counted from 0 to width, look at some of them each.
func (p *pagedPart) before(row, lane ptx.RegU32, width int) ptx.RegF32 {
	k := p.k
	top := k.VarF32(ptx.F(math.Inf(-1)))
	k.For(lane, p.part, ptx.I(width), func(part ptx.RegU32) { k.MaxF32To(top, top, k.LdF32(p.top(part, row))) })
	return ptx.WarpReduce(k, top, width, func(a, b ptx.RegF32) ptx.RegF32 { return k.MaxF32(a, b) })
}

// beginTops makes the tile one that is finite. Blocks whose part is the last return: nobody
// asks for its largest scores. Of the parts before it rows see all keys.
func (p *pagedPart) beginTops(flags ptx.GlobalPtr) {
	k := p.k
	k.If(k.SetpEqU32(p.part.Or(k.TidX()), ptx.I(0)), func() { k.StU32(flags.Elem(p.t.number, ptx.U32), ptx.I(0)) })
	k.Return(k.SetpEqU32(p.hi, p.blocks))
}

// record is that of a row of the tile and a block of keys.
func (p *pagedPart) record(b, row ptx.RegU32) ptx.GlobalPtr {
	return p.t.record(p.records, p.dim, p.sums, b, row)
}

func (t *attentionTile) record(records ptx.GlobalPtr, dim, sums int, b, row ptx.RegU32) ptx.GlobalPtr {
	k := t.k
	n := k.MadLoU32(k.MadLoU32(t.number, t.maxPages, b), t.lines, row)
	return records.Elem(k.MulWideU32(n, ptx.I(recordPitch(dim, sums))), ptx.F32)
}

// AttentionPagedSum is the third step: a block adds up what the blocks of keys give a
// head, in order, a thread an element of the records. It flags tiles whose result is not
// finite.
type AttentionPagedSum struct {
	O       kernels.DType
	HeadDim int
	Sums    int
}

// Name implements Any.
func (p AttentionPagedSum) Name() string { return name("attention_paged_sum", p.O, p.HeadDim, p.Sums) }

func (p AttentionPagedSum) threads() int { return CeilDiv(p.HeadDim+p.Sums, 32) * 32 }

// Sum is the third step and its launch.
func (s PagedSplit) Sum(o kernels.DType) (AttentionPagedSum, Launch) {
	p := AttentionPagedSum{O: o, HeadDim: s.HeadDim, Sums: s.Sums}
	return p, Launch{Grid: Dim3{s.Rows, s.KVHeads, s.Heads / s.KVHeads}, Block: Dim3{p.threads(), 1, 1}}
}

// recordsAhead are the records that a thread reads at once.
const recordsAhead = 16

// Emit implements Any: parameters as cachedTile has them, then records and flags.
func (p AttentionPagedSum) Emit(k *ptx.Builder) {
	k.RequireThreads(p.threads())
	sums := k.Shared("sums", ptx.F32, p.Sums, 16)
	bad := k.Shared("bad", ptx.U32, p.threads()/32, 0)
	t := cachedTile(k, p.O, p.O, p.O, p.HeadDim, p.threads(), bad, func(_ ptx.RegU32) ptx.RegU32 { return k.CtaidZ().DivBy(attentionGroup) })
	records, flags := k.ParamGlobal("records"), k.ParamGlobal("flags")
	tid, row := k.TidX(), k.CtaidZ().Mod(attentionGroup)
	first := t.record(records, p.HeadDim, p.Sums, k.VarU32(ptx.I(0)), row)
	own := first.Elem(k.MinU32(tid, ptx.I(p.HeadDim+p.Sums)), ptx.F32)
	pitch := k.MulWideU32(t.lines, ptx.I(4*recordPitch(p.HeadDim, p.Sums)))
	x := k.VarF32(ptx.F(0))
	factor := first.Plus(4 * (p.HeadDim + p.Sums))
	from, factors := k.VarU64(own.Value()), k.VarU64(factor.Value())
	blocks := t.blocks()
	k.For(ptx.I(0), blocks, ptx.I(recordsAhead), func(b ptx.RegU32) {
		var part, shift [recordsAhead]ptx.RegF32
		for i := range part {
			part[i], shift[i] = k.VarF32(ptx.F(0)), k.VarF32(ptx.F(1))
			k.Guard(k.SetpLtU32(b.Plus(i), blocks), func() {
				k.MovF32To(part[i], k.LdF32(from.AsGlobal()))
				k.MovF32To(shift[i], k.LdF32(factors.AsGlobal()))
			})
			k.AddU64To(from, from, pitch)
			k.AddU64To(factors, factors, pitch)
		}
		for i := range part {
			k.Guard(k.SetpLtU32(b.Plus(i), blocks), func() { k.FmaRnF32To(x, x, shift[i], part[i]) })
		}
	})
	k.If(k.SetpGeU32(tid, ptx.I(p.HeadDim)).And(k.SetpLtU32(tid, ptx.I(p.HeadDim+p.Sums))), func() {
		k.StF32(sums.Elem(tid.Plus(-p.HeadDim), ptx.F32), x)
	})
	k.BarSync(0)
	k.If(k.SetpLtU32(tid, ptx.I(p.HeadDim)), func() {
		total := make([]ptx.RegF32, p.Sums)
		for i := range total {
			total[i] = k.LdF32(sums.Plus(4 * i))
		}
		for m := p.Sums / 2; m > 0; m /= 2 { // as lanes that exchange them
			for i := range m {
				total[i] = k.AddF32(total[i], total[i+m])
			}
		}
		to := t.o.Elem(k.MadLoU32(row, ptx.I(p.HeadDim), tid), ptxType(p.O))
		store(k, to, p.O, k.MulF32(x, k.RcpRnF32(total[0])))
		// As in Attention: once more if something is not finite.
		nan := k.MulF32(x, ptx.F(0))
		k.If(k.SetpNanF32(nan, nan), func() { k.RedOrB32(flags.Elem(t.number, ptx.U32), ptx.I(1)) })
	})
}

// onlyFlagged declares the parameter flags behind those of cachedTile. If there are any,
// blocks whose tile has none return.
func onlyFlagged(k *ptx.Builder, t *attentionTile) {
	flags, wanted := k.ParamGlobal("flags"), k.VarU32(ptx.I(1))
	k.If(k.SetpNeU64(flags.Value(), ptx.I(0)), func() { k.MovU32To(wanted, k.LdU32(flags.Elem(t.number, ptx.U32))) })
	k.Return(k.SetpEqU32(wanted, ptx.I(0)))
}
