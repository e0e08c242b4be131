package cpu

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/gemm"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// queryBlock is how many query rows of one sequence share a pass over its keys.
// It shows in no result: every row is worked on alone.
const queryBlock = 32

// span is a block of query rows of one sequence.
type span struct{ seq, lo, hi int32 }

// softmaxRow is a query's attention so far: o = Σ exp(s−m)·v and l = Σ exp(s−m)
// over the keys seen.
type softmaxRow struct{ m, l float32 }

var minusInf = float32(math.Inf(-1))

// add takes in a block of n ≤ KeyBlock keys. Prefill and decoding both come
// through here, block by block from the sequence's start, so their bits agree.
func (r *softmaxRow) add(o, q, k, v, s []float32, stride, n int, scale float32) {
	s = s[:n]
	vec.DotRows(s, q, k, stride, n, scale)
	if m := vec.Max(s); m > r.m {
		if r.l != 0 {
			c := expOf(r.m - m)
			r.l *= c
			vec.Scale(o, c, o)
		}
		r.m = m
	}
	r.l += vec.ExpSub(s, s, r.m)
	vec.AxpyRows(o, s, v, stride, n)
}

// lse returns log Σ exp(s).
func (r *softmaxRow) lse() float32 {
	return float32(float64(r.m) + math.Log(float64(r.l)))
}

// expOf is Exp of one value.
func expOf(x float32) float32 {
	v := [1]float32{x}
	vec.Exp(v[:], v[:])
	return v[0]
}

type attentionTask struct {
	o, q, k, v            elems
	lse                   []float32
	starts                []int32
	spans                 []span
	heads, kvHeads, width int
	scale                 float32

	// Paged form: keys and values in the cache, positions per row.
	paged    bool
	cache    elems
	table    []int32
	rowPos   []int32
	shape    kernels.PagedShape
	pageSize int // elements of K, and of V, of one head in one page
}

// checkHeads panics unless query heads divide evenly among KV heads.
func checkHeads(op string, heads, kvHeads, headDim int) {
	if heads <= 0 || kvHeads <= 0 || headDim <= 0 || heads%kvHeads != 0 {
		panic(fmt.Sprintf("kernels/cpu: %s: %d query heads on %d KV heads of %d", op, heads, kvHeads, headDim))
	}
}

// Attention implements kernels.Backend.
func (b *Backend) Attention(a kernels.AttentionArgs) {
	const op = "Attention"
	checkHeads(op, a.Heads, a.KVHeads, a.HeadDim)
	from, ok := b.starts(op, a.Starts, a.NSeq, a.Rows)
	if !ok {
		return
	}
	t := &b.ops.attention
	*t = attentionTask{
		o: floats(op, "O", a.O, a.Rows, a.Heads, a.HeadDim), q: floats(op, "Q", a.Q, a.Rows, a.Heads, a.HeadDim),
		k: floats(op, "K", a.K, a.Rows, a.KVHeads, a.HeadDim), v: floats(op, "V", a.V, a.Rows, a.KVHeads, a.HeadDim),
		starts: from, spans: t.spans[:0],
		heads: a.Heads, kvHeads: a.KVHeads, width: a.HeadDim, scale: a.Scale,
	}
	if !a.LSE.IsNil() {
		t.lse = f32s(op, "LSE", a.LSE, a.Rows, a.Heads)
	}
	// Long rows first: what is left for the end is then short.
	for s := range a.NSeq {
		for hi := t.starts[s+1]; hi > t.starts[s]; {
			lo := max(t.starts[s], hi-1-(hi-1-t.starts[s])%queryBlock)
			t.spans = append(t.spans, span{int32(s), lo, hi})
			hi = lo
		}
	}
	b.pool.run(op, t, len(t.spans)*a.KVHeads, attentionGrain(len(t.spans)*a.KVHeads, a.Rows*a.Heads*a.HeadDim))
}

// attentionGrain is how many of n items to take at a time, given the elements of Q.
func attentionGrain(n, elements int) int {
	return max(1, n*4096/max(1, elements))
}

func (t *attentionTask) do(lo, hi int, w *worker) {
	for i := lo; i < hi; i++ {
		w.used = 0
		t.block(t.spans[i/t.kvHeads], i%t.kvHeads, w)
	}
}

