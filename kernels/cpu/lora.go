package cpu

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/gemm"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// Forward and the gradient of the input treat each row alone, so that rows of an
// adapter may be worked on in any company.
const (
	loraRows = 96 // how many at a time
	loraFew  = 12 // pieces shorter than this are gathered: rows in decoding
)

// loraSegments is a batch's segment table cut into pieces of work.
type loraSegments struct {
	all []kernels.Segment
	// pieces are rows of one adapter, segments that follow one another merged.
	pieces []kernels.Segment
	// Chains of the segments that share an adapter's A, or its B, ascending:
	// the first of each chain, and per segment the next (-1: none).
	firstA, firstB []int32
	nextA, nextB   []int32
	last           map[int32]int32
	// heads are the pieces that start an item of forward. An item that gathers
	// has more than one, linked by more (-1: none); count is its rows.
	heads             []int32
	more, tail, count []int32 // per piece; tail and count of a head
}

// segments reads a table for matrices of in and out in slabs of sizeA and sizeB
// elements. It keeps the error and reports false on a segment that does not fit.
func (b *Backend) segments(op string, table kernels.Buffer, nseg, rows, maxRank, in, out, sizeA, sizeB int) (s *loraSegments, ok bool) {
	t := i32s(op, "Segments", table, nseg, kernels.SegmentColumns)
	s = &b.ops.loraSegments
	if s.last == nil {
		s.last = map[int32]int32{}
	}
	s.all, s.pieces = s.all[:0], s.pieces[:0]
	var open kernels.Segment // the piece that may still grow
	end := int32(0)
	for i := range nseg {
		g := kernels.SegmentAt(t, i)
		switch {
		case g.RowStart < 0 || g.RowEnd < g.RowStart || int(g.RowEnd) > rows:
			b.Fail(op, "segment %d: rows %d to %d, want an ascending range within 0…%d", i, g.RowStart, g.RowEnd, rows)
			return nil, false
		case g.RowStart == g.RowEnd:
			continue
		case g.RowStart < end:
			b.Fail(op, "segment %d: starts at row %d, but the one before it ends at %d", i, g.RowStart, end)
			return nil, false
		case g.Rank < 0 || int(g.Rank) > maxRank:
			b.Fail(op, "segment %d: rank %d, want 0…%d", i, g.Rank, maxRank)
			return nil, false
		}
		end = g.RowEnd
		rank := int(g.Rank)
		switch {
		case rank == 0:
			continue
		case g.AOffset < 0 || int(g.AOffset)+rank*in > sizeA:
			b.Fail(op, "segment %d: A at element %d with %d×%d elements lies outside its slab of %d", i, g.AOffset, rank, in, sizeA)
			return nil, false
		case g.BOffset < 0 || int(g.BOffset)+rank*out > sizeB:
			b.Fail(op, "segment %d: B at element %d with %d×%d elements lies outside its slab of %d", i, g.BOffset, out, rank, sizeB)
			return nil, false
		}
		s.all = append(s.all, g)
		if g.RowStart == open.RowEnd && sameAdapter(&g, &open) {
			open.RowEnd = g.RowEnd
			continue
		}
		s.cut(open)
		open = g
	}
	s.cut(open)
	return s, true
}

func sameAdapter(a, b *kernels.Segment) bool {
	return a.AOffset == b.AOffset && a.BOffset == b.BOffset && a.Rank == b.Rank && a.Scale == b.Scale
}

func (s *loraSegments) cut(g kernels.Segment) {
	n := g.RowEnd - g.RowStart
	if n == 0 {
		return
	}
	parts := (n + loraRows - 1) / loraRows
	for i := range parts {
		p := g
		p.RowStart, p.RowEnd = g.RowStart+n*i/parts, g.RowStart+n*(i+1)/parts
		s.pieces = append(s.pieces, p)
	}
}

