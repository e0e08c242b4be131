package kernel

import "github.com/selkie-ml/selkie/ptx"

// ChunkRows is how many rows, counted from a sequence's start, a partial sum of a
// gradient of weights spans.
const ChunkRows = 64

// forSequences calls f for every sequence of a batch that is not empty, in order: its
// first row and their number. One that does not lie within rows is refused, and skipped;
// the threads where reports holds say so, one in all. The loop is uniform over a block.
func forSequences(k *ptx.Builder, starts ptx.GlobalPtr, nseq, rows ptx.RegU32, refuse faults, reports ptx.RegPred, f func(first, count ptx.RegU32)) {
	k.For(ptx.I(0), nseq, ptx.I(1), func(s ptx.RegU32) {
		at := starts.Elem(s, ptx.S32)
		first, end := k.LdU32(at), k.LdU32(at.Plus(4)) // a negative one is a large one
		good := k.SetpLeU32(first, end).And(k.SetpLeU32(end, rows))
		refuse.report(good.Not().And(reports), s, end)
		k.If(good.And(k.SetpLtU32(first, end)), func() { f(first, end.Sub(first)) })
	})
}

// firstThread holds in one thread of the grid.
func firstThread(k *ptx.Builder) ptx.RegPred {
	return k.SetpEqU32(k.CtaidX().Or(k.CtaidY()).Or(k.TidX()), ptx.I(0))
}
