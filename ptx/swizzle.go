//go:build !ptxbootstrap

package ptx

import mathbits "math/bits"

// Swizzle is the span in bytes over which rows of shared memory are permuted so that
// a column of 16-byte chunks touches all banks: 0, 32, 64 or 128. The permutation is
// that of tensor copies and of wgmma. (PTX ISA, "Swizzling modes")
type Swizzle int

const (
	SwizzleNone Swizzle = 0
	Swizzle32   Swizzle = 32
	Swizzle64   Swizzle = 64
	Swizzle128  Swizzle = 128
)

// Apply permutes a byte address or offset, counted from a multiple of Align.
func (s Swizzle) Apply(addr int) int {
	return addr ^ addr>>3&s.mask()
}

// mask is the bits of an address that the swizzle changes.
func (s Swizzle) mask() int {
	switch s {
	case SwizzleNone:
		return 0
	case Swizzle32, Swizzle64, Swizzle128:
		return int(s) - 16
	}
	panic("ptx: Swizzle is 0, 32, 64 or 128")
}

// Align is what a swizzled tile must be aligned to: 8 rows, or 16 bytes without swizzle.
func (s Swizzle) Align() int { return max(8*int(s), 16) }

// SharedTile is the layout of a matrix in shared memory: Rows rows of RowBytes bytes,
// swizzled. Rows wider than the swizzle's span are cut into panels of that width, one
// behind the other, as a tensor copy per panel would place them. Without swizzle, rows
// are Pitch bytes apart.
type SharedTile struct {
	Rows, RowBytes int
	Swizzle        Swizzle
	Pitch          int // without swizzle only; 0: RowBytes
}

func (t SharedTile) check(k *Builder) {
	switch {
	case t.Rows < 1 || t.RowBytes < 16 || t.RowBytes%16 != 0:
		k.fail("SharedTile", "%d rows of %d bytes, expected rows of a multiple of 16 bytes", t.Rows, t.RowBytes)
	case t.Swizzle != SwizzleNone && (t.RowBytes%int(t.Swizzle) != 0 || t.Rows%8 != 0):
		k.fail("SharedTile", "%d rows of %d bytes, expected a multiple of 8 rows and of the swizzle's %d bytes", t.Rows, t.RowBytes, int(t.Swizzle))
	case t.Pitch != 0 && (t.Swizzle != SwizzleNone || t.Pitch%16 != 0 || t.Pitch < t.RowBytes):
		k.fail("SharedTile", "a pitch of %d bytes for rows of %d: expected a multiple of 16, and no swizzle", t.Pitch, t.RowBytes)
	}
}

// Bytes is the size of the tile.
func (t SharedTile) Bytes() int { return t.Rows * max(t.RowBytes, t.Pitch) }

// span is the bytes of a row that stand together, and pitch the bytes between rows.
func (t SharedTile) span() int {
	if t.Swizzle == SwizzleNone {
		return t.RowBytes
	}
	return int(t.Swizzle)
}

func (t SharedTile) pitch() int { return max(t.span(), t.Pitch) }

// Offset is where byte col of a row lies.
func (t SharedTile) Offset(row, col int) int {
	return t.Swizzle.Apply(col/t.span()*t.Rows*t.pitch() + row*t.pitch() + col%t.span())
}

// ChunkOffset emits where 16-byte chunk c of a row lies.
func (t SharedTile) ChunkOffset(row, c RegU32) RegU32 {
	k := row.k
	t.check(k)
	var panel RegU32
	perSpan := t.span() / 16
	panels := t.RowBytes / t.span()
	if panels > 1 {
		panel = c.DivBy(perSpan).Times(t.Rows * t.pitch())
		c = c.Mod(perSpan)
	}
	if m := t.Swizzle.mask(); m != 0 {
		// Bits 4.. of the address get bits 7.. xored in: those of row*span.
		x := row
		if shift := 3 - mathbits.TrailingZeros(uint(t.Swizzle)/16); shift > 0 {
			x = row.Shr(shift)
		}
		c = c.Xor(x.And(I(m >> 4)))
	}
	off := k.MadLoU32(row, I(t.pitch()), c.Shl(4))
	if panels > 1 {
		off = off.Add(panel)
	}
	return off
}

// Chunk emits the address of 16-byte chunk c of a row of the tile at base.
func (t SharedTile) Chunk(base SharedPtr, row, c RegU32) SharedPtr {
	return base.At(t.ChunkOffset(row, c))
}

// TileLanes is where the lanes of a warp begin to read a tile: a row and a chunk each.
// From there, moving by 8 rows or to other chunks is known in Go. See FragmentA.
type TileLanes struct {
	t   SharedTile
	off RegU32
}

// Lanes places lanes at a row and a 16-byte chunk of it, for TileLanes.At.
func (t SharedTile) Lanes(row, c RegU32) TileLanes {
	return TileLanes{t: t, off: t.ChunkOffset(row, c)}
}

// FragmentA places the lanes to load 16x16 fragments of operand A by ldmatrix.x4 from
// a tile of 16-bit elements stored [m][k]; row is the warp's first.
func (t SharedTile) FragmentA(lane, row RegU32) TileLanes {
	return t.Lanes(row.Add(lane.And(I(15))), lane.Shr(4))
}

// FragmentB places the lanes to load two 16x8 fragments of operand B, neighbours in n,
// by ldmatrix.x4 from a tile stored [n][k]; row is the warp's first.
func (t SharedTile) FragmentB(lane, row RegU32) TileLanes {
	return t.Lanes(row.Add(lane.And(I(7))).Add(lane.Shr(4).Shl(3)), lane.Shr(3).And(I(1)))
}

// FragmentBTrans places the lanes to load two 16x8 fragments of operand B, neighbours
// in n, by ldmatrix.x4.trans from a tile stored [k][n]; chunk is the warp's first, n/8.
func (t SharedTile) FragmentBTrans(lane, chunk RegU32) TileLanes {
	return t.Lanes(lane.And(I(15)), chunk.Add(lane.Shr(4)))
}

// TileAt is TileLanes in a tile at a place.
type TileAt struct {
	TileLanes
	base SharedPtr
	regs map[int]SharedPtr
}

// At aims the lanes at the tile at base. Use the result where At was called, or deeper:
// it shares addresses that it has computed.
func (l TileLanes) At(base SharedPtr) TileAt {
	return TileAt{TileLanes: l, base: SharedPtr{base.at()}.At(l.off), regs: map[int]SharedPtr{}}
}

// Plus is the lanes' address, so many rows and chunks further. Rows are a multiple of
// 8; the chunks' bits must not overlap those of the chunk that a lane began with, as in
// steps of 2 for fragments.
func (l TileAt) Plus(rows, chunks int) SharedPtr {
	k := l.off.k
	if rows%8 != 0 {
		k.fail("TileAt.Plus", "%d rows, expected a multiple of 8", rows)
	}
	per := l.t.span() / 16
	panel, c := chunks/per, chunks%per
	at, ok := l.regs[c]
	if !ok {
		at = l.base
		if l.t.Swizzle != SwizzleNone && c != 0 {
			// The address without the panel's offset is a multiple of the span here.
			at = l.base.Value().Xor(I(c * 16)).AsShared()
		} else if c != 0 {
			at = l.base.Plus(c * 16)
		}
		l.regs[c] = at
	}
	return at.Plus(panel*l.t.Rows*l.t.pitch() + rows*l.t.pitch())
}
