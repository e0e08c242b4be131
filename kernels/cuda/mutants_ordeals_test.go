package cuda

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/kernels/kerneltest"
	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// ordeal is something that launches kernels and judges what comes out.
type ordeal interface {
	// run uses the backend. Without a mutant it notes what runs of which kernel; with one
	// it may leave out what does not run the mutant's line.
	run(b *Backend, m place) error
	// covers reports whether a place of a kernel is run.
	covers(place) bool
	name() string
	pins() *pinned
}

// place is where a mutant is: a kernel, and a line of its text. The zero place is none.
type place struct {
	kernel.Any
	line int
}

// budgets are warp-instructions of a launch: mutants that never end are stopped soon.
var budgets = []int64{1 << 19, 1 << 22}

// judge runs an ordeal on an emulated GPU of its own.
func judge(o prepared, s emu.Schedule, m place, emit func(kernel.Any) *ptx.Module) error {
	api := driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.H100, Schedule: s, Seed: 1, Checks: emu.AllChecks, Workers: 1, Budget: o.budget, Profile: m.Any == nil || s == emu.RoundRobin}})
	b, err := New(api, Options{Direct: true})
	if err != nil {
		return err
	}
	b.emit = emit
	b.tuner = tuner{on: true}
	if err := o.run(b, m); err != nil {
		return err
	}
	b.tuner = tuner{}
	err = b.Close()
	for _, f := range api.Emulator().Findings() {
		err = errors.Join(err, fmt.Errorf("the sanitiser found:\n%v", f))
	}
	return err
}

// trace is what a kernel did.
type trace struct {
	coverage
	traffic
}

// coverage is what ran of a kernel.
type coverage map[ran]bool

// traffic is what a kernel asked of the memories: accesses of warps, sectors of global
// memory, passes through the banks of shared memory.
type traffic struct{ requests, sectors, passes int64 }

func (t *traffic) add(o traffic) {
	t.requests += o.requests
	t.sectors += o.sectors
	t.passes += o.passes
}

// What a mutant changed though results are right.
var (
	errBits    = errors.New("other bits than without the mutant")
	errTraffic = errors.New("other accesses of memory than without the mutant")
)

// ran says of a line of a kernel's text how it ran.
type ran struct {
	line int
	how  ranHow
}

type ranHow uint8

const (
	reached ranHow = iota // by a warp
	done                  // by a thread that its guard let
	parted                // by some threads of a warp and not by others
)

// ranSince tells what ran since it was last asked, by kernel; nil without a profile.
func ranSince(b *Backend) map[kernel.Any]trace {
	var all map[kernel.Any]trace
	if p := b.api.(*driver.Emulated).Emulator().TakeProfile(); p != nil {
		all = map[kernel.Any]trace{}
		for _, l := range b.tuner.made {
			c := trace{coverage: coverage{}}
			for _, k := range p.Kernels {
				if k.Kernel != l.Name() {
					continue
				}
				for _, in := range k.Insts {
					c.coverage[ran{in.Line, reached}] = true
					if in.Threads > 0 {
						c.coverage[ran{in.Line, done}] = true
					}
					if in.Threads < 32*in.Warps {
						c.coverage[ran{in.Line, parted}] = true
					}
					c.add(traffic{in.Requests, in.Sectors, in.Wavefronts})
				}
			}
			all[l.Any] = c
		}
	}
	b.tuner.made = nil
	return all
}

// suiteOrdeal is a case of the conformance suite.
type suiteOrdeal struct {
	of      string
	aligned bool
	limit   int
	parts   int                          // of AttentionPaged, see Backend.pagedParts
	ran     map[kernel.Any]map[int]trace // by problem, filled by a run without a mutant; then of those problems that judge the kernel
	uses    map[kernel.Any]int           // problems that launch it
	bits    map[string][sha256.Size]byte // of results, by problem and array
	pinned
}

// newSuiteOrdeal is a case that has not run yet.
func newSuiteOrdeal(name string, aligned bool, limit, parts int) *suiteOrdeal {
	return &suiteOrdeal{of: name, aligned: aligned, limit: limit, parts: parts,
		ran: map[kernel.Any]map[int]trace{}, uses: map[kernel.Any]int{}, bits: map[string][sha256.Size]byte{}}
}

func (o *suiteOrdeal) name() string {
	return fmt.Sprintf("%s, aligned %t, up to %d elements, %d parts", o.of, o.aligned, o.limit, o.parts)
}

