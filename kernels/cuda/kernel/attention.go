package kernel

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// Attention is attention by fma in f32, for any storages and head dimension, over
// packed sequences or (Cached) over a KV cache. Its sums:
//
//   - a score is one chain of fma over the head's elements;
//   - a block of 64 keys gives one chain over its keys for each element of the result,
//     which is added to what the blocks before gave, scaled to the new largest score;
//   - a row's sum of exponentials is kept in 16 parts by key mod 16.
type Attention struct {
	O, Q, KV kernels.DType
	HeadDim  int
	Vec      int // elements read at once, 1 or 4: all arrays are aligned to as many
	Cached   bool
	LSE      bool
	Sizes    AttentionSizes // Rows and Keys, unless Cached
	Step     PagedStep      // if Cached
}

// MaxHeadDim is the largest head dimension of attention.
const MaxHeadDim = 256

// Name implements Any.
func (p Attention) Name() string {
	return name("attention", p.O, p.Q, p.KV, p.HeadDim, p.Vec, p.Cached, p.LSE, fmt.Sprintf("%dx%d", p.rows(), p.keys())) + p.Step.suffix()
}

// rows is the rows of a tile; keys is how many keys, or values, lie in shared memory at once.
func (p Attention) rows() int {
	if p.Cached {
		return attentionGroup
	}
	return p.Sizes.Rows
}

func (p Attention) keys() int {
	if p.Cached {
		return kernels.KeyBlock
	}
	return p.Sizes.Keys
}

func (p Attention) threads() int { return 4 * p.rows() } // 16 for four rows

// floatPitch is the elements from row to row of f32 in shared memory, such that
// neighbouring rows lie in different banks.
func floatPitch(dim int) int {
	switch {
	case dim%8 == 0:
		return dim + 4
	case dim%4 == 0:
		return dim
	}
	return dim | 1
}

// pPitch is that of the exponentials: rows that lie four apart are read together.
const pPitch = kernels.KeyBlock + 4

func (p Attention) shared() int {
	return 4 * ((p.rows()+p.keys())*floatPitch(p.HeadDim) + p.rows()*pPitch + 8)
}

// Launch is the launch for packed sequences.
func (p Attention) Launch(rows, nseq, heads int) Launch {
	l := packedLaunch(rows, nseq, heads, p.rows(), p.threads())
	l.Shared = p.shared()
	return l
}

// LaunchCached is the launch for rows over a KV cache.
func (p Attention) LaunchCached(rows, heads, kvHeads int) Launch {
	l := cachedLaunch(rows, heads, kvHeads, p.threads())
	l.Shared = p.shared()
	return l
}

// LaunchStep is the launch of a step of a split, or of the whole.
func (p Attention) LaunchStep(s PagedSplit) Launch {
	return s.launch(p.Step, p.LaunchCached(s.Rows, s.Heads, s.KVHeads))
}