// block computes the query rows of a span for the query heads of one KV head.
func (t *attentionTask) block(sp span, kvHead int, w *worker) {
	group := t.heads / t.kvHeads
	rows, d := int(sp.hi-sp.lo), t.width
	width := group * d // elements of a row that belong to this KV head
	first := kvHead * width
	state := w.floats(2 * rows * group)
	m, l := state[:rows*group], state[rows*group:]
	fill(m, minusInf)
	clear(l)
	s := w.floats(kernels.KeyBlock)
	last := 0 // the latest position of these rows
	for i := range rows {
		last = max(last, t.position(sp, i))
	}
	// Queries and outputs in place, or a copy where they are 16 bits wide.
	at, full := int(sp.lo)*t.heads*d+first, t.heads*d
	q, ldq := t.q.f32, full
	if t.q.dtype == kernels.F32 {
		q = q[at:]
	} else {
		q, ldq = w.floats(rows*width), width
		for i := range rows {
			t.q.widen(q[i*width:(i+1)*width], at+i*full)
		}
	}
	o, ldo := t.o.f32, full
	if t.o.dtype == kernels.F32 {
		o = o[at:]
	} else {
		o, ldo = w.floats(rows*width), width
	}
	for i := range rows {
		clear(o[i*ldo:][:width])
	}
	kept := w.used
	for base := 0; base <= last; base += kernels.KeyBlock {
		w.used = kept
		k, v, stride := t.keys(sp, kvHead, base, min(kernels.KeyBlock, last+1-base), w)
		for i := range rows {
			n := min(kernels.KeyBlock, t.position(sp, i)+1-base)
			if n <= 0 {
				continue
			}
			for h := range group {
				x := i*group + h
				r := softmaxRow{m[x], l[x]}
				r.add(o[i*ldo+h*d:][:d], q[i*ldq+h*d:][:d], k, v, s, stride, n, t.scale)
				m[x], l[x] = r.m, r.l
			}
		}
	}
	for i := range rows {
		row := int(sp.lo) + i
		for h := range group {
			x := i*group + h
			r := softmaxRow{m[x], l[x]}
			vec.Scale(o[i*ldo+h*d:][:d], 1/r.l, o[i*ldo+h*d:][:d])
			if t.lse != nil {
				t.lse[row*t.heads+kvHead*group+h] = r.lse()
			}
		}
		t.o.flush(o[i*ldo:][:width], at+i*full)
	}
}

// position returns the position in its sequence of row i of a span.
func (t *attentionTask) position(sp span, i int) int {
	if t.paged {
		return int(t.rowPos[int(sp.lo)+i])
	}
	return int(sp.lo-t.starts[sp.seq]) + i
}

// keys returns the n keys and values from position base on, a multiple of
// KeyBlock, with the distance between rows.
func (t *attentionTask) keys(sp span, kvHead, base, n int, w *worker) (k, v []float32, stride int) {
	d := t.width
	if t.paged {
		p := &t.shape
		page := int(t.table[int(sp.seq)*p.MaxPages+base/kernels.PageSize])
		at := ((page*p.Layers+p.Layer)*2*p.KVHeads + kvHead) * t.pageSize
		return t.cache.load(w, at, n*d), t.cache.load(w, at+p.KVHeads*t.pageSize, n*d), d
	}
	stride = t.kvHeads * d
	at := (int(t.starts[sp.seq])+base)*stride + kvHead*d
	if t.k.dtype == kernels.F32 && t.v.dtype == kernels.F32 {
		return t.k.f32[at:], t.v.f32[at:], stride
	}
	k, v = w.floats(n*d), w.floats(n*d)
	for i := range n {
		t.k.widen(k[i*d:(i+1)*d], at+i*stride)
		t.v.widen(v[i*d:(i+1)*d], at+i*stride)
	}
	return k, v, d
}

// attentionBackwardTask's items are (sequence, KV head): each owns DK, DV and
// the DQ of its query heads.
type attentionBackwardTask struct {
	dq, dk, dv, do_       []float32
	o, q, k, v            elems
	lse                   []float32
	starts                []int32
	heads, kvHeads, width int
	scale                 float32
}

// AttentionBackwardScratch implements kernels.Backend: none.
func (b *Backend) AttentionBackwardScratch(kernels.AttentionBackwardArgs) int64 { return 0 }

// AttentionBackward implements kernels.Backend.
func (b *Backend) AttentionBackward(a kernels.AttentionBackwardArgs) {
	const op = "AttentionBackward"
	checkHeads(op, a.Heads, a.KVHeads, a.HeadDim)
	from, ok := b.starts(op, a.Starts, a.NSeq, a.Rows)
	if !ok {
		return
	}
	t := &b.ops.attentionBackward
	*t = attentionBackwardTask{
		dq: f32s(op, "DQ", a.DQ, a.Rows, a.Heads, a.HeadDim),
		dk: f32s(op, "DK", a.DK, a.Rows, a.KVHeads, a.HeadDim), dv: f32s(op, "DV", a.DV, a.Rows, a.KVHeads, a.HeadDim),
		do_: f32s(op, "DO", a.DO, a.Rows, a.Heads, a.HeadDim),
		o:   floats(op, "O", a.O, a.Rows, a.Heads, a.HeadDim), q: floats(op, "Q", a.Q, a.Rows, a.Heads, a.HeadDim),
		k: floats(op, "K", a.K, a.Rows, a.KVHeads, a.HeadDim), v: floats(op, "V", a.V, a.Rows, a.KVHeads, a.HeadDim),
		lse: f32s(op, "LSE", a.LSE, a.Rows, a.Heads), starts: from,
		heads: a.Heads, kvHeads: a.KVHeads, width: a.HeadDim, scale: a.Scale,
	}
	items := a.NSeq * a.KVHeads
	b.pool.run(op, t, items, attentionGrain(items, 2*a.Rows*a.Heads*a.HeadDim))
}

