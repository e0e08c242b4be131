package cuda

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// TuneCase is a launch that variants are compared on.
type TuneCase struct {
	Op    string        // of the table
	DType kernels.DType // of activations, and of weights, keys and values unless Weights says otherwise
	// Weights may be Invalid.
	Weights kernels.DType

	Rows, In, Out           int // of a product's layer, or of the loss: hidden elements and vocabulary
	Parts                   int // sequences or segments that share the rows
	Rank                    int // of LoRA
	Heads, KVHeads, HeadDim int // of attention

	ragged bool // LoRA's segments are unlike each other, see segments
	low    bool // some rows of the loss have logits far below zero, see low
}

func (c TuneCase) weights() kernels.DType {
	if c.Weights == kernels.Invalid {
		return c.DType
	}
	return c.Weights
}

func (c TuneCase) attention() bool { return strings.HasPrefix(c.Op, "attention") }
func (c TuneCase) lora() bool      { return strings.HasPrefix(c.Op, "lora") }

func (c TuneCase) String() string {
	s := fmt.Sprintf("%s %v %d×%d→%d", c.Op, c.DType, c.Rows, c.In, c.Out)
	switch {
	case c.attention():
		s = fmt.Sprintf("%s %v %d rows in %d, %d/%d heads of %d", c.Op, c.DType, c.Rows, c.Parts, c.Heads, c.KVHeads, c.HeadDim)
	case c.lora():
		s += fmt.Sprintf(" rank %d, %d segments", c.Rank, c.Parts)
	}
	if w := c.weights(); w != c.DType {
		s += fmt.Sprintf(", %v weights", w)
	}
	return s
}

// check reports a case that is none.
func (c TuneCase) check() error {
	if !slices.Contains(TuneOps(), c.Op) {
		return fmt.Errorf("tune %q: expected one of %v", c.Op, TuneOps())
	}
	sizes := []int{c.Rows, c.Parts, c.In, c.Out}
	if c.attention() {
		sizes = []int{c.Rows, c.Parts, c.Heads, c.KVHeads, c.HeadDim}
	}
	if c.lora() {
		sizes = append(sizes, c.Rank)
	}
	if slices.Min(sizes) < 1 || !c.DType.IsFloat() || !c.weights().IsFloat() {
		return fmt.Errorf("tune %v: expected positive sizes of a float storage", c)
	}
	return nil
}

// engine is what multiplies in the op's kernel.
func (c TuneCase) engine() engine {
	half := kernel.MMA(c.DType, c.weights())
	switch {
	case c.Op == "linear_backward_weight" || c.Op == "loss_weight" || c.lora():
		half = false // an operand is a gradient, or the adapter, in f32
	case c.Op == "attention":
		half = kernel.AttentionHalf(c.DType, c.weights(), c.HeadDim)
	case c.attention():
		half = kernel.AttentionHalfBackward(c.DType, c.weights(), kernels.F32, c.HeadDim)
	case strings.HasPrefix(c.Op, "loss"):
		half = c.DType == kernels.BF16 && c.weights() == kernels.BF16
	}
	if half {
		return byMMA
	}
	return byFMA
}

// small is a case of the same kernels that the reference computes at once: sums of two
// chunks and a part, several sequences.
func (c TuneCase) small() TuneCase {
	depth := 2*kernel.ChunkF32 + 40
	if c.engine() == byMMA {
		depth = 2*kernel.ChunkMMA + 40
	}
	most := func(n *int, limit int) { *n = min(*n, limit) }
	most(&c.Parts, 4)
	most(&c.Rank, 24)
	switch {
	case c.attention():
		most(&c.Rows, 140)
		most(&c.Parts, 2)
		c.Heads, c.KVHeads = 2, 1
	case c.Op == "linear_backward_weight":
		most(&c.Rows, depth)
		most(&c.In, 88)
		most(&c.Out, 36)
	case c.Op == "linear_backward_input":
		most(&c.Rows, 36)
		most(&c.In, 88)
		most(&c.Out, depth)
	case strings.HasPrefix(c.Op, "loss"):
		most(&c.Rows, 90)
		most(&c.In, 88)
		most(&c.Out, 640)
	case c.lora():
		most(&c.Rows, 90)
		most(&c.In, 160)
		most(&c.Out, 96)
	default:
		most(&c.Rows, 36)
		most(&c.In, depth)
		most(&c.Out, 88)
	}
	return c
}