// chain links the segments of each adapter.
func (s *loraSegments) chain() {
	s.firstA, s.nextA = s.link(s.firstA, s.nextA, func(g *kernels.Segment) int32 { return g.AOffset })
	s.firstB, s.nextB = s.link(s.firstB, s.nextB, func(g *kernels.Segment) int32 { return g.BOffset })
}

func (s *loraSegments) link(first, next []int32, key func(*kernels.Segment) int32) (_, _ []int32) {
	clear(s.last)
	first, next = first[:0], resize(next, len(s.all))
	for i := range s.all {
		k := key(&s.all[i])
		if prev, ok := s.last[k]; ok {
			next[prev] = int32(i)
		} else {
			first = append(first, int32(i))
		}
		s.last[k], next[i] = int32(i), -1
	}
	return first, next
}

// gather makes items of the pieces: short ones of one adapter share one.
func (s *loraSegments) gather() {
	n := len(s.pieces)
	s.heads, s.more, s.tail, s.count = s.heads[:0], resize(s.more, n), resize(s.tail, n), resize(s.count, n)
	clear(s.last)
	for i := range s.pieces {
		p := &s.pieces[i]
		rows := p.RowEnd - p.RowStart
		s.more[i], s.tail[i], s.count[i] = -1, int32(i), rows
		if rows < loraFew {
			if h, ok := s.last[p.AOffset]; ok && sameAdapter(&s.pieces[h], p) && s.count[h]+rows <= loraRows {
				s.more[s.tail[h]] = int32(i)
				s.tail[h] = int32(i)
				s.count[h] += rows
				continue
			}
			s.last[p.AOffset] = int32(i)
		}
		s.heads = append(s.heads, int32(i))
	}
}

// loraGrain is how many of n items to take at a time when all of them together
// are work multiply-adds.
func loraGrain(n, work int) int {
	const worth = 1 << 17
	return max(1, n/max(1, work/worth))
}

type loraTask struct {
	*loraSegments
	y, x         elems
	h, a, b      []float32
	in, out, max int
}

// LoRA implements kernels.Backend.
func (b *Backend) LoRA(a kernels.LoRAArgs) {
	am, bm := slab("LoRA", "A", a.A), slab("LoRA", "B", a.B)
	s, ok := b.segments("LoRA", a.Segments, a.NSeg, a.Rows, a.MaxRank, a.In, a.Out, len(am), len(bm))
	if !ok || len(s.pieces) == 0 {
		return
	}
	t := &b.ops.lora
	*t = loraTask{
		loraSegments: s,
		y:            floats("LoRA", "Y", a.Y, a.Rows, a.Out), x: floats("LoRA", "X", a.X, a.Rows, a.In),
		h: f32s("LoRA", "H", a.H, a.Rows, a.MaxRank), a: am, b: bm,
		in: a.In, out: a.Out, max: a.MaxRank,
	}
	s.gather()
	b.pool.run("LoRA", t, len(s.heads), loraGrain(len(s.heads), a.Rows*(a.In+a.Out)*a.MaxRank))
}

func (t *loraTask) do(lo, hi int, w *worker) {
	for _, i := range t.heads[lo:hi] {
		w.used = 0
		g, n := &t.pieces[i], int(t.count[i])
		if t.more[i] >= 0 {
			t.gathered(i, g, n, w)
			continue
		}
		row := int(g.RowStart)
		y := t.y.load(w, row*t.out, n*t.out)
		t.apply(g, n, y, t.h[row*t.max:], t.max, t.x.load(w, row*t.in, n*t.in), w)
		t.y.flush(y, row*t.out)
	}
}

