package cpu

import (
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/gemm"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// Every product of an adapter is only rank wide on one side, so that the long
// matrices pass by once: X, Y, DX and DY are read and written where they are, in
// blocks of rows that the hardware can follow, while the block of A or B in use
// stays in the L2 cache.
const (
	loraBlock = 1 << 16 // elements of A or B in use: 256 KiB
	loraSpan  = 1024    // most columns of X or Y in a block
	loraSteps = 24      // rows of 16-bit activations that are widened at a time
	loraTile  = 256     // most columns of A, or rows of B, in an item of their gradients
)

// loraColumns is how many columns of a matrix go with a block of rank wide, in steps.
func loraColumns(rank, step int) int {
	return max(step, min(loraSpan, loraBlock/rank)/step*step)
}

type loraTask struct {
	*loraSegments
	y, x         elems
	h, a, b      []float32
	in, out, max int
	workers      int
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
		in: a.In, out: a.Out, max: a.MaxRank, workers: len(b.pool.workers),
	}
	s.gather()
	b.pool.run("LoRA", t, len(s.heads), loraGrain(len(s.heads), a.Rows*(a.In+a.Out)*a.MaxRank))
}

func (t *loraTask) do(lo, hi int, w *worker) {
	for j := lo; j < hi; j++ {
		w.used = 0
		i := t.heads[j]
		g, n := &t.pieces[i], int(t.count[i])
		if t.more[i] >= 0 {
			t.gathered(i, g, n, w)
			continue
		}
		row := int(g.RowStart)
		next := j + 1 // what this worker does then, most likely
		if next == hi {
			next += (t.workers - 1) * (hi - lo)
		}
		t.apply(g, &t.pieces[t.heads[min(next, len(t.heads)-1)]], n, t.y.tail(row*t.out), t.x.tail(row*t.in), t.h[row*t.max:], t.max, w)
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
	t.apply(g, g, n, elems{f32: y, dtype: kernels.F32}, elems{f32: x, dtype: kernels.F32}, h, rank, w)
	at = 0
	for j := i; j >= 0; j = t.more[j] {
		for row := int(t.pieces[j].RowStart); row < int(t.pieces[j].RowEnd); row++ {
			copy(t.h[row*t.max:], h[at*rank:(at+1)*rank])
			t.y.narrow(y[at*t.out:(at+1)*t.out], row*t.out)
			at++
		}
	}
}

// apply adds the low-rank part to n rows of y, and keeps h. It brings what it
// packs later, and the A of the piece next, into the cache while it multiplies.
func (t *loraTask) apply(g, next *kernels.Segment, n int, y, x elems, h []float32, ldh int, w *worker) {
	rank, a, b := int(g.Rank), t.a[g.AOffset:], t.b[g.BOffset:]
	scaled := w.floats(n * rank)
	if n < loraPack {
		xs, ys := x.load(w, 0, n*t.in), y.load(w, 0, n*t.out)
		gemm.NT(nil, h, ldh, xs, t.in, f32Matrix(a, t.in), nil, n, rank, t.in, false)
		scaleRows(scaled, h, ldh, n, rank, g.Scale)
		gemm.NT(nil, ys, t.out, scaled, rank, f32Matrix(b, rank), nil, n, t.out, rank, true)
		y.flush(ys, 0)
		return
	}
	widthA := min(loraColumns(gemm.PanelFloats(rank, 1), gemm.KC), t.in)
	widthB := min(loraColumns(rank, gemm.PanelFloats(1, 1)), t.out)
	packed := w.floats(max(gemm.PanelFloats(rank, widthA), gemm.PanelFloats(widthB, rank)))
	for k := 0; k < t.in; k += widthA {
		kc := min(widthA, t.in-k)
		p := packed[:gemm.PanelFloats(rank, kc)]
		gemm.StreamPack(p, a[k:], t.in, rank, kc)
		var ahead []float32
		if k+kc == t.in {
			ahead = b[:widthB*rank]
		}
		x.blocks(w, n, t.in, k, kc, false, func(i, m int, xs []float32, ld int) {
			gemm.StreamPanels(h[i*ldh:], ldh, xs, ld, 1, p, m, rank, kc, k > 0, ahead)
			ahead = nil
		})
	}
	scaleRows(scaled, h, ldh, n, rank, g.Scale)
	for o := 0; o < t.out; o += widthB {
		nc := min(widthB, t.out-o)
		p := packed[:gemm.PanelFloats(nc, rank)]
		gemm.StreamPack(p, b[o*rank:], rank, nc, rank)
		var ahead []float32
		if o+nc < t.out {
			ahead = b[(o+nc)*rank : min(o+nc+widthB, t.out)*rank]
		} else if next != g && widthA == t.in {
			ahead = t.a[next.AOffset:][:int(next.Rank)*t.in]
		}
		y.blocks(w, n, t.out, o, nc, true, func(i, m int, ys []float32, ld int) {
			gemm.StreamPanels(ys, ld, scaled[i*rank:], rank, 1, p, m, nc, rank, true, ahead)
			ahead = nil
		})
	}
}

// scaleRows sets the n rows of dst, rank wide, to scale times those of h.
func scaleRows(dst, h []float32, ldh, n, rank int, scale float32) {
	for i := range n {
		vec.Scale(dst[i*rank:][:rank], scale, h[i*ldh:][:rank])
	}
}

func f32Matrix(x []float32, ld int) gemm.Matrix {
	return gemm.Matrix{F32: x, Kind: gemm.KindF32, Ld: ld}
}

// blocks calls f for columns c … c+cols of rows i … i+m, all n of them, as
// float32 rows ld apart; what f changed there is stored if write.
func (e elems) blocks(w *worker, n, width, c, cols int, write bool, f func(i, m int, x []float32, ld int)) {
	if e.dtype == kernels.F32 {
		f(0, n, e.f32[c:], width)
		return
	}
	used := w.used
	x := w.floats(min(n, loraSteps) * cols)
	for i := 0; i < n; i += loraSteps {
		m := min(loraSteps, n-i)
		for r := range m {
			e.widen(x[r*cols:(r+1)*cols], (i+r)*width+c)
		}
		f(i, m, x, cols)
		for r := 0; write && r < m; r++ {
			e.narrow(x[r*cols:(r+1)*cols], (i+r)*width+c)
		}
	}
	w.used = used
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
	tile             int // columns of A, or rows of B
	tilesA, tilesB   int // per matrix
}

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
		in: a.In, out: a.Out, max: a.MaxRank, tile: loraTile,
	}
	for u.tile > 64 && len(s.firstA)*(a.In+a.Out) < 4*len(b.pool.workers)*u.tile {
		u.tile /= 2
	}
	u.tilesA, u.tilesB = (a.In+u.tile-1)/u.tile, (a.Out+u.tile-1)/u.tile
	work := a.Rows * (a.In + a.Out) * a.MaxRank
	b.pool.run(op, t, len(s.pieces), loraGrain(len(s.pieces), work))
	items := len(s.firstA)*u.tilesA + len(s.firstB)*u.tilesB
	b.pool.run(op, u, items, loraGrain(items, work))
}

