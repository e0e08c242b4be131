package cuda

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

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

// traffic is what a kernel asked of the memories: accesses of warps, bytes of their threads,
// sectors of global memory, those that are not asked for again, passes through the banks of
// shared memory.
type traffic struct{ requests, bytes, sectors, distinct, passes int64 }

func (t *traffic) add(o traffic) {
	t.requests += o.requests
	t.bytes += o.bytes
	t.sectors += o.sectors
	t.distinct += o.distinct
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
	often                 // by more warps, or by one more often: by 4, and those behind it by 16, 64 …
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
				c.add(traffic{distinct: k.DRAMBytes / 32})
				for _, in := range k.Insts {
					c.coverage[ran{in.Line, reached}] = true
					for n, how := in.Warps/4, often; n > 0; n, how = n/4, how+1 {
						c.coverage[ran{in.Line, how}] = true
					}
					if in.Threads > 0 {
						c.coverage[ran{in.Line, done}] = true
					}
					if in.Threads < 32*in.Warps {
						c.coverage[ran{in.Line, parted}] = true
					}
					c.add(traffic{requests: in.Requests, bytes: in.Bytes, sectors: in.Sectors, passes: in.Wavefronts})
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
	chunks  bool                         // of CrossEntropy, small ones
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
	name := fmt.Sprintf("%s, aligned %t, up to %d elements, %d parts", o.of, o.aligned, o.limit, o.parts)
	if o.chunks {
		name += ", small chunks"
	}
	return name
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
	if o.chunks {
		b.lossStats, b.lossBytes = 256, 1
	}
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
			o.uses[k] = len(list)
			if o.of != errorsOf || len(list) > 4*mostProblems { // all bad data of an op
				o.ran[k] = telling(list)
			}
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
	if err := kerneltest.Try(o.of, b, opt); err != nil {
		return err
	}
	compare()
	return other
}

// errorsOf is the case of data that ops must refuse.
const errorsOf = "Errors"

// mostProblems and fewProblems of a case judge a kernel.
const fewProblems, mostProblems = 12, 24

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
		if most == 0 { // any others, here and there
			var left []int
			for _, n := range slices.Sorted(maps.Keys(all)) {
				if _, ok := chosen[n]; !ok {
					left = append(left, n)
				}
			}
			more := min(fewProblems-len(chosen), len(left))
			for i := range more {
				n := left[(2*i+1)*len(left)/(2*more)]
				chosen[n] = all[n]
			}
			break
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
	if o.op == "loss_input" && o.odd%2 == 1 {
		b.lossBytes = 1 // the gradient goes on where the first chunk's part ended
	}
	p, err := newProblem(b, o.of, o.offset())
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

// vector is how many elements of a row are copied at once at most.
func (v variant) vector() int {
	if v.engine == byMMA {
		return 8
	}
	return 4
}

func (v variant) loss() bool { return strings.HasPrefix(v.op, "loss") }

// fillings are the numbers of a row's cases, see filled: of a loss as many as there are
// tiles of a sum's terms in flight and elements of a vector in which the sum may end.
func (v variant) fillings() []int {
	switch {
	case v.tile.BM == 0:
		return []int{0, 1}
	case v.loss():
		var list []int
		for i := range 2 + v.tile.Stages*v.vector() {
			list = append(list, i)
		}
		return list
	case strings.HasPrefix(v.op, "linear"):
		return []int{0, 1, 2, 3, 4, 5, 6, 12, 16, 20}
	}
	return []int{0, 1, 2, 3, 4, 5, 12, 16}
}

// offset is how many elements behind an aligned address arrays begin. At 12 and 20 vectors
// of 4 floats fit and those of 8 halves do not.
func (o *variantOrdeal) offset() int {
	if o.loss() {
		return min(o.odd, 1)
	}
	return o.odd
}

// filled is a case of a row of whose product every direction has a full tile and a part
// of one, and more steps than stages; where warps share a sum, more chunks than warps.
func (v variant) filled(c TuneCase, odd int) TuneCase {
	t := v.tile
	if t.BM == 0 { // heads: the case has two blocks of rows
		if v.op == "attention" && v.engine == byMMA && odd == 0 {
			c.Parts = 1 // two blocks of keys and a part of one
		}
		return c
	}
	chunk := kernel.ChunkF32
	if v.engine == byMMA {
		chunk = kernel.ChunkMMA
	}
	m, n, rows := t.BM+5, t.BN+8+3*odd, 2*t.BM+13
	depth := max(2*chunk+40, (t.Stages+2)*t.BK+8)
	shared := v.split > 0 && v.op != "lora_gradient" // whose rows are shared, see below
	if shared {
		depth = (v.split+1)*chunk + 40
	}
	depth += odd
	switch {
	case odd == 1 && shared: // that ends with a tile
		depth = (v.split+1)*chunk + t.BK
	case odd == 1 && v.split == 0: // more rows of tiles than go together, see kernel.Linear
		m, depth = 9*t.BM+3, depth/2|1
	case v.loss() && odd > 1:
		i := odd - 2
		m = t.BM + 1 + 5*odd%32
		depth = i/v.vector()*t.BK + i%v.vector() + 1
		if v.op == "loss_logits" {
			n = 2 + 13*i // from so few columns on that a row has no logit above 0
		}
	case odd == 2:
		n, depth = t.BN+8, t.BK+6
	case odd == 3:
		depth = 2*t.BK + 7
	case odd == 4:
		depth = 6
	case odd == 5: // narrow, and a sum that ends in the first tile that is fetched while others are multiplied
		n, depth = 3, (t.Stages-1)*t.BK+6
	case odd == 6, odd == 20:
		depth = 0
	case odd == 12:
		depth |= 1
	case odd == 16:
		depth = t.BK + 8
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
		c.Rows, c.In, c.Out = m, n, depth
		if odd%2 == 1 {
			c.Out += kernel.ChunkMMA // a chunk of the gradient, and then the rest, see run
		}
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
		switch odd {
		case 1: // the last round of the warps is full
			c.Rows = 2 * v.split * chunk
		case 5: // two chunks of each adapter, the second short
			c.Rows = 2*chunk + 19
		}
	}
	return c
}

// overlap are runs of parameters that lie on each other, more items than have room: what
// other backends take, and this one refuses.
type overlap struct {
	ran map[kernel.Any]trace
	pinned
}

func (o *overlap) name() string { return "runs on each other" }

func (o *overlap) covers(m place) bool { return o.ran[m.Any].coverage[ran{m.line, reached}] }

func (o *overlap) run(b *Backend, m place) error {
	const n = kernel.RunBlock + 1 // two runs of two items each, where three have room
	p := &problem{b: b}
	a := kernels.GradNormArgs{SumSquares: p.random(kernels.F32, 1), Grad: p.random(kernels.F32, n), Table: p.ints(0, 0, n, 0, 0, 0, n, 0), NParam: 2, Groups: 1}
	if p.failed != nil {
		return p.failed
	}
	b.GradNorm(a)
	if err := b.Sync(); err == nil || !strings.Contains(err.Error(), "table row 1: group 0,") {
		return fmt.Errorf("the second of two equal runs should be refused: %v", err)
	}
	p.close()
	did := ranSince(b)
	if m.Any == nil {
		o.ran, o.pinned = did, pinned{}
		for k, c := range did {
			o.count(k, c.traffic)
		}
	} else if did != nil && did[m.Any].traffic != o.ran[m.Any].traffic {
		return errTraffic
	}
	return nil
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
			case "KVStore", "Sample", "AdamW":
				limit = 1 << 16 // pages here too, vocabularies have many words, groups many parameters
			case "GradNorm":
				limit = 1 << 18 // more items than are added at once
			case "CrossEntropy":
				limit = 14 << 10
				list = append(list, newSuiteOrdeal(name, aligned, limit, 0))
				list[len(list)-1].chunks = true
			case "RMSNormBackward":
				limit = 1 << 14
			case "Attention":
				limit = 34 << 10
			case "AttentionBackward", "Fill", "Add", "SwiGLU", "SwiGLUBackward", "Linear", "LinearBackwardInput", "EmbeddingBackward":
				limit = 1 << 15
			}
			list = append(list, newSuiteOrdeal(name, aligned, limit, 0))
		}
	}
	for _, aligned := range []bool{true, false} {
		for parts := range 3 {
			list = append(list, newSuiteOrdeal(errorsOf, aligned, 0, parts))
		}
	}
	return list
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
			for _, odd := range v.fillings() {
				c.ragged = c.lora() && (odd == 0 || odd == 1 && v.op != "lora_gradient")
				of := v.filled(c, odd)
				of.low = v.loss() && odd > 0 && of.In > 1 // else rows are no different
				list = append(list, &variantOrdeal{variant: v, of: of, odd: odd})
			}
		}
	}
	return list
}