func (t *attentionBackwardTask) do(lo, hi int, w *worker) {
	for i := lo; i < hi; i++ {
		w.used = 0
		t.sequence(int(t.starts[i/t.kvHeads]), int(t.starts[i/t.kvHeads+1]), i%t.kvHeads, w)
	}
}

// rowsOf returns n rows of one head of e [rows, heads, d] from at on, with the
// distance between them.
func (t *attentionBackwardTask) rowsOf(e elems, at, heads, n int, w *worker) (x []float32, ld int) {
	if e.dtype == kernels.F32 {
		return e.f32[at:], heads * t.width
	}
	x = w.floats(n * t.width)
	for i := range n {
		e.widen(x[i*t.width:(i+1)*t.width], at+i*heads*t.width)
	}
	return x, t.width
}

// sequence takes tiles of KeyBlock queries by KeyBlock keys, as products.
func (t *attentionBackwardTask) sequence(b, e, kvHead int, w *worker) {
	const tile = kernels.KeyBlock
	d, n := t.width, e-b
	if n == 0 {
		return
	}
	group := t.heads / t.kvHeads
	ldq, ldkv := t.heads*d, t.kvHeads*d
	atKV := b*ldkv + kvHead*d
	dk, dv := t.dk[atKV:], t.dv[atKV:]
	for i := range n {
		clear(dk[i*ldkv:][:d])
		clear(dv[i*ldkv:][:d])
	}
	k, ldk := t.rowsOf(t.k, atKV, t.kvHeads, n, w)
	v, ldv := t.rowsOf(t.v, atKV, t.kvHeads, n, w)
	pTile, dsTile := w.floats(tile*tile), w.floats(tile*tile)
	delta := w.floats(tile)
	kept := w.used
	for h := kvHead * group; h < (kvHead+1)*group; h++ {
		for i0 := 0; i0 < n; i0 += tile {
			w.used = kept
			ni := min(tile, n-i0)
			at := (b+i0)*ldq + h*d
			dq, do := t.dq[at:], t.do_[at:]
			q, ldq2 := t.rowsOf(t.q, at, t.heads, ni, w)
			o, ldo := t.rowsOf(t.o, at, t.heads, ni, w)
			for i := range ni {
				delta[i] = vec.Dot(do[i*ldq:][:d], o[i*ldo:][:d])
				clear(dq[i*ldq:][:d])
			}
			for j0 := 0; j0 <= i0; j0 += tile {
				nj := min(tile, n-j0)
				if j0 == i0 {
					nj = ni
				}
				p, ds := pTile[:ni*nj], dsTile[:ni*nj]
				gemm.NT(nil, p, nj, q, ldq2, f32Matrix(k[j0*ldk:], ldk), nil, ni, nj, d, false)
				gemm.NT(nil, ds, nj, do, ldq, f32Matrix(v[j0*ldv:], ldv), nil, ni, nj, d, false)
				// An Inf or a NaN in a row of q, k or do shows in the sums.
				check := vec.Sum(p) + vec.Sum(ds)
				for i := range ni {
					seen := nj
					if j0 == i0 {
						seen = i + 1
					}
					pi, dsi := p[i*nj:][:nj], ds[i*nj:][:nj]
					vec.Scale(pi[:seen], t.scale, pi[:seen])
					vec.ExpSub(pi[:seen], pi[:seen], t.lse[(b+i0+i)*t.heads+h])
					clear(pi[seen:])
					for j, x := range pi[:seen] {
						dsi[j] = x * (dsi[j] - delta[i]) * t.scale
					}
					clear(dsi[seen:])
				}
				if j0 == i0 && check-check != 0 {
					// A masked 0 must not meet them in a later row.
					for i := range ni {
						vec.AxpyRows(dq[i*ldq:][:d], ds[i*nj:], k[j0*ldk:], ldk, i+1)
						for j := range i + 1 {
							vec.Axpy(ds[i*nj+j], q[i*ldq2:][:d], dk[(j0+j)*ldkv:][:d])
							vec.Axpy(p[i*nj+j], do[i*ldq:][:d], dv[(j0+j)*ldkv:][:d])
						}
					}
					continue
				}
				gemm.NN(nil, dq, ldq, ds, nj, f32Matrix(k[j0*ldk:], ldk), nil, ni, d, nj, true)
				gemm.TN(nil, dk[j0*ldkv:], ldkv, ds, nj, q, ldq2, nj, d, ni, true)
				gemm.TN(nil, dv[j0*ldkv:], ldkv, p, nj, do, ldq, nj, d, ni, true)
			}
		}
	}
}
