package cpu

import (
	"math"
	"sort"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

const (
	normBlock = 4096    // elements of a partial sum, by GradNorm's definition
	runChunk  = 1 << 14 // elements that a worker takes of a run
)

// runs is a parameter table cut into chunks.
type runs struct {
	params []kernels.Param
	first  []int32 // per run, the number of chunks before it; and of all
}

// read takes the table in. It keeps the error and reports false on a run that
// does not fit. Runs of a negative group are left out.
func (b *Backend) read(r *runs, op string, table kernels.Buffer, n, chunk, size, groups int) bool {
	t := i32s(op, "Table", table, n, kernels.ParamColumns)
	r.params, r.first = r.params[:0], append(r.first[:0], 0)
	for i := range n {
		p := kernels.ParamAt(t, i)
		switch {
		case p.Group < 0:
			continue
		case int(p.Group) >= groups:
			b.Fail(op, "table row %d: group %d, want one below %d", i, p.Group, groups)
			return false
		case p.Offset < 0 || p.Count < 0 || int(p.Offset)+int(p.Count) > size:
			b.Fail(op, "table row %d: %d elements at %d lie outside their slab of %d", i, p.Count, p.Offset, size)
			return false
		}
		r.params = append(r.params, p)
		r.first = append(r.first, r.first[len(r.first)-1]+int32((int(p.Count)+chunk-1)/chunk))
	}
	return true
}

// chunks is how many there are.
func (r *runs) chunks() int { return int(r.first[len(r.first)-1]) }

// at returns the run that chunk c belongs to.
func (r *runs) at(c int) int {
	return sort.Search(len(r.params), func(i int) bool { return int(r.first[i+1]) > c })
}

// each calls f for every chunk lo…hi-1 with its elements in the slabs.
func (r *runs) each(lo, hi, chunk int, f func(c int, p *kernels.Param, from, to int)) {
	i := r.at(lo)
	for c := lo; c < hi; c++ {
		for int(r.first[i+1]) <= c {
			i++
		}
		p := &r.params[i]
		begin := (c - int(r.first[i])) * chunk
		f(c, p, int(p.Offset)+begin, int(p.Offset)+min(begin+chunk, int(p.Count)))
	}
}

// gradnormTask's items are blocks of normBlock elements.
type gradnormTask struct {
	runs
	grad []float32
	part []float64 // per block
}

// GradNorm implements kernels.Backend.
func (b *Backend) GradNorm(a kernels.GradNormArgs) {
	const op = "GradNorm"
	t := &b.ops.gradnorm
	t.grad = slab(op, "Grad", a.Grad)
	if !b.read(&t.runs, op, a.Table, a.NParam, normBlock, len(t.grad), a.Groups) {
		return
	}
	squares := f32s(op, "SumSquares", a.SumSquares, a.Groups)
	t.part = resize(t.part, t.chunks())
	b.pool.run(op, t, t.chunks(), b.chunkGrain(&t.runs, 2*elemGrain))
	for i, p := range t.params {
		sum := 0.0
		for _, s := range t.part[t.first[i]:t.first[i+1]] {
			sum += s
		}
		squares[p.Group] = float32(float64(squares[p.Group]) + sum)
	}
}

// chunkGrain is how many chunks to take at a time for some elements' worth of work.
func (b *Backend) chunkGrain(r *runs, elements int) int {
	total := 0
	for i := range r.params {
		total += int(r.params[i].Count)
	}
	return max(1, r.chunks()/max(1, total/elements))
}

func (t *gradnormTask) do(lo, hi int, _ *worker) {
	t.each(lo, hi, normBlock, func(c int, _ *kernels.Param, from, to int) {
		t.part[c] = vec.SumSquares(t.grad[from:to])
	})
}

type adamwTask struct {
	runs
	p, grad, m, v     []float32
	squares, settings []float32
}

// AdamW implements kernels.Backend.
func (b *Backend) AdamW(a kernels.AdamWArgs) {
	const op = "AdamW"
	t := &b.ops.adamw
	t.p, t.grad, t.m, t.v = slab(op, "P", a.P), slab(op, "Grad", a.Grad), slab(op, "M", a.M), slab(op, "V", a.V)
	t.squares = f32s(op, "SumSquares", a.SumSquares, a.Groups)
	t.settings = f32s(op, "Settings", a.Settings, a.Groups, kernels.AdamColumns)
	if !b.read(&t.runs, op, a.Table, a.NParam, runChunk, min(len(t.p), len(t.grad), len(t.m), len(t.v)), a.Groups) {
		return
	}
	b.pool.run(op, t, t.chunks(), b.chunkGrain(&t.runs, elemGrain))
}

func (t *adamwTask) do(lo, hi int, _ *worker) {
	t.each(lo, hi, runChunk, func(_ int, p *kernels.Param, from, to int) {
		s := t.settings[int(p.Group)*kernels.AdamColumns:][:kernels.AdamColumns]
		squares := float64(t.squares[p.Group])
		if s[kernels.AdamActive] != 0 && squares-squares == 0 {
			clip, decay := 1.0, float32(0)
			if most := float64(s[kernels.AdamMaxNorm]); most > 0 {
				clip = min(1, most/(math.Sqrt(squares)+1e-6))
			}
			if p.Decay {
				decay = s[kernels.AdamDecay]
			}
			vec.AdamW(t.p[from:to], t.grad[from:to], t.m[from:to], t.v[from:to], s[kernels.AdamLR], s[kernels.AdamRate1], s[kernels.AdamRate2],
				s[kernels.AdamEps], decay, float32(clip), s[kernels.AdamBias1], s[kernels.AdamBias2])
			return
		}
		clear(t.grad[from:to])
	})
}
