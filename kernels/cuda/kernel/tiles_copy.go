package kernel

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// copier brings tiles of an operand from global to shared memory, a chunk of 16 bytes
// there at a time. Aligned rows go by cp.async, or where they are widened, by vectors
// through registers while the block computes. Others go element by element.
type copier struct {
	k           *ptx.Builder
	dt          kernels.DType
	across, vec bool
	async       bool
	layout      ptx.SharedTile
	per         int // elements of a chunk
	order       func(ptx.RegU32) ptx.RegU32

	passes, perPass int
	row             ptx.RegU32 // of the tile in shared memory, in the first pass
	first           ptx.RegU32 // first element of the thread's chunks, in their rows
	to              []ptx.RegU32

	src    source
	from   []ptx.RegU64   // bytes from the source's start
	size   []ptx.RegU32   // async: 16, or 0 for a line that there is not
	in     []ptx.RegPred  // by vectors: the line exists
	staged [][]ptx.RegB32 // by vectors: chunks on their way
}

// newCopier shares tiles of the layout out among the threads of a block.
func newCopier(k *ptx.Builder, t Tile, dt kernels.DType, across, vec bool, layout ptx.SharedTile, tid ptx.RegU32, order func(ptx.RegU32) ptx.RegU32) *copier {
	per, perRow, threads := t.VecElements(), layout.RowBytes/16, t.Threads()
	if threads%perRow != 0 || layout.Rows*perRow%threads != 0 {
		panic(fmt.Sprintf("kernels/cuda/kernel: tile %v: %d threads cannot share %d rows of %d chunks evenly", t, threads, layout.Rows, perRow))
	}
	c := &copier{k: k, dt: dt, across: across, vec: vec, async: vec && 16/per == dt.Size(), layout: layout, per: per, order: order,
		passes: layout.Rows * perRow / threads, perPass: threads / perRow}
	c.row = tid.DivBy(perRow)
	chunk := tid.Mod(perRow)
	c.first = chunk.Times(per)
	if !vec {
		return c
	}
	pitch := layout.Bytes() / layout.Rows
	if layout.Swizzle != ptx.SwizzleNone {
		pitch = int(layout.Swizzle)
	}
	for i := range c.passes {
		if i > 0 && (layout.Swizzle == ptx.SwizzleNone || c.perPass%8 == 0) {
			c.to = append(c.to, c.to[0].Plus(i*c.perPass*pitch))
		} else {
			c.to = append(c.to, layout.ChunkOffset(c.row.Plus(i*c.perPass), chunk))
		}
		if !c.async {
			c.staged = append(c.staged, []ptx.RegB32{k.VarB32(ptx.I(0)), k.VarB32(ptx.I(0)), k.VarB32(ptx.I(0)), k.VarB32(ptx.I(0))})
		}
	}
	return c
}

// place is where a chunk in a row of the tile comes from, and whether its line exists.
func (c *copier) place(row ptx.RegU32) (from ptx.RegU64, in ptx.RegPred) {
	line, ofMemory := row, row
	if c.across {
		line = c.first
	} else if c.order != nil {
		line = c.order(row)
		ofMemory = line
	}
	in = c.k.SetpLtU32(line, c.src.lines)
	return c.k.MadWideU32(ofMemory, c.src.stride.Times(c.dt.Size()), c.k.CvtU64U32(c.first.Times(c.dt.Size()))), in
}

// aim sets what the next tiles are taken from.
func (c *copier) aim(src source) {
	c.src, c.from, c.size, c.in = src, nil, nil, nil
	if !c.vec {
		return
	}
	for i := range c.passes {
		from, in := c.place(c.row.Plus(i * c.perPass))
		c.from = append(c.from, from)
		if c.async {
			c.size = append(c.size, c.k.SelpU32(ptx.I(16), ptx.I(0), in))
		} else {
			c.in = append(c.in, in)
		}
	}
}

// fetch starts to bring the tile from k0 on, left of which are in range, to a stage.
func (c *copier) fetch(k0, left ptx.RegU32, stage ptx.SharedPtr) {
	k := c.k
	base := c.src.at.Elem(k0, ptxType(c.dt))
	if c.across {
		base = c.src.at.Elem(k.MulWideU32(k0, c.src.stride), ptxType(c.dt))
	}
	if !c.vec {
		// Strides are shorter, but the assembler does not know: it would unroll the loop, and spill.
		end := c.src.stride.Shr(31).Plus(c.passes * c.perPass)
		k.For(ptx.I(0), end, ptx.I(c.perPass), func(i ptx.RegU32) {
			row := c.row.Add(i)
			k.StV4B32(c.layout.Chunk(stage, row, c.first.DivBy(c.per)), c.elements(base, row, left))
		})
		return
	}
	inK := k.SetpLtU32(c.first, left)
	for i := range c.passes {
		if c.across {
			inK = k.SetpLtU32(c.row.Plus(i*c.perPass), left)
		}
		if c.async {
			k.CpAsyncCGZfill(stage.At(c.to[i]), base.At(c.from[i]), k.SelpU32(c.size[i], ptx.I(0), inK))
			continue
		}
		for j, x := range c.vector(base, c.from[i], c.in[i].And(inK)) {
			ptx.Set(k, c.staged[i][j], x)
		}
	}
}

// vector loads a chunk's elements at once, if in, and widens them.
func (c *copier) vector(base ptx.GlobalPtr, from ptx.RegU64, in ptx.RegPred) []ptx.RegB32 {
	k := c.k
	// Where nothing is to be read, the tile's first element is read for nothing.
	words := k.LdV2B32(base.At(k.SelpB64(from, ptx.I(0), in).AsU64()))
	var out []ptx.RegB32
	for _, w := range words {
		lo, hi := unpack(k, k.SelpB32(w, ptx.I(0), in), c.dt)
		out = append(out, lo.AsB32(), hi.AsB32())
	}
	return out
}

// elements loads a chunk's elements one by one, with zeros where there are none.
func (c *copier) elements(base ptx.GlobalPtr, row, left ptx.RegU32) [4]ptx.RegB32 {
	k := c.k
	from, in := c.place(row)
	end := left
	if c.across {
		in, end = k.SetpLtU32(row, left), c.src.lines
	}
	var out []ptx.RegB32
	var low ptx.RegU16
	for e := range c.per {
		here := in.And(k.SetpLtU32(c.first.Plus(e), end))
		at := base.At(k.SelpB64(from.Plus(e*c.dt.Size()), ptx.I(0), here).AsU64()) // as in vector
		if c.per == 4 {
			out = append(out, k.SelpF32(load(k, at, c.dt), ptx.F(0), here).AsB32())
			continue
		}
		half := k.SelpU16(k.LdU16(at), ptx.I(0), here)
		if e%2 == 0 {
			low = half
		} else {
			out = append(out, k.PackB32B16x2([2]ptx.RegB16{low.AsB16(), half.AsB16()}))
		}
	}
	return [4]ptx.RegB32(out)
}

// put stores what fetch left in registers.
func (c *copier) put(stage ptx.SharedPtr) {
	for i, v := range c.staged {
		c.k.StV4B32(stage.At(c.to[i]), [4]ptx.RegB32(v))
	}
}
