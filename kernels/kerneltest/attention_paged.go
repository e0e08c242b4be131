package kerneltest

import (
	"bytes"
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

// paging is a KV cache with room for sequences, its pages in no order.
type paging struct {
	heads
	kernels.PagedShape // without buffers
	table              []int32
	cache, pageTable   *array
}

// paging returns a cache in which n sequences own shuffled pages for maxPages·PageSize positions.
func (t *trial) paging(h heads, dt kernels.DType, n, maxPages int) *paging {
	p := &paging{heads: h, PagedShape: kernels.PagedShape{Pages: n*maxPages + 1, Layers: 2, Layer: t.rng.IntN(2), MaxPages: maxPages, NSeq: n, KVHeads: h.kv, HeadDim: h.dim}}
	for i, page := range t.rng.Perm(p.Pages) {
		if i < n*maxPages {
			p.table = append(p.table, int32(page))
		}
	}
	p.cache = t.output("cache", dt, p.Pages*p.Layers*2*h.kv*kernels.PageSize*h.dim).as(sum)
	p.pageTable = t.ints("pagetable", p.table...)
	return p
}

// on returns the cache's shape with the buffers of a call.
func (p *paging) on(c *call) kernels.PagedShape {
	s := p.PagedShape
	s.Cache, s.PageTable = c.at(p.cache), c.at(p.pageTable)
	return s
}

// spoilFrom writes NaN to what a sequence's pages hold from a position on.
func (p *paging) spoilFrom(seq, pos int) {
	for ; pos < p.MaxPages*kernels.PageSize; pos++ {
		for h := range 2 * p.KVHeads {
			for i := range p.HeadDim {
				p.cache.set(p.element(seq, pos, h)+i, math.NaN())
			}
		}
	}
}

// element is the first one that the cache holds of a position for a head: of keys, then of values.
func (p *paging) element(seq, pos, head int) int {
	page := int(p.table[seq*p.MaxPages+pos/kernels.PageSize])
	return (((page*p.Layers+p.Layer)*2*p.KVHeads+head)*kernels.PageSize + pos%kernels.PageSize) * p.HeadDim
}

func testKVStore(t *trial) {
	for i, h := range []heads{{1, 1, 8}, {1, 2, 64}, {1, 3, 24}, {16, 16, 8}} {
		t.combos(3, i == 0, func(dt []kernels.DType) {
			p := t.paging(h, dt[0], 3, 2)
			// Rows of three sequences at different positions, and some of none.
			var seqs, positions []int32
			for i := range 9 {
				seqs = append(seqs, int32(i%3))
				positions = append(positions, []int32{0, 63, 64, 127, 1, 70, 5, 126, 64}[i])
				if i%4 == 1 {
					seqs[i], positions[i] = -1, 1<<20
				}
			}
			rows := len(seqs)
			k := t.sprinkle(t.floats("k", dt[1], rows*h.kv*h.dim, 1)).per(h.kv * h.dim)
			v := t.sprinkle(t.floats("v", dt[2], rows*h.kv*h.dim, 1)).per(h.kv * h.dim)
			rowSeq, rowPos := t.ints("rowseq", seqs...).per(1), t.ints("rowpos", positions...).per(1)
			t.check(&problem{op: "KVStore", shape: fmt.Sprintf("%d rows, %d heads of %d", rows, h.kv, h.dim), rows: rows, exact: true,
				arrays: []*array{p.cache, p.pageTable, k, v, rowSeq, rowPos},
				call: func(c *call) {
					c.KVStore(kernels.KVStoreArgs{PagedShape: p.on(c), K: c.at(k), V: c.at(v), RowSeq: c.at(rowSeq), RowPos: c.at(rowPos), Rows: c.rows})
				}})
		})
	}
}

// attend is the problem of rows that attend to what the cache holds.
func (p *paging) attend(t *trial, o, q kernels.DType, seqs, positions []int32, scale float32) *problem {
	rows, width := len(seqs), p.q*p.dim
	out, in := t.output("o", o, rows*width).per(width), t.floats("q", q, rows*width, 1).per(width)
	rowSeq, rowPos := t.ints("rowseq", seqs...).per(1), t.ints("rowpos", positions...).per(1)
	return &problem{op: "AttentionPaged", shape: fmt.Sprintf("%d rows, up to %d pages, %d/%d heads of %d", rows, p.MaxPages, p.q, p.kv, p.dim), rows: rows,
		arrays: []*array{out, in, p.cache, p.pageTable, rowSeq, rowPos},
		call: func(c *call) {
			c.AttentionPaged(kernels.AttentionPagedArgs{PagedShape: p.on(c), O: c.at(out), Q: c.at(in), RowSeq: c.at(rowSeq), RowPos: c.at(rowPos),
				Rows: c.rows, Heads: p.q, Scale: scale})
		}}
}

func testAttentionPaged(t *trial) {
	// A tensor core's tile has 16 rows in two halves: KV heads have fewer heads than 8, more, and 16.
	mixed := []heads{{8, 2, 8}, {1, 1, 8}, {7, 1, 64}, {3, 3, 24}, {6, 2, 128}, {2, 2, 80}, {16, 1, 16}, {9, 3, 16}, {12, 1, 16}, {16, 1, 128}}
	// Of halves alone: 9 and more; of heads of 8, four at a time, all but one of them and all but two; a full tile, and a second one.
	halves := []heads{{9, 1, 64}, {9, 1, 24}, {9, 3, 8}, {18, 3, 8}, {16, 1, 8}, {20, 1, 8}, {20, 1, 16}}
	for i, h := range append(mixed, halves...) {
		try := func(o, q, cache kernels.DType) {
			p := t.paging(h, cache, 2, 3)
			p.cache = t.floats("cache", cache, p.cache.len(), 1)
			p.spoilFrom(0, 131)
			p.spoilFrom(1, 129)
			seqs, positions := []int32{0, 1, -1, 0, 1, 1, -1, 0}, []int32{0, 63, -7, 64, 127, 128, 1 << 20, 130}
			rows := p.attend(t, o, q, seqs, positions, 0.3)
			t.check(rows)
			if q == cache && h.q > 1 { // the scores of every second head are out of the others' reach
				uneven := p.attend(t, o, q, seqs, positions, 0.3)
				uneven.loose = 100
				in := uneven.arrays[1]
				for i := range in.len() {
					if i/p.dim%2 == 0 {
						in.set(i, 200*decode(q, getBits(q, in.data, i)))
					}
				}
				t.check(uneven)
			}
			if q == cache { // values that reach the rows from 64 on, and one more
				for h := range h.kv {
					p.cache.infinite(p.element(0, 64, h+p.KVHeads), p.HeadDim)
				}
				p.cache.set(p.element(1, 127, p.KVHeads)+p.HeadDim-1, math.Inf(1))
				t.check(rows)
			}
		}
		switch {
		case i >= len(mixed):
			for _, dt := range t.opt.DTypes {
				if dt.Size() == 2 {
					try(dt, dt, dt)
				}
			}
		case h.dim == 16: // for tensor cores, which want Q and the cache alike
			t.combos(2, true, func(dt []kernels.DType) { try(dt[0], dt[1], dt[1]) })
		default:
			t.combos(3, i == 0, func(dt []kernels.DType) { try(dt[0], dt[1], dt[2]) })
		}
	}
	testLongCaches(t)
	for _, dt := range t.opt.DTypes {
		testUnderflow(t, dt)
	}
}

// testUnderflow has sequences of 1 to 16 blocks of keys whose values underflow to -0 when the
// last one's scores come in: that block is followed by nothing, not even by 0.
func testUnderflow(t *trial, dt kernels.DType) {
	const blocks = 16
	p := t.paging(heads{1, 1, 8}, dt, 1, 2)
	for pos := range 2 * kernels.PageSize {
		last := pos / kernels.PageSize
		for i := range p.dim {
			p.cache.set(p.element(0, pos, 0)+i, float64(8*last))
			p.cache.set(p.element(0, pos, 1)+i, -1e-30*float64(1-last))
		}
	}
	quiet, loud := p.table[0], p.table[1]
	p.table = nil
	var seqs, positions []int32
	for n := range int32(blocks) {
		for b := range int32(blocks) {
			if b < n {
				p.table = append(p.table, quiet)
			} else {
				p.table = append(p.table, loud)
			}
		}
		seqs, positions = append(seqs, n), append(positions, (n+1)*kernels.PageSize-1)
	}
	p.MaxPages, p.NSeq, p.pageTable = blocks, blocks, t.ints("pagetable", p.table...)
	rows := p.attend(t, dt, dt, seqs, positions, 0.3)
	for i, q := 0, rows.arrays[1]; i < q.len(); i++ {
		q.set(i, 3)
	}
	t.check(rows)
}

// testLongCaches has more blocks of keys than kernels hold at once: halves of a sequence have
// three, so that one is fetched during work on others, and up to 18 are summed where 16 go
// together. Tables name few pages again and again, those of two sequences not in the same order.
func testLongCaches(t *trial) {
	var ends []int32 // in the third block and in the sixth
	for i := range int32(16) {
		block := 2 + (i+1)/2%2*3
		ends = append(ends, block*kernels.PageSize+i/2*8+(3*i+i/8*2)%8) // an even and an odd one of each 8 keys, each of 16 once
	}
	long := []int32{520, 799, 970, 1100} // of 9, 13, 16 and 18 blocks
	for _, s := range []struct {
		heads
		pages, maxPages int // different ones, and all
		positions       []int32
	}{
		{heads{8, 1, 8}, 7, 7, ends}, {heads{12, 1, 16}, 7, 7, ends}, {heads{12, 1, 128}, 7, 7, ends}, {heads{6, 3, 128}, 3, 7, []int32{340, 447}},
		{heads{20, 1, 8}, 13, 18, long}, {heads{20, 1, 16}, 13, 18, long}, {heads{2, 1, 128}, 13, 18, long}, {heads{2, 1, 64}, 13, 18, long},
		{heads{9, 3, 16}, 5, 5, []int32{300, 319}},
	} {
		for _, dt := range t.opt.DTypes {
			if s.dim == 128 && dt == kernels.F32 {
				continue // much work for what heads of 8 show too
			}
			p := t.paging(s.heads, dt, 1, s.pages)
			p.cache = t.floats("cache", dt, p.cache.len(), 1)
			loud, repeated := s.pages-1, s.pages
			if s.maxPages > 16 {
				repeated-- // block 15 alone has the last page
			}
			table := make([]int32, 2*s.maxPages)
			for b := range s.maxPages {
				table[b], table[s.maxPages+b] = p.table[b%repeated], p.table[(b+1)%repeated]
			}
			if s.maxPages > 16 {
				table[15], table[s.maxPages+15] = p.table[loud], p.table[loud]
				for h := range s.kv { // and scores larger than any before
					for i := range kernels.PageSize * s.dim {
						at := p.element(0, loud*kernels.PageSize, h) + i
						p.cache.set(at, 2*decode(dt, getBits(dt, p.cache.data, at)))
					}
				}
			}
			p.table, p.MaxPages, p.NSeq, p.pageTable = table, s.maxPages, 2, t.ints("pagetable", table...)
			seqs := make([]int32, len(s.positions))
			for i := range seqs {
				seqs[i] = int32(2 * i / len(seqs))
			}
			scale := float32(0.8 / math.Sqrt(float64(s.dim))) // so that every block has its part of the result
			t.check(p.attend(t, dt, dt, seqs, s.positions, scale))
		}
	}
}

// testPagedEqualsPrefill asks that attention over the cache has the bits of
// attention over the packed batch: in one go, in chunks of any size, token by
// token, and with a page that two sequences share.
func testPagedEqualsPrefill(t *trial) {
	type shape struct {
		heads
		lengths []int // the first two sequences have their first page in common
	}
	shapes := []shape{{heads{1, 1, 8}, []int{66, 67}}, {heads{2, 1, 16}, []int{70, 131, 1, 64}}, {heads{4, 2, 64}, []int{66, 65}}, {heads{3, 3, 8}, []int{129, 64, 128}},
		{heads{7, 1, 32}, []int{66, 130}}, {heads{2, 2, 80}, []int{65, 64}}, {heads{2, 1, 128}, []int{70, 129}}}
	if t.opt.Heavy {
		shapes = append(shapes, shape{heads{14, 2, 64}, []int{100, 200, 64}})
	}
	for _, s := range shapes {
		for _, dt := range t.opt.DTypes {
			starts := startsOf(s.lengths...)
			rows := last(starts)
			o := t.output("o", dt, rows*s.q*s.dim).per(s.q * s.dim)
			q := t.floats("q", dt, rows*s.q*s.dim, 1.5).per(s.q * s.dim)
			k := t.floats("k", dt, rows*s.kv*s.dim, 1).per(s.kv * s.dim)
			v := t.floats("v", dt, rows*s.kv*s.dim, 1).per(s.kv * s.dim)
			for _, a := range []*array{k, v} { // the shared page holds equal keys and values
				n := a.row * dt.Size()
				copy(a.data[int(starts[1])*n:][:kernels.PageSize*n], a.data[:kernels.PageSize*n])
			}
			prefill := &problem{op: "Attention", shape: fmt.Sprint(s), rows: rows, starts: starts, arrays: []*array{o, q, k, v},
				call: func(c *call) {
					c.Attention(kernels.AttentionArgs{O: c.at(o), Q: c.at(q), K: c.at(k), V: c.at(v), Starts: c.starts(),
						NSeq: c.nseq(), Rows: c.rows, Heads: s.q, KVHeads: s.kv, HeadDim: s.dim, Scale: 0.25})
				}}
			if !t.within(prefill) {
				continue
			}
			want, err := t.solve(t.dev, prefill, false, false)
			if err != nil {
				t.Errorf("%v: %v", prefill, err)
				return
			}
			for _, way := range []struct {
				name  string
				chunk func() int
			}{
				{"at once", func() int { return rows }},
				{"in chunks", func() int { return t.between(1, 50) }},
				{"token by token", func() int { return 1 }},
				{"page after page", func() int { return kernels.PageSize }},
			} {
				got, err := t.pagedRun(s.heads, dt, starts, q, k, v, way.chunk)
				if err == nil {
					if i := differ(dt, got, want[o]); i >= 0 {
						err = fmt.Errorf("o[%d] (row %d) is %s, from Attention it is %s", i, i/o.row, at(dt, got, i), at(dt, want[o], i))
					}
				}
				if err != nil {
					t.Errorf("AttentionPaged %s, sequences %v, %d/%d heads of %d, %v: %v", way.name, s.lengths, s.q, s.kv, s.dim, dt, err)
				}
			}
		}
	}
}

// pagedRun decodes all sequences side by side, chunk() rows of each at a time.
func (t *trial) pagedRun(h heads, dt kernels.DType, starts []int32, q, k, v *array, chunk func() int) ([]byte, error) {
	n := len(starts) - 1
	p := t.paging(h, dt, n, 5)
	p.table[5] = p.table[0] // the first page of sequences 0 and 1
	p.pageTable = t.ints("pagetable", p.table...)
	out := bytes.Repeat([]byte{0xEE}, len(q.data))
	keep := map[*array]*region{p.cache: t.region(t.dev, "cache", dt, p.cache.data), p.pageTable: t.region(t.dev, "pagetable", kernels.I32, p.pageTable.data)}
	defer func() {
		for _, r := range keep {
			t.dev.Free(r.buf.Mem)
		}
	}()
	done := make([]int, n)
	for {
		var seqs, positions []int32
		var from []int // packed rows
		for s := range n {
			length := int(starts[s+1] - starts[s])
			for range min(chunk(), length-done[s]) {
				seqs, positions = append(seqs, int32(s)), append(positions, int32(done[s]))
				from = append(from, int(starts[s])+done[s])
				done[s]++
			}
		}
		if len(seqs) == 0 {
			return out, nil
		}
		seqs, positions, from = append(seqs, -1), append(positions, 0), append(from, 0) // padding
		rows := len(seqs)
		take := func(a *array) *array {
			part := &array{name: a.name, dt: a.dt, row: a.row}
			for _, row := range from {
				size := a.row * a.dt.Size()
				part.data = append(part.data, a.data[row*size:][:size]...)
			}
			return part
		}
		o, q, k, v := t.output("o", dt, rows*q.row).per(q.row), take(q), take(k), take(v)
		rowSeq, rowPos := t.ints("rowseq", seqs...).per(1), t.ints("rowpos", positions...).per(1)
		step := &problem{op: "AttentionPaged", rows: rows, arrays: []*array{p.cache, p.pageTable, o, q, k, v, rowSeq, rowPos},
			call: func(c *call) {
				c.KVStore(kernels.KVStoreArgs{PagedShape: p.on(c), K: c.at(k), V: c.at(v), RowSeq: c.at(rowSeq), RowPos: c.at(rowPos), Rows: c.rows})
				c.AttentionPaged(kernels.AttentionPagedArgs{PagedShape: p.on(c), O: c.at(o), Q: c.at(q), RowSeq: c.at(rowSeq), RowPos: c.at(rowPos),
					Rows: c.rows, Heads: h.q, Scale: 0.25})
			}}
		c := t.stage(t.dev, step, 0, rows, keep, false)
		after, err := c.run()
		c.free(keep)
		if err != nil {
			return nil, err
		}
		size := o.row * dt.Size()
		for i, row := range from[:rows-1] {
			copy(out[row*size:][:size], after[o][i*size:][:size])
		}
	}
}