// TuneOps are the ops that have variants.
func TuneOps() []string {
	var ops []string
	for _, v := range variants {
		if !slices.Contains(ops, v.op) {
			ops = append(ops, v.op)
		}
	}
	return ops
}

// Timing is what was found of a variant on a case.
type Timing struct {
	Case    TuneCase
	Variant string // its sizes, as a row of the table says them
	Row     string // for launches as small as the case
	Chosen  bool   // the table's own choice
	Seconds float64
	Spread  float64 // (slowest − fastest)/median of the samples
	// Estimated: from the emulator's profile and the data sheet, not measured.
	Estimated bool
	Err       error // why it cannot be used: too much shared memory, spills, other bits
}

// sizesText is a variant's sizes as a row of the table says them.
func (v variant) sizesText() string {
	if v.block != (kernel.AttentionSizes{}) {
		var list []string
		add := func(name string, n int) {
			if n > 0 {
				list = append(list, fmt.Sprintf("%s: %d", name, n))
			}
		}
		add("Rows", v.block.Rows)
		add("Keys", v.block.Keys)
		add("Stages", v.block.Stages)
		add("Blocks", v.block.Blocks)
		return "block: kernel.AttentionSizes{" + strings.Join(list, ", ") + "}"
	}
	s := fmt.Sprintf("tile: sizes(%d, %d, %d, %d, %d, %d)", v.tile.BM, v.tile.BN, v.tile.BK, v.tile.WarpsM, v.tile.WarpsN, v.tile.Stages)
	if v.split > 0 {
		s += fmt.Sprintf(", split: %d", v.split)
	}
	return s
}

// rowText is a row of the table that has these sizes for launches as small as a case.
func (v variant) rowText(c TuneCase) string {
	e := "byFMA"
	if v.engine == byMMA {
		e = "byMMA"
	}
	s := fmt.Sprintf("{op: %q, engine: %s, sm: %d, ", v.op, e, v.sm)
	switch {
	case c.attention():
		s += fmt.Sprintf("rows: %d, dim: %d, ", kernel.CeilDiv(c.Rows, c.Parts), c.HeadDim)
	case c.lora():
		s += fmt.Sprintf("rows: %d, ", kernel.CeilDiv(c.Rows, c.Parts))
	case c.Op == "linear_backward_weight", c.Op == "loss_weight": // rows are the weights'
		s += fmt.Sprintf("rows: %d, ", c.Out)
	default:
		s += fmt.Sprintf("rows: %d, ", c.Rows)
	}
	return s + v.sizesText() + "},"
}

// tuner is what a backend knows of a tuning under way.
type tuner struct {
	on     bool
	trying *variant   // to be taken instead of the table's choice, by launches of its op
	next   variant    // what the next launch was given
	made   []launched // since the tuner was last cleared
}

// launched is a kernel with its launch, and the row that gave it its sizes, if any.
type launched struct {
	kernel.Any
	launch kernel.Launch
	row    variant
}

// choice is choose, unless a variant is being tried.
func (b *Backend) choice(op string, e engine, s shape, shared func(variant) int) variant {
	v := b.tuner.trying
	if v == nil || v.op != op || v.engine != e {
		chosen := choose(b.info, op, e, s, shared)
		v = &chosen
	} else {
		shared(*v) // may set sizes, as choose does
	}
	b.tuner.next = *v
	return *v
}

// note remembers a launch for a tuning.
func (t *tuner) note(k kernel.Any, l kernel.Launch) {
	if t.on && !slices.ContainsFunc(t.made, func(o launched) bool { return o.Any == k }) {
		t.made = append(t.made, launched{k, l, t.next})
	}
	t.next = variant{}
}

