package ref

import (
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/host"
)

// Attention implements kernels.Backend. Rows of no sequence are left alone.
func (d *Backend) Attention(a kernels.AttentionArgs) {
	must(a.KVHeads > 0 && a.Heads%a.KVHeads == 0, "Attention", "%d heads do not divide into %d KV heads", a.Heads, a.KVHeads)
	starts, ok := d.sequences("Attention", a.Starts, a.NSeq, a.Rows)
	if !ok {
		return
	}
	group, stride := a.Heads/a.KVHeads, a.KVHeads*a.HeadDim
	lse := make([]float64, a.Heads)
	for s := range a.NSeq {
		first, n := int(starts[s]), int(starts[s+1]-starts[s])
		k, v := load(a.K.At(first*stride), n*stride), load(a.V.At(first*stride), n*stride)
		for i := range n {
			q := load(a.Q.At((first+i)*a.Heads*a.HeadDim), a.Heads*a.HeadDim)
			for h := range a.Heads {
				kv := h / group * a.HeadDim
				o := q[h*a.HeadDim:][:a.HeadDim]
				lse[h] = attend(o, k[kv:], v[kv:], i+1, stride, float64(a.Scale))
			}
			store(a.O.At((first+i)*a.Heads*a.HeadDim), q)
			if !a.LSE.IsNil() {
				store(a.LSE.At((first+i)*a.Heads), lse)
			}
		}
	}
}

// attend replaces the query q by its attention over n keys and values, each
// stride after the one before, and returns the log of the sum of exponentials
// of its scores.
func attend(q, k, v []float64, n, stride int, scale float64) float64 {
	s := make([]float64, n)
	for j := range s {
		s[j] = scale * dot(q, k[j*stride:])
	}
	lse := logSumExp(s)
	clear(q)
	for j := range s {
		axpy(q, math.Exp(s[j]-lse), v[j*stride:][:len(q)])
	}
	return lse
}

// AttentionBackward implements kernels.Backend. Rows of no sequence are left alone.
func (d *Backend) AttentionBackward(a kernels.AttentionBackwardArgs) {
	must(a.KVHeads > 0 && a.Heads%a.KVHeads == 0, "AttentionBackward", "%d heads do not divide into %d KV heads", a.Heads, a.KVHeads)
	starts, ok := d.sequences("AttentionBackward", a.Starts, a.NSeq, a.Rows)
	if !ok {
		return
	}
	group, stride, scale := a.Heads/a.KVHeads, a.KVHeads*a.HeadDim, float64(a.Scale)
	qStride := a.Heads * a.HeadDim
	for s := range a.NSeq {
		first, n := int(starts[s]), int(starts[s+1]-starts[s])
		k, v := load(a.K.At(first*stride), n*stride), load(a.V.At(first*stride), n*stride)
		q, o := load(a.Q.At(first*qStride), n*qStride), load(a.O.At(first*qStride), n*qStride)
		do, lse := load(a.DO.At(first*qStride), n*qStride), load(a.LSE.At(first*a.Heads), n*a.Heads)
		dq, dk, dv := make([]float64, n*qStride), make([]float64, n*stride), make([]float64, n*stride)
		for h := range a.Heads {
			kv := h / group * a.HeadDim
			for i := range n {
				at := i*qStride + h*a.HeadDim
				q, do, dq := q[at:][:a.HeadDim], do[at:][:a.HeadDim], dq[at:][:a.HeadDim]
				delta := dot(do, o[at:][:a.HeadDim])
				for j := range i + 1 {
					key := k[j*stride+kv:][:a.HeadDim]
					p := math.Exp(scale*dot(q, key) - lse[i*a.Heads+h])
					ds := p * (dot(do, v[j*stride+kv:][:a.HeadDim]) - delta)
					axpy(dq, scale*ds, key)
					axpy(dk[j*stride+kv:][:a.HeadDim], scale*ds, q)
					axpy(dv[j*stride+kv:][:a.HeadDim], p, do)
				}
			}
		}
		store(a.DQ.At(first*qStride), dq)
		store(a.DK.At(first*stride), dk)
		store(a.DV.At(first*stride), dv)
	}
}

// AttentionBackwardScratch implements kernels.Backend.
func (d *Backend) AttentionBackwardScratch(kernels.AttentionBackwardArgs) int64 { return 0 }

