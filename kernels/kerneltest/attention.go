package kerneltest

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

// heads is the shape of an attention.
type heads struct{ q, kv, dim int }

// attentionShape is sequences and heads; tail is a number of rows at the end
// that belong to no sequence and must be left alone.
type attentionShape struct {
	lengths []int
	heads
	tail     int
	wide     bool // O is tried in f32 beside halves as well, and no other mixture
	infinite int  // the row of V that becomes infinite, after a single value of the last one; 0: any, and no such value
	halves   bool // for tensor cores only: they compute it quickly on an emulator, too
}

func attentionShapes(t *trial) []attentionShape {
	shapes := []attentionShape{
		{lengths: []int{3, 1, 4}, heads: heads{4, 2, 8}, tail: 2},
		{heads: heads{1, 1, 8}},
		{lengths: []int{0}, heads: heads{1, 1, 8}},
		{lengths: []int{1}, heads: heads{1, 1, 128}},
		{lengths: []int{0, 5, 0, 0, 2}, heads: heads{3, 3, 24}, tail: 1},
		{lengths: []int{1, 63, 64, 65, 129}, heads: heads{4, 1, 16}},
		{lengths: []int{130, 7}, heads: heads{7, 1, 64}, tail: 3},
		{lengths: []int{70, 2}, heads: heads{2, 2, 80}},
		{lengths: []int{33, 66}, heads: heads{4, 2, 32}, tail: 1},
		{lengths: []int{17, 33}, heads: heads{2, 2, 128}},
		{lengths: []int{9, 20}, heads: heads{6, 2, 40}},
		{lengths: []int{3, 4}, heads: heads{2, 1, 128}},
		{lengths: []int{9, 20, 30}, heads: heads{1, 1, 128}}, // tiles that end in each quarter of the rows copied at a time
		{lengths: []int{1, 4}, heads: heads{2, 1, 64}},
		// Keys of a second block and rows of a lane's second eight see what is infinite; a tile without rows.
		{lengths: []int{66, 0}, heads: heads{1, 1, 128}, wide: true, infinite: 60},
		{lengths: []int{3}, heads: heads{1, 1, 128}, wide: true, infinite: 2}, // most warps have no rows
		// Rows that end with a tile, with a warp's part of it, and in a lane's second eight.
		{lengths: []int{32, 16, 12}, heads: heads{1, 1, 64}},
		{lengths: []int{450}, heads: heads{1, 1, 128}, halves: true}, // the last tile sees many blocks of keys
	}
	if t.opt.Heavy {
		shapes = append(shapes, attentionShape{lengths: []int{130, 1, 100}, heads: heads{14, 2, 64}}, attentionShape{lengths: []int{400}, heads: heads{2, 1, 32}})
	}
	return shapes
}

func (s attentionShape) String() string {
	return fmt.Sprintf("sequences %v, %d/%d heads of %d", s.lengths, s.q, s.kv, s.dim)
}

func (s attentionShape) starts() (starts []int32, rows int) {
	starts = startsOf(s.lengths...)
	return starts, last(starts) + s.tail
}

// storages calls f with storages of O, Q, and K and V.
func (s attentionShape) storages(t *trial, all bool, f func(dt []kernels.DType)) {
	if !s.halves && !s.wide {
		t.combos(3, all, f)
		return
	}
	for _, d := range t.opt.DTypes {
		if s.wide || d.Size() == 2 {
			f([]kernels.DType{d, d, d})
		}
		if s.wide && d.Size() == 2 {
			f([]kernels.DType{kernels.F32, d, d})
		}
	}
}

func (s attentionShape) scale() float32 { return float32(1 / math.Sqrt(float64(s.dim))) }

// spoilTail writes NaN into the rows that belong to no sequence.
func (s attentionShape) spoilTail(arrays ...*array) {
	for _, a := range arrays {
		for i := a.len() - s.tail*a.row; i < a.len(); i++ {
			a.set(i, math.NaN())
		}
	}
}