// gathered brings the n rows of the pieces from i on together.
func (t *loraTask) gathered(i int32, g *kernels.Segment, n int, w *worker) {
	rank := int(g.Rank)
	x, y, h := w.floats(n*t.in), w.floats(n*t.out), w.floats(n*rank)
	at := 0
	for j := i; j >= 0; j = t.more[j] {
		row, k := int(t.pieces[j].RowStart), int(t.pieces[j].RowEnd-t.pieces[j].RowStart)
		t.x.widen(x[at*t.in:(at+k)*t.in], row*t.in)
		t.y.widen(y[at*t.out:(at+k)*t.out], row*t.out)
		at += k
	}
	t.apply(g, n, y, h, rank, x, w)
	at = 0
	for j := i; j >= 0; j = t.more[j] {
		for row := int(t.pieces[j].RowStart); row < int(t.pieces[j].RowEnd); row++ {
			copy(t.h[row*t.max:], h[at*rank:(at+1)*rank])
			t.y.narrow(y[at*t.out:(at+1)*t.out], row*t.out)
			at++
		}
	}
}

// apply adds the low-rank part to n rows of y, and keeps h.
func (t *loraTask) apply(g *kernels.Segment, n int, y, h []float32, ldh int, x []float32, w *worker) {
	rank := int(g.Rank)
	gemm.NT(nil, h, ldh, x, t.in, f32Matrix(t.a[g.AOffset:], t.in), nil, n, rank, t.in, false)
	scaled := w.floats(n * rank)
	for i := range n {
		vec.Scale(scaled[i*rank:][:rank], g.Scale, h[i*ldh:][:rank])
	}
	gemm.NT(nil, y, t.out, scaled, rank, f32Matrix(t.b[g.BOffset:], rank), nil, n, t.out, rank, true)
}

func f32Matrix(x []float32, ld int) gemm.Matrix {
	return gemm.Matrix{F32: x, Kind: gemm.KindF32, Ld: ld}
}

// loraBackwardTask computes g and DX; its items are pieces of rows.
type loraBackwardTask struct {
	*loraSegments
	dx, dy, g, a, b []float32
	in, out, max    int
}

// loraGradTask computes DA and DB; its items are the adapters' matrices, every
// one cut into tiles: first DA's, then DB's.
type loraGradTask struct {
	*loraSegments
	da, db, dy, g, h []float32
	x                elems
	in, out, max     int
	tilesA, tilesB   int // per matrix
}

// loraTile is the number of columns of A, or rows of B, in an item.
const loraTile = 256

// LoRABackwardScratch implements kernels.Backend: g of every row.
func (b *Backend) LoRABackwardScratch(a kernels.LoRABackwardArgs) int64 {
	return 4 * int64(a.Rows) * int64(a.MaxRank)
}

// LoRABackward implements kernels.Backend.
func (b *Backend) LoRABackward(a kernels.LoRABackwardArgs) {
	const op = "LoRABackward"
	am, bm, da, db := slab(op, "A", a.A), slab(op, "B", a.B), slab(op, "DA", a.DA), slab(op, "DB", a.DB)
	s, ok := b.segments(op, a.Segments, a.NSeg, a.Rows, a.MaxRank, a.In, a.Out, min(len(am), len(da)), min(len(bm), len(db)))
	if !ok || len(s.pieces) == 0 {
		return
	}
	s.chain()
	a.Scratch.DType = kernels.F32
	g := f32s(op, "Scratch", a.Scratch, a.Rows, a.MaxRank)
	dy := f32s(op, "DY", a.DY, a.Rows, a.Out)
	t := &b.ops.loraBackward
	*t = loraBackwardTask{
		loraSegments: s, dy: dy, g: g, a: am, b: bm,
		in: a.In, out: a.Out, max: a.MaxRank,
	}
	if !a.DX.IsNil() {
		t.dx = f32s(op, "DX", a.DX, a.Rows, a.In)
	}
	u := &b.ops.loraGrad
	*u = loraGradTask{
		loraSegments: s, da: da, db: db, dy: dy, g: g,
		h: f32s(op, "H", a.H, a.Rows, a.MaxRank), x: floats(op, "X", a.X, a.Rows, a.In),
		in: a.In, out: a.Out, max: a.MaxRank,
		tilesA: (a.In + loraTile - 1) / loraTile, tilesB: (a.Out + loraTile - 1) / loraTile,
	}
	work := a.Rows * (a.In + a.Out) * a.MaxRank
	b.pool.run(op, t, len(s.pieces), loraGrain(len(s.pieces), work))
	items := len(s.firstA)*u.tilesA + len(s.firstB)*u.tilesB
	b.pool.run(op, u, items, loraGrain(items, work))
}