func (o *suiteOrdeal) covers(m place) bool {
	for _, c := range o.ran[m.Any] {
		if c.coverage[ran{m.line, reached}] {
			return true
		}
	}
	return false
}

func (o *suiteOrdeal) run(b *Backend, m place) error {
	b.pagedParts = o.parts
	opt := kerneltest.Options{Seed: 5, SpreadNaN: true, Aligned: o.aligned, Limit: o.limit, DTypes: []kernels.DType{kernels.F32, kernels.BF16}}
	last := 0 // the problem that was tried
	if m.Any == nil {
		o.pinned = pinned{} // of a run whose budget was too small
		note := func() {
			for k, c := range ranSince(b) {
				if o.ran[k] == nil {
					o.ran[k] = map[int]trace{}
				}
				o.ran[k][last] = c
				o.count(k, c.traffic)
			}
		}
		opt.Only = func(n int) bool { note(); last = n; return true }
		opt.Result = func(n int, array string, contents []byte) error {
			o.bits[fmt.Sprint(n, array)] = sha256.Sum256(contents)
			o.digest(contents)
			return nil
		}
		if err := kerneltest.Try(o.of, b, opt); err != nil {
			return err
		}
		note()
		for k, list := range o.ran {
			o.uses[k], o.ran[k] = len(list), telling(list)
		}
		return nil
	}
	var other error
	compare := func() {
		if was, tried := o.ran[m.Any][last]; tried && other == nil {
			if all := ranSince(b); all != nil && all[m.Any].traffic != was.traffic {
				other = errTraffic
			}
		}
		last = -1
	}
	opt.Only = func(n int) bool {
		compare()
		if other == nil && o.ran[m.Any][n].coverage[ran{m.line, reached}] {
			last = n
		}
		return last == n
	}
	opt.Result = func(n int, array string, contents []byte) error {
		if sha256.Sum256(contents) != o.bits[fmt.Sprint(n, array)] {
			other = errBits
		}
		return other
	}
	err := kerneltest.Try(o.of, b, opt)
	compare()
	return cmp.Or(other, err)
}

// errorsOf is the case of data that ops must refuse.
const errorsOf = "Errors"

// mostProblems and fewProblems of a case judge a kernel.
const fewProblems, mostProblems = 8, 24

// telling chooses problems that together run what all of them run of a kernel, as few as will do
// or up to fewProblems.
func telling(all map[int]trace) map[int]trace {
	chosen, seen := map[int]trace{}, coverage{}
	for len(chosen) < min(len(all), mostProblems) {
		best, most := -1, -1
		for _, n := range slices.Sorted(maps.Keys(all)) {
			if _, ok := chosen[n]; ok {
				continue
			}
			gain := 0
			for r := range all[n].coverage {
				if !seen[r] {
					gain++
				}
			}
			if gain > most {
				best, most = n, gain
			}
		}
		if most == 0 && len(chosen) >= fewProblems {
			break
		}
		if most == 0 { // any other: one from the middle of those that are left
			var left []int
			for _, n := range slices.Sorted(maps.Keys(all)) {
				if _, ok := chosen[n]; !ok {
					left = append(left, n)
				}
			}
			best = left[len(left)/2]
		}
		chosen[best] = all[best]
		for r := range all[best].coverage {
			seen[r] = true
		}
	}
	return chosen
}

// variantOrdeal is a row of the table on a case that fills its tile.
type variantOrdeal struct {
	variant
	of    TuneCase
	odd   int
	exact [][]byte // what ref says
	bits  [][]byte // of the kernel without mutants
	ran   map[kernel.Any]trace
	pinned
}

func (o *variantOrdeal) name() string { return fmt.Sprintf("%v by %v, odd %d", o.of, o.engine, o.odd) }

func (o *variantOrdeal) covers(m place) bool { return o.ran[m.Any].coverage[ran{m.line, reached}] }

func (o *variantOrdeal) run(b *Backend, m place) error {
	p, err := newProblem(b, o.of, o.odd)
	if err != nil {
		return err
	}
	b.tuner = tuner{on: true, trying: &o.variant}
	got, err := p.results()
	if err != nil {
		return err
	}
	made := b.tuner.kernels(o.op)
	p.close()
	for r, want := range o.exact {
		if err := near(o.of, p.out[r].DType, got[r], want); err != nil {
			return fmt.Errorf("result %d: %w", r, err)
		}
		if m.Any != nil && !bytes.Equal(got[r], o.bits[r]) {
			return fmt.Errorf("result %d: %w", r, errBits)
		}
	}
	b.tuner.made = made
	did := ranSince(b)
	if m.Any != nil {
		if did != nil && did[m.Any].traffic != o.ran[m.Any].traffic {
			return errTraffic
		}
		return nil
	}
	o.ran, o.bits, o.pinned = did, got, pinned{}
	for k, c := range did {
		o.count(k, c.traffic)
	}
	for _, raw := range got {
		o.digest(raw)
	}
	return nil
}