// KVStore implements kernels.Backend.
func (d *Backend) KVStore(a kernels.KVStoreArgs) {
	rowSeq, rowPos, table, ok := d.paged("KVStore", a.PagedShape, a.RowSeq, a.RowPos, a.Rows, false)
	if !ok {
		return
	}
	for i, seq := range rowSeq {
		if seq < 0 {
			continue
		}
		pos := int(rowPos[i])
		page := int(table[int(seq)*a.MaxPages+pos/kernels.PageSize])
		for h := range a.KVHeads {
			from := (i*a.KVHeads + h) * a.HeadDim
			store(cacheAt(a.PagedShape, page, 0, h, pos), load(a.K.At(from), a.HeadDim))
			store(cacheAt(a.PagedShape, page, 1, h, pos), load(a.V.At(from), a.HeadDim))
		}
	}
}

// AttentionPaged implements kernels.Backend.
func (d *Backend) AttentionPaged(a kernels.AttentionPagedArgs) {
	must(a.KVHeads > 0 && a.Heads%a.KVHeads == 0, "AttentionPaged", "%d heads do not divide into %d KV heads", a.Heads, a.KVHeads)
	group := a.Heads / a.KVHeads
	rowSeq, rowPos, table, ok := d.paged("AttentionPaged", a.PagedShape, a.RowSeq, a.RowPos, a.Rows, true)
	if !ok {
		return
	}
	for i, seq := range rowSeq {
		if seq < 0 {
			continue
		}
		pages := table[int(seq)*a.MaxPages:][:a.MaxPages]
		n := int(rowPos[i]) + 1
		k, v := make([]float64, n*a.HeadDim), make([]float64, n*a.HeadDim)
		q := load(a.Q.At(i*a.Heads*a.HeadDim), a.Heads*a.HeadDim)
		for h := range a.Heads {
			if kvHead := h / group; h%group == 0 {
				for j := 0; j < n; j += kernels.PageSize {
					page, end := int(pages[j/kernels.PageSize]), min(j+kernels.PageSize, n)
					loadTo(k[j*a.HeadDim:end*a.HeadDim], cacheAt(a.PagedShape, page, 0, kvHead, j))
					loadTo(v[j*a.HeadDim:end*a.HeadDim], cacheAt(a.PagedShape, page, 1, kvHead, j))
				}
			}
			attend(q[h*a.HeadDim:][:a.HeadDim], k, v, n, a.HeadDim, float64(a.Scale))
		}
		store(a.O.At(i*a.Heads*a.HeadDim), q)
	}
}

// cacheAt returns where the key (kv 0) or value (kv 1) of a position lies.
func cacheAt(c kernels.PagedShape, page, kv, head, pos int) kernels.Buffer {
	return c.Cache.At(((((page*c.Layers+c.Layer)*2+kv)*c.KVHeads+head)*kernels.PageSize + pos%kernels.PageSize) * c.HeadDim)
}

// paged reads the rows' places and the page table, and checks every page that
// is used: that of the row's position, with prefix those before it as well.
func (d *Backend) paged(op string, c kernels.PagedShape, seqs, positions kernels.Buffer, rows int, prefix bool) (rowSeq, rowPos, table []int32, ok bool) {
	rowSeq, rowPos = host.I32(seqs, rows), host.I32(positions, rows)
	table = host.I32(c.PageTable, c.NSeq*c.MaxPages)
	for i, seq := range rowSeq {
		if seq < 0 {
			continue
		}
		if int(seq) >= c.NSeq {
			d.Fail(op, "row %d: sequence %d, want one below %d", i, seq, c.NSeq)
			return nil, nil, nil, false
		}
		pos := int(rowPos[i])
		if pos < 0 || pos >= c.MaxPages*kernels.PageSize {
			d.Fail(op, "row %d: position %d, want 0…%d", i, pos, c.MaxPages*kernels.PageSize-1)
			return nil, nil, nil, false
		}
		last := pos / kernels.PageSize
		first := last
		if prefix {
			first = 0
		}
		for n := first; n <= last; n++ {
			if page := table[int(seq)*c.MaxPages+n]; page < 0 || int(page) >= c.Pages {
				d.Fail(op, "row %d: page %d of sequence %d is %d, want 0…%d", i, n, seq, page, c.Pages-1)
				return nil, nil, nil, false
			}
		}
	}
	return rowSeq, rowPos, table, true
}
