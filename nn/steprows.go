package nn

import (
	"math"
	"slices"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/tensor"
)

// The arrays of a generation step, refilled for every step.

// stepRows are the tokens that a step computes.
type stepRows struct {
	tokens, seq, pos []int32
	table            []int32 // pages of every text
	texts, maxPages  int
	runs             []rowRun
	longest          int // positions of the longest text
}

func (r *stepRows) fill(parts []part) {
	*r = stepRows{
		tokens: r.tokens[:0], seq: r.seq[:0], pos: r.pos[:0], table: r.table[:0], runs: r.runs[:0],
		texts: len(parts), maxPages: 1,
	}
	for _, p := range parts {
		r.maxPages = max(r.maxPages, len(p.pages))
		r.longest = max(r.longest, p.cached+p.n)
	}
	for i, p := range parts {
		r.runs = append(r.runs, rowRun{start: len(r.tokens), end: len(r.tokens) + p.n, adapter: p.req.Adapter})
		for pos := p.cached; pos < p.cached+p.n; pos++ {
			r.tokens = append(r.tokens, p.tokens[pos])
			r.seq, r.pos = append(r.seq, int32(i)), append(r.pos, int32(pos))
		}
		r.table = append(r.table, p.pages...)
		for range r.maxPages - len(p.pages) {
			r.table = append(r.table, 0)
		}
	}
}

// begin puts the tables on a tape.
func (r *stepRows) begin(tp *tensor.Tape) tensor.PagedRows {
	return tensor.PagedRows{
		Seq: tp.FromInt32s(r.seq, len(r.seq)), Pos: tp.FromInt32s(r.pos, len(r.pos)),
		PageTable: tp.FromInt32s(r.table, r.texts, r.maxPages),
	}
}

// stepDraws are the texts that get a token in a step.
type stepDraws struct {
	texts    []*running
	last     []int32 // the row of each one's last token
	seq, pos []int32 // of that row
	runs     []rowRun
	settings []float32
	counters []int32
	ids      []int32
	logprobs []float32
}

func (d *stepDraws) fill(parts []part) {
	*d = stepDraws{
		texts: d.texts[:0], last: d.last[:0], seq: d.seq[:0], pos: d.pos[:0], runs: d.runs[:0],
		settings: d.settings[:0], counters: d.counters[:0], ids: d.ids, logprobs: d.logprobs,
	}
	row := 0
	for i, p := range parts {
		row += p.n
		if p.cached+p.n < len(p.tokens) {
			continue
		}
		topP := max(float32(p.req.TopP), math.SmallestNonzeroFloat32)
		if p.req.TopP == 0 {
			topP = 1
		}
		d.texts = append(d.texts, p.running)
		d.runs = append(d.runs, rowRun{start: len(d.last), end: len(d.last) + 1, adapter: p.req.Adapter})
		d.last = append(d.last, int32(row-1))
		d.seq, d.pos = append(d.seq, int32(i)), append(d.pos, int32(len(p.tokens)-1))
		d.settings = append(d.settings, float32(p.req.Temperature), topP, float32(p.req.TopK))
		d.counters = append(d.counters, int32(p.req.Key[0]), int32(p.req.Key[1]), int32(len(p.tokens)))
	}
}

// begin puts the rows' tables on a tape; the page table is that of all rows.
func (d *stepDraws) begin(tp *tensor.Tape, pages *tensor.Tensor) tensor.PagedRows {
	return tensor.PagedRows{Seq: tp.FromInt32s(d.seq, len(d.seq)), Pos: tp.FromInt32s(d.pos, len(d.pos)), PageTable: pages}
}

// draw samples a token for every text from its row of logits.
func (d *stepDraws) draw(tp *tensor.Tape, logits *tensor.Tensor) error {
	n := len(d.texts)
	ids, logprobs := tensor.Sample(tp, logits,
		tp.FromFloat32s(d.settings, n, kernels.SampleColumns), tp.FromInt32s(d.counters, n, kernels.DrawColumns))
	d.ids, d.logprobs = slices.Grow(d.ids[:0], n)[:n], slices.Grow(d.logprobs[:0], n)[:n]
	if err := ids.ReadInt32s(d.ids); err != nil {
		return err
	}
	return logprobs.ReadFloat32s(d.logprobs)
}
