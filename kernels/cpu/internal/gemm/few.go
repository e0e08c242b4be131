package gemm

import (
	"sync"
	"unsafe"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// Products of few rows, as in decoding, take the time of reading b once. Packing
// would more than double it: instead kernels read b [n,k] as it is stored, turn
// it in registers and multiply at once. Sums are the canonical ones.

// fewRows is the most rows of a that are multiplied so. From there on packing b
// costs little against the multiplication, and the larger tiles pay.
const fewRows = 32

// fewFunc multiplies rows of a by as many rows of b as a vector has lanes.
//
//	for each chunk of KC products, each row i and column j {
//		s := 0
//		for l of the chunk { s = fma(a[i][l], b[j][l], s) }
//		if add { s = c[i*ldc+j] + s }
//		if the chunk is the last and bias != nil { s = s + bias[j] }
//		c[i*ldc+j] = s
//		add = true
//	}
//
// k is a multiple of the kind's fewBlock. a comes chunk by chunk: for each, KC
// values of every row that the kernel is made for; only the first rows of c are
// touched. ldb counts bytes. Lines of b are asked for ahead bytes before use, in
// ascending order: from the start of the columns that come next.
type fewFunc func(k int, a, b *byte, ldb int, c *float32, ldc, rows int, bias *float32, add bool, ahead int)

// fewSet holds an instruction set's kernels: by storage, then number of rows.
// Where there is none for a number of rows, the next taller one serves.
type fewSet struct {
	lanes   int
	kernels [3][]fewFunc
}

// fewBlock is how many values of a row of b kernels take at a time.
var fewBlock = [...]int{KindF32: 16, KindBF16: 32, KindF16: 16}

// fewJob is a job of few rows, cut into tasks by columns.
type fewJob struct {
	*job
	k, whole int // products of an element, and how many of these kernels add
	lanes    int
	kernel   fewFunc
	height   int // rows that kernel is made for
	rows     int // rows of a that it is given: the others are zeros
	cols     int // columns of a task

	a      *float32
	packed []float32
	run    func(i int)
}

var fewJobs = sync.Pool{New: func() any { f := new(fewJob); f.run = f.task; return f }}

// few runs the job if it is one of few rows.
func (j *job) few(p Parallel, k int) bool {
	set := fewSets[vec.Active()]
	if set == nil || j.m > fewRows || j.n < set.lanes || j.form != FormNT || j.pairs || j.aKind != KindF32 || j.outKind != KindF32 || len(j.starts) != 2 {
		return false
	}
	whole := k
	if k%fewBlock[j.b.Kind] != 0 {
		whole = k / KC * KC
	}
	if whole == 0 {
		return false
	}
	f := fewJobs.Get().(*fewJob)
	f.job, f.k, f.whole, f.lanes = j, k, whole, set.lanes
	kernels := set.kernels[j.b.Kind]
	f.rows = ceil(j.m, ceil(j.m, len(kernels)-1))
	f.height = f.rows
	for kernels[f.height] == nil {
		f.height++
	}
	f.kernel = kernels[f.height]
	f.packRows()
	tasks := f.cut(p)
	if tasks == 1 {
		f.task(0)
	} else {
		p(tasks, f.run)
	}
	*f = fewJob{packed: f.packed, run: f.run}
	fewJobs.Put(f)
	return true
}

// cut chooses how many columns a task has, and returns the number of tasks: a
// power of two, which threads can share evenly, and few, since the first columns
// of a task are not asked for ahead.
func (f *fewJob) cut(p Parallel) int {
	const (
		most   = 32
		worth  = 1 << 19 // products of a task
		better = 1 << 21 // products of a task where there are several for a thread
		stream = 8       // reading b takes the time of so many rows' products
	)
	tasks := 1
	if p != nil {
		work := max(f.m, stream) * f.n * f.whole
		for tasks < 4 && work/(2*tasks) >= worth || tasks < most && work/(2*tasks) >= better {
			tasks *= 2
		}
	}
	f.cols = ceil(ceil(f.n, tasks), panel) * panel
	return ceil(f.n, f.cols)
}

// packRows brings a into the order of kernels.
func (f *fewJob) packRows() {
	if f.height == 1 {
		f.a = &f.job.a[0]
		return
	}
	passes := ceil(f.m, f.rows)
	chunks := ceil(f.whole, KC)
	if n := passes * chunks * f.height * KC; cap(f.packed) < n {
		f.packed = make([]float32, n)
	}
	to := f.packed[:cap(f.packed)]
	for row := 0; row < f.m; row += f.rows {
		rows := min(f.rows, f.m-row)
		for c := range chunks {
			from, n := c*KC, min(KC, f.whole-c*KC)
			for i := range rows {
				copy(to[i*KC:][:n], f.job.a[(row+i)*f.as+from:])
			}
			clear(to[rows*KC : f.height*KC])
			to = to[f.height*KC:]
		}
	}
	f.a = &f.packed[0]
}

// task computes columns i·cols… of dst.
func (f *fewJob) task(i int) {
	j := f.job
	col0 := i * f.cols
	col1 := min(col0+f.cols, j.n)
	end := col0 + (col1-col0)/f.lanes*f.lanes
	size := 4
	if j.b.Kind != KindF32 {
		size = 2
	}
	ldb := j.b.Ld * size
	pass := ceil(f.whole, KC) * f.height * KC * 4
	for c := col0; c < end; c += f.lanes {
		b := f.at(c)
		ahead := 0
		if c+f.lanes < end {
			ahead = f.lanes * ldb
		}
		var bias *float32
		if f.whole == f.k && j.bias != nil {
			bias = &j.bias[c]
		}
		a := unsafe.Pointer(f.a)
		for row := 0; row < j.m; row += f.rows {
			f.kernel(f.whole, (*byte)(a), b, ldb, &j.dst[row*j.ldd+c], j.ldd, min(f.rows, j.m-row), bias, j.accumulate, ahead)
			a, ahead = unsafe.Add(a, pass), 0
		}
	}
	if f.whole < f.k {
		f.rest(col0, end, f.whole)
	}
	if end < col1 {
		f.rest(end, col1, 0)
	}
}

// at is the first of b's row c.
func (f *fewJob) at(c int) *byte {
	if b := &f.job.b; b.Kind == KindF32 {
		return (*byte)(unsafe.Pointer(&b.F32[c*b.Ld]))
	}
	return (*byte)(unsafe.Pointer(&f.job.b.Bits[c*f.job.b.Ld]))
}

// rest computes by packing what kernels leave: the products from k0 on.
func (f *fewJob) rest(col0, col1, k0 int) {
	j := f.job
	s := scratches.Get().(*scratch)
	for c := col0; c < col1; c += maxCols {
		end := min(c+maxCols, col1)
		j.open(s, 0, j.m, c, end, k0 > 0 || j.accumulate)
		for lo := k0; lo < f.k; lo += KC {
			hi := min(lo+KC, f.k)
			j.chunk(s, 0, j.m, c, end, lo, hi-lo, j.accumulate || lo > 0, hi == f.k)
		}
		j.close(s, 0, j.m, c, end)
	}
	scratches.Put(s)
}
