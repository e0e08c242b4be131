package kernel

import "github.com/selkie-ml/selkie/ptx"

// ColumnSums is how the gradient of a row of weights is summed: a block takes 32 columns
// and has so many chunks of rows under way. The order of the sum does not depend on that.
type ColumnSums struct{ Chunks int }

// ColumnSumsOf is how columns of so many rows are summed.
func ColumnSumsOf(rows int) ColumnSums {
	if rows <= ChunkRows {
		return ColumnSums{1}
	}
	return ColumnSums{4}
}

const chunkWarps = 8 // that share the rows of a chunk

// Launch is the launch for so many columns.
func (p ColumnSums) Launch(cols int) Launch { return lines(CeilDiv(cols, 32), p.threads()) }

func (p ColumnSums) threads() int { return 32 * chunkWarps * p.Chunks }

// emit writes the kernel that adds to sum[c], f32, what value gives for the
// rows of every sequence in order: in chunks of ChunkRows rows, of which each warp adds
// up its share; the sums of the warps from zero in order are the chunk's.
func (p ColumnSums) emit(k *ptx.Builder, sum, starts ptx.GlobalPtr, nseq, rows, cols ptx.RegU32, refuse faults, value func(row, col ptx.RegU32) ptx.RegF32) {
	k.RequireThreads(p.threads())
	k.MinBlocks(1) // rather than more blocks and registers spilled
	const share = ChunkRows / chunkWarps
	bufferBytes := 4 * p.threads()
	parts := k.Shared("parts", ptx.F32, 2*p.threads(), 0)

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
		k.For(ptx.I(0), count, ptx.I(p.Chunks*ChunkRows), func(c ptx.RegU32) {
			r := c.Add(warp.Times(share))
			var v [share]ptx.RegF32
			for i := range v { // branches, as guards let ptxas unroll the loop until it spills
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
				for q := range p.Chunks {
					chunk := k.VarF32(ptx.F(0))
					for w := range chunkWarps {
						k.AddF32To(chunk, chunk, k.LdF32(mine.Elem(lane, ptx.F32).Plus(4*32*(q*chunkWarps+w))))
					}
					k.Guard(k.SetpLtU32(c.Plus(q*ChunkRows), count), func() { k.AddF32To(total, total, chunk) })
				}
			})
			k.XorB32To(buffer, buffer, ptx.I(bufferBytes)) // the other one, while this is read
		})
	})
	k.If(adds.And(inside), func() { k.StF32(to, total) })
}
