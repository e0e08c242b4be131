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
	size := 2 * t.chunk * groupSize
	s.b = room(s.b, 2*size)
	now, next := s.b[:size], s.b[size:]
	first := tilesPanel{t: t, col0: col0, col1: col1, col: col0}
	for p, packed := first, false; p.g0 < t.groups; {
		n := p.groups()
		if !packed {
			p.pack(s, now)
		}
		after := p.after()
		call := tilesCall{
			wide: p.cols(), groups: n,
			b: address(&now[0]), strip: n * tileBytes,
			c: address(add32(sums.sums, p.col-col0)), ldc: 4 * sums.ld, cStep: 4 * 2 * tile * sums.ld,
		}
		if row1-row0 >= 2*tile {
			call.aside = after.aside(next)
		}
		t.leftOperand(s, &call, row0, row1, p.g0, n)
		packed = call.pack != 0
		if packed {
			call.ahead = after.after().ahead()
		} else {
			call.ahead = after.ahead()
		}
		if t.accumulate || p.g0 > 0 {
			call.add = 1
		}
		if round && p.g0+n == t.groups {
			call.out, call.ldo, call.outStep = address(&t.out[row0*t.ldd+p.col]), 2*t.ldd, 2*2*tile*t.ldd
			if t.bias != nil {
				call.bias = address(&t.bias[p.col])
			}
		}
		s.downRows(&call, row1-row0)
		p, now, next = after, next, now
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

// held names rows of a that a scratch holds in tiles.
type held struct {
	job      uint64
	row0, g0 int
}

// leftOperand sets the call's a: n groups of rows. They are multiplied from where
// they are in memory, and at the same time copied into tiles for the calls to come.
func (t *tilesJob) leftOperand(s *tilesScratch, call *tilesCall, row0, row1, g0, n int) {
	what := held{t.number, row0, g0}
	if s.held != what {
		inPlace := t.inPlace && (g0+n)*groupLen <= t.k
		if inPlace {
			call.a, call.lda, call.aGroup = address(&t.aBits[row0*t.as+g0*groupLen]), 2*t.as, 2*groupLen
			call.aTile, call.aStep = tile*call.lda, 2*tile*call.lda
			if t.n <= fewColumns {
				return
			}
		}
		s.held = what
		s.a = room(s.a, ceil(row1-row0, tile)*n*groupSize)
		if inPlace {
			call.keep, call.keepTile, call.keepStep = address(&s.a[0]), n*tileBytes, n*tileBytes
			return
		}
		rest := 0
		if g0+n == t.groups {
			rest = t.k % groupLen
		}
		for row := row0; row < row1; row += tile {
			packTiles(&s.a[(row-row0)/tile*n*groupSize], &t.aBits[row*t.as+g0*groupLen], 2*t.as, min(tile, row1-row), n, rest)
		}
	}
	call.a, call.lda, call.aGroup = address(&s.a[0]), 4*tile, tileBytes
	call.aTile, call.aStep = n*tileBytes, 2*n*tileBytes
}

// downRows goes through blocks of 32 rows.
func (s *tilesScratch) downRows(call *tilesCall, rows int) {
	n := rows / (2 * tile)
	call.high = 2 * tile
	s.mul(call, n)
	if rest := rows % (2 * tile); rest > 0 {
		if n > 0 {
			call.ahead, call.aside = ahead{}, aside{}
		}
		call.skip(n)
		call.high = rest
		s.mul(call, 1)
	}
}

// tilesPanel is up to 32 columns of a chunk of b, of a task's.
type tilesPanel struct {
	t          *tilesJob
	col0, col1 int // of the task
	col, g0    int
}

func (p tilesPanel) groups() int { return min(p.t.chunk, p.t.groups-p.g0) }
func (p tilesPanel) cols() int   { return min(2*tile, p.col1-p.col) }

// after is the panel that comes next; after the last, one of no groups.
func (p tilesPanel) after() tilesPanel {
	if p.col += 2 * tile; p.col >= p.col1 {
		p.g0 += p.groups()
		p.col = p.col0
	}
	return p
}

// ahead is the panel's part of b.
func (p tilesPanel) ahead() ahead {
	k0 := p.g0 * groupLen
	k := min(p.groups()*groupLen, p.t.k-k0)
	switch {
	case k <= 0:
		return ahead{}
	case p.t.form == FormNT:
		return aheadOf(p.t.b.Bits[p.col*p.t.b.Ld+k0:], p.t.b.Ld, p.cols(), k)
	}
	return aheadOf(p.t.b.Bits[k0*p.t.b.Ld+p.col:], p.t.b.Ld, k, p.cols())
}

// aside packs the panel to dst while others are multiplied, if it is of whole rows
// of whole panels: columns would have to be transposed, which then saves nothing.
func (p tilesPanel) aside(dst []float32) aside {
	n, b := p.groups(), &p.t.b
	if n == 0 || p.t.form == FormNT || p.cols() < 2*tile || (p.g0+n)*groupLen > p.t.k {
		return aside{}
	}
	return aside{
		from: address(&b.Bits[p.g0*groupLen*b.Ld+p.col]), fromLd: 2 * b.Ld,
		to: address(&dst[0]), toStrip: n * tileBytes, pack: n * tile,
	}
}

// pack packs the panel to dst.
func (p tilesPanel) pack(s *tilesScratch, dst []float32) {
	t, g0, n, cols := p.t, p.g0, p.groups(), p.cols()
	if t.form == FormNT {
		for col := 0; col < cols; col += tile {
			s.packStrip(dst[col/tile*n*groupSize:], t.b.Bits[(p.col+col)*t.b.Ld:], t.b.Ld, min(tile, cols-col), g0, n, t.k)
		}
		return
	}
	whole := min(n, t.k/groupLen-g0)
	if whole > 0 {
		packStripRows(&dst[0], &t.b.Bits[g0*groupLen*t.b.Ld+p.col], 2*t.b.Ld, whole*tile, n*tileBytes, cols)
	}
	if whole < n {
		rows := s.edge[:groupLen*cols]
		rest := t.k % groupLen
		for l := range rest {
			copy(rows[l*cols:][:cols], t.b.Bits[((g0+whole)*groupLen+l)*t.b.Ld+p.col:])
		}
		clear(rows[rest*cols:])
		packStripRows(&dst[whole*groupSize], &rows[0], 2*cols, tile, n*tileBytes, cols)
	}
}
