package gemm

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// Products of pairs in tile registers (AMX). TDPBF16PS adds to a tile of 16×16
// sums the products of two tiles: 16 rows of pairs as they lie in memory, and a
// strip, 16 columns of pairs one below the other. 32 products of k make a group.
//
// Of many rows, a task copies its rows of a into tiles, one after the other in
// memory, and packs its columns of b into strips, panel by panel. Of few rows,
// b's rows are read in place: to pack them would take longer than all else. Then a
// is packed into strips in its stead, and sums come out transposed.

const (
	tile      = 16          // rows and columns of a tile of sums
	groupLen  = 2 * tile    // products of a group
	groupSize = tile * tile // words of a tile of pairs
	tileBytes = 4 * groupSize

	// chunkGroups is the most groups that are taken together: sums are loaded and stored
	// as often as there are chunks, and a chunk of a's rows stays in the L2 cache.
	chunkGroups = 32

	// fewColumns is the most columns of b for which a is not worth packing.
	fewColumns = 320
)

// tileShape is what LDTILECFG reads (Intel, Software Developer's Manual, volume 2).
type tileShape struct {
	palette, _ uint8
	_          [14]uint8
	rowBytes   [16]uint16
	rows       [16]uint8
}

// set gives shapes to the tiles of high × wide sums and of their operands.
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

// tilesFunc does a tilesCall: it adds groups of products to blocks of sums, each of up to two by two
// tiles. Pairs are split here: a[i] has 32 products of a group, b 32 rows.
//
//	for range n {
//		for i, j of the block {
//			s := c[i][j] if add, else 0
//			for each group {
//				even, odd := 0, 0
//				for l := 0; l < 32; l += 2 {
//					even = fma(a[i][l], b[l][j], even)
//					odd = fma(a[i][l+1], b[l+1][j], odd)
//				}
//				s = s + (even + odd)
//			}
//			if out == nil { c[i][j] = s } else { out[i][j] = bf16(s + bias[j]) }
//		}
//		a, b, c, out = a + aStep, b + bStep, c + cStep, out + outStep
//	}
//
// Subnormals are zeros, in sums and in out.
type tilesFunc func(call *byte)

// tilesCall is what a tilesFunc is given, and uses up. Assembly knows the fields
// by their order (field in _asm/tiles.go); all are of 8 bytes, distances are
// bytes. Addresses are numbers since they end up beyond what they point to; the
// job keeps the memory alive.
type tilesCall struct {
	shape     uintptr
	n, groups int

	a                         uintptr
	lda, aTile, aGroup, aStep int // between rows, the two tiles, groups, blocks

	b            uintptr
	strip, bStep int // between the two strips, blocks

	c          uintptr
	ldc, cStep int
	add        int

	out          uintptr
	ldo, outStep int
	bias         uintptr
	high, wide   int     // of sums
	block        uintptr // room for sums that are to be rounded, 32 rows of 32

	// Rows of the results, asked for some with each group: without that, all of a
	// block's lines would be fetched at once, for writing, and hold up the loads.
	results, touch                            uintptr
	touchLd, touchWidth, touchStep, touchRows int

	// Where to keep a's tiles one after the other, the second keepTile bytes from the
	// first; from the end of a block's, keepStep to the next one's.
	keep               uintptr
	keepTile, keepStep int

	ahead
	aside
}

// ahead is memory to be asked for, perGroup lines with each group: lines of them,
// then skip bytes are left out, and so on, left in all.
type ahead struct {
	at                          uintptr
	lines, skip, perGroup, left int
}

// aheadOf is rows of n elements.
func aheadOf(bits []uint16, ld, rows, n int) ahead {
	lines := ceil(2*n, 64)
	return ahead{at: address(&bits[0]), lines: lines, skip: 2*ld - 64*lines, left: rows * lines}
}

// aside is the packing of b's rows meanwhile, of 32 columns: pairs of rows with
// each group, pack in all, into strips at a distance of toStrip.
type aside struct {
	pairs   int
	from    uintptr
	fromLd  int
	to      uintptr
	toStrip int
	pack    int
}

func address[T any](p *T) uintptr { return uintptr(unsafe.Pointer(p)) }

// mul runs the call, whose high and wide are set, for n blocks.
func (s *tilesScratch) mul(call *tilesCall, n int) {
	if n == 0 || call.groups == 0 {
		return
	}
	s.shape.set(call.high, call.wide)
	s.call = *call
	c := &s.call
	c.shape, c.n, c.block = address(&s.shape), n, address(&s.block[0])
	c.touchRows = ceil(c.high, c.groups)
	c.perGroup, c.pairs = ceil(c.left, n*c.groups), ceil(c.pack, n*c.groups)
	c.results, c.touchLd, c.touchWidth, c.touchStep = c.c, c.ldc, 4*c.wide, c.cStep
	if c.out != 0 {
		c.results, c.touchLd, c.touchWidth, c.touchStep = c.out, c.ldo, 2*c.wide, c.outStep
	}
	tilesKernels[ceil(c.high, tile)-1][ceil(c.wide, tile)-1]((*byte)(unsafe.Pointer(c)))
}

