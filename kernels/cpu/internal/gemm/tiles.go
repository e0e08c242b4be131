package gemm

import (
	"runtime"
	"sync"
	"unsafe"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// Products of pairs in tile registers (AMX). A tile of sums is 16×16; TDPBF16PS
// adds to it the products of 16 rows of an operand as it lies in memory and of 16
// columns of the other, packed in strips: pairs of 16 columns, one below the other.
//
// In FormNT b's rows are those that are read in place, since b is large, is used
// once and would have to be transposed: a is packed in its stead, and sums come
// out transposed. In FormNN a's rows are read in place, and a task packs its columns of b.

const (
	tile      = 16          // rows and columns of a tile of sums
	groupLen  = 2 * tile    // products that one instruction adds to each sum
	groupSize = tile * tile // words of a strip for them

	// chunkGroups is the most groups of a strip that two strips of 16 rows stay in the L1 cache.
	chunkGroups = 16
)

// tileShape is what LDTILECFG reads (Intel, Software Developer's Manual, volume 2, LDTILECFG).
type tileShape struct {
	palette, startRow uint8
	_                 [14]uint8
	rowBytes          [16]uint16
	rows              [16]uint8
}

// set gives shapes to sums of high × wide elements and the operands.
func (s *tileShape) set(high, wide int) {
	s.palette = 1
	for i := range 2 {
		h, w := min(max(high-tile*i, 0), tile), min(max(wide-tile*i, 0), tile)
		for j := range 2 {
			s.shape(2*i+j, h, min(max(wide-tile*j, 0), tile))
		}
		s.shape(4+i, h, tile)
		s.shape(6+i, tile, w)
	}
}

func (s *tileShape) shape(t, rows, words int) {
	if rows == 0 || words == 0 {
		rows, words = 0, 0 // a tile that is not used
	}
	s.rows[t], s.rowBytes[t] = uint8(rows), uint16(4*words)
}

// tilesFunc adds groups of products to blocks of sums, each of up to two by two tiles.
//
//	for range blocks {
//		for i, j of the block {
//			s := c[i][j] if add, else 0
//			for each group {
//				first, second := 0, 0
//				for l < 16 {
//					first = fma(a[i][2l], b[2l][j], first)
//					second = fma(a[i][2l+1], b[2l+1][j], second)
//				}
//				s = s + (first + second)
//			}
//			c[i][j] = s
//		}
//		a, b, c = a + aStep, b + bStep, c + cStep
//	}
//
// All distances are bytes. Strips of b follow each other at a distance of strip.
// Lines from ahead on are asked for, perGroup at a time and left in all: lines of
// them, then skip bytes are left out, and so on.
type tilesFunc func(shape *byte, blocks, groups int, a *byte, lda, aStep int, b *byte, strip, bStep int, c *float32, ldc, cStep int, add bool, ahead *byte, lines, skip, perGroup, left int)

// tilesJob is a product in tiles, cut into tasks.
type tilesJob struct {
	*job
	k      int // products, of which the last group may have fewer than groupLen
	groups int
	turned bool // FormNT
	chunk  int  // groups of a chunk

	strips []float32 // all of a, packed, chunk by chunk
	height int       // strips of it

	rows, cols, rowBlocks int // block of dst of one task
	stripGroups           int // groups of a packing task

	run, pack func(i int)
}

var tilesJobs = sync.Pool{New: func() any {
	t := new(tilesJob)
	t.run, t.pack = t.task, t.packTask
	return t
}}

// tilesScratch is what a task works in.
type tilesScratch struct {
	shape  tileShape
	edge   [tile * chunkGroups * groupLen]uint16 // sixteen rows of a chunk, filled up with zeros
	tail   []uint16                              // rows' last group, filled up with zeros
	strips []float32
	sums   []float32
}

var tilesScratches = sync.Pool{New: func() any { return new(tilesScratch) }}

// inTiles runs a job of pairs and gives it back.
func (j *job) inTiles(p Parallel, k int) {
	t := tilesJobs.Get().(*tilesJob)
	t.job, t.k, t.groups, t.turned = j, k, ceil(k, groupLen), j.form == FormNT
	switch {
	case j.m == 0 || j.n == 0:
	case k == 0:
		j.empty()
	default:
		if t.turned {
			t.height = ceil(j.m, tile)
		}
		// Chunks of equal length, or a single one where each operand is read but once.
		t.chunk = ceil(t.groups, ceil(t.groups, chunkGroups))
		if t.turned && t.height <= 2 {
			t.chunk = t.groups
		}
		tasks := t.cut(p)
		if t.turned {
			t.strips = room(t.strips, t.height*t.groups*groupSize)
			t.stripGroups = t.chunk
			if n := t.height * ceil(t.groups, t.stripGroups); p == nil || t.height*t.groups < 64 {
				for i := range n {
					t.packTask(i)
				}
			} else {
				p(n, t.pack)
			}
		}
		if p == nil || tasks == 1 {
			for i := range tasks {
				t.task(i)
			}
		} else {
			p(tasks, t.run)
		}
	}
	*t = tilesJob{strips: t.strips, run: t.run, pack: t.pack}
	tilesJobs.Put(t)
	*j = job{run: j.run}
	jobs.Put(j)
}

// cut chooses the blocks and returns their number.
func (t *tilesJob) cut(p Parallel) int {
	const worth = 1 << 22 // products that are worth a goroutine's while
	threads := 1
	if p != nil && max(t.m, 64)*t.n*t.k > 2*worth {
		threads = runtime.GOMAXPROCS(0)
	}
	t.rows = ceil(ceil(t.m, ceil(t.m, 512)), 2*tile) * 2 * tile
	t.rowBlocks = ceil(t.m, t.rows)
	across := ceil(t.n, 256)
	if threads > 1 {
		across = max(across, ceil(4*threads, t.rowBlocks))
		across = ceil(across, threads) * threads
	}
	t.cols = max(ceil(ceil(t.n, across), 2*tile)*2*tile, 2*tile)
	return t.rowBlocks * ceil(t.n, t.cols)
}

// packTask packs a strip of a chunk of a.
func (t *tilesJob) packTask(i int) {
	strip, g0 := i%t.height, i/t.height*t.stripGroups
	n := min(t.stripGroups, t.groups-g0)
	dst := t.strips[(g0*t.height+strip*n)*groupSize:][:n*groupSize]
	row0 := strip * tile
	rows := min(tile, t.m-row0)
	if whole := min(n, t.k/groupLen-g0); rows == tile && whole > 0 {
		packStrip(&dst[0], &t.aBits[row0*t.as+g0*groupLen], 2*t.as, whole)
		dst, g0, n = dst[whole*groupSize:], g0+whole, n-whole
	}
	if n == 0 {
		return
	}
	s := tilesScratches.Get().(*tilesScratch)
	for n > 0 {
		part := min(n, chunkGroups)
		for r := range tile {
			row := s.edge[r*part*groupLen:][:part*groupLen]
			done := 0
			if r < rows {
				at := (row0+r)*t.as + g0*groupLen
				done = copy(row, t.aBits[at:at+min(part*groupLen, t.k-g0*groupLen)])
			}
			clear(row[done:])
		}
		packStrip(&dst[0], &s.edge[0], 2*part*groupLen, part)
		dst, g0, n = dst[part*groupSize:], g0+part, n-part
	}
	tilesScratches.Put(s)
}

// task computes block i of dst. Blocks of the same columns follow one another.
func (t *tilesJob) task(i int) {
	row0, col0 := i%t.rowBlocks*t.rows, i/t.rowBlocks*t.cols
	row1, col1 := min(row0+t.rows, t.m), min(col0+t.cols, t.n)
	s := tilesScratches.Get().(*tilesScratch)
	if t.turned {
		t.taskTurned(s, row0, row1, col0, col1)
	} else {
		t.taskRows(s, row0, row1, col0, col1)
	}
	tilesScratches.Put(s)
}

// ahead is memory to be asked for: rows of lines.
type ahead struct {
	at                *byte
	lines, skip, left int
}

func aheadOf(bits []uint16, ld, rows, n int) ahead {
	lines := ceil(2*n, 64)
	if rows <= 0 || lines == 0 {
		return ahead{}
	}
	return ahead{(*byte)(unsafe.Pointer(&bits[0])), lines, 2*ld - 64*lines, rows * lines}
}

// tilesBlocks is a call of a tilesFunc: blocks of high × wide sums, distances in bytes.
type tilesBlocks struct {
	high, wide, n, groups int
	a                     *uint16
	lda, aStep            int
	b                     *float32
	strip, bStep          int
	c                     *float32
	ldc, cStep            int
	add                   bool
}

func (s *tilesScratch) mul(b *tilesBlocks, next ahead) {
	if b.n == 0 || b.groups == 0 {
		return
	}
	s.shape.set(b.high, b.wide)
	tilesKernels[ceil(b.high, tile)-1][ceil(b.wide, tile)-1](&s.shape.palette, b.n, b.groups, (*byte)(unsafe.Pointer(b.a)), b.lda, b.aStep,
		(*byte)(unsafe.Pointer(b.b)), b.strip, b.bStep, b.c, b.ldc, b.cStep, b.add,
		next.at, next.lines, next.skip, ceil(next.left, b.n*b.groups), next.left)
}

// skip goes past the blocks.
func (b *tilesBlocks) skip() {
	b.a = (*uint16)(unsafe.Add(unsafe.Pointer(b.a), b.n*b.aStep))
	b.b, b.c = add32(b.b, b.n*b.bStep/4), add32(b.c, b.n*b.cStep/4)
}

// taskTurned computes a block of dst from b's rows and the strips of a.
func (t *tilesJob) taskTurned(s *tilesScratch, row0, row1, col0, col1 int) {
	strips := ceil(row1-row0, tile)
	ldc := (strips + 1) * tile // rows that are no power of two apart
	s.sums = room(s.sums, ceil(col1-col0, tile)*tile*ldc)
	if t.accumulate {
		t.turnIn(s.sums, ldc, row0, row1, col0, col1)
	}
	for g0 := 0; g0 < t.groups; g0 += t.chunk {
		n := min(t.chunk, t.groups-g0)
		whole := min(n, t.k/groupLen-g0)
		a := t.strips[(g0*t.height+row0/tile*n)*groupSize:]
		for col := col0; col < col1; col += 2 * tile {
			at := col*t.b.Ld + g0*groupLen
			b := tilesBlocks{
				high: min(2*tile, col1-col), groups: whole, a: &t.b.Bits[at], lda: 2 * t.b.Ld,
				b: &a[0], strip: 4 * n * groupSize, bStep: 8 * n * groupSize,
				c: &s.sums[(col-col0)*ldc], ldc: 4 * ldc, cStep: 4 * 2 * tile, add: t.accumulate || g0 > 0,
			}
			var next ahead
			if after := col + 2*tile; after < col1 {
				next = aheadOf(t.b.Bits[after*t.b.Ld+g0*groupLen:], t.b.Ld, min(2*tile, col1-after), n*groupLen)
			} else if g1 := g0 + n; g1 < t.groups {
				next = aheadOf(t.b.Bits[col0*t.b.Ld+g1*groupLen:], t.b.Ld, min(2*tile, col1-col0), min(t.chunk, t.groups-g1)*groupLen)
			}
			s.acrossStrips(b, strips, next)
			if whole < n {
				tail := s.tailOf(t.b.Bits[at+whole*groupLen:], t.b.Ld, b.high, t.k%groupLen)
				b.groups, b.a, b.lda, b.b, b.add = 1, &tail[0], 2*groupLen, &a[whole*groupSize], b.add || whole > 0
				s.acrossStrips(b, strips, ahead{})
			}
		}
	}
	t.turnOut(s, ldc, row0, row1, col0, col1)
}

func (s *tilesScratch) acrossStrips(b tilesBlocks, strips int, next ahead) {
	b.wide, b.n = 2*tile, strips/2
	s.mul(&b, next)
	if strips%2 == 1 {
		if b.n > 0 {
			next = ahead{}
		}
		b.skip()
		b.wide, b.n = tile, 1
		s.mul(&b, next)
	}
}

// turnIn brings a block of dst to sums, transposed.
func (t *tilesJob) turnIn(sums []float32, ldc, row0, row1, col0, col1 int) {
	for i := row0; i < row1; i++ {
		for j := col0; j < col1; j++ {
			at := i*t.ldd + j
			v := float32(0)
			if t.outKind == KindF32 {
				v = t.dst[at]
			} else {
				v = widen1(t.out[at], t.outKind)
			}
			sums[(j-col0)*ldc+i-row0] = v
		}
	}
}

// turnOut brings transposed sums to a block of dst.
func (t *tilesJob) turnOut(s *tilesScratch, ldc, row0, row1, col0, col1 int) {
	var bias *float32
	if t.bias != nil {
		bias = &t.bias[col0]
	}
	for i := row0; i < row1; i += tile {
		rows := min(tile, row1-i)
		if !t.aside() {
			turn(&t.dst[i*t.ldd+col0], 4*t.ldd, &s.sums[i-row0], 4*ldc, rows, col1-col0, bias)
			continue
		}
		ld := col1 - col0 + tile
		s.strips = room(s.strips, tile*ld)
		turn(&s.strips[0], 4*ld, &s.sums[i-row0], 4*ldc, rows, col1-col0, bias)
		for r := range rows {
			narrow(t.out[(i+r)*t.ldd+col0:][:col1-col0], s.strips[r*ld:], t.outKind)
		}
	}
}

// taskRows computes a block of dst from a's rows and strips of b's columns.
func (t *tilesJob) taskRows(s *tilesScratch, row0, row1, col0, col1 int) {
	out := scratches.Get().(*scratch)
	t.open(out, row0, row1, col0, col1, t.accumulate)
	high, cols := row1-row0, col1-col0
	strips := ceil(cols, tile)
	s.strips = room(s.strips, strips*t.chunk*groupSize)
	for g0 := 0; g0 < t.groups; g0 += t.chunk {
		n := min(t.chunk, t.groups-g0)
		whole := min(n, t.k/groupLen-g0)
		t.packColumns(s, g0, n, whole, col0, cols)
		at := row0*t.as + g0*groupLen
		var tail []uint16
		if whole < n {
			tail = s.tailOf(t.aBits[at+whole*groupLen:], t.as, high, t.k%groupLen)
		}
		// The next chunk's rows of b, some with each step across.
		k1 := (g0 + n) * groupLen
		rows := min(t.chunk*groupLen, t.k-k1)
		share := ceil(rows, ceil(cols, 2*tile))
		for x := 0; x < strips; x += 2 {
			b := tilesBlocks{
				wide: min(2*tile, cols-x*tile), groups: whole, a: &t.aBits[at], lda: 2 * t.as, aStep: 4 * tile * t.as,
				b: &s.strips[x*n*groupSize], strip: 4 * n * groupSize,
				c: add32(out.sums, x*tile), ldc: 4 * out.ld, cStep: 4 * 2 * tile * out.ld, add: t.accumulate || g0 > 0,
			}
			var next ahead
			if rows > 0 {
				next = aheadOf(t.b.Bits[k1*t.b.Ld+col0:], t.b.Ld, min(share, rows), cols)
				k1, rows = k1+share, rows-share
			}
			s.downRows(b, high, next)
			if whole < n {
				b.groups, b.a, b.lda, b.aStep, b.add = 1, &tail[0], 2*groupLen, 4*tile*groupLen, b.add || whole > 0
				b.b = &s.strips[(x*n+whole)*groupSize]
				s.downRows(b, high, ahead{})
			}
		}
	}
	if t.bias != nil {
		for i := range high {
			row := slice32(add32(out.sums, i*out.ld), cols)
			vec.Add(row, row, t.bias[col0:col1])
		}
	}
	t.close(out, row0, row1, col0, col1)
	scratches.Put(out)
}

func (s *tilesScratch) downRows(b tilesBlocks, rows int, next ahead) {
	b.high, b.n = 2*tile, rows/(2*tile)
	s.mul(&b, next)
	if rest := rows % (2 * tile); rest > 0 {
		if b.n > 0 {
			next = ahead{}
		}
		b.skip()
		b.high, b.n = rest, 1
		s.mul(&b, next)
	}
}

// packColumns packs n groups of a task's columns of b, whole of which are in b.
func (t *tilesJob) packColumns(s *tilesScratch, g0, n, whole, col0, cols int) {
	strip := 4 * n * groupSize
	if whole > 0 {
		packStripRows(&s.strips[0], &t.b.Bits[g0*groupLen*t.b.Ld+col0], 2*t.b.Ld, whole*tile, strip, cols)
	}
	if whole < n {
		if cap(s.tail) < groupLen*cols {
			s.tail = make([]uint16, groupLen*cols)
		}
		rows := s.tail[:groupLen*cols]
		rest := t.k % groupLen
		for l := range rest {
			copy(rows[l*cols:][:cols], t.b.Bits[((g0+whole)*groupLen+l)*t.b.Ld+col0:])
		}
		clear(rows[rest*cols:])
		packStripRows(&s.strips[whole*groupSize], &rows[0], 2*cols, tile, strip, cols)
	}
}

// tailOf fills up the last group of rows with zeros.
func (s *tilesScratch) tailOf(bits []uint16, ld, rows, n int) []uint16 {
	if cap(s.tail) < rows*groupLen {
		s.tail = make([]uint16, rows*groupLen)
	}
	tail := s.tail[:rows*groupLen]
	for i := range rows {
		row := tail[i*groupLen:][:groupLen]
		clear(row[copy(row, bits[i*ld:][:n]):])
	}
	return tail
}
