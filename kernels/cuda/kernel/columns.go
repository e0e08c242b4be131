package kernel

import "github.com/selkie-ml/selkie/ptx"

const columnWarps = 8

// columnSums is the launch of a kernel that emitColumnSums wrote: a block takes 32 columns.
func columnSums(cols int) Launch { return lines(CeilDiv(cols, 32), 32*columnWarps) }

// emitColumnSums writes the kernel that adds to sum[c], f32, what value gives for the
// rows of every sequence in order: in chunks of ChunkRows rows, of which each warp adds
// up its share; the sums of the warps from zero in order are the chunk's.
func emitColumnSums(k *ptx.Builder, sum, starts ptx.GlobalPtr, nseq, rows, cols ptx.RegU32, refuse faults, value func(row, col ptx.RegU32) ptx.RegF32) {
	k.RequireThreads(32 * columnWarps)
	const share, bufferBytes = ChunkRows / columnWarps, 4 * 32 * columnWarps
	parts := k.Shared("parts", ptx.F32, 2*32*columnWarps, 2*bufferBytes)

	tid := k.TidX()
	lane, warp := tid.Mod(32), tid.DivBy(32)
	col := k.CtaidX().Times(32).Add(lane)
	inside := k.SetpLtU32(col, cols)
	adds := k.SetpEqU32(warp, ptx.I(0))
	to := sum.Elem(col, ptx.F32)
	total := k.VarF32(ptx.F(0))
	k.If(adds.And(inside), func() { ptx.Set(k, total, k.LdF32(to)) })
	buffer := k.VarU32(ptx.I(0))
	forSequences(k, starts, nseq, rows, refuse, firstThread(k), func(first, count ptx.RegU32) {
		k.For(ptx.I(0), count, ptx.I(ChunkRows), func(c ptx.RegU32) {
			r := c.Add(warp.Times(share))
			var v [share]ptx.RegF32
			for i := range v { // all loads first
				v[i] = k.VarF32(ptx.F(0))
				k.If(inside.And(k.SetpLtU32(r.Plus(i), count)), func() { ptx.Set(k, v[i], value(first.Add(r.Plus(i)), col)) })
			}
			part := v[0]
			for _, x := range v[1:] {
				part = k.AddF32(part, x)
			}
			mine := parts.At(buffer)
			k.StF32(mine.Elem(tid, ptx.F32), part)
			k.BarSync(0)
			k.If(adds, func() {
				chunk := k.VarF32(ptx.F(0))
				for w := range columnWarps {
					k.AddF32To(chunk, chunk, k.LdF32(mine.Elem(lane, ptx.F32).Plus(4*32*w)))
				}
				k.AddF32To(total, total, chunk)
			})
			k.XorB32To(buffer, buffer, ptx.I(bufferBytes)) // the other one, while this is read
		})
	})
	k.If(adds.And(inside), func() { k.StF32(to, total) })
}
