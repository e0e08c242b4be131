package kernel

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// mma is d += a·b, a 16×16 and b 16×8 in bf16 or f16.
func mma(k *ptx.Builder, dt kernels.DType, d [4]ptx.RegF32, a [4]ptx.RegB32, b [2]ptx.RegB32) {
	if dt == kernels.BF16 {
		k.MmaM16N8K16F32BF16BF16F32To(d, a, b, d)
	} else {
		k.MmaM16N8K16F32F16F16F32To(d, a, b, d)
	}
}

// mmaTile is the engine of warps that multiply by mma.
type mmaTile struct {
	Tile
	k        *ptx.Builder
	wm, wn   int // a warp's tile
	row, col ptx.RegU32
	lane     ptx.RegU32
	fragA    ptx.TileLanes
	fragB    ptx.TileLanes
	ahead    fragments // of the first 16 k of the next stage
}

func newMMA(k *ptx.Builder, t Tile, tid ptx.RegU32) *mmaTile {
	m := &mmaTile{Tile: t, k: k, wm: t.BM / t.WarpsM, wn: t.BN / t.WarpsN, lane: tid.Mod(32)}
	warp := t.warp(k, tid)
	m.row, m.col = warp.DivBy(t.WarpsN).Times(m.wm), warp.Mod(t.WarpsN).Times(m.wn)
	a, b := t.layouts()
	if t.AcrossA {
		m.fragA = fragmentATrans(a, m.lane, m.row.DivBy(8))
	} else {
		m.fragA = a.FragmentA(m.lane, m.row)
	}
	if t.AcrossB {
		m.fragB = b.FragmentBTrans(m.lane, m.col.DivBy(8))
	} else {
		m.fragB = b.FragmentB(m.lane, m.col)
	}
	zeros := func() ptx.RegB32 { return k.VarB32(ptx.I(0)) }
	for range m.wm / 16 {
		m.ahead.a = append(m.ahead.a, [4]ptx.RegB32{zeros(), zeros(), zeros(), zeros()})
	}
	for range m.wn / 8 {
		m.ahead.b = append(m.ahead.b, [2]ptx.RegB32{zeros(), zeros()})
	}
	return m
}

// fragmentATrans places the lanes to load 16×16 fragments of operand A by
// ldmatrix.x4.trans from a tile stored [k][m]; chunk is the warp's first, m/8.
func fragmentATrans(t ptx.SharedTile, lane, chunk ptx.RegU32) ptx.TileLanes {
	return t.Lanes(lane.And(ptx.I(7)).Add(lane.Shr(4).Shl(3)), chunk.Add(lane.Shr(3).And(ptx.I(1))))
}

func (m *mmaTile) count() int { return m.wm * m.wn / 32 }

// fragments are a warp's operands of 16 k.
type fragments struct {
	a [][4]ptx.RegB32 // by 16 rows
	b [][2]ptx.RegB32 // by 8 columns
}

// read loads the fragments from kk on of a stage.
func (m *mmaTile) read(atA, atB ptx.TileAt, kk int) (f fragments) {
	k := m.k
	for i := range m.wm / 16 {
		if m.AcrossA {
			f.a = append(f.a, k.LdmatrixX4Trans(atA.Plus(kk, 2*i)))
		} else {
			f.a = append(f.a, k.LdmatrixX4(atA.Plus(16*i, kk/8)))
		}
	}
	for j := 0; j < m.wn/8; j += 2 {
		var v [4]ptx.RegB32
		if m.AcrossB {
			v = k.LdmatrixX4Trans(atB.Plus(kk, j))
		} else {
			v = k.LdmatrixX4(atB.Plus(8*j, kk/8))
		}
		f.b = append(f.b, [2]ptx.RegB32(v[:2]), [2]ptx.RegB32(v[2:]))
	}
	return f
}

// keep carries fragments to the next turn.
func (m *mmaTile) keep(f fragments) {
	for i := range f.a {
		for j := range f.a[i] {
			ptx.Set(m.k, m.ahead.a[i][j], f.a[i][j])
		}
	}
	for i := range f.b {
		for j := range f.b[i] {
			ptx.Set(m.k, m.ahead.b[i][j], f.b[i][j])
		}
	}
}

func (m *mmaTile) first(a, b ptx.SharedPtr) { m.keep(m.read(m.fragA.At(a), m.fragB.At(b), 0)) }

func (m *mmaTile) turn(a, b ptx.SharedPtr, acc []ptx.RegF32, next func() (a, b ptx.SharedPtr)) {
	atA, atB := m.fragA.At(a), m.fragB.At(b)
	now := m.ahead
	for kk := 0; kk < m.BK; kk += 16 {
		var then fragments // in flight during these products
		if kk+16 < m.BK {
			then = m.read(atA, atB, kk+16)
		} else {
			a, b := next()
			then = m.read(m.fragA.At(a), m.fragB.At(b), 0)
		}
		for j := range now.b {
			for i := range now.a {
				mma(m.k, m.A, [4]ptx.RegF32(acc[4*(i*len(now.b)+j):]), now.a[i], now.b[j])
			}
		}
		now = then
	}
	m.keep(now)
}

// together is how many 8-column tiles of a warp hold neighbours; see mmaOrder.
func (t Tile) together() int {
	switch wn := t.BN / t.WarpsN; {
	case t.AcrossB:
		return 1
	case wn%32 == 0:
		return 4
	default:
		return 2
	}
}

// mmaOrder gives a lane, which has columns 2t and 2t+1 of each 8-column tile, neighbours:
// of tiles that stand together, tile i has columns 2i and 2i+1 of every lane's.
func mmaOrder(t Tile) func(ptx.RegU32) ptx.RegU32 {
	n := t.together()
	return func(line ptx.RegU32) ptx.RegU32 {
		group, tile, pair := line.And(ptx.I(-8*n)), line.Mod(8*n).DivBy(8), line.Mod(8).DivBy(2)
		return group.Add(pair.Times(2 * n)).Add(tile.Times(2)).Add(line.Mod(2))
	}
}

func (m *mmaTile) sums(v []ptx.RegF32) sums {
	n := m.together()
	s := sums{row: m.row.Add(m.lane.DivBy(4)), col: m.col.Add(m.lane.Mod(4).Times(2 * n))}
	for i := range m.wm / 16 {
		for half := range 2 {
			for j := 0; j < m.wn/8; j += n {
				r := run{row: 16*i + 8*half, col: 8 * j}
				for t := range n {
					d := v[4*(i*m.wn/8+j+t):]
					r.v = append(r.v, d[2*half], d[2*half+1])
				}
				s.runs = append(s.runs, r)
			}
		}
	}
	return s
}
