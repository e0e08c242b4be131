package gemm

import (
	"fmt"
	"sync"
)

// A job is one product, cut into tasks: each computes a block of dst, whole k,
// and packs what it needs of b into scratch of its own. How dst is cut depends
// on m, n and k and changes no bits.
type job struct {
	dst        []float32
	ldd        int
	m, n       int
	accumulate bool
	bias       []float32

	a      []float32
	as, ak int // element (i, l) of a is a[i*as + l*ak]

	b      Matrix
	form   Form
	packed *Packed // in place of b

	starts []int32 // segments of k
	two    [2]int32

	rows, cols int // block of one task
	rowBlocks  int
	run        func(i int) // the method task, bound once
}

// scratch holds a block of b, panels one after the other, and a tile's rows of a.
type scratch struct {
	b [KC * maxCols]float32
	a [maxTile * aliasedLd]float32
}

const (
	maxTile   = 12      // rows of the tallest tile
	aliasedLd = KC + 16 // leading dimension of a's copy: an odd number of cache lines

	maxCols = 128 // columns of a task: a chunk of them is 128 KiB, half an L2 or less
	maxRows = 240 // rows of a task: packing b is 1/maxRows of the work
)

var (
	jobs      = sync.Pool{New: func() any { j := new(job); j.run = j.task; return j }}
	scratches = sync.Pool{New: func() any { return new(scratch) }}
)

func newJob(op string, dst []float32, ldd int, bias []float32, m, n int, accumulate bool) *job {
	must(op, "dst", len(dst), m, n, ldd)
	if bias != nil && len(bias) != n {
		panic(fmt.Sprintf("gemm.%s: bias [%d] does not match dst [%d, %d]", op, len(bias), m, n))
	}
	j := jobs.Get().(*job)
	j.dst, j.ldd, j.m, j.n, j.bias, j.accumulate = dst, ldd, m, n, bias, accumulate
	return j
}

// whole makes 0 … k the only segment.
func (j *job) whole(k int) {
	j.two = [2]int32{0, int32(k)}
	j.starts = j.two[:]
}

// do runs the job and gives it back.
func (j *job) do(p Parallel) {
	if k := j.k(); j.m > 0 && j.n > 0 {
		if k == 0 {
			j.empty()
		} else if !j.few(p, k) {
			j.cut(k)
			tasks := j.rowBlocks * ceil(j.n, j.cols)
			if p == nil || tasks == 1 {
				for i := range tasks {
					j.task(i)
				}
			} else {
				p(tasks, j.run)
			}
		}
	}
	*j = job{run: j.run}
	jobs.Put(j)
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
	for i := range j.m {
		row := j.dst[i*j.ldd:][:j.n]
		if !j.accumulate {
			clear(row)
		}
		for x, v := range j.bias {
			row[x] += v
		}
	}
}

// cut chooses the blocks: as large as scratch allows, but enough of them to
// share out wherever each is still worth a goroutine's while.
func (j *job) cut(k int) {
	const (
		wanted = 32
		worth  = 1 << 18 // products
		stream = 8       // reading b takes the time of so many rows' products
	)
	j.rows, j.cols = maxRows, maxCols
	for ceil(j.m, j.rows)*ceil(j.n, j.cols) < wanted && max(min(j.rows, j.m), stream)*min(j.cols, j.n)*k > 2*worth {
		if j.cols > panel && j.n > panel {
			j.cols /= 2
		} else if j.rows > 5*maxTile && j.m > 5*maxTile {
			j.rows /= 2
		} else {
			break
		}
	}
	// Equal heights, in whole tiles.
	j.rows = ceil(ceil(j.m, ceil(j.m, j.rows)), maxTile) * maxTile
	j.rowBlocks = ceil(j.m, j.rows)
}

// task computes block i of dst. Blocks of the same columns follow one another.
func (j *job) task(i int) {
	row0, col0 := i%j.rowBlocks*j.rows, i/j.rowBlocks*j.cols
	row1, col1 := min(row0+j.rows, j.m), min(col0+j.cols, j.n)
	s := scratches.Get().(*scratch)
	add := j.accumulate
	last := int(j.starts[len(j.starts)-1])
	for seg := 1; seg < len(j.starts); seg++ {
		hi := int(j.starts[seg])
		for lo := int(j.starts[seg-1]); lo < hi; lo += KC {
			kc := min(KC, hi-lo)
			j.chunk(s, row0, row1, col0, col1, lo, kc, add, lo+kc == last)
			add = true
		}
	}
	scratches.Put(s)
}

// chunk adds the products of k0 … k0+kc to a block of dst.
func (j *job) chunk(s *scratch, row0, row1, col0, col1, k0, kc int, add, last bool) {
	set := kernels(col1 - col0)
	panels := j.panels(s, col0, col1, k0, kc)
	// Rows a multiple of 2 KiB apart fall into the same few sets of the L1
	// cache and push one another out: such rows are copied first.
	aliased := j.ak == 1 && j.as%512 == 0 && j.as > 512 && kc >= 64
	for r := row0; r < row1; {
		kern := set.forRows(row1 - r)
		a, as := &j.a[r*j.as+k0*j.ak], j.as
		if aliased && kern.rows >= 4 {
			as = aliasedLd
			for i := range kern.rows {
				copy(s.a[i*as:i*as+kc], j.a[(r+i)*j.as+k0:])
			}
			a = &s.a[0]
		}
		for n0 := col0; n0 < col1; n0 += panel {
			end := min(n0+panel, col1)
			for c := n0; c < end; c += set.width {
				b := add32(panels[(n0-col0)/panel], c-n0)
				var bias *float32
				if last && j.bias != nil {
					bias = &j.bias[c]
				}
				nc := min(set.width, end-c)
				f := kern.wide
				if nc <= set.width/2 {
					f = kern.narrow
				}
				f(kc, a, as, j.ak, b, panel, &j.dst[r*j.ldd+c], j.ldd, nc, bias, add)
			}
		}
		r += kern.rows
	}
}

// panels gives a chunk of b's columns col0 … col1, packed.
func (j *job) panels(s *scratch, col0, col1, k0, kc int) (p [maxCols / panel]*float32) {
	size := kc * panel
	for i := range ceil(col1-col0, panel) {
		p[i] = &s.b[i*size]
	}
	switch w := j.packed; {
	case w == nil:
		packBlock(s.b[:], &j.b, j.form, col0, col1, k0, kc)
	case w.kind == KindF32:
		for i := range ceil(col1-col0, panel) {
			p[i] = &w.f32[w.at(col0+i*panel, k0, kc)]
		}
	default:
		n := ceil(col1-col0, panel) * panel * kc
		widen(s.b[:n], w.bits[w.at(col0, k0, kc):], w.kind)
	}
	return p
}
