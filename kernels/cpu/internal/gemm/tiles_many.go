package gemm

import "github.com/selkie-ml/selkie/kernels/cpu/internal/vec"

// taskMany computes block i of dst. Blocks of the same columns follow one another.
func (t *tilesJob) taskMany(i int) {
	row0, col0 := i%t.rowBlocks*t.rows, i/t.rowBlocks*t.cols
	row1, col1 := min(row0+t.rows, t.m), min(col0+t.cols, t.n)
	s, sums := tilesScratches.Get().(*tilesScratch), scratches.Get().(*scratch)
	// Sums are rounded to bf16 as they are finished; to f16, at the end.
	round := t.outKind == KindBF16
	if !round || t.accumulate || t.chunk < t.groups {
		t.open(sums, row0, row1, col0, col1, t.accumulate)
	} else {
		sums.sums = &s.block[0] // not used
	}
	s.b = room(s.b, t.panel/tile*t.chunk*groupSize)
	for g0 := 0; g0 < t.groups; g0 += t.chunk {
		n := min(t.chunk, t.groups-g0)
		a := t.rowsOfChunk(row0/tile, g0, n)
		for p0 := col0; p0 < col1; p0 += t.panel {
			p1 := min(p0+t.panel, col1)
			t.packPanel(s, p0, p1, g0, n)
			next := t.panelAfter(p1, col0, col1, g0, n)
			left := ceil(p1-p0, 2*tile)
			for col := p0; col < p1; col += 2 * tile {
				call := tilesCall{
					wide: min(2*tile, p1-col), groups: n,
					a: address(&a[0]), lda: 4 * tile, aTile: n * tileBytes, aGroup: tileBytes, aStep: 2 * n * tileBytes,
					b: address(&s.b[(col-p0)/tile*n*groupSize]), strip: n * tileBytes,
					c: address(add32(sums.sums, col-col0)), ldc: 4 * sums.ld, cStep: 4 * 2 * tile * sums.ld,
				}
				if t.accumulate || g0 > 0 {
					call.add = 1
				}
				if round && g0+n == t.groups {
					call.out, call.ldo, call.outStep = address(&t.out[row0*t.ldd+col]), 2*t.ldd, 2*2*tile*t.ldd
					if t.bias != nil {
						call.bias = address(&t.bias[col])
					}
				}
				call.ahead = next.part(left)
				left--
				s.downRows(&call, row1-row0)
			}
		}
	}
	if !round {
		if t.bias != nil {
			for i := range row1 - row0 {
				row := slice32(add32(sums.sums, i*sums.ld), col1-col0)
				vec.Add(row, row, t.bias[col0:col1])
			}
		}
		t.close(sums, row0, row1, col0, col1)
	}
	tilesScratches.Put(s)
	scratches.Put(sums)
}

// downRows goes through blocks of 32 rows.
func (s *tilesScratch) downRows(call *tilesCall, rows int) {
	n := rows / (2 * tile)
	call.high = 2 * tile
	s.mul(call, n)
	if rest := rows % (2 * tile); rest > 0 {
		if n > 0 {
			call.ahead = ahead{}
		}
		call.skip(n)
		call.high = rest
		s.mul(call, 1)
	}
}

// packPanel packs n groups of b's columns p0 … p1 into strips.
func (t *tilesJob) packPanel(s *tilesScratch, p0, p1, g0, n int) {
	if t.form == FormNT {
		for col := p0; col < p1; col += tile {
			s.packStrip(s.b[(col-p0)/tile*n*groupSize:], t.b.Bits[col*t.b.Ld:], t.b.Ld, min(tile, p1-col), g0, n, t.k)
		}
		return
	}
	cols, whole := p1-p0, min(n, t.k/groupLen-g0)
	if whole > 0 {
		packStripRows(&s.b[0], &t.b.Bits[g0*groupLen*t.b.Ld+p0], 2*t.b.Ld, whole*tile, n*tileBytes, cols)
	}
	if whole < n {
		rows := s.edge[:groupLen*cols]
		rest := t.k % groupLen
		for l := range rest {
			copy(rows[l*cols:][:cols], t.b.Bits[((g0+whole)*groupLen+l)*t.b.Ld+p0:])
		}
		clear(rows[rest*cols:])
		packStripRows(&s.b[whole*groupSize], &rows[0], 2*cols, tile, n*tileBytes, cols)
	}
}

// panelAfter is what packPanel will read next.
func (t *tilesJob) panelAfter(p, col0, col1, g0, n int) ahead {
	if p == col1 {
		p, g0 = col0, g0+n
	}
	k0 := g0 * groupLen
	k, cols := min(t.chunk*groupLen, t.k-k0), min(t.panel, col1-p)
	switch {
	case k <= 0:
		return ahead{}
	case t.form == FormNT:
		return aheadOf(t.b.Bits[p*t.b.Ld+k0:], t.b.Ld, cols, k)
	}
	return aheadOf(t.b.Bits[k0*t.b.Ld+p:], t.b.Ld, k, cols)
}

// part takes the n-th part off.
func (a *ahead) part(n int) ahead {
	first := *a
	if a.left > 0 {
		rows := ceil(a.left/a.lines, n)
		first.left = rows * a.lines
		a.at += uintptr(rows * (64*a.lines + a.skip))
		a.left -= first.left
	}
	return first
}
