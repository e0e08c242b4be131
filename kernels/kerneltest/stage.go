package kerneltest

import (
	"bytes"
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// region is an array's place in a backend's memory, between guards.
type region struct {
	name  string
	buf   kernels.Buffer
	image []byte // the allocation as it was uploaded
	at, n int    // bytes of the contents within image
}

// region uploads contents at an odd element offset (or an aligned one) of an
// allocation of its own, whose rest is filled with what an op must neither read
// nor write.
func (t *trial) region(k kernels.Backend, name string, dt kernels.DType, contents []byte) *region {
	size := dt.Size()
	before, after := 1+t.rng.IntN(40), 1+t.rng.IntN(80)
	if t.opt.Aligned {
		before = 256 / size
	}
	r := &region{name: name, at: before * size, n: len(contents), image: make([]byte, (before+after)*size+len(contents))}
	for i := range len(r.image) / size {
		putBits(dt, r.image, i, untouched(dt))
	}
	copy(r.image[r.at:], contents)
	m, err := k.Alloc(int64(len(r.image)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	r.buf = kernels.Buffer{Mem: m, Offset: int64(r.at), DType: dt}
	k.CopyIn(kernels.Buffer{Mem: m, DType: dt}, r.image)
	return r
}

// fetch returns the contents and reports guards that were overwritten.
func (r *region) fetch(k kernels.Backend) ([]byte, error) {
	now := make([]byte, len(r.image))
	if err := k.CopyOut(now, kernels.Buffer{Mem: r.buf.Mem, DType: r.buf.DType}); err != nil {
		return nil, err
	}
	size := r.buf.DType.Size()
	for i := 0; i < len(now); i += size {
		if (i < r.at || i >= r.at+r.n) && !bytes.Equal(now[i:i+size], r.image[i:i+size]) {
			return nil, fmt.Errorf("%s: element %d was written, it has 0…%d", r.name, (i-r.at)/size, r.n/size-1)
		}
	}
	return now[r.at : r.at+r.n], nil
}

// problem is one call of an op, on any backend. Its rows (or, with starts, its
// sequences) can be cut into several calls, which must give the same bits.
type problem struct {
	op     string
	shape  string
	rows   int
	starts []int32 // nil: every row stands for itself
	whole  bool    // cannot be cut
	exact  bool    // equal to ref bit by bit
	loose  float64 // factor on the tolerance where numbers are larger than of order one; 0: 1
	arrays []*array
	call   func(c *call)
}

func (p *problem) String() string {
	s := p.op + " " + p.shape
	for _, a := range p.arrays {
		if a != nil {
			s += ", " + a.String()
		}
	}
	return s
}

// units returns how many rows or sequences the problem can be cut into.
func (p *problem) units() int {
	if p.starts != nil {
		return len(p.starts) - 1
	}
	return p.rows
}

// rowOf returns the first row of a unit.
func (p *problem) rowOf(unit int) int {
	if p.starts != nil {
		return int(p.starts[unit])
	}
	return unit
}

// call is one invocation of a problem's op for the rows first…first+rows-1,
// which are its units lo…hi-1.
type call struct {
	kernels.Backend
	t           *trial
	p           *problem
	lo, hi      int
	first, rows int
	regions     map[*array]*region
	extra       []*region // tables and scratch
}

// at returns an array's buffer, from its own elements on; a nil array is an absent one.
func (c *call) at(a *array) kernels.Buffer {
	if a == nil {
		return kernels.Buffer{}
	}
	return c.regions[a].buf.At(a.lead)
}

// table uploads an i32 table.
func (c *call) table(name string, v ...int32) kernels.Buffer {
	r := c.t.region(c.Backend, name, kernels.I32, c.t.ints(name, v...).data)
	c.extra = append(c.extra, r)
	return r.buf
}

// nseq returns the number of sequences of the call.
func (c *call) nseq() int { return c.hi - c.lo }

// starts uploads the starts of the call's sequences.
func (c *call) starts() kernels.Buffer {
	v := make([]int32, 0, c.nseq()+1)
	for _, s := range c.p.starts[c.lo : c.hi+1] {
		v = append(v, s-int32(c.first))
	}
	return c.table("starts", v...)
}

// scratch allocates exactly n bytes, at a multiple of 256, with a guard behind.
func (c *call) scratch(n int64) kernels.Buffer {
	if n == 0 {
		return kernels.Buffer{}
	}
	r := &region{name: "scratch", at: 256, n: int(n), image: bytes.Repeat([]byte{0xFF}, 256+(int(n)+3)/4*4+64)}
	m, err := c.Alloc(int64(len(r.image)))
	if err != nil {
		c.t.Fatalf("scratch: %v", err)
	}
	r.buf = kernels.Buffer{Mem: m, Offset: 256, DType: kernels.F32}
	c.CopyIn(kernels.Buffer{Mem: m, DType: kernels.F32}, r.image)
	c.extra = append(c.extra, r)
	return r.buf
}

// part is the bytes of an array that belong to a call.
func (c *call) part(a *array) (from, to int) {
	if a.row == 0 {
		return 0, len(a.data)
	}
	n := a.row * a.dt.Size()
	return c.first * n, (c.first + c.rows) * n
}

// stage uploads a problem's units lo…hi-1. Arrays shared by all rows stay where
// keep has them. With wide, what the op writes is f32 whatever the array says.
func (t *trial) stage(k kernels.Backend, p *problem, lo, hi int, keep map[*array]*region, wide bool) *call {
	c := &call{Backend: k, t: t, p: p, lo: lo, hi: hi, first: p.rowOf(lo), regions: map[*array]*region{}}
	c.rows = p.rowOf(hi) - c.first
	if hi-lo == p.units() {
		c.first, c.rows = 0, p.rows // rows of no sequence as well
		if p.starts != nil && p.starts[0] != 0 {
			t.Fatalf("kerneltest: a problem starts at row %d", p.starts[0])
		}
	}
	for _, a := range p.arrays {
		if a == nil {
			continue
		}
		if r := keep[a]; r != nil && a.row == 0 {
			c.regions[a] = r
			continue
		}
		from, to := c.part(a)
		dt, data := a.dt, a.data[from:to]
		if wide && a.role != input && dt.IsFloat() {
			dt, data = kernels.F32, widen(dt, data)
		}
		c.regions[a] = t.region(k, a.name, dt, data)
	}
	return c
}

// run makes the call and returns what the arrays hold afterwards.
func (c *call) run() (map[*array][]byte, error) {
	c.p.call(c)
	if err := c.Sync(); err != nil {
		return nil, err
	}
	after := map[*array][]byte{}
	for a, r := range c.regions {
		data, err := r.fetch(c.Backend)
		if err != nil {
			return nil, err
		}
		if a.role == input && !bytes.Equal(data, r.image[r.at:r.at+r.n]) {
			return nil, fmt.Errorf("the input %s was written", a.name)
		}
		after[a] = data
	}
	for _, r := range c.extra {
		data, err := r.fetch(c.Backend)
		if err != nil {
			return nil, err
		}
		if r.name != "scratch" && !bytes.Equal(data, r.image[r.at:r.at+r.n]) {
			return nil, fmt.Errorf("the input %s was written", r.name)
		}
	}
	return after, nil
}

// free gives back the call's memory, but not the regions of keep.
func (c *call) free(keep map[*array]*region) {
	for a, r := range c.regions {
		if keep[a] != r {
			c.Free(r.buf.Mem)
		}
	}
	for _, r := range c.extra {
		c.Free(r.buf.Mem)
	}
	c.regions, c.extra = nil, nil
}

// reload uploads anew what the op read and changed; outputs keep the last result.
func (c *call) reload() {
	for a, r := range c.regions {
		if a.role == sum {
			c.CopyIn(r.buf, r.image[r.at:r.at+r.n])
		}
	}
}

// segmentInts is a segment's row of its device table.
func segmentInts(segs []kernels.Segment) []int32 {
	var v []int32
	for _, s := range segs {
		v = s.AppendTo(v)
	}
	return v
}