// Emit implements Any: parameters as packedTile or cachedTile has them, and behind the
// latter flags, or those of newPagedPart.
func (p Attention) Emit(k *ptx.Builder) {
	k.RequireThreads(p.threads())
	if p.Cached {
		k.MinBlocks(4)
	}
	pitch := floatPitch(p.HeadDim)
	layout := k.DynamicShared(16)
	qs, kvs := layout.Alloc(4*p.rows()*pitch, 16), layout.Alloc(4*p.keys()*pitch, 16)
	ps, scratch := layout.Alloc(4*p.rows()*pPitch, 16), layout.Alloc(4*8, 16)
	var t *attentionTile
	var part *pagedPart
	switch {
	case !p.Cached:
		t = packedTile(k, p.O, p.Q, p.KV, p.HeadDim, p.rows(), p.threads(), p.LSE)
	case p.Step == PagedWhole:
		t = wholeTile(k, p.O, p.Q, p.KV, p.HeadDim, p.threads(), scratch)
		onlyFlagged(k, t)
	default:
		t = splitTile(k, p.O, p.Q, p.KV, p.HeadDim, p.threads(), scratch)
		part = newPagedPart(k, t, p.HeadDim, pagedSums(false))
		if p.Step == PagedTops {
			part.beginTops(k.ParamGlobal("flags"))
		}
	}
	tid := k.TidX()
	tx, row0 := tid.Mod(16), tid.DivBy(16).Times(4) // the thread's columns mod 16, and its first row
	fill := floatTile{dim: p.HeadDim, pitch: pitch, vec: p.Vec, threads: p.threads()}
	fill.load(k, qs, t.q, p.Q, t.stride, t.rows, p.rows(), nil)

	limits := make([]ptx.RegU32, 4)
	for i := range limits {
		limits[i] = t.limit(row0.Plus(i))
	}
	active := k.SetpLtU32(tid.DivBy(32).Times(8), t.rows) // the warp has rows that exist
	cols := CeilDiv(p.HeadDim, 16)
	careful := k.VarU32(ptx.I(0))
	largest := k.VarsF32(4, ptx.F(math.Inf(-1)))
	// scores are those of a block of keys, before masking.
	scores := func(key ptx.GlobalPtr, left ptx.RegU32) [][]ptx.RegF32 {
		s := floatSquare(k, 4)
		for from := 0; from < kernels.KeyBlock; from += p.keys() {
			k.BarSync(0)
			fill.load(k, kvs, key.At(t.bytes(k, from, p.KV)), p.KV, t.keyStride, leftFrom(k, left, from), p.keys(), nil)
			k.BarSync(0)
			k.If(active, func() {
				dots(k, p.HeadDim, qs.Elem(row0.Times(pitch), ptx.F32), kvs.Elem(tx.Times(pitch), ptx.F32), pitch, 16*pitch, s, from/16, p.keys()/16)
			})
		}
		k.BarSync(0)
		return s
	}
	// each gives row by row the scores, masked where the step needs it, and their largest.
	each := func(b, left ptx.RegU32, s [][]ptx.RegF32, use func(i int, s []ptx.RegF32, top ptx.RegF32)) {
		k.If(active, func() {
			if p.Step != PagedTops {
				t.mask(k, left, s, limits, b.Times(kernels.KeyBlock).Add(tx), func(c int) int { return 16 * c })
			}
			for i := range s {
				use(i, s[i], largestOf(k, s[i], 16))
			}
		})
	}
	// block gives what a block of keys does: the factor for what was summed before, and the
	// thread's part of the result. sum takes row by row the factor and the thread's part
	// of the sum of exponentials.
	block := func(b ptx.RegU32, sum func(i int, shift, total ptx.RegF32)) (shift []ptx.RegF32, o [][]ptx.RegF32) {
		key, value := t.block(b)
		left := t.left(b)
		s := scores(key, left)
		shift = k.VarsF32(4, ptx.F(1))
		each(b, left, s, func(i int, s []ptx.RegF32, top ptx.RegF32) {
			k.MovF32To(shift[i], t.rescale(k, largest[i], top))
			sum(i, shift[i], t.exponentials(k, s, largest[i]))
			for c := range s {
				k.StF32(ps.Elem(k.MadLoU32(row0, ptx.I(pPitch), tx), ptx.F32).Plus(4*(i*pPitch+16*c)), s[c])
			}
		})
		o = make([][]ptx.RegF32, 4)
		for i := range o {
			o[i] = k.VarsF32(cols, ptx.F(0))
		}
		for from := 0; from < kernels.KeyBlock; from += p.keys() {
			if from > 0 {
				k.BarSync(0)
			}
			fill.load(k, kvs, value.At(t.bytes(k, from, p.KV)), p.KV, t.keyStride, leftFrom(k, left, from), p.keys(), &careful)
			k.BarSync(0) // also between a row's exponentials and those who read them
			weights := ps.Elem(row0.Times(pPitch), ptx.F32).Plus(4 * from)
			fill.weighted(k, o, weights, pPitch, kvs, k.SelpU32(ptx.I(p.keys()), ptx.I(0), active), tx, 16)
		}
		return shift, o
	}
	switch p.Step {
	case PagedTops:
		k.For(part.lo, part.hi, ptx.I(1), func(b ptx.RegU32) {
			key, _ := t.block(b)
			left := t.left(b)
			each(b, left, scores(key, left), func(i int, _ []ptx.RegF32, top ptx.RegF32) { k.MaxF32To(largest[i], largest[i], top) })
		})
		for i := range largest {
			row := row0.Plus(i)
			k.If(k.SetpLtU32(row, t.rows).And(k.SetpEqU32(tx, ptx.I(0))), func() { k.StF32(part.top(part.part, row), largest[i]) })
		}
		return
	case PagedParts:
		for i := range largest {
			k.MovF32To(largest[i], part.before(k.MinU32(row0.Plus(i), t.rows.Plus(-1)), tx, 16))
		}
		k.For(part.lo, part.hi, ptx.I(1), func(b ptx.RegU32) {
			ofRow := func(i int, f func(record ptx.GlobalPtr)) {
				row := row0.Plus(i)
				k.If(k.SetpLtU32(row, t.rows), func() { f(part.record(b, row)) })
			}
			_, o := block(b, func(i int, shift, total ptx.RegF32) {
				ofRow(i, func(record ptx.GlobalPtr) {
					k.StF32(record.Elem(tx, ptx.F32).Plus(4*p.HeadDim), total)
					k.If(k.SetpEqU32(tx, ptx.I(0)), func() { k.StF32(record.Plus(4*(p.HeadDim+part.sums)), shift) })
				})
			})
			for i := range o {
				ofRow(i, func(record ptx.GlobalPtr) {
					to := record.Elem(tx, ptx.F32)
					for c := range cols {
						inColumn(k, p.HeadDim, tx, 16, c, func() { k.StF32(to.Plus(4*16*c), o[i][c]) })
					}
				})
			}
		})
		return
	}

	o := make([][]ptx.RegF32, 4)
	for i := range o {
		o[i] = k.VarsF32(cols, ptx.F(0))
	}
	sum := k.VarsF32(4, ptx.F(0))
	k.DoWhile(func() ptx.RegPred {
		for i := range 4 {
			k.MovF32To(largest[i], ptx.F(math.Inf(-1)))
			k.MovF32To(sum[i], ptx.F(0))
			for c := range o[i] {
				k.MovF32To(o[i][c], ptx.F(0))
			}
		}
		k.For(ptx.I(0), t.blocks(), ptx.I(1), func(b ptx.RegU32) {
			shift, part := block(b, func(i int, shift, total ptx.RegF32) { k.FmaRnF32To(sum[i], sum[i], shift, total) })
			for i := range o {
				for c := range o[i] {
					k.FmaRnF32To(o[i][c], o[i][c], shift[i], part[i][c])
				}
			}
		})
		// What is not finite may come from a masked key, whose 0·Inf is NaN: once more
		// without such values, which are then added where they are seen.
		k.AddU32To(careful, careful, ptx.I(1))
		return spoilt(k, p.threads()/32, scratch, o...).And(k.SetpEqU32(careful, ptx.I(1)))
	})
	k.If(k.SetpEqU32(careful, ptx.I(2)), func() {
		var mine []column
		for c := range cols {
			mine = append(mine, column{tx, 16 * c, 16*c+16 > p.HeadDim})
		}
		t.addInfinite(k, p.KV, limits, mine, p.HeadDim, o)
	})
	for i := range 4 {
		row := row0.Plus(i)
		total := ptx.WarpReduce(k, sum[i], 16, func(a, b ptx.RegF32) ptx.RegF32 { return k.AddF32(a, b) })
		k.If(k.SetpLtU32(row, t.rows), func() {
			norm := k.RcpRnF32(total)
			to := t.o.Elem(k.MulWideU32(row, t.stride), ptxType(p.O)).Elem(tx, ptxType(p.O))
			for c := range cols {
				inColumn(k, p.HeadDim, tx, 16, c, func() { store(k, to.Plus(16*c*p.O.Size()), p.O, k.MulF32(o[i][c], norm)) })
			}
			if p.LSE {
				k.If(k.SetpEqU32(tx, ptx.I(0)), func() { t.storeLSE(k, row, largest[i], total) })
			}
		})
	}
}

