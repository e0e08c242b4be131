package gemm

import (
	"fmt"
	"sync"
	"unsafe"
)

// A job is one product, cut into tasks: each computes a block of dst, whole k,
// and packs what it needs of b into scratch of its own. How dst is cut depends
// on m, n, k and the pool and changes no bits.
//
// In a job of pairs, an element of a and of b is two bfloat16 that follow one
// another along k, in one 32-bit word, and k counts those.
type job struct {
	dst        []float32
	out        []uint16 // in place of dst
	outKind    Kind
	ldd        int
	m, n       int
	accumulate bool
	bias       []float32

	a      []float32
	aBits  []uint16 // in place of a
	aKind  Kind
	as, ak int // element (i, l) of a is a[i*as + l*ak]; one of the two is 1

	b     Matrix
	form  Form
	pairs bool
	odd   bool // the last pair of a row has no second half

	starts []int32 // segments of k
	two    [2]int32

	rows, cols int // block of one task
	rowBlocks  int
	run        func(i int) // the method task, bound once
}

// scratch is what a task works in.
type scratch struct {
	b [partCols / panel][KB * panel]float32 // a part of b, packed
	a [group * maxTile * KB]float32         // some rows of a, where the kernels cannot read them in place
	w []float32                             // a, widened whole
	c []float32                             // dst's block, where sums cannot grow in place

	// Where the sums of the task's block grow.
	sums *float32
	ld   int
}

var (
	jobs      = sync.Pool{New: func() any { j := new(job); j.run = j.task; return j }}
	scratches = sync.Pool{New: func() any { return new(scratch) }}
)

func newJob(op string, dst Matrix, bias []float32, m, n int, accumulate bool) *job {
	must(op, "dst", dst.len(), m, n, dst.Ld)
	if bias != nil && len(bias) != n {
		panic(fmt.Sprintf("gemm.%s: bias [%d] does not match dst [%d, %d]", op, len(bias), m, n))
	}
	j := jobs.Get().(*job)
	j.dst, j.out, j.outKind, j.ldd = dst.F32, dst.Bits, dst.Kind, dst.Ld
	j.m, j.n, j.bias, j.accumulate = m, n, bias, accumulate
	return j
}

// left sets a, [m,k].
func (j *job) left(a Matrix) {
	j.a, j.aBits, j.aKind, j.as, j.ak = a.F32, a.Bits, a.Kind, a.Ld, 1
}

// right sets b, and thereby the arithmetic.
func (j *job) right(b Matrix, form Form, k int) {
	j.b, j.form = b, form
	if j.aKind == KindBF16 && b.Kind == KindBF16 && HasBF16() {
		j.pairs, j.odd = true, k%2 == 1
		k = ceil(k, 2)
	}
	j.whole(k)
}

// whole makes 0 … k the only segment.
func (j *job) whole(k int) {
	j.two = [2]int32{0, int32(k)}
	j.starts = j.two[:]
}

// do runs the job and gives it back.
func (j *job) do(p *Parallel) {
	if k := j.k(); j.m > 0 && j.n > 0 {
		if k == 0 {
			j.empty()
		} else if !j.few(p, k) {
			if tasks := j.cut(p, k); p == nil || tasks == 1 {
				for i := range tasks {
					j.task(i)
				}
			} else {
				p.Run(tasks, j.run)
			}
		}
	}
	*j = job{run: j.run}
	jobs.Put(j)
}

// widened runs a job of few rows on copies of a and dst in f32, and gives it back.
func (j *job) widened(p *Parallel) {
	s := scratches.Get().(*scratch)
	if k := j.k(); k > 0 && j.aKind != KindF32 {
		s.w = room(s.w, j.m*k)
		for i := range j.m {
			widen(s.w[i*k:][:k], j.aBits[i*j.as:], j.aKind)
		}
		j.a, j.aKind, j.as = s.w, KindF32, k
	}
	outer := *j
	if j.aside() {
		j.open(s, 0, j.m, 0, j.n, j.accumulate)
		j.dst, j.outKind, j.ldd = s.c, KindF32, s.ld
	}
	j.do(p)
	outer.close(s, 0, outer.m, 0, outer.n)
	scratches.Put(s)
}

// k is the number of products of an element, over all segments.
func (j *job) k() int {
	if len(j.starts) == 0 {
		return 0
	}
	return int(j.starts[len(j.starts)-1] - j.starts[0])
}

// empty is the product of no terms.
func (j *job) empty() {
	s := scratches.Get().(*scratch)
	for i := range j.m {
		j.open(s, i, i+1, 0, j.n, j.accumulate)
		row := slice32(s.sums, j.n)
		if !j.accumulate {
			clear(row)
		}
		for x, v := range j.bias {
			row[x] += v
		}
		j.close(s, i, i+1, 0, j.n)
	}
	scratches.Put(s)
}

// aside tells whether sums grow in scratch, dst being in 16 bits.
func (j *job) aside() bool { return j.outKind != KindF32 }

// open makes room for the sums of a block of dst, with what is there already
// where it is added to.
func (j *job) open(s *scratch, row0, row1, col0, col1 int, add bool) {
	if !j.aside() {
		s.sums, s.ld = &j.dst[row0*j.ldd+col0], j.ldd
		return
	}
	s.ld = ceil(col1-col0, panel)*panel + panel/2 // an odd number of lines, almost
	s.c = room(s.c, (row1-row0)*s.ld)
	s.sums = &s.c[0]
	if add {
		for i := row0; i < row1; i++ {
			widen(s.c[(i-row0)*s.ld:][:col1-col0], j.out[i*j.ldd+col0:], j.outKind)
		}
	}
}

// close brings the sums of a block to dst.
func (j *job) close(s *scratch, row0, row1, col0, col1 int) {
	if !j.aside() {
		return
	}
	for i := row0; i < row1; i++ {
		narrow(j.out[i*j.ldd+col0:][:col1-col0], s.c[(i-row0)*s.ld:], j.outKind)
	}
}

// room is n elements of s or of a larger array.
func room(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

// word is the address of p's element i as that of a 32-bit word.
func word(p []uint16, i int) *float32 { return (*float32)(unsafe.Pointer(&p[i])) }