// skip goes past n blocks.
func (c *tilesCall) skip(n int) {
	c.a += uintptr(n * c.aStep)
	c.b += uintptr(n * c.bStep)
	c.c += uintptr(n * c.cStep)
	if c.out != 0 {
		c.out += uintptr(n * c.outStep)
	}
	if c.keep != 0 {
		c.keep += uintptr(n * (c.groups*tileBytes + c.keepStep))
	}
}

var l2 = vec.CacheL2()

// tilesJob is a product in tiles, cut into tasks.
type tilesJob struct {
	*job
	k      int // products, of which the last group may have fewer than groupLen
	groups int
	chunk  int // groups of a chunk

	a      []float32 // strips of few rows
	height int       // how many

	rows, cols, rowBlocks int // block of dst of one task

	few     bool
	inPlace bool   // of many rows of a, tiles may be loaded where they are
	number  uint64 // of the job

	runFew, runMany, packStrips func(i int)
}

var tilesJobs = sync.Pool{New: func() any {
	t := new(tilesJob)
	t.runFew, t.runMany, t.packStrips = t.taskFew, t.taskMany, t.packStripsTask
	return t
}}

// tilesScratch is what a task works in.
type tilesScratch struct {
	call  tilesCall
	shape tileShape
	block [1024]float32
	edge  [tile * chunkGroups * groupLen]uint16 // sixteen rows of a chunk, filled up with zeros
	tail  [2 * tile * groupLen]uint16           // the last group of rows that are read in place
	a     []float32                             // a chunk of a's rows, which are
	held  held
	b     []float32 // two panels of b
	sums  []float32 // transposed
	rows  []float32
}

var tilesNumber atomic.Uint64

var tilesScratches = sync.Pool{New: func() any { return new(tilesScratch) }}

// inTiles runs a job of pairs, k products, and gives it back.
func (j *job) inTiles(p *Parallel, k int) {
	t := tilesJobs.Get().(*tilesJob)
	t.job, t.k, t.groups = j, k, ceil(k, groupLen)
	switch {
	case j.m == 0 || j.n == 0:
	case k == 0:
		j.empty()
	default:
		t.few = j.form == FormNT && j.m <= fewRows
		tasks := t.cut(p)
		run := t.runMany
		if t.few {
			run = t.runFew
			t.packLeft(p)
		} else {
			// Rows of whole lines of the cache, which do not push one another out.
			t.inPlace = j.as%groupLen == 0 && address(&j.aBits[0])%64 == 0 && !aliased(j.as/2)
			t.number = tilesNumber.Add(1)
		}
		in(p, tasks, run)
	}
	*t = tilesJob{a: t.a, runFew: t.runFew, runMany: t.runMany, packStrips: t.packStrips}
	tilesJobs.Put(t)
	*j = job{run: j.run}
	jobs.Put(j)
}

// in runs tasks on p, a single one here.
func in(p *Parallel, n int, f func(i int)) {
	if p != nil && n > 1 {
		p.Run(n, f)
		return
	}
	for i := range n {
		f(i)
	}
}

// cut chooses the blocks and returns their number.
func (t *tilesJob) cut(p *Parallel) int {
	const worth = 1 << 21 // products that are worth a goroutine's while
	if t.few {
		return t.cutFew(p)
	}
	t.chunk = ceil(t.groups, ceil(t.groups, chunkGroups)) // of equal length
	tall := max(l2/2/(chunkGroups*groupLen*2)/(2*tile), 1) * 2 * tile
	t.rows = ceil(ceil(t.m, ceil(t.m, tall)), 2*tile) * 2 * tile
	t.rowBlocks = ceil(t.m, t.rows)
	threads := 1
	if p != nil && t.m*t.n*t.k > 2*worth {
		threads = p.Threads
	}
	start := 24 // what a task costs besides, in columns
	if t.chunk < t.groups {
		start = 64 // it copies all of its rows
	}
	const widest = 1024
	best := 0
	for cols := 2 * tile; ; cols += 2 * tile {
		n := t.rowBlocks * ceil(t.n, cols)
		time := ceil(n, threads) * (min(cols, t.n) + start)
		if threads > 1 {
			time += min(cols, t.n) / 4 // the last ones run while other threads idle
		}
		if best == 0 || time <= best {
			best, t.cols = time, cols
		}
		if cols >= t.n || cols >= widest {
			return t.rowBlocks * ceil(t.n, t.cols)
		}
	}
}

// packStrip packs n groups of rows, sixteen at most, from g0 on into a strip,
// filled up with zeros. The rows have k products.
func (s *tilesScratch) packStrip(dst []float32, bits []uint16, ld, rows, g0, n, k int) {
	if whole := min(n, k/groupLen-g0); rows == tile && whole > 0 {
		packStrip(&dst[0], &bits[g0*groupLen], 2*ld, whole)
		dst, g0, n = dst[whole*groupSize:], g0+whole, n-whole
	}
	for n > 0 {
		part := min(n, chunkGroups)
		for r := range tile {
			row := s.edge[r*part*groupLen:][:part*groupLen]
			done := 0
			if r < rows {
				at := r*ld + g0*groupLen
				done = copy(row, bits[at:at+min(part*groupLen, k-g0*groupLen)])
			}
			clear(row[done:])
		}
		packStrip(&dst[0], &s.edge[0], 2*part*groupLen, part)
		dst, g0, n = dst[part*groupSize:], g0+part, n-part
	}
}