// mask gives the keys that a row does not see the score −Inf; only the last blocks have
// any. s[i][c] is row i's score of key + at(c).
func (t *attentionTile) mask(k *ptx.Builder, left ptx.RegU32, s [][]ptx.RegF32, limits []ptx.RegU32, key ptx.RegU32, at func(c int) int) {
	k.If(k.SetpLeU32(left, ptx.I(max(t.size, kernels.KeyBlock))), func() {
		for i := range s {
			for c := range s[i] {
				k.Guard(k.SetpGtU32(key.Plus(at(c)), limits[i]), func() { k.MovF32To(s[i][c], ptx.F(math.Inf(-1))) })
			}
		}
	})
}

// largestOf is the largest of a row's scores, which width neighbouring lanes share.
func largestOf(k *ptx.Builder, s []ptx.RegF32, width int) ptx.RegF32 {
	top := s[0]
	for _, x := range s[1:] {
		top = k.MaxF32(top, x)
	}
	return ptx.WarpReduce(k, top, width, func(a, b ptx.RegF32) ptx.RegF32 { return k.MaxF32(a, b) })
}

// exponentials replaces a row's scores by exp(score − largest) and returns their sum.
func (t *attentionTile) exponentials(k *ptx.Builder, s []ptx.RegF32, largest ptx.RegF32) ptx.RegF32 {
	base := k.NegF32(k.MulF32(largest, t.scale))
	total := k.VarF32(ptx.F(0))
	for c := range s {
		k.Ex2ApproxF32To(s[c], k.FmaRnF32(s[c], t.scale, base))
		k.AddF32To(total, total, s[c])
	}
	return total
}

