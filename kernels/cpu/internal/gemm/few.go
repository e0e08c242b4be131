package gemm

import (
	"sync"
	"unsafe"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// Products of few rows, as in decoding, take the time of reading b once. Packing
// would more than double it: instead kernels read b [n,k] as it is stored, turn
// it in registers and multiply at once. Sums are the canonical ones.

// fewRows is the most rows of a that are multiplied so. Beyond, packing b costs
// little against the multiplication, and the larger tiles pay.
const fewRows = 64

// fewFunc multiplies rows of a by as many rows of b as a vector has lanes.
//
//	for each chunk of KC units, each row i and column j {
//		s := 0
//		for l of the chunk { s = fma(a[i][l], b[j][l], s) }
//		if add { s = c[i*ldc+j] + s }
//		if the chunk is the last and bias != nil { s = s + bias[j] }
//		c[i*ldc+j] = s
//		add = true
//	}
//
// A unit is a value, or a pair of them where bfloat16 is multiplied as it is;
// there are a multiple of the kind's block. a comes chunk by chunk: for each, KC
// units of every row that the kernel is made for; only the first rows of c are
// touched. ldb counts bytes. Lines of b are asked for ahead bytes before use, in
// ascending order: from the start of the columns that come next; with 0 none are.
type fewFunc func(k int, a, b *byte, ldb int, c *float32, ldc, rows int, bias *float32, add bool, ahead int)

// fewKind is a format of b that there are kernels for.
type fewKind uint8

const (
	fewPairs = fewKind(KindF16) + 1 // bfloat16 in both a and b; the others are Kinds
	fewKinds = fewPairs + 1
)

// fewFormat is what there is to know of a kind: the bytes of a unit of b, the
// units of a block, and four bytes of minus zeros.
type fewFormat struct {
	size, block int
	minusZero   [4]byte
}

var fewFormats = [...]fewFormat{
	KindF32:  {4, 16, [4]byte{3: 0x80}},
	KindBF16: {2, 32, [4]byte{1: 0x80, 3: 0x80}},
	KindF16:  {2, 16, [4]byte{1: 0x80, 3: 0x80}},
	fewPairs: {4, 16, [4]byte{1: 0x80, 3: 0x80}},
}

// fewSet holds an instruction set's kernels: by format, then number of rows.
// Where there is none for a number of rows, the next taller one serves.
type fewSet struct {
	lanes   int
	kernels [fewKinds][]fewFunc
}

const (
	fewTallest = 16
	fewLanes   = 16
)

// fewJob is a product of few rows, cut into tasks by columns.
type fewJob struct {
	dst        []float32
	ldd        int
	m, n       int
	accumulate bool
	bias       []float32

	a, b     unsafe.Pointer
	lda, ldb int // bytes
	aRow     int // bytes of a row of a
	bRow     int // bytes of a row of b

	*fewFormat
	k, whole int // units of a sum, and how many of them are read in place
	lanes    int
	kernel   fewFunc
	height   int // rows that kernel is made for
	rows     int // rows of a that it is given: the others are zeros
	cols     int // columns of a task

	packed []float32
	run    func(i int)
}

var fewJobs = sync.Pool{New: func() any { f := new(fewJob); f.run = f.task; return f }}

// few runs the job if it is one of few rows.
func (j *job) few(p *Parallel, k int) bool {
	kind := fewKind(j.b.Kind)
	if j.pairs {
		kind = fewPairs
	} else if j.aKind != KindF32 || j.outKind != KindF32 {
		return false
	}
	if j.form != FormNT || len(j.starts) != 2 || j.ak != 1 {
		return false
	}
	set := fewSetFor(kind, j.m, j.n, k)
	if set == nil {
		return false
	}
	f := fewJobs.Get().(*fewJob)
	f.dst, f.ldd, f.m, f.n, f.accumulate, f.bias = j.dst, j.ldd, j.m, j.n, j.accumulate, j.bias
	f.a, f.lda, f.aRow = unsafe.Pointer(unsafe.SliceData(j.a)), 4*j.as, 4*k
	f.b, f.ldb, f.bRow = unsafe.Pointer(unsafe.SliceData(j.b.Bits)), 2*j.b.Ld, 2*k
	switch {
	case j.pairs:
		row := 4 * k
		if j.odd {
			row -= 2
		}
		f.a, f.lda, f.aRow = unsafe.Pointer(unsafe.SliceData(j.aBits)), 2*j.as, row
		f.bRow = row
	case j.b.Kind == KindF32:
		f.b, f.ldb, f.bRow = unsafe.Pointer(unsafe.SliceData(j.b.F32)), 4*j.b.Ld, 4*k
	}
	if j.outKind == KindF32 {
		f.do(p, set, kind, k)
		return true
	}
	s := scratches.Get().(*scratch)
	j.open(s, 0, j.m, 0, j.n, j.accumulate)
	f.dst, f.ldd = s.c, s.ld
	f.do(p, set, kind, k)
	j.close(s, 0, j.m, 0, j.n)
	scratches.Put(s)
	return true
}

// fewSetFor gives the kernels for a product of k units, or nil.
func fewSetFor(kind fewKind, m, n, k int) *fewSet {
	set := fewSets[vec.Active()]
	if set == nil || set.kernels[kind] == nil || m > fewRows || n < set.lanes {
		return nil
	}
	if k < KC && k%fewFormats[kind].block != 0 || k == 0 {
		return nil
	}
	return set
}

// do runs the job, whose matrices are set, and gives it back.
func (f *fewJob) do(p *Parallel, set *fewSet, kind fewKind, k int) {
	f.fewFormat = &fewFormats[kind]
	f.k, f.whole, f.lanes = k, k, set.lanes
	if k%f.block != 0 || f.bRow != k*f.size {
		f.whole = (k - 1) / KC * KC
	}
	kernels := set.kernels[kind]
	f.rows = ceil(f.m, ceil(f.m, len(kernels)-1))
	f.height = f.rows
	for kernels[f.height] == nil {
		f.height++
	}
	f.kernel = kernels[f.height]
	f.packRows()
	if tasks := f.cut(p); tasks == 1 {
		f.task(0)
	} else {
		p.Run(tasks, f.run)
	}
	*f = fewJob{packed: f.packed, run: f.run}
	fewJobs.Put(f)
}

// cut chooses how many columns a task has, and returns the number of tasks: a
// power of two, which threads can share evenly, and few, since the first columns
// of a task are not asked for ahead.
func (f *fewJob) cut(p *Parallel) int {
	const (
		most   = 32
		worth  = 1 << 19 // products of a task
		better = 1 << 21 // products of a task where there are several for a thread
		stream = 8       // reading b takes the time of so many rows' products
	)
	tasks := 1
	if p != nil {
		work := max(f.m, stream) * f.n * f.k
		for tasks < 4 && work/(2*tasks) >= worth || tasks < most && work/(2*tasks) >= better {
			tasks *= 2
		}
	}
	f.cols = ceil(ceil(f.n, tasks), panel) * panel
	return ceil(f.n, f.cols)
}

// chunkOf is the chunk from unit k0 on of the rows that are taken together from row on.
func (f *fewJob) chunkOf(row, k0 int) *byte {
	chunk := row/f.rows*ceil(f.k, KC) + k0/KC
	return (*byte)(unsafe.Add(f.a, chunk*f.height*KC*4))
}

// packRows brings a into the order of kernels, zeros where it ends. A single row
// is in order as it is.
func (f *fewJob) packRows() {
	if f.height == 1 && f.whole == f.k {
		return
	}
	chunks := ceil(f.k, KC)
	n := ceil(f.m, f.rows) * chunks * f.height * KC
	if cap(f.packed) < n {
		f.packed = make([]float32, n)
	}
	to := bytesAt(unsafe.Pointer(&f.packed[:1][0]), 0, 4*n)
	for row := 0; row < f.m; row += f.rows {
		for c := range chunks {
			at := c * KC * 4
			for i := range f.height {
				unit := to[:KC*4]
				if row+i < min(row+f.rows, f.m) {
					done := copy(unit, bytesAt(f.a, (row+i)*f.lda+at, f.aRow-at))
					unit = unit[done:]
				}
				clear(unit)
				to = to[KC*4:]
			}
		}
	}
	f.a = unsafe.Pointer(&f.packed[:1][0])
}

// bytesAt is n bytes from p+at on.
func bytesAt(p unsafe.Pointer, at, n int) []byte { return unsafe.Slice((*byte)(unsafe.Add(p, at)), n) }

// seesStreams tells whether the processor itself sees as many streams as there are lanes, and
// reads ahead in them better than it is asked: in rows of b of a page, beyond which it does
// not look. Intel's do (Emerald Rapids); AMD's Zen 4 reads 1.1 to 1.4 times as fast if it is
// asked, long rows too. BenchmarkFew shows either.
var seesStreams = vec.Intel()

// longRow is that page.
const longRow = 4096

// task computes columns i·cols… of dst.
func (f *fewJob) task(i int) {
	col0 := i * f.cols
	col1 := min(col0+f.cols, f.n)
	end := col0 + (col1-col0)/f.lanes*f.lanes
	at := col0
	if seesStreams && f.ldb < longRow && !f.accumulate && f.whole > 0 {
		at = f.strands(col0, end)
	}
	for c := at; c < end && f.whole > 0; c += f.lanes {
		ahead := 0
		if c+f.lanes < end && !(seesStreams && f.ldb >= longRow) {
			ahead = f.lanes * f.ldb
		}
		b := (*byte)(unsafe.Add(f.b, c*f.ldb))
		for row := 0; row < f.m; row += f.rows {
			f.kernel(f.whole, f.chunkOf(row, 0), b, f.ldb, &f.dst[row*f.ldd+c], f.ldd, min(f.rows, f.m-row), f.biasOf(c), f.accumulate, ahead)
			ahead = 0
		}
	}
	// The end of every sum, and the columns that do not fill a vector.
	for c := col0; c < end && f.whole < f.k; c += f.lanes {
		f.edge(c, f.lanes, f.whole)
	}
	if end < col1 {
		f.edge(end, col1-end, 0)
	}
}

// biasOf is the bias of columns from c on, where the kernels add it.
func (f *fewJob) biasOf(c int) *float32 {
	if f.whole < f.k || f.bias == nil {
		return nil
	}
	return &f.bias[c]
}

// strand is how many rows of b a lane takes one after the other where they are short: so
// many together are long. Columns of dst that a vector holds are then as far apart. The
// last strands take up to twice as many, less one.
const strand = 16

// fewStrands are the sums of a strand in every lane, as kernels write them: of each row of
// dst, strand times all lanes. Then they are turned.
type fewStrands struct {
	sums   [fewRows][2 * strand][fewLanes]float32
	turned [fewLanes * panel]float32
}

var strandsPool = sync.Pool{New: func() any { return new(fewStrands) }}

// strands computes columns from col0 on, and returns where those begin that are too few.
func (f *fewJob) strands(col0, end int) int {
	s := strandsPool.Get().(*fewStrands)
	for {
		n := (end - col0) / f.lanes
		if n >= 2*strand {
			n = strand
		}
		if n*f.ldb < longRow {
			break
		}
		for c := range n {
			b := (*byte)(unsafe.Add(f.b, (col0+c)*f.ldb))
			for row := 0; row < f.m; row += f.rows {
				f.kernel(f.whole, f.chunkOf(row, 0), b, n*f.ldb, &s.sums[row][c][0], 2*strand*fewLanes, min(f.rows, f.m-row), nil, false, 0)
			}
		}
		for row := range f.m {
			f.turn(s, f.dst[row*f.ldd+col0:], row, col0, n)
		}
		col0 += n * f.lanes
	}
	strandsPool.Put(s)
	return col0
}

// turn brings the sums of a row of strands of n to dst, whose first column is col0.
func (f *fewJob) turn(s *fewStrands, dst []float32, row, col0, n int) {
	b := Matrix{F32: slice32(&s.sums[row][0][0], n*fewLanes), Ld: fewLanes}
	packTransposed(s.turned[:f.lanes*panel], &b, 0, n, 0, f.lanes)
	for lane := range f.lanes {
		to := dst[lane*n:][:n]
		copy(to, s.turned[lane*panel:])
		if bias := f.biasOf(col0 + lane*n); bias != nil {
			for j, v := range slice32(bias, n) {
				to[j] += v
			}
		}
	}
}

// fewEdge is a corner of the product, filled up to what kernels take.
type fewEdge struct {
	b    [fewLanes * KC * 4]byte
	c    [fewTallest * fewLanes]float32
	bias [fewLanes]float32
}

var fewEdges = sync.Pool{New: func() any { return new(fewEdge) }}

// edge computes the products from unit k0 on, a chunk's start, of cols columns.
func (f *fewJob) edge(col, cols, k0 int) {
	e := fewEdges.Get().(*fewEdge)
	for lo := k0; lo < f.k; lo += KC {
		units := min(KC, f.k-lo)
		filled := ceil(units, f.block) * f.block
		var bias *float32
		if lo+units == f.k && f.bias != nil {
			copy(e.bias[:], f.bias[col:col+cols])
			bias = &e.bias[0]
		}
		for j := range cols {
			row := e.b[j*KC*4:][:filled*f.size]
			done := copy(row[:units*f.size], bytesAt(f.b, (col+j)*f.ldb+lo*f.size, f.bRow-lo*f.size))
			clear(row[done : units*f.size]) // half a pair
			// Beyond, a is zero: times minus zero, it changes no sum, not even one of minus zero.
			for x := units * f.size; x < len(row); x += len(f.minusZero) {
				copy(row[x:], f.minusZero[:])
			}
		}
		add := f.accumulate || lo > 0
		for row := 0; row < f.m; row += f.rows {
			rows := min(f.rows, f.m-row)
			for i := range rows {
				if add {
					copy(e.c[i*fewLanes:], f.dst[(row+i)*f.ldd+col:][:cols])
				}
			}
			f.kernel(filled, f.chunkOf(row, lo), &e.b[0], KC*4, &e.c[0], fewLanes, rows, bias, add, 0)
			for i := range rows {
				copy(f.dst[(row+i)*f.ldd+col:][:cols], e.c[i*fewLanes:])
			}
		}
	}
	fewEdges.Put(e)
}