// filled is a case of a row of whose product every direction has a full tile and a part
// of one, and more steps than stages.
func (v variant) filled(c TuneCase, odd int) TuneCase {
	t := v.tile
	if t.BM == 0 {
		return c // heads: the case has two blocks of rows
	}
	depth := max(2*kernel.ChunkF32+40, (t.Stages+2)*t.BK+8)
	if v.engine == byMMA {
		depth = max(2*kernel.ChunkMMA+40, (t.Stages+2)*t.BK+8)
	}
	depth += odd
	m, n, rows := t.BM+5, t.BN+8+3*odd, 2*t.BM+13
	switch { // sums that end in the first tile, the second and so on, at every element of a vector
	case odd == 1 && v.split == 0: // more rows of tiles than go together, see kernel.Linear
		m, depth = 9*t.BM+3, depth/2|1
	case odd == 2:
		depth = t.BK + 6
	case odd == 3:
		depth = 2*t.BK + 7
	case odd == 4:
		depth = 6
	}
	if c.ragged {
		rows *= 2 // a part has a fourth
	}
	switch v.op {
	case "linear", "loss_logits":
		c.Rows, c.Out, c.In = m, n, depth
	case "linear_backward_input":
		c.Rows, c.In, c.Out = m, n, depth
	case "loss_input":
		c.Rows, c.In = m, n
	case "linear_backward_weight":
		c.Out, c.In, c.Rows, c.Parts = m, n, depth+70, 2
	case "loss_weight":
		c.Out, c.In, c.Rows, c.Parts = m, n, depth+70, 2
	case "lora_down":
		c.Parts, c.Rows, c.Rank, c.In, c.Out = 2, rows, n, depth, depth
	case "lora_up":
		c.Parts, c.Rows, c.Rank, c.In, c.Out = 2, rows, 72+odd, n, n+odd
	case "lora_gradient":
		c.Parts, c.Rows, c.Rank, c.In, c.Out = 2, 2*depth+3, m, n, n
	}
	return c
}

// suites are the ordeals of the conformance suite.
func suiteOrdeals() (list []*suiteOrdeal) {
	for _, name := range kerneltest.Cases() {
		switch name {
		case "Memory", "MapHost", errorsOf, "PagedEqualsPrefill":
			continue // other cases have their kernels
		}
		for _, aligned := range []bool{true, false} {
			limit := 1 << 13
			switch name {
			case "AttentionPaged":
				limit = 1 << 19 // caches have pages
				list = append(list, newSuiteOrdeal(name, aligned, limit, 2))
			case "KVStore", "Sample", "GradNorm", "AdamW":
				limit = 1 << 16 // pages here too, vocabularies have many words, groups many parameters
			case "Attention", "AttentionBackward", "Fill", "Add", "SwiGLU", "SwiGLUBackward", "Linear", "LinearBackwardInput", "EmbeddingBackward":
				limit = 1 << 15
			}
			list = append(list, newSuiteOrdeal(name, aligned, limit, 0))
		}
	}
	return append(list, newSuiteOrdeal(errorsOf, false, 0, 0))
}

// variantOrdeals are the smallest row of each op and engine, with and without a split sum.
func variantOrdeals() (list []*variantOrdeal) {
	least := map[string]variant{}
	var keys []string
	for _, v := range variants {
		key := fmt.Sprint(v.op, v.engine, v.split > 0, v.dim)
		size := func(v variant) int { return v.tile.BM*v.tile.BN + v.block.Rows }
		if old, ok := least[key]; !ok || size(v) < size(old) {
			if !ok {
				keys = append(keys, key)
			}
			least[key] = v
		}
	}
	for _, key := range keys {
		v := least[key]
		for _, c := range v.cases() {
			if c.DType == kernels.F16 {
				continue
			}
			for odd := range 5 {
				if odd > 1 && v.tile.BM == 0 {
					break
				}
				c.ragged = c.lora() && odd == 0
				list = append(list, &variantOrdeal{variant: v, of: v.filled(c, odd), odd: odd})
			}
		}
	}
	return list
}