// kernels are those of an op that were launched.
func (t *tuner) kernels(op string) (list []launched) {
	for _, l := range t.made {
		if l.row.op == op {
			list = append(list, l)
		}
	}
	return list
}

// candidates are the rows of the table for a case, and the sizes around them: other
// depths and numbers of stages, rows, and blocks at once.
func candidates(c TuneCase) []variant {
	var list []variant
	add := func(v variant) {
		v = variant{op: v.op, engine: v.engine, sm: v.sm, tile: v.tile, split: v.split, block: v.block}
		if !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	var rows []variant
	for _, v := range variants {
		if v.op == c.Op && v.engine == c.engine() && (v.dim == 0 || c.HeadDim <= v.dim) {
			rows = append(rows, v)
			add(v)
		}
	}
	vary := func(v *variant, field *int, values ...int) { // field is one of v, and 0 if it has none
		own := *field
		for _, n := range values {
			if own > 0 {
				*field = n
				add(*v)
			}
		}
		*field = own
	}
	for _, v := range rows {
		for _, bk := range []int{v.tile.BK / 2, v.tile.BK, v.tile.BK * 2} {
			t := v
			if t.tile.BK = bk; bk >= 16 && bk <= 128 {
				vary(&t, &t.tile.Stages, 2, 3, 4, 5)
			}
		}
		for _, rows := range []int{16, 32, 64, 128} {
			t := v
			if t.block.Rows = rows; v.block.Rows == 0 || v.block.Rows < 32 {
				continue
			}
			vary(&t, &t.block.Keys, 32, 64)
			vary(&t, &t.block.Stages, 2, 3)
			vary(&t, &t.block.Blocks, 1, 2, 3, 4)
		}
	}
	return list
}

// TuneOptions say how much is measured.
type TuneOptions struct {
	Samples int // of each variant; 0: 7
	// Reference is a backend that results are held to; may be nil.
	Reference kernels.Backend
	// Report gets every timing as it is found; may be nil.
	Report func(Timing)
}

// Tune compares the variants of a case, fastest first. The table's choice must agree with
// the reference on a small case, and each variant must give the bits that it gives, there
// and on the case. On a GPU launches are timed by events with the L2 cache emptied before
// each; on the emulator they are ranked by its profile.
func (b *Backend) Tune(ctx context.Context, c TuneCase, opt TuneOptions) ([]Timing, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if opt.Samples == 0 {
		opt.Samples = 7
	}
	b.tuner = tuner{on: true}
	defer func() { b.tuner = tuner{} }()
	var runs []*tuning // the small one, then the case
	defer func() {
		for _, r := range runs {
			r.close()
		}
	}()
	for _, of := range []TuneCase{c.small(), c} {
		if len(runs) > 0 && of == runs[0].of {
			break
		}
		run, err := b.newTuning(of)
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
		if opt.Reference != nil && len(runs) == 1 {
			if err := run.agrees(opt.Reference); err != nil {
				return nil, err
			}
		}
	}
	run := runs[len(runs)-1]
	chosen := run.choice.sizesText()
	var out []Timing
	for _, cand := range candidates(c) {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		t := Timing{Case: c, Variant: cand.sizesText(), Row: cand.rowText(c), Chosen: cand.sizesText() == chosen}
		b.tuner.trying = &cand
		for _, r := range runs {
			if t.Err == nil {
				t.Err = r.same()
			}
		}
		if t.Err == nil {
			t.Seconds, t.Spread, t.Estimated, t.Err = run.time(opt.Samples)
		}
		b.tuner.trying = nil
		if b.lost != nil {
			return out, b.lost
		}
		if opt.Report != nil {
			opt.Report(t)
		}
		out = append(out, t)
	}
	slices.SortStableFunc(out, func(x, y Timing) int {
		if (x.Err == nil) != (y.Err == nil) {
			if x.Err == nil {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.Seconds, y.Seconds)
	})
	return out, nil
}
