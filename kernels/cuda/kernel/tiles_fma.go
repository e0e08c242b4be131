package kernel

import "github.com/selkie-ml/selkie/ptx"

// fmaTile is the engine of lanes that multiply by fma: a warp is 4 lanes down and 8
// across, each with TM×TN sums.
type fmaTile struct {
	Tile
	k        *ptx.Builder
	tm, tn   int
	row, col ptx.RegU32 // of the warp
	ty, tx   ptx.RegU32
	// Places of the operands: of [line][k], at lines that even and odd sums of a take,
	// and at those of b; of [k][line], offsets of a lane's first line.
	linesA         [2]ptx.TileLanes
	linesB         ptx.TileLanes
	acrossA        ptx.RegU32
	acrossB        ptx.RegU32
	pitchA, pitchB int
}

func newFMA(k *ptx.Builder, t Tile, tid ptx.RegU32) *fmaTile {
	f := &fmaTile{Tile: t, k: k, tm: t.BM / t.WarpsM / 4, tn: t.BN / t.WarpsN / 8}
	warp, lane := t.warp(k, tid), tid.Mod(32)
	f.row, f.col = warp.DivBy(t.WarpsN).Times(4*f.tm), warp.Mod(t.WarpsN).Times(8*f.tn)
	f.ty, f.tx = lane.DivBy(8), lane.Mod(8)
	a, b := t.layouts()
	f.pitchA, f.pitchB = a.RowBytes, b.RowBytes
	zero := k.VarU32(ptx.I(0))
	if t.AcrossA {
		f.acrossA = f.row.Add(f.ty.Times(4)).Times(4)
	} else {
		for odd := range 2 {
			f.linesA[odd] = a.Lanes(f.row.Add(f.ty).Plus(4*odd), zero)
		}
	}
	if t.AcrossB {
		f.acrossB = f.col.Add(f.tx.Times(4)).Times(4)
	} else {
		f.linesB = b.Lanes(f.col.Add(f.tx), zero)
	}
	return f
}

func (f *fmaTile) count() int { return f.tm * f.tn }

// first has no registers left to read ahead with.
func (f *fmaTile) first(_, _ ptx.SharedPtr) {}

func (f *fmaTile) turn(a, b ptx.SharedPtr, acc []ptx.RegF32, next func() (a, b ptx.SharedPtr)) {
	k := f.k
	var atA [2]ptx.TileAt
	var atB ptx.TileAt
	if f.AcrossA {
		a = a.At(f.acrossA)
	} else {
		atA = [2]ptx.TileAt{f.linesA[0].At(a), f.linesA[1].At(a)}
	}
	if f.AcrossB {
		b = b.At(f.acrossB)
	} else {
		atB = f.linesB.At(b)
	}
	for kk := 0; kk < f.BK; kk += 4 {
		var as, bs [4][]ptx.RegF32 // by k, then by sum
		for i := range f.tm {
			if !f.AcrossA {
				spread(&as, k.LdV4F32(atA[i%2].Plus(i/2*8, kk/4)))
			}
		}
		for j := range f.tn {
			if !f.AcrossB {
				spread(&bs, k.LdV4F32(atB.Plus(8*j, kk/4)))
			}
		}
		for q := range 4 {
			if f.AcrossA {
				as[q] = f.across(a.Plus((kk+q)*f.pitchA), f.tm, 16)
			}
			if f.AcrossB {
				bs[q] = f.across(b.Plus((kk+q)*f.pitchB), f.tn, 32)
			}
		}
		if kk+4 == f.BK {
			next() // the last reads are under way
		}
		for q := range 4 {
			for i, x := range as[q] {
				for j, y := range bs[q] {
					d := acc[i*f.tn+j]
					k.FmaRnF32To(d, x, y, d)
				}
			}
		}
	}
}

func spread(to *[4][]ptx.RegF32, v [4]ptx.RegF32) {
	for q := range v {
		to[q] = append(to[q], v[q])
	}
}

// across reads n lines of one k in runs of 4, each so many lines from the one before.
func (f *fmaTile) across(at ptx.SharedPtr, n, step int) (out []ptx.RegF32) {
	for i := 0; i < n; i += 4 {
		v := f.k.LdV4F32(at.Plus(4 * step * i / 4))
		out = append(out, v[:]...)
	}
	return out
}

// fmaOrder gives a lane, which has lines tx + 8·j of a warp's, runs of neighbours that
// lie beside those of the next lane.
func fmaOrder(t Tile) func(ptx.RegU32) ptx.RegU32 {
	tn := t.BN / t.WarpsN / 8
	run := min(tn, fmaRun)
	return func(line ptx.RegU32) ptx.RegU32 {
		if t.WarpsN == 1 && tn == run {
			return line.Mod(8).Times(run).Add(line.DivBy(8))
		}
		in := line.Mod(8 * tn)
		j := in.DivBy(8)
		return line.Sub(in).Add(j.DivBy(run).Times(8 * run)).Add(in.Mod(8).Times(run)).Add(j.Mod(run))
	}
}

// fmaRun is how many neighbours a lane has, at most: 16 bytes of f32.
const fmaRun = 4

func (f *fmaTile) sums(v []ptx.RegF32) sums {
	length := min(f.tn, fmaRun)
	s := sums{row: f.row.Add(f.ty), col: f.col.Add(f.tx.Times(length))}
	if f.AcrossA {
		s.row = f.row.Add(f.ty.Times(4))
	}
	for i := range f.tm {
		row := 4 * i
		if f.AcrossA {
			row = i/4*16 + i%4
		}
		for j := 0; j < f.tn; j += length {
			s.runs = append(s.runs, run{row: row, col: 8 * j, v: v[i*f.tn+j:][:length]})
		}
	}
	return s
}