func testAttention(t *trial) {
	for i, s := range attentionShapes(t) {
		starts, rows := s.starts()
		s.storages(t, i == 0, func(dt []kernels.DType) {
			o := t.output("o", dt[0], rows*s.q*s.dim).per(s.q * s.dim).sparseIf(s.halves)
			lse := t.output("lse", kernels.F32, rows*s.q).per(s.q).sparseIf(s.halves)
			q := t.floats("q", dt[1], rows*s.q*s.dim, 2).per(s.q * s.dim).sparseIf(s.halves)
			k := t.floats("k", dt[2], rows*s.kv*s.dim, 1).per(s.kv * s.dim).sparseIf(s.halves)
			v := t.floats("v", dt[2], rows*s.kv*s.dim, 1).per(s.kv * s.dim).sparseIf(s.halves)
			s.spoilTail(q, k, v)
			try := func(lse, q *array, size float64) {
				t.check(&problem{op: "Attention", shape: s.String(), rows: rows, starts: starts, loose: size, arrays: []*array{o, lse, q, k, v},
					call: func(c *call) {
						c.Attention(kernels.AttentionArgs{O: c.at(o), LSE: c.at(lse), Q: c.at(q), K: c.at(k), V: c.at(v), Starts: c.starts(),
							NSeq: c.nseq(), Rows: c.rows, Heads: s.q, KVHeads: s.kv, HeadDim: s.dim, Scale: s.scale()})
					}})
			}
			try(lse, q, 1)
			if s.halves {
				return
			}
			if s.wide && dt[0] != dt[1] {
				try(nil, q, 1)
			}
			if dt[0] == dt[1] && dt[1] == dt[2] {
				try(nil, q, 1)
				sharp := t.floats("q", dt[1], q.len(), 60).per(q.row) // one key wins, and which one changes
				s.spoilTail(sharp)
				try(lse, sharp, 60)
			}
			if n := last(starts); n > 1 { // what is not finite reaches the rows after it in its sequence, and no others
				row := t.rng.IntN(n)
				if s.infinite > 0 { // one value, which only one of the threads that share a row has
					v.set(v.row*n-1, math.Inf(-1))
					try(lse, q, 1)
					row = s.infinite // in which it is negative, too: no Inf−Inf
				}
				v.infinite(row*v.row, v.row)
				try(lse, q, 1)
				if s.wide {
					try(nil, q, 1)
				}
				v.set(v.row*(n-1), math.NaN())
				k.set(k.row*t.rng.IntN(n), math.NaN())
				try(lse, q, 1)
			}
		})
	}
}

func testAttentionBackward(t *trial) {
	for i, s := range attentionShapes(t) {
		if s.halves {
			continue
		}
		starts, rows := s.starts()
		t.combos(2, i == 0, func(dt []kernels.DType) {
			q := t.floats("q", dt[0], rows*s.q*s.dim, 1.5).per(s.q * s.dim)
			k := t.floats("k", dt[1], rows*s.kv*s.dim, 1).per(s.kv * s.dim)
			v := t.floats("v", dt[1], rows*s.kv*s.dim, 1).per(s.kv * s.dim)
			do := t.floats("do", kernels.F32, rows*s.q*s.dim, 1).per(s.q * s.dim)
			o := t.output("o", dt[0], rows*s.q*s.dim).per(s.q * s.dim)
			lse := t.output("lse", kernels.F32, rows*s.q).per(s.q)
			s.spoilTail(q, k, v, do)
			t.solveInto(&problem{op: "Attention", rows: rows, starts: starts, arrays: []*array{o, lse, q, k, v},
				call: func(c *call) {
					c.Attention(kernels.AttentionArgs{O: c.at(o), LSE: c.at(lse), Q: c.at(q), K: c.at(k), V: c.at(v), Starts: c.starts(),
						NSeq: c.nseq(), Rows: c.rows, Heads: s.q, KVHeads: s.kv, HeadDim: s.dim, Scale: s.scale()})
				}})
			dq := t.output("dq", kernels.F32, rows*s.q*s.dim).per(s.q * s.dim)
			dk := t.output("dk", kernels.F32, rows*s.kv*s.dim).per(s.kv * s.dim)
			dv := t.output("dv", kernels.F32, rows*s.kv*s.dim).per(s.kv * s.dim)
			try := func() {
				t.check(&problem{op: "AttentionBackward", shape: s.String(), rows: rows, starts: starts, arrays: []*array{dq, dk, dv, do, o, lse, q, k, v},
					call: func(c *call) {
						a := kernels.AttentionBackwardArgs{DQ: c.at(dq), DK: c.at(dk), DV: c.at(dv), DO: c.at(do), O: c.at(o), LSE: c.at(lse),
							Q: c.at(q), K: c.at(k), V: c.at(v), Starts: c.starts(), NSeq: c.nseq(), Rows: c.rows,
							Heads: s.q, KVHeads: s.kv, HeadDim: s.dim, Scale: s.scale()}
						a.Scratch = c.scratch(c.AttentionBackwardScratch(a))
						c.AttentionBackward(a)
					}})
			}
			try()
			if last(starts) > 1 {
				do.set(do.row*t.rng.IntN(last(starts)), math.NaN())
				try()
				k.set(k.row*t.rng.IntN(last(starts)), math.NaN())
				q.set(q.row*t.rng.IntN(last(starts)), math.NaN())
				try()
			}
		})
	}
}

// solveInto runs a problem on ref and turns its results into inputs.
func (t *trial) solveInto(p *problem) {
	after, err := t.solve(t.ref, p, false, false)
	if err != nil {
		t.Fatalf("%v: ref: %v", p, err)
	}
	for a, data := range after {
		if a.role != input {
			a.data, a.role = data, input
		}
	}
}