// rescale raises the largest score to that of a block, and returns the factor for what
// was summed before.
func (t *attentionTile) rescale(k *ptx.Builder, largest, block ptx.RegF32) ptx.RegF32 {
	before := k.MulF32(largest, t.scale)
	k.MaxF32To(largest, largest, block)
	return k.Ex2ApproxF32(k.SubF32(before, k.MulF32(largest, t.scale)))
}

// bytes is how far a key lies from the block's first.
func (t *attentionTile) bytes(k *ptx.Builder, keys int, dt kernels.DType) ptx.RegU64 {
	return k.MulWideU32(t.keyStride, ptx.I(keys*dt.Size()))
}

// leftFrom is left − from, not below 0.
func leftFrom(k *ptx.Builder, left ptx.RegU32, from int) ptx.RegU32 {
	if from == 0 {
		return left
	}
	return left.Sub(k.MinU32(left, ptx.I(from)))
}

// inColumn emits f for the threads whose column tx+width·c exists.
func inColumn(k *ptx.Builder, dim int, tx ptx.RegU32, width, c int, f func()) {
	if width*c+width <= dim {
		f()
		return
	}
	k.If(k.SetpLtU32(tx.Plus(width*c), ptx.I(dim)), f)
}

// spoilt reports, to the whole block, whether one of the numbers is not finite.
func spoilt(k *ptx.Builder, warps int, scratch ptx.SharedPtr, numbers ...[]ptx.RegF32) ptx.RegPred {
	x := k.VarF32(ptx.F(0))
	for _, row := range numbers {
		for _, v := range row {
			k.FmaRnF32To(x, v, ptx.F(0), x)
		}
	}
	x = ptx.BlockReduce(k, x, warps, k.VarF32(ptx.F(0)), scratch, true, func(a, b ptx.RegF32) ptx.RegF32 { return k.AddF32(a, b) })
	return k.SetpNanF32(x, x)
}

// column is where elements of rows lie: n beyond base. tail says that not all exist.
type column struct {
	base ptx.RegU32
	n    int
	tail bool
}

// addInfinite adds to each row of o the values that are not finite among those that the
// row sees. cols are the thread's columns.
func (t *attentionTile) addInfinite(k *ptx.Builder, dt kernels.DType, limits []ptx.RegU32, cols []column, dim int, o [][]ptx.RegF32) {
	k.For(ptx.I(0), t.keys, ptx.I(1), func(j ptx.RegU32) {
		_, value := t.block(j.DivBy(kernels.KeyBlock))
		value = at(value, k.MulWideU32(j.Mod(kernels.KeyBlock), t.keyStride), dt)
		bases := map[string]ptx.GlobalPtr{}
		for c, col := range cols {
			base, ok := bases[col.base.Name()]
			if !ok {
				base = at(value, col.base, dt)
				bases[col.base.Name()] = base
			}
			add := func() {
				v := load(k, base.Plus(col.n*dt.Size()), dt)
				k.If(k.TestpFiniteF32(v).Not(), func() {
					for i := range o {
						k.Guard(k.SetpLeU32(j, limits[i]), func() { k.AddF32To(o[i][c], o[i][c], v) })
					}
				})
			}
			if col.tail {
				k.If(k.SetpLtU32(col.base.Plus(col.n), ptx.I(dim)), add)
			} else {
				add()
			}
		}
	})
}
