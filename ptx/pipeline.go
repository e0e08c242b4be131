//go:build !ptxbootstrap

package ptx

import "fmt"

// CpAsync copies 4, 8 or 16 bytes from global to shared memory in the background,
// through L1 (.ca). See CpAsyncCommitGroup. (PTX ISA, "cp.async"; sm_80)
func (k *Builder) CpAsync(dst SharedPtr, src GlobalPtr, bytes int) {
	if bytes != 4 && bytes != 8 && bytes != 16 {
		k.fail("cp.async", "%d bytes, expected 4, 8 or 16", bytes)
	}
	k.emit("cp.async.ca.shared.global", dst.mem(), src.mem(), I(bytes).op())
}

// CpAsyncZfill is CpAsync that reads only the first size bytes of src and fills the
// rest with zeros.
func (k *Builder) CpAsyncZfill(dst SharedPtr, src GlobalPtr, bytes int, size InI32) {
	if bytes != 4 && bytes != 8 && bytes != 16 {
		k.fail("cp.async", "%d bytes, expected 4, 8 or 16", bytes)
	}
	k.emit("cp.async.ca.shared.global", dst.mem(), src.mem(), I(bytes).op(), k.fit("cp.async", 3, U32, size))
}

// CpAsyncCG copies 16 bytes, through L2 only (.cg).
func (k *Builder) CpAsyncCG(dst SharedPtr, src GlobalPtr) {
	k.emit("cp.async.cg.shared.global", dst.mem(), src.mem(), I(16).op())
}

// CpAsyncCGZfill is CpAsyncCG that reads only the first size bytes of src and fills the
// rest with zeros.
func (k *Builder) CpAsyncCGZfill(dst SharedPtr, src GlobalPtr, size InI32) {
	k.emit("cp.async.cg.shared.global", dst.mem(), src.mem(), I(16).op(), k.fit("cp.async", 3, U32, size))
}

// CpAsyncCommitGroup makes a group of the thread's cp.async since the last; it may be
// empty.
func (k *Builder) CpAsyncCommitGroup() { k.emit("cp.async.commit_group") }

// CpAsyncWaitGroup waits until at most n of the thread's groups are pending. What the
// others copied is visible to this thread; to the block, after a barrier.
func (k *Builder) CpAsyncWaitGroup(n int) { k.emit("cp.async.wait_group", I(n).op()) }

// CpAsyncWaitAll waits for all of the thread's cp.async, in groups or not.
func (k *Builder) CpAsyncWaitAll() { k.emit("cp.async.wait_all") }

// CpAsyncPipeline runs a loop over tiles that are copied ahead by cp.async, Stages-1
// of them in flight while one is used.
type CpAsyncPipeline struct {
	Stages int       // at least 2
	Bytes  int       // of a stage
	Base   SharedPtr // of stage 0; the others follow
}

// Run emits the loop over tiles 0 to tiles-1. load issues the cp.async of one tile into a
// stage; it is emitted Stages times and never commits. compute uses a stage, that all
// threads of the block have filled. Each turn has one BarSync(0), which also keeps a
// stage from being refilled before all have used it.
func (p CpAsyncPipeline) Run(k *Builder, tiles RegU32, load func(tile RegU32, stage SharedPtr), compute func(tile RegU32, stage SharedPtr)) {
	if p.Stages < 2 {
		k.fail("CpAsyncPipeline", "%d stages, expected at least 2", p.Stages)
	}
	ahead := p.Stages - 1
	for s := range ahead {
		tile := k.VarU32(I(s))
		k.If(k.SetpLtU32(tile, tiles), func() { load(tile, p.Base.Plus(s*p.Bytes)) })
		k.CpAsyncCommitGroup() // empty ones too: groups are counted from the newest
	}
	use, fill := k.VarU32(I(0)), k.VarU32(I(ahead*p.Bytes))
	k.For(I(0), tiles, I(1), func(tile RegU32) {
		k.CpAsyncWaitGroup(ahead - 1)
		k.BarSync(0)
		next := tile.Plus(ahead)
		k.If(k.SetpLtU32(next, tiles), func() { load(next, p.Base.At(fill)) })
		k.CpAsyncCommitGroup()
		compute(tile, p.Base.At(use))
		for _, off := range []RegU32{use, fill} {
			k.AddU32To(off, off, I(p.Bytes))
			k.Guard(k.SetpEqU32(off, I(p.Stages*p.Bytes)), func() { k.MovU32To(off, I(0)) })
		}
	})
	// The groups still pending are empty: nothing to wait for.
}

// TileCopy is how the threads of a block copy tiles from global memory by cp.async, 16
// bytes at a time: thread i takes chunk i of the tile, i+Threads, and so on.
type TileCopy struct {
	t       SharedTile
	row     RegU32 // the thread's first
	chunk   RegU32 // its chunk in all its rows
	to      []RegU32
	from    []RegU64 // offsets in bytes
	perPass int
	passes  int
}

// Copy prepares to copy tiles of this layout from matrices whose rows are stride bytes
// apart, by so many threads.
func (t SharedTile) Copy(tid RegU32, threads int, stride RegU32) *TileCopy {
	k := tid.k
	t.check(k)
	perRow := t.RowBytes / 16
	if threads%perRow != 0 || t.Rows*perRow%threads != 0 {
		k.fail("SharedTile.Copy", "%d threads cannot share %d rows of %d chunks evenly", threads, t.Rows, perRow)
	}
	c := &TileCopy{t: t, perPass: threads / perRow, passes: t.Rows * perRow / threads}
	c.row, c.chunk = tid.DivBy(perRow), tid.Mod(perRow)
	step := t.pitch() * c.perPass
	for i := range c.passes {
		row := c.row.Plus(i * c.perPass)
		switch {
		case i > 0 && (t.Swizzle == SwizzleNone || c.perPass%8 == 0):
			c.to = append(c.to, c.to[0].Plus(i*step))
		default:
			c.to = append(c.to, t.ChunkOffset(row, c.chunk))
		}
		c.from = append(c.from, k.MadWideU32(row, stride, k.CvtU64U32(c.chunk.Shl(4))))
	}
	return c
}

// Issue starts the copy of the tile at src to dst. Rows from rows on, and chunks from
// chunks on, are filled with zeros; both may exceed the tile's.
func (c *TileCopy) Issue(dst SharedPtr, src GlobalPtr, rows, chunks RegU32) {
	k := c.row.k
	inRow := k.SetpLtU32(c.chunk, chunks)
	for i := range c.passes {
		in := inRow.And(k.SetpLtU32(c.row.Plus(i*c.perPass), rows))
		size := k.SelpB32(I(16), I(0), in).AsU32()
		from := k.SelpB64(c.from[i], I(0), in).AsU64() // an address that exists, for those that read nothing
		k.CpAsyncCGZfill(dst.At(c.to[i]), src.At(from), size)
	}
}

// String helps messages.
func (t SharedTile) String() string {
	return fmt.Sprintf("%d rows of %d bytes, swizzle %d", t.Rows, t.RowBytes, int(t.Swizzle))
}
