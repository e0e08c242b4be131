package gemm

// cutFew cuts a product of few rows by columns.
func (t *tilesJob) cutFew(p *Parallel) int {
	const (
		most   = 1024    // columns of a task
		worth  = 1 << 19 // products of a task
		better = 1 << 21 // products of a task where there are several for a thread
		stream = 16      // reading b takes the time of so many rows' products
	)
	t.chunk = t.groups
	tasks := 1
	if p != nil {
		work := max(t.m, stream) * t.n * t.k
		for tasks < 4 && work/(2*tasks) >= worth || tasks < 32 && work/(2*tasks) >= better {
			tasks *= 2
		}
	}
	t.cols = min(ceil(ceil(t.n, tasks), 2*tile)*2*tile, most)
	return ceil(t.n, t.cols)
}

// packLeft packs a into strips.
func (t *tilesJob) packLeft(p *Parallel) {
	const worth = 1 << 18 // elements that are worth a goroutine's while
	if t.m*t.k < worth {
		p = nil
	}
	t.height = ceil(t.m, tile)
	t.a = room(t.a, t.height*t.groups*groupSize)
	in(p, t.height, t.packStrips)
}

func (t *tilesJob) packStripsTask(i int) {
	s := tilesScratches.Get().(*tilesScratch)
	dst := t.a[i*t.groups*groupSize:][:t.groups*groupSize]
	s.packStrip(dst, t.aBits[i*tile*t.as:], t.as, min(tile, t.m-i*tile), 0, t.groups, t.k)
	tilesScratches.Put(s)
}

// taskFew computes columns i·cols… of dst.
func (t *tilesJob) taskFew(i int) {
	col0 := i * t.cols
	col1 := min(col0+t.cols, t.n)
	s := tilesScratches.Get().(*tilesScratch)
	ldc := (t.height + 1) * tile // rows that are no power of two apart
	s.sums = room(s.sums, ceil(col1-col0, tile)*tile*ldc)
	if t.accumulate {
		t.turnIn(s.sums, ldc, col0, col1)
	}
	whole := t.k / groupLen
	for col := col0; col < col1; col += 2 * tile {
		rows := t.b.Bits[col*t.b.Ld:]
		call := tilesCall{
			high: min(2*tile, col1-col), groups: whole,
			a: address(&rows[0]), lda: 2 * t.b.Ld, aTile: 2 * tile * t.b.Ld, aGroup: 2 * groupLen,
			b: address(&t.a[0]), strip: t.groups * tileBytes, bStep: 2 * t.groups * tileBytes,
			c: address(&s.sums[(col-col0)*ldc]), ldc: 4 * ldc, cStep: 4 * 2 * tile,
		}
		if t.accumulate {
			call.add = 1
		}
		if after := col + 2*tile; after < col1 {
			call.ahead = aheadOf(t.b.Bits[after*t.b.Ld:], t.b.Ld, min(2*tile, col1-after), t.k)
		}
		s.acrossStrips(call, t.height)
		if whole < t.groups {
			rest := t.k % groupLen
			for r := range call.high {
				row := s.tail[r*groupLen:][:groupLen]
				clear(row[copy(row, rows[r*t.b.Ld+whole*groupLen:][:rest]):])
			}
			call.groups, call.a, call.lda, call.aTile = 1, address(&s.tail[0]), 2*groupLen, tileBytes
			call.b, call.ahead = address(&t.a[whole*groupSize]), ahead{}
			if whole > 0 {
				call.add = 1
			}
			s.acrossStrips(call, t.height)
		}
	}
	t.turnOut(s, ldc, col0, col1)
	tilesScratches.Put(s)
}

// acrossStrips goes through blocks of two strips.
func (s *tilesScratch) acrossStrips(call tilesCall, strips int) {
	n := strips / 2
	call.wide = 2 * tile
	s.mul(&call, n)
	if strips%2 == 1 {
		if n > 0 {
			call.ahead = ahead{}
		}
		call.skip(n)
		call.wide = tile
		s.mul(&call, 1)
	}
}

// turnIn brings columns of dst to sums, transposed.
func (t *tilesJob) turnIn(sums []float32, ldc, col0, col1 int) {
	for i := range t.m {
		for j := col0; j < col1; j++ {
			at := i*t.ldd + j
			if t.outKind == KindF32 {
				sums[(j-col0)*ldc+i] = t.dst[at]
			} else {
				sums[(j-col0)*ldc+i] = widen1(t.out[at], t.outKind)
			}
		}
	}
}

// turnOut brings transposed sums to columns of dst.
func (t *tilesJob) turnOut(s *tilesScratch, ldc, col0, col1 int) {
	var bias *float32
	if t.bias != nil {
		bias = &t.bias[col0]
	}
	for i := 0; i < t.m; i += tile {
		rows := min(tile, t.m-i)
		switch at := i*t.ldd + col0; t.outKind {
		case KindF32:
			turnF32(&t.dst[at], 4*t.ldd, &s.sums[i], 4*ldc, rows, col1-col0, bias)
		case KindBF16:
			turnBF16(&t.out[at], 2*t.ldd, &s.sums[i], 4*ldc, rows, col1-col0, bias)
		default:
			ld := col1 - col0 + tile
			s.rows = room(s.rows, tile*ld)
			turnF32(&s.rows[0], 4*ld, &s.sums[i], 4*ldc, rows, col1-col0, bias)
			for r := range rows {
				narrow(t.out[at+r*t.ldd:][:col1-col0], s.rows[r*ld:], t.outKind)
			}
		}
	}
}
