package kerneltest

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/kernels"
)

// testErrors gives ops data they must refuse: the next Sync or CopyOut names
// the op and the offending value, guards hold, and the backend works on.
func testErrors(t *trial) {
	f32 := func(name string, n int) *array { return t.floats(name, kernels.F32, n, 1) }
	const headDim = 8   // as other cases have it: backends may have kernels of their own for others
	const wideHead = 64 // 3 rows of it are more than 6 of headDim
	x, y, w := f32("x", 3*wideHead), f32("y", 3*wideHead).as(sum), f32("w", 3*wideHead)
	h, lp := f32("h", 6*headDim).as(sum), f32("logprob", 3).as(sum)
	cache := f32("cache", 2*2*kernels.PageSize*headDim).as(sum)
	wide, wideOut := t.floats("wide", kernels.BF16, 2*128, 1), f32("wideOut", 2*128).as(sum)
	type bad struct {
		op, names string
		call      func(c *call)
		more      []*array // that other calls do not need
	}
	var list []bad
	add := func(op string, names any, call func(c *call), more ...*array) {
		list = append(list, bad{op, fmt.Sprint(names), call, more})
	}
	wideOutHalf := t.floats("wideOutHalf", kernels.BF16, 128, 1).as(sum)
	for _, id := range []int32{-1, 6, math.MaxInt32, math.MinInt32} {
		add("Gather", id, func(c *call) {
			c.Gather(kernels.GatherArgs{Dst: c.at(y), Src: c.at(w), Index: c.table("index", 0, 5, id), Rows: 3, Cols: 2, SrcRows: 6})
		})
		add("Embedding", id, func(c *call) {
			c.Embedding(kernels.EmbeddingArgs{Y: c.at(y), Table: c.at(w), IDs: c.table("ids", 0, id, 5), Rows: 3, Dim: 2, Vocab: 6})
		})
		add("EmbeddingBackward", id, func(c *call) {
			c.EmbeddingBackward(kernels.EmbeddingBackwardArgs{DTable: c.at(y), DY: c.at(x), IDs: c.table("ids", 0, id, 5), Starts: c.table("starts", 0, 3),
				NSeq: 1, Rows: 3, Dim: 2, Vocab: 6})
		})
		for _, dim := range []int{4, wideHead} {
			rope := func(c *call) kernels.RopeArgs {
				return kernels.RopeArgs{Y: c.at(y), X: c.at(x), Positions: c.table("positions", 0, id, 5), Cos: c.at(w), Sin: c.at(w), Rows: 3, Heads: 1, HeadDim: dim, MaxPos: 6}
			}
			add("Rope", id, func(c *call) { c.Rope(rope(c)) })
			add("RopeBackward", id, func(c *call) { c.RopeBackward(rope(c)) })
		}
		pair := func(c *call) kernels.RopeArgs { // of halves, queries and keys
			return kernels.RopeArgs{Y: c.at(wideOutHalf), X: c.at(wide), Y2: c.at(wideOutHalf).At(64), X2: c.at(wide).At(64),
				Positions: c.table("positions", 0, id, 5), Cos: c.at(w), Sin: c.at(w), Rows: 3, Heads: 1, Heads2: 1, HeadDim: 4, MaxPos: 6}
		}
		add("Rope", id, func(c *call) { c.Rope(pair(c)) }, wideOutHalf)
		add("RopeBackward", id, func(c *call) { c.RopeBackward(pair(c)) }, wideOutHalf)
		if id > 0 {
			add("CrossEntropy", id, func(c *call) {
				a := kernels.CrossEntropyArgs{LogProb: c.at(lp), DX: c.at(y), X: c.at(x), W: c.at(w), Targets: c.table("targets", 0, id, 5),
					Weights: c.at(x), Starts: c.table("starts", 0, 3), NSeq: 1, Rows: 3, Dim: 2, Vocab: 6}
				a.Scratch = c.scratch(c.CrossEntropyScratch(a))
				c.CrossEntropy(a)
			})
		}
	}
	for _, starts := range [][]int32{{0, 4, 9}, {0, 2, 1}, {-3, 0, 2}} {
		add("Attention", "", func(c *call) {
			c.Attention(kernels.AttentionArgs{O: c.at(y), Q: c.at(x), K: c.at(x), V: c.at(w), Starts: c.table("starts", starts...),
				NSeq: 2, Rows: 6, Heads: 1, KVHeads: 1, HeadDim: headDim, Scale: 1})
		})
		add("LinearBackwardWeight", "", func(c *call) {
			c.LinearBackwardWeight(kernels.LinearBackwardWeightArgs{DW: c.at(y), DY: c.at(x), X: c.at(w), Starts: c.table("starts", starts...), NSeq: 2, Rows: 6, In: 2, Out: 2})
		})
	}
	lora := func(c *call, segs []kernels.Segment) {
		c.LoRA(kernels.LoRAArgs{Y: c.at(y), H: c.at(h), X: c.at(x), A: c.at(w), B: c.at(w), Segments: c.table("segments", segmentInts(segs)...),
			NSeg: len(segs), Rows: 6, In: 2, Out: 2, MaxRank: 2})
	}
	loraBackward := func(c *call, segs []kernels.Segment) {
		a := kernels.LoRABackwardArgs{DX: c.at(y), DA: c.at(h), DB: c.at(cache), DY: c.at(x), X: c.at(w), H: c.at(x), A: c.at(w), B: c.at(w),
			Segments: c.table("segments", segmentInts(segs)...), NSeg: len(segs), Rows: 6, In: 2, Out: 2, MaxRank: 2}
		a.Scratch = c.scratch(c.LoRABackwardScratch(a))
		c.LoRABackward(a)
	}
	for _, segs := range badSegments() {
		add("LoRA", "", func(c *call) { lora(c, segs) })
		add("LoRABackward", "", func(c *call) { loraBackward(c, segs) })
	}
	for _, row := range []pagedRow{ // a cache of two pages, of which the second in the table is none
		{pages: []int32{1, 5003}, seq: 1}, {pages: []int32{1, 5003}, pos: -1}, {pages: []int32{1, 5003}, pos: 2 * kernels.PageSize},
		{pages: []int32{1, 5003}, pos: kernels.PageSize, names: "5003"}, {pages: []int32{1, 2}, pos: kernels.PageSize, names: "2"},
	} {
		add("KVStore", row.names, func(c *call) {
			c.KVStore(kernels.KVStoreArgs{
				PagedShape: kernels.PagedShape{Cache: c.at(cache), PageTable: c.table("pagetable", row.pages...), Pages: 2, Layers: 1, MaxPages: 2, NSeq: 1, KVHeads: 1, HeadDim: headDim},
				K:          c.at(x), V: c.at(w), RowSeq: c.table("rowseq", row.seq), RowPos: c.table("rowpos", row.pos), Rows: 1})
		})
	}
	// Caches of one page; kernels differ by storage and by the size of heads.
	wideCache, wideCacheF32 := t.floats("wideCache", kernels.BF16, 2*kernels.PageSize*128, 1), f32("wideCacheF32", 2*kernels.PageSize*128)
	wideF32 := f32("wideF32", 128)
	for _, of := range []struct {
		o, q, cache *array
		dim         int
	}{{y, x, cache, headDim}, {wideOut, wideF32, wideCacheF32, 128}, {wideOutHalf, wide, wideCache, headDim}, {wideOutHalf, wide, wideCache, 128}, {wideOutHalf, wide, wideCache, 16}} {
		for _, row := range badPagedRows() {
			add("AttentionPaged", row.names, func(c *call) {
				c.AttentionPaged(kernels.AttentionPagedArgs{
					PagedShape: kernels.PagedShape{Cache: c.at(of.cache), PageTable: c.table("pagetable", row.pages...), Pages: 1, Layers: 1,
						MaxPages: len(row.pages), NSeq: 1, KVHeads: 1, HeadDim: of.dim},
					O: c.at(of.o), Q: c.at(of.q), RowSeq: c.table("rowseq", row.seq), RowPos: c.table("rowpos", row.pos), Rows: 1, Heads: 1, Scale: 1})
			}, wideCache, wideCacheF32, wideF32, wideOutHalf)
		}
	}
	// A group, and places, that there are not.
	for _, run := range []kernels.Param{{Group: 5, Count: 3}, {Offset: 1 << 20, Count: 2}, {Offset: -1, Count: 3}, {Offset: 3, Count: -1}} {
		table := run.AppendTo(nil)
		add("GradNorm", "", func(c *call) {
			c.GradNorm(kernels.GradNormArgs{SumSquares: c.at(y), Grad: c.at(x), Table: c.table("table", table...), NParam: 1, Groups: 1})
		})
		add("AdamW", "", func(c *call) {
			c.AdamW(kernels.AdamWArgs{P: c.at(y), Grad: c.at(h), M: c.at(lp), V: c.at(cache), SumSquares: c.at(x), Settings: c.at(w),
				Table: c.table("table", table...), NParam: 1, Groups: 1})
		})
	}

	// Of several bad rows the first is named.
	const first, second = 4001, 977
	starts := []int32{0, first, second}
	add("Gather", first, func(c *call) {
		c.Gather(kernels.GatherArgs{Dst: c.at(y), Src: c.at(w), Index: c.table("index", 0, first, second), Rows: 3, Cols: 2, SrcRows: 6})
	})
	add("EmbeddingBackward", first, func(c *call) {
		c.EmbeddingBackward(kernels.EmbeddingBackwardArgs{DTable: c.at(y), DY: c.at(x), IDs: c.table("ids", 0, first, second), Starts: c.table("starts", 0, 3),
			NSeq: 1, Rows: 3, Dim: 2, Vocab: 6})
	})
	add("EmbeddingBackward", first, func(c *call) {
		c.EmbeddingBackward(kernels.EmbeddingBackwardArgs{DTable: c.at(y), DY: c.at(x), IDs: c.table("ids", 0, 1, 2), Starts: c.table("starts", starts...),
			NSeq: 2, Rows: 3, Dim: 2, Vocab: 6})
	})
	add("Rope", first, func(c *call) {
		c.Rope(kernels.RopeArgs{Y: c.at(y), X: c.at(x), Positions: c.table("positions", 0, first, second), Cos: c.at(w), Sin: c.at(w), Rows: 3, Heads: 1, HeadDim: 4, MaxPos: 6})
	})
	add("RopeBackward", first, func(c *call) {
		c.RopeBackward(kernels.RopeArgs{Y: c.at(y), X: c.at(x), Positions: c.table("positions", 0, first, second), Cos: c.at(w), Sin: c.at(w), Rows: 3, Heads: 1, HeadDim: 4, MaxPos: 6})
	})
	crossEntropy := func(c *call, dx *array, targets, starts []int32) {
		a := kernels.CrossEntropyArgs{LogProb: c.at(lp), DX: c.at(dx), DW: c.at(h), X: c.at(x), W: c.at(w), Targets: c.table("targets", targets...),
			Weights: c.at(x), Starts: c.table("starts", starts...), NSeq: len(starts) - 1, Rows: 3, Dim: 2, Vocab: 6}
		a.Scratch = c.scratch(c.CrossEntropyScratch(a))
		c.CrossEntropy(a)
	}
	add("CrossEntropy", first, func(c *call) { crossEntropy(c, y, []int32{0, first, second}, []int32{0, 3}) })
	for _, dx := range []*array{y, nil} {
		add("CrossEntropy", first, func(c *call) { crossEntropy(c, dx, []int32{0, 1, 2}, starts) })
	}
	add("CrossEntropy", 6, func(c *call) { crossEntropy(c, y, []int32{0, 6, 5}, []int32{0, 3}) })
	for _, of := range []struct {
		q, o *array
		dim  int
	}{{x, y, headDim}, {wide, wideOut, 128}} {
		add("Attention", first, func(c *call) {
			c.Attention(kernels.AttentionArgs{O: c.at(of.o), Q: c.at(of.q), K: c.at(of.q), V: c.at(of.q), Starts: c.table("starts", starts...),
				NSeq: 2, Rows: 2, Heads: 1, KVHeads: 1, HeadDim: of.dim, Scale: 1})
		})
		add("AttentionBackward", first, func(c *call) {
			a := kernels.AttentionBackwardArgs{DQ: c.at(of.o), DK: c.at(y), DV: c.at(h), DO: c.at(wideOut), O: c.at(of.q), LSE: c.at(lp), Q: c.at(of.q), K: c.at(of.q), V: c.at(of.q),
				Starts: c.table("starts", starts...), NSeq: 2, Rows: 2, Heads: 1, KVHeads: 1, HeadDim: of.dim, Scale: 1}
			a.Scratch = c.scratch(c.AttentionBackwardScratch(a))
			c.AttentionBackward(a)
		})
	}
	add("LinearBackwardWeight", first, func(c *call) {
		c.LinearBackwardWeight(kernels.LinearBackwardWeightArgs{DW: c.at(y), DY: c.at(x), X: c.at(w), Starts: c.table("starts", starts...), NSeq: 2, Rows: 6, In: 2, Out: 2})
	})
	add("LinearBackwardWeight", first, func(c *call) {
		c.LinearBackwardWeight(kernels.LinearBackwardWeightArgs{DBias: c.at(y), DY: c.at(x), X: c.at(w), Starts: c.table("starts", starts...), NSeq: 2, Rows: 6, In: 2, Out: 2})
	})
	add("RMSNormBackward", first, func(c *call) {
		c.RMSNormBackward(kernels.RMSNormBackwardArgs{DX: c.at(y), DW: c.at(h), DY: c.at(x), X: c.at(w), W: c.at(x), Starts: c.table("starts", starts...), NSeq: 2, Rows: 6, Dim: 2, Eps: 1})
	})
	segments := []kernels.Segment{{RowStart: 0, RowEnd: 3, Rank: first}, {RowStart: 3, RowEnd: 6, Rank: second}}
	add("LoRA", first, func(c *call) { lora(c, segments) })
	add("LoRABackward", first, func(c *call) { loraBackward(c, segments) })
	for _, rows := range [][2][]int32{{{first, second}, {0, 0}}, {{0, 0}, {first, second}}} {
		shape := func(c *call) kernels.PagedShape {
			return kernels.PagedShape{Cache: c.at(cache), PageTable: c.table("pagetable", 1, 7), Pages: 2, Layers: 1, MaxPages: 2, NSeq: 1, KVHeads: 1, HeadDim: headDim}
		}
		add("KVStore", first, func(c *call) {
			c.KVStore(kernels.KVStoreArgs{PagedShape: shape(c), K: c.at(x), V: c.at(w), RowSeq: c.table("rowseq", rows[0]...), RowPos: c.table("rowpos", rows[1]...), Rows: 2})
		})
		add("AttentionPaged", first, func(c *call) {
			c.AttentionPaged(kernels.AttentionPagedArgs{PagedShape: shape(c), O: c.at(y), Q: c.at(x), RowSeq: c.table("rowseq", rows[0]...), RowPos: c.table("rowpos", rows[1]...),
				Rows: 2, Heads: 1, Scale: 1})
		})
	}
	// A row behind the last sequence or the last page, at a place where another row's key goes.
	halves := t.floats("halves", kernels.BF16, 2*kernels.PageSize*64, 1).as(sum)
	for _, of := range []struct {
		cache, from *array
		dim         int
	}{{cache, x, headDim}, {halves, wide, 64}} {
		for _, row := range []pagedRow{{seq: 1, pos: 5, names: "1"}, {pos: 5 + kernels.PageSize, names: "69"}} {
			add("KVStore", row.names, func(c *call) {
				c.KVStore(kernels.KVStoreArgs{
					PagedShape: kernels.PagedShape{Cache: c.at(of.cache), PageTable: c.table("pagetable", 0), Pages: 1, Layers: 1, MaxPages: 1, NSeq: 1, KVHeads: 1, HeadDim: of.dim},
					K:          c.at(of.from), V: c.at(of.from), RowSeq: c.table("rowseq", 0, row.seq), RowPos: c.table("rowpos", 5, row.pos), Rows: 2})
			}, halves)
		}
	}
	bothFar := kernels.Param{Group: second, Count: 3}.AppendTo(kernels.Param{Group: first, Count: 3}.AppendTo(nil))
	add("GradNorm", first, func(c *call) {
		c.GradNorm(kernels.GradNormArgs{SumSquares: c.at(y), Grad: c.at(x), Table: c.table("table", bothFar...), NParam: 2, Groups: 1})
	})
	add("AdamW", first, func(c *call) {
		c.AdamW(kernels.AdamWArgs{P: c.at(y), Grad: c.at(h), M: c.at(lp), V: c.at(cache), SumSquares: c.at(x), Settings: c.at(w),
			Table: c.table("table", bothFar...), NParam: 2, Groups: 1})
	})
	for _, of := range []struct {
		topP float64 // of row 1; the last row has a bad top-k
		row  string
	}{{math.NaN(), "row 1"}, {1, "row 2"}} {
		settings := t.floats("settings", kernels.F32, 3*kernels.SampleColumns, 1)
		for i := range settings.len() {
			settings.set(i, 1)
		}
		settings.set(kernels.SampleColumns+kernels.SampleTopP, of.topP)
		settings.set(2*kernels.SampleColumns+kernels.SampleTopK, -1)
		for _, logProb := range []*array{nil, lp} {
			add("Sample", of.row, func(c *call) {
				c.Sample(kernels.SampleArgs{IDs: c.table("ids", 0, 0, 0), LogProb: c.at(logProb), Logits: c.at(x), Settings: c.at(settings),
					Draws: c.table("draws", make([]int32, 3*kernels.DrawColumns)...), Rows: 3, Vocab: 4})
			}, settings)
		}
	}

	arrays := slices.Clip([]*array{x, y, w, h, lp, cache, wide, wideOut})
	for i, b := range list {
		for _, later := range []bool{false, true} { // than something else that is refused
			if !t.wanted() {
				continue
			}
			end := t.placed(b.op)
			c := t.stage(t.dev, &problem{op: b.op, rows: 0, whole: true, arrays: append(arrays, b.more...)}, 0, 0, nil, false)
			refused := bad{op: "Gather", names: "5003", call: func(c *call) {
				c.Gather(kernels.GatherArgs{Dst: c.at(y), Src: c.at(w), Index: c.table("index", 0, 0, 5003), Rows: 3, Cols: 1, SrcRows: 6})
			}}
			one, other := b, refused
			if later {
				one, other = refused, b
			}
			one.call(c)
			other.call(c) // must not hide the first
			var err error
			if i%2 == 0 {
				err = t.dev.Sync()
			} else {
				err = t.dev.CopyOut(make([]byte, 4), c.at(y))
			}
			// Names are compared as words: "Rope" is not named by "RopeBackward".
			if err == nil {
				t.Errorf("%s with bad data, case %d: no error", b.op, i)
			} else if s := strings.ToLower(err.Error()); !strings.Contains(" "+s, " "+strings.ToLower(one.op)+":") || !strings.Contains(s, strings.ToLower(one.names)) {
				t.Errorf("%s with bad data, case %d: the error %q does not name the op and the value %s", one.op, i, err, one.names)
			}
			if err := t.dev.Sync(); err != nil {
				t.Errorf("%s with bad data, case %d: the error came back a second time: %v", b.op, i, err)
			}
			for _, r := range c.regions {
				if _, err := r.fetch(t.dev); err != nil {
					t.Errorf("%s with bad data, case %d: %v", b.op, i, err)
				}
			}
			c.free(nil)
			end()
		}
	}
	n := t.floats("a", kernels.F32, 5, 1).per(1)
	dst := t.output("dst", kernels.F32, 5).per(1)
	t.check(&problem{op: "Add", shape: "after errors", rows: 5, arrays: []*array{n, dst},
		call: func(c *call) { c.Add(kernels.AddArgs{Dst: c.at(dst), A: c.at(n), B: c.at(n), N: c.rows}) }})
}

