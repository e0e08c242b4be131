package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// EmbeddingBackward is, for every sequence in order and every id v in it,
// dtable[v] += Σ dy[i] over the sequence's rows i with that id, ascending from zero.
// A block belongs to a row, and only the first row of the batch with an id acts: it
// finds all the others, and so nobody else writes the table's row. Each warp does so
// for a slice of the columns, and needs no other.
type EmbeddingBackward struct {
	Warps int // of a block
	Vec   int // 4 where the rows are aligned, otherwise 1
}

const embeddingSlice, embeddingGroups = 512, 4 // columns of a slice, of which a lane has groups of four

// EmbeddingBackwardOf is the kernel for so many columns.
func EmbeddingBackwardOf(dim, vec int) EmbeddingBackward {
	return EmbeddingBackward{Warps: min(8, max(1, CeilDiv(dim, embeddingSlice))), Vec: vec}
}

// Name implements Any.
func (p EmbeddingBackward) Name() string { return name("embedding_backward", p.Warps, p.Vec) }

// Launch is the launch for a matrix.
func (p EmbeddingBackward) Launch(rows, dim int) Launch {
	l := lines(rows, 32*p.Warps)
	l.Grid[1] = CeilDiv(dim, embeddingSlice*p.Warps)
	return l
}

// Emit implements Any: embedding_backward(dtable, dy, ids, starts, nseq, rows, dim, vocab,
// fault, fault_tag, starts_tag).
func (p EmbeddingBackward) Emit(k *ptx.Builder) {
	k.RequireThreads(32 * p.Warps)
	k.MinBlocks(1) // rather than more blocks and registers spilled
	dtable, dy, ids, starts := k.ParamGlobal("dtable"), k.ParamGlobal("dy"), k.ParamGlobal("ids"), k.ParamGlobal("starts")
	nseq, rows, dim, vocab := k.ParamU32("nseq"), k.ParamU32("rows"), k.ParamU32("dim"), k.ParamU32("vocab")
	badID := newFaults(k)
	badStart := faults{k, badID.at, k.ParamU32("starts_tag")}
	const f32 = kernels.F32

	i, tid := k.CtaidX(), k.TidX()
	lane := tid.Mod(32)
	id := k.LdU32(ids.Elem(i, ptx.S32))
	good := k.SetpLtU32(id, vocab) // a negative one is a large one
	badID.report(good.Not(), i, id)
	k.Return(good.Not())

	// Starts that must be refused are, by one block, and read as the nearest ones that
	// ascend by all.
	k.If(k.SetpEqU32(i, ptx.I(0)), func() {
		least := k.VarU32(ptx.I(0))
		k.For(ptx.I(0), nseq.Plus(1), ptx.I(1), func(s ptx.RegU32) {
			start := k.LdU32(starts.Elem(s, ptx.S32))
			badStart.report(k.SetpLtU32(start, least).Or(k.SetpGtU32(start, rows)), s, start)
			ptx.Set(k, least, start)
		})
	})
	first := k.MinU32(k.LdU32(starts), rows)
	seq, end := k.VarU32(ptx.I(0)), k.VarU32(first)
	advance := func(row ptx.RegU32) { // to the sequence of a row
		k.While(func() ptx.RegPred { return k.SetpLeU32(end, row).And(k.SetpLtU32(seq, nseq)) }, func() {
			k.AddU32To(seq, seq, ptx.I(1))
			k.MaxU32To(end, end, k.MinU32(k.LdU32(starts.Elem(seq, ptx.S32)), rows))
		})
	}
	advance(i)
	k.Return(k.SetpLtU32(i, first).Or(k.SetpGeU32(i, end))) // a row of no sequence

	equal := func(at ptx.RegU32, until ptx.RegU32, u int) ptx.RegPred { // row at+32u has the id
		j := at.Plus(32 * u)
		other := k.VarU32(k.NotB32(id))
		k.Guard(k.SetpLtU32(j, until), func() { k.MovU32To(other, k.LdU32(ids.Elem(j, ptx.S32))) })
		return k.SetpEqU32(other, id)
	}
	const ahead = 4
	earlier := k.VarU32(ptx.I(0)) // lanes that found a row which acts for all
	k.For(first, i, ptx.I(32*ahead), func(j ptx.RegU32) {
		found := equal(j.Add(lane), i, 0)
		for u := 1; u < ahead; u++ {
			found = found.Or(equal(j.Add(lane), i, u))
		}
		ptx.Set(k, earlier, k.Ballot(found, ptx.FullMask).AsU32())
		k.Break(k.SetpNeU32(earlier, ptx.I(0)))
	})
	k.Return(k.SetpNeU32(earlier, ptx.I(0)))
	last := k.MinU32(k.LdU32(starts.Elem(nseq, ptx.S32)), rows)
	slice := k.MadLoU32(k.CtaidY(), ptx.I(p.Warps), tid.DivBy(32)).Times(embeddingSlice)
	k.Return(k.SetpGeU32(slice, dim))

	each := func(row ptx.GlobalPtr, f func(p ptx.GlobalPtr, g, j int)) {
		for g := range embeddingGroups {
			for j := 0; j < rowGroup; j += p.Vec {
				c := slice.Add(lane.Plus(32 * g).Times(rowGroup).Plus(j))
				from := at(row, c, f32)
				k.If(k.SetpLtU32(c, dim), func() { f(from, g, j) })
			}
		}
	}
	var sum [embeddingGroups][]ptx.RegF32
	for g := range sum {
		sum[g] = k.VarsF32(rowGroup, ptx.F(0))
	}
	to := row(k, dtable, id, dim, f32)
	flush := func() { // add the sequence's sum, and begin another
		each(to, func(to ptx.GlobalPtr, g, j int) {
			total := loads(k, to, f32, p.Vec)
			for v, x := range total {
				total[v] = k.AddF32(x, sum[g][j+v])
				k.MovF32To(sum[g][j+v], ptx.F(0))
			}
			stores(k, to, f32, total)
		})
	}
	k.For(i, last, ptx.I(32*ahead), func(j ptx.RegU32) {
		var hits [ahead]ptx.RegU32 // rows j…, j+32…
		for u := range hits {
			hits[u] = k.Ballot(equal(j.Add(lane), last, u), ptx.FullMask).AsU32()
		}
		k.For(ptx.I(0), ptx.I(ahead), ptx.I(1), func(u ptx.RegU32) {
			left := k.VarU32(hits[0])
			for v, h := range hits[1:] {
				k.SelpU32To(left, h, left, k.SetpEqU32(u, ptx.I(v+1)))
			}
			k.While(func() ptx.RegPred { return k.SetpNeU32(left, ptx.I(0)) }, func() {
				lowest := k.PopcB32(k.AndB32(k.NotB32(left), left.Plus(-1)))
				k.AndB32To(left, left, left.Plus(-1))
				r := j.Add(u.Times(32)).Add(lowest)
				k.If(k.SetpGeU32(r, end), func() {
					flush()
					advance(r)
				})
				each(row(k, dy, r, dim, f32), func(from ptx.GlobalPtr, g, j int) {
					for v, x := range loads(k, from, f32, p.Vec) {
						k.AddF32To(sum[g][j+v], sum[g][j+v], x)
					}
				})
			})
		})
	})
	flush()
}