func (t *loraBackwardTask) do(lo, hi int, _ *worker) {
	for _, s := range t.pieces[lo:hi] {
		row, n, rank := int(s.RowStart), int(s.RowEnd-s.RowStart), int(s.Rank)
		a, b, g, dy := t.a[s.AOffset:], t.b[s.BOffset:], t.g[row*t.max:], t.dy[row*t.out:]
		width := loraColumns(rank, gemm.KC)
		for o := 0; o < t.out; o += width {
			gemm.StreamInPlace(g, t.max, dy[o:], t.out, 1, b[o*rank:], rank, n, rank, min(width, t.out-o), o > 0)
		}
		for i := range n {
			vec.Scale(g[i*t.max:][:rank], s.Scale, g[i*t.max:][:rank])
		}
		if t.dx == nil {
			continue
		}
		dx := t.dx[row*t.in:]
		for k := 0; k < t.in; k += width {
			gemm.StreamInPlace(dx[k:], t.in, g, t.max, 1, a[k:], t.in, n, min(width, t.in-k), rank, true)
		}
	}
}

func (t *loraGradTask) do(lo, hi int, w *worker) {
	for item := lo; item < hi; item++ {
		if na := len(t.firstA) * t.tilesA; item < na {
			t.gradA(t.firstA[item/t.tilesA], item%t.tilesA*t.tile, w)
		} else {
			item := item - na
			t.gradB(t.firstB[item/t.tilesB], item%t.tilesB*t.tile, w)
		}
	}
}

// gradA adds to columns c… of the A that the chain of segments from i on shares,
// a canonical chunk of rows at a time.
func (t *loraGradTask) gradA(i int32, c int, w *worker) {
	n := min(t.tile, t.in-c)
	w.used = 0
	wide, ld := []float32(nil), t.in
	if t.x.dtype != kernels.F32 {
		wide, ld = w.floats(gemm.KC*n), n
	}
	for ; i >= 0; i = t.nextA[i] {
		s := &t.all[i]
		rank, da := int(s.Rank), t.da[int(s.AOffset)+c:]
		for row := int(s.RowStart); row < int(s.RowEnd); row += gemm.KC {
			m := min(gemm.KC, int(s.RowEnd)-row)
			x := wide
			if wide == nil {
				x = t.x.f32[row*t.in+c:]
			} else {
				for r := range m {
					t.x.widen(x[r*n:(r+1)*n], (row+r)*t.in+c)
				}
			}
			gemm.StreamInPlace(da, t.in, t.g[row*t.max:], 1, t.max, x, ld, rank, n, m, true)
		}
	}
}

// gradB adds to rows o… of the B that the chain of segments from i on shares.
func (t *loraGradTask) gradB(i int32, o int, w *worker) {
	n := min(t.tile, t.out-o)
	w.used = 0
	scaled := w.floats(gemm.KC * t.max)
	for ; i >= 0; i = t.nextB[i] {
		s := &t.all[i]
		rank, db := int(s.Rank), t.db[int(s.BOffset)+o*int(s.Rank):]
		for row := int(s.RowStart); row < int(s.RowEnd); row += gemm.KC {
			m := min(gemm.KC, int(s.RowEnd)-row)
			scaleRows(scaled, t.h[row*t.max:], t.max, m, rank, s.Scale)
			gemm.StreamInPlace(db, rank, t.dy[row*t.out+o:], 1, t.out, scaled, rank, n, rank, m, true)
		}
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