// badSegments are tables of segments for 6 rows, ranks up to 2 and matrices of 2 columns
// and rows, one of which must be refused.
func badSegments() (tables [][]kernels.Segment) {
	for _, s := range []kernels.Segment{
		{RowStart: -1, RowEnd: 2, Rank: 1}, {RowStart: 0, RowEnd: 9, Rank: 1}, {RowStart: 2, RowEnd: 1, Rank: 1},
		{RowStart: 0, RowEnd: 3, Rank: 5}, {RowStart: 0, RowEnd: 3, Rank: 1<<16 + 1}, {RowStart: 0, RowEnd: 3, Rank: -1},
		{RowStart: 0, RowEnd: 3, Rank: 1, AOffset: -2}, {RowStart: 0, RowEnd: 3, Rank: 1, BOffset: -2}} {
		tables = append(tables, []kernels.Segment{s})
	}
	// A segment that begins before the end of another, with none but empty ones between:
	// a warp looks at 32 at a time, and these are its first and last, or of two turns.
	for _, at := range [][2]int{{0, 31}, {20, 32}} {
		segs := slices.Repeat([]kernels.Segment{{Rank: 1, Scale: 1}}, at[1]+1)
		segs[at[0]].RowEnd = 3
		segs[at[1]].RowStart, segs[at[1]].RowEnd = 1, 4
		tables = append(tables, segs)
	}
	return tables
}

// pagedRow is a row of a batch and the pages of its sequence.
type pagedRow struct {
	pages    []int32
	seq, pos int32
	names    string
}

// badPagedRows are rows that attention over a cache of one page and one sequence must refuse.
func badPagedRows() []pagedRow {
	two := []int32{0, 5003}
	// A block's threads share the pages that a row sees: as many as there are threads, or
	// several times as many.
	const long = 160
	otherWarp := make([]int32, long+1)
	otherWarp[127] = 5003 // the last thread of the last warp looks at it, where there are four
	laterTurn := make([]int32, long+1)
	laterTurn[100], laterTurn[long] = 5003, 977 // the latter lies behind all that the row sees
	return []pagedRow{
		{two, 1, 0, ""}, {two, 4001, 0, "4001"},
		{two, 0, -1, ""}, {two, 0, 2 * kernels.PageSize, ""}, {two, 0, 60_007, "60007"},
		{two, 0, kernels.PageSize, "5003"}, {[]int32{0, 1}, 0, kernels.PageSize, ""},
		{otherWarp, 0, 127 * kernels.PageSize, "5003"}, {laterTurn, 0, long*kernels.PageSize - 1, "5003"},
	}
}