func (t *loraBackwardTask) do(lo, hi int, _ *worker) {
	for _, s := range t.pieces[lo:hi] {
		row, n, rank := int(s.RowStart), int(s.RowEnd-s.RowStart), int(s.Rank)
		g := t.g[row*t.max:]
		gemm.NN(nil, g, t.max, t.dy[row*t.out:], t.out, f32Matrix(t.b[s.BOffset:], rank), nil, n, rank, t.out, false)
		for i := range n {
			vec.Scale(g[i*t.max:][:rank], s.Scale, g[i*t.max:][:rank])
		}
		if t.dx != nil {
			gemm.NN(nil, t.dx[row*t.in:], t.in, g, t.max, f32Matrix(t.a[s.AOffset:], t.in), nil, n, t.in, rank, true)
		}
	}
}

func (t *loraGradTask) do(lo, hi int, w *worker) {
	for item := lo; item < hi; item++ {
		if na := len(t.firstA) * t.tilesA; item < na {
			t.gradA(t.firstA[item/t.tilesA], item%t.tilesA*loraTile, w)
		} else {
			item := item - na
			t.gradB(t.firstB[item/t.tilesB], item%t.tilesB*loraTile, w)
		}
	}
}

// gradA adds to columns c… of the A that the chain of segments from i on shares.
func (t *loraGradTask) gradA(i int32, c int, w *worker) {
	n := min(loraTile, t.in-c)
	for ; i >= 0; i = t.nextA[i] {
		w.used = 0
		s := &t.all[i]
		row, rows, rank := int(s.RowStart), int(s.RowEnd-s.RowStart), int(s.Rank)
		var x []float32
		ld := t.in
		if t.x.dtype == kernels.F32 {
			x = t.x.f32[row*t.in+c:]
		} else {
			x, ld = w.floats(rows*n), n
			for r := range rows {
				t.x.widen(x[r*n:(r+1)*n], (row+r)*t.in+c)
			}
		}
		gemm.TN(nil, t.da[int(s.AOffset)+c:], t.in, t.g[row*t.max:], t.max, x, ld, rank, n, rows, true)
	}
}

// gradB adds to rows o… of the B that the chain of segments from i on shares.
func (t *loraGradTask) gradB(i int32, o int, w *worker) {
	n := min(loraTile, t.out-o)
	for ; i >= 0; i = t.nextB[i] {
		w.used = 0
		s := &t.all[i]
		row, rows, rank := int(s.RowStart), int(s.RowEnd-s.RowStart), int(s.Rank)
		h := w.floats(rows * rank)
		for r := range rows {
			vec.Scale(h[r*rank:][:rank], s.Scale, t.h[(row+r)*t.max:][:rank])
		}
		gemm.TN(nil, t.db[int(s.BOffset)+o*rank:], rank, t.dy[row*t.out+o:], t.out, h, rank, n, rank, rows, true)
	}
}

// LoRAMerge implements kernels.Backend.
func (b *Backend) LoRAMerge(a kernels.LoRAMergeArgs) {
	const op = "LoRAMerge"
	w, am := f32s(op, "W", a.W, a.Out, a.In), f32s(op, "A", a.A, a.Rank, a.In)
	bm := f32s(op, "B", a.B, a.Out, a.Rank)
	b.scratch = resize(b.scratch, len(bm))
	vec.Scale(b.scratch, a.Scale, bm)
	gemm.NN(b.products(op), w, a.In, b.scratch, a.Rank, f32Matrix(am, a.In), nil, a.Out, a.In, a.Rank, true)
}
