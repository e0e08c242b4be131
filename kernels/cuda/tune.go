package cuda

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// TuneCase is a launch that variants are compared on: y [Rows, Out] = x [Rows, In]·wᵀ
// or a gradient of it, all operands of one storage.
type TuneCase struct {
	Op            string // linear, linear_backward_input or linear_backward_weight
	DType         kernels.DType
	Rows, In, Out int
}

func (c TuneCase) String() string {
	return fmt.Sprintf("%s %v %d×%d→%d", c.Op, c.DType, c.Rows, c.In, c.Out)
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
	Variant string // as a row of the table says it
	Chosen  bool   // the table's own choice
	Seconds float64
	Spread  float64 // (slowest − fastest)/median of the samples
	// Estimated: from the emulator's profile and the data sheet, not measured.
	Estimated bool
	Err       error // why it cannot be used: too much shared memory, spills, other bits
}

// candidate is a variant that may be tried.
type candidate struct {
	tile  kernel.Tile
	split int
}

func (c candidate) String() string {
	s := fmt.Sprintf("tile: sizes(%d, %d, %d, %d, %d, %d)", c.tile.BM, c.tile.BN, c.tile.BK, c.tile.WarpsM, c.tile.WarpsN, c.tile.Stages)
	if c.split > 0 {
		s += fmt.Sprintf(", split: %d", c.split)
	}
	return s
}

// tuner is what a backend knows of a tuning under way.
type tuner struct {
	trying   *candidate // to be taken instead of the table's choice
	picked   candidate  // what was taken last
	launched kernel.Any // the last kernel
}

// pick is choose, unless a variant is being tried.
func (b *Backend) pick(op string, t kernel.Tile, rows, cols, depth int) (kernel.Tile, int) {
	own, split := choose(b.info, op, t, rows, cols, depth)
	if b.tuner.trying != nil {
		f := b.tuner.trying.tile
		own.BM, own.BN, own.BK, own.WarpsM, own.WarpsN, own.Stages = f.BM, f.BN, f.BK, f.WarpsM, f.WarpsN, f.Stages
		split = b.tuner.trying.split
	}
	b.tuner.picked = candidate{sizes(own.BM, own.BN, own.BK, own.WarpsM, own.WarpsN, own.Stages), split}
	return own, split
}

// candidates are the rows of the table for an op and engine, and for those without a
// split the tiles around them: other depths and numbers of stages.
func candidates(op string, e engine) []candidate {
	var list []candidate
	add := func(c candidate) {
		if !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	for _, v := range variants {
		if v.op == op && v.engine == e {
			add(candidate{v.tile, v.split})
		}
	}
	for _, v := range variants {
		if v.op != op || v.engine != e || v.split > 0 {
			continue
		}
		for _, bk := range []int{v.tile.BK / 2, v.tile.BK, v.tile.BK * 2} {
			for stages := 2; stages <= 5; stages++ {
				t := v.tile
				t.BK, t.Stages = bk, stages
				if bk >= 16 && bk <= 128 {
					add(candidate{t, 0})
				}
			}
		}
	}
	return list
}

// TuneOptions say how much is measured.
type TuneOptions struct {
	Samples int // of each variant; 0: 7
	// Report gets every timing as it is found; may be nil.
	Report func(Timing)
}

// Tune compares the variants of a case, fastest first. Each must give the bits that
// the table's choice gives, which the conformance suite holds to the reference. On a
// GPU launches are timed by events with the L2 cache emptied before each; on the
// emulator they are ranked by its profile.
func (b *Backend) Tune(ctx context.Context, c TuneCase, opt TuneOptions) ([]Timing, error) {
	if !slices.Contains(TuneOps(), c.Op) {
		return nil, fmt.Errorf("tune %q: expected one of %v", c.Op, TuneOps())
	}
	if c.Rows < 1 || c.In < 1 || c.Out < 1 || !c.DType.IsFloat() {
		return nil, fmt.Errorf("tune %v: expected positive sizes of a float storage", c)
	}
	if opt.Samples == 0 {
		opt.Samples = 7
	}
	run, err := b.newTuning(c)
	if err != nil {
		return nil, err
	}
	defer run.close()
	want, err := run.result()
	if err != nil {
		return nil, err
	}
	chosen := b.tuner.picked
	e := byFMA
	if kernel.MMA(c.DType, c.DType) && c.Op != "linear_backward_weight" {
		e = byMMA
	}
	var out []Timing
	for _, cand := range candidates(c.Op, e) {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		t := Timing{Case: c, Variant: cand.String(), Chosen: cand == chosen}
		b.tuner.trying = &cand
		t.Err = run.same(want)
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

// tuning is a case with its operands on the GPU.
type tuning struct {
	b     *Backend
	own   []kernels.Mem
	y     kernels.Buffer
	n     int // elements of y
	op    func()
	flush kernels.Buffer // larger than L2
}

func (b *Backend) newTuning(c TuneCase) (*tuning, error) {
	t := &tuning{b: b}
	var failed error
	alloc := func(dt kernels.DType, n int) kernels.Buffer {
		m, err := b.Alloc(int64(n * dt.Size()))
		if err != nil {
			failed = errors.Join(failed, err)
			return kernels.Buffer{}
		}
		t.own = append(t.own, m)
		return kernels.Buffer{Mem: m, DType: dt}
	}
	// Products whose order of sums can be seen: small numbers of both signs.
	random := func(dt kernels.DType, n int) kernels.Buffer {
		buf := alloc(dt, n)
		if failed == nil {
			t.fill(buf, n)
		}
		return buf
	}
	y, x, w := c.Rows*c.Out, c.Rows*c.In, c.In*c.Out
	switch c.Op {
	case "linear":
		xs, ws := random(c.DType, x), random(c.DType, w)
		t.y, t.n = alloc(c.DType, y), y
		t.op = func() {
			b.Linear(kernels.LinearArgs{Y: t.y, X: xs, W: ws, Rows: c.Rows, In: c.In, Out: c.Out})
		}
	case "linear_backward_input":
		dy, ws := random(c.DType, y), random(c.DType, w)
		t.y, t.n = alloc(kernels.F32, x), x
		t.op = func() {
			b.LinearBackwardInput(kernels.LinearBackwardInputArgs{DX: t.y, DY: dy, W: ws, Rows: c.Rows, In: c.In, Out: c.Out})
		}
	case "linear_backward_weight":
		dy, xs := random(kernels.F32, y), random(c.DType, x)
		starts := alloc(kernels.I32, 2)
		t.y, t.n = alloc(kernels.F32, w), w
		if failed == nil {
			b.CopyIn(starts, binary.LittleEndian.AppendUint32(make([]byte, 4), uint32(c.Rows)))
		}
		t.op = func() {
			b.Fill(kernels.FillArgs{Dst: t.y, N: w})
			b.LinearBackwardWeight(kernels.LinearBackwardWeightArgs{DW: t.y, DY: dy, X: xs, Starts: starts, NSeq: 1, Rows: c.Rows, In: c.In, Out: c.Out})
		}
	}
	if _, emulated := b.api.(*driver.Emulated); !emulated {
		t.flush = alloc(kernels.F32, max(b.info.L2, 1<<20)/2)
	}
	if failed != nil {
		t.close()
		return nil, failed
	}
	return t, nil
}

func (t *tuning) close() {
	for _, m := range t.own {
		t.b.Free(m)
	}
}
