package gemm

// KB is the most products along k that are packed together: whole chunks. partCols
// is the most columns.
const (
	KB       = 4 * KC
	partCols = 8 * panel
)

// part is a block of b that is packed into the L2 cache.
type part struct {
	col0, col1  int
	seg, k0, kb int  // seg is the segment that the products belong to; without any, there is no part
	first, last bool // of these columns
}

// start is the first part of columns from col0 on, of a task that ends with col1.
func (j *job) start(col0, col1 int) part {
	p := part{col0: col0, col1: min(col0+partCols, col1), first: true}
	if col0 < col1 {
		p.take(j, int(j.starts[0]))
	}
	return p
}

// take sets what p has of k: as much as there is from k0 on, of the segment it is in.
func (p *part) take(j *job, k0 int) {
	for p.seg == 0 || k0 == int(j.starts[p.seg]) {
		p.seg++
	}
	p.k0, p.kb = k0, min(KB, int(j.starts[p.seg])-k0)
	p.last = k0+p.kb == int(j.starts[len(j.starts)-1])
}

// after is the part that comes after p: further along k, then to the right.
func (j *job) after(p part, col1 int) part {
	if p.last {
		return j.start(p.col1, col1)
	}
	p.first = false
	p.take(j, p.k0+p.kb)
	return p
}

// panels is how many panels p has.
func (p *part) panels() int {
	if p.kb == 0 {
		return 0
	}
	return ceil(p.col1-p.col0, panel)
}

// task computes block i of dst. Blocks of the same columns follow one another.
func (j *job) task(i int) {
	row0, col0 := i%j.rowBlocks*j.rows, i/j.rowBlocks*j.cols
	row1, col1 := min(row0+j.rows, j.m), min(col0+j.cols, j.n)
	s := scratches.Get().(*scratch)
	now := j.start(col0, col1)
	for x := range now.panels() {
		j.pack(s, now, x)
	}
	for now.kb > 0 {
		if now.first {
			j.open(s, row0, row1, now.col0, now.col1, j.accumulate)
		}
		next := j.after(now, col1)
		j.sweep(s, row0, row1, now, next)
		if now.last {
			j.close(s, row0, row1, now.col0, now.col1)
		}
		now = next
	}
	scratches.Put(s)
}

// sweep adds the products of a part of b to dst, from top to bottom. A tile's rows of
// a stay in L1 while b's panels pass by. What comes next is asked for meanwhile: the
// rows below, and at last the part that follows, whose panels take the places of
// those that have been used for the last time and so are in the cache. It has no
// more of them: only the last columns of a task may be fewer.
func (j *job) sweep(s *scratch, row0, row1 int, now, next part) {
	set := kernels(now.col1-now.col0, j.pairs)
	source := j.source(next)
	tiles := ceil(row1-row0, maxTile)
	// One product asks for four rows; below takes the first few of a tile's.
	taken := 3
	if j.ak != 1 {
		taken = 4
	}
	start := tiles - 2 - source.rows/(4*max(1, now.panels()-taken))
	var below lines
	for t := range tiles {
		row := row0 + t*maxTile
		rows := min(maxTile, row1-row)
		a, as, ak := j.rowsOf(s, t, row, row1, now.k0, now.kb)
		switch high := j.height(); {
		case (row-row0)%high > 0:
		case row+high < row1:
			below = j.rowsFrom(row+high, row1, now.k0, now.kb)
		case next.kb > 0:
			below = j.rowsFrom(row0, row1, next.k0, next.kb)
		}
		c := add32(s.sums, (row-row0)*s.ld)
		for n0 := now.col0; n0 < now.col1; n0 += set.width {
			asked := ask{p: address(a)}
			switch {
			case below.rows > 0:
				asked = below.take(now.kb)
			case t >= start && source.rows > 0:
				asked = source.take(now.kb)
			}
			var bias *float32
			if now.last && j.bias != nil {
				bias = &j.bias[n0]
			}
			at := n0 - now.col0
			x, in := at/panel, at%panel
			set.mul(rows, now.kb, a, as, ak, &s.b[x][in], panel, add32(c, at), s.ld, min(set.width, now.col1-n0), bias, j.accumulate || !now.first, asked)
			if t == tiles-1 && x < next.panels() && in+set.width >= min(panel, now.col1-now.col0-x*panel) {
				j.pack(s, next, x)
			}
		}
	}
}

// pack writes a panel of a part as the kernels read it.
func (j *job) pack(s *scratch, p part, x int) {
	to, col0 := s.b[x][:], p.col0+x*panel
	col1 := min(col0+panel, p.col1)
	if j.pairs {
		packPairs(to, &j.b, j.form, j.odd && p.last, col0, col1, p.k0, p.kb)
	} else {
		packBlock(to, &j.b, j.form, col0, col1, p.k0, p.kb)
	}
}

// lines is memory to be asked for, row by row.
type lines struct {
	p      uintptr
	ld     int // bytes
	rows   int
	single bool // one line of every row, in place of KB products

	// Of single lines, how many a row has, and where the first is.
	wide, all int
	first     uintptr
}

// take gives what to ask for in a product over kb.
func (l *lines) take(kb int) ask {
	const rounds = KC / 4
	a, n := ask{l.p, 64, l.ld - 64*rounds}, ceil(kb, KC)
	if l.single {
		a.stride, a.step = l.ld, 0
		n *= rounds
	}
	l.rows -= n
	l.p += uintptr(n * l.ld)
	if l.rows <= 0 && l.wide > 1 {
		l.first += 64
		l.p, l.rows, l.wide = l.first, l.all, l.wide-1
	}
	return a
}

// height is how many rows of a are asked for together.
func (j *job) height() int {
	if j.ak == 1 {
		return maxTile
	}
	return group * maxTile
}

// rowsFrom is what the next tiles read of a, from row on.
func (j *job) rowsFrom(row, row1, k0, kb int) lines {
	rows := min(j.height(), row1-row)
	switch {
	case j.pairs:
		return lines{p: address(&j.aBits[row*j.as+2*k0]), ld: 2 * j.as, rows: rows}
	case j.aKind != KindF32:
		return lines{p: address(&j.aBits[row*j.as+k0]), ld: 2 * j.as, rows: rows}
	case j.ak == 1:
		return lines{p: address(&j.a[row*j.as+k0]), ld: 4 * j.as, rows: rows}
	}
	at := address(&j.a[row+k0*j.ak])
	return lines{p: at, ld: 4 * j.ak, rows: kb, single: true, first: at, all: kb, wide: ceil(4*rows, 64) + 1}
}

// source is what packing a part reads of b.
func (j *job) source(p part) lines {
	if p.kb == 0 {
		return lines{}
	}
	per := 1 // elements in a unit of k
	if j.pairs {
		per = 2
	}
	l := lines{rows: p.col1 - p.col0}
	at := p.col0*j.b.Ld + per*p.k0
	if j.form == FormNN {
		l.rows = per * p.kb
		at = per*p.k0*j.b.Ld + p.col0
	}
	if j.b.Kind == KindF32 {
		l.p, l.ld = address(&j.b.F32[at]), 4*j.b.Ld
	} else {
		l.p, l.ld = address(&j.b.Bits[at]), 2*j.b.Ld
	}
	return l
}
