package cuda

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/selkie-ml/selkie/internal/ptxas"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/kernels/kerneltest"
	"github.com/selkie-ml/selkie/kernels/ref"
	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
	"github.com/selkie-ml/selkie/ptx/mutate"
	"github.com/selkie-ml/selkie/ptx/mutate/mutatetest"
)

// ordeal is something that launches kernels and judges what comes out.
type ordeal interface {
	// run uses the backend. Without a mutant it notes what runs of which kernel; with one
	// it may leave out what does not run the mutant's line.
	run(b *Backend, m place) error
	// covers reports whether a place of a kernel is run.
	covers(place) bool
	name() string
}

// place is where a mutant is: a kernel, and a line of its text. The zero place is none.
type place struct {
	kernel.Any
	line int
}

// budgets are warp-instructions of a launch: mutants that never end are stopped soon.
var budgets = []int64{1 << 19, 1 << 22}

// judge runs an ordeal on an emulated GPU of its own.
func judge(o ordeal, s emu.Schedule, budget int64, m place, emit func(kernel.Any) *ptx.Module) error {
	api := driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.H100, Schedule: s, Seed: 1, Checks: emu.AllChecks, Workers: 1, Budget: budget, Profile: m.Any == nil}})
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

// coverage is what ran of a kernel.
type coverage map[ran]bool

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

// ranSince tells what ran since it was last asked, by kernel.
func ranSince(b *Backend) map[kernel.Any]coverage {
	all := map[kernel.Any]coverage{}
	if p := b.api.(*driver.Emulated).Emulator().TakeProfile(); p != nil {
		for _, l := range b.tuner.made {
			c := coverage{}
			for _, k := range p.Kernels {
				if k.Kernel != l.Name() {
					continue
				}
				for _, in := range k.Insts {
					c[ran{in.Line, reached}] = true
					if in.Threads > 0 {
						c[ran{in.Line, done}] = true
					}
					if in.Threads < 32*in.Warps {
						c[ran{in.Line, parted}] = true
					}
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
	parts   int                             // of AttentionPaged, see Backend.pagedParts
	ran     map[kernel.Any]map[int]coverage // by problem, filled by a run without a mutant; then of those problems that judge the kernel
	uses    map[kernel.Any]int              // problems that launch it
}

func (o *suiteOrdeal) name() string {
	return fmt.Sprintf("%s, aligned %t, up to %d elements, %d parts", o.of, o.aligned, o.limit, o.parts)
}

func (o *suiteOrdeal) covers(m place) bool {
	for _, c := range o.ran[m.Any] {
		if c[ran{m.line, reached}] {
			return true
		}
	}
	return false
}

func (o *suiteOrdeal) run(b *Backend, m place) error {
	b.pagedParts = o.parts
	last := 0
	note := func(n int) {
		for k, c := range ranSince(b) {
			if o.ran[k] == nil {
				o.ran[k] = map[int]coverage{}
			}
			o.ran[k][last] = c
		}
		last = n
	}
	only := func(n int) bool { note(n); return true }
	if m.Any != nil {
		only = func(n int) bool { return o.ran[m.Any][n][ran{m.line, reached}] || o.of == errorsOf }
	}
	err := kerneltest.Try(o.of, b, kerneltest.Options{Seed: 5, SpreadNaN: true, Aligned: o.aligned, Limit: o.limit, Only: only,
		DTypes: []kernels.DType{kernels.F32, kernels.BF16}})
	if m.Any == nil && err == nil {
		note(0)
		for k, list := range o.ran {
			o.uses[k], o.ran[k] = len(list), telling(list)
		}
	}
	return err
}

// errorsOf is the case of data that ops must refuse.
const errorsOf = "Errors"

// mostProblems and fewProblems of a case judge a kernel.
const fewProblems, mostProblems = 8, 24

// telling chooses problems that together run what all of them run of a kernel, as few as will do
// or up to fewProblems.
func telling(all map[int]coverage) map[int]coverage {
	chosen, seen := map[int]coverage{}, coverage{}
	for len(chosen) < min(len(all), mostProblems) {
		best, most := -1, -1
		for _, n := range slices.Sorted(maps.Keys(all)) {
			if chosen[n] != nil {
				continue
			}
			gain := 0
			for r := range all[n] {
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
				if chosen[n] == nil {
					left = append(left, n)
				}
			}
			best = left[len(left)/2]
		}
		chosen[best] = all[best]
		for r := range all[best] {
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
	bits  [][]byte // of the kernel without mutants, if other rows have them too
	ran   map[kernel.Any]coverage
}

func (o *variantOrdeal) name() string { return fmt.Sprintf("%v, odd %d", o.of, o.odd) }

func (o *variantOrdeal) covers(m place) bool { return o.ran[m.Any][ran{m.line, reached}] }

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
		if m.Any != nil && o.bits != nil && !bytes.Equal(got[r], o.bits[r]) {
			return fmt.Errorf("result %d: other bits than other variants", r)
		}
	}
	if m.Any == nil {
		b.tuner.made = made
		o.ran = ranSince(b)
		if o.shared() {
			o.bits = got
		}
	}
	return nil
}

// shared reports whether other rows have the same bits.
func (o *variantOrdeal) shared() bool {
	n := 0
	for _, v := range variants {
		if v.op == o.op && v.engine == o.engine {
			n++
		}
	}
	return n > 1 && !(strings.HasPrefix(o.op, "attention") && o.engine == byFMA)
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

// subject is a kernel and what judges it, the cheapest first.
type subject struct {
	kernel.Any
	group   string // an op of the suite or of the table
	ordeals []*run
	uses    int   // problems of the suite that launch it, a filled tile counts for many
	lines   []int // of the instructions in the kernel's text
}

// run is an ordeal under a schedule, with what it needs.
type run struct {
	ordeal
	schedule emu.Schedule
	budget   int64
	took     time.Duration
}

// kind tells kernels apart that differ in their code, and not only in how often a loop is
// unrolled: their Go type, switches, whether vectors are read and sums split over warps,
// and whether storages are f32, halves or mixed.
func kind(k kernel.Any) string {
	text := ""
	storages := map[bool]bool{}
	var visit func(name string, v reflect.Value)
	visit = func(name string, v reflect.Value) {
		if dt, ok := v.Interface().(kernels.DType); ok {
			if dt != kernels.Invalid {
				storages[dt == kernels.F32] = true
			} else {
				text += " no " + name
			}
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				visit(v.Type().Field(i).Name, v.Field(i))
			}
		case reflect.Bool:
			text += fmt.Sprintf(" %s %t", name, v.Bool())
		case reflect.Uint8:
			text += fmt.Sprintf(" %s %d", name, v.Uint())
		case reflect.Int:
			if name == "Vec" || name == "Warps" || name == "Chunks" {
				text += fmt.Sprintf(" %s %t", name, v.Int() > 1)
			}
		}
	}
	visit("", reflect.ValueOf(k))
	return fmt.Sprintf("%T%s f32 %t half %t", k, text, storages[true], storages[false])
}

// suites are the ordeals of the conformance suite.
func suiteOrdeals() (list []*suiteOrdeal) {
	for _, name := range kerneltest.Cases() {
		switch name {
		case "Memory", "MapHost", errorsOf, "PagedEqualsPrefill":
			continue // other cases have their kernels
		}
		for _, aligned := range []bool{true, false} {
			o := &suiteOrdeal{of: name, aligned: aligned, limit: 1 << 13, ran: map[kernel.Any]map[int]coverage{}, uses: map[kernel.Any]int{}}
			switch name {
			case "AttentionPaged":
				split := *o
				split.limit, split.parts = 1<<16, 2
				split.ran, split.uses = map[kernel.Any]map[int]coverage{}, map[kernel.Any]int{}
				list = append(list, &split)
				o.limit = 1 << 16
			case "KVStore", "Sample":
				o.limit = 1 << 16 // caches have pages, vocabularies many words
			case "Attention", "AttentionBackward", "Fill", "Add", "SwiGLU", "SwiGLUBackward", "Linear", "LinearBackwardInput", "EmbeddingBackward":
				o.limit = 1 << 15
			case "GradNorm", "AdamW":
				o.limit = 1 << 16
			}
			list = append(list, o)
		}
	}
	return append(list, &suiteOrdeal{of: errorsOf, ran: map[kernel.Any]map[int]coverage{}, uses: map[kernel.Any]int{}})
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

// cached is kernel.Module, once for each kernel.
func cached() func(kernel.Any) *ptx.Module {
	var m sync.Map
	return func(k kernel.Any) *ptx.Module {
		if mod, ok := m.Load(k); ok {
			return mod.(*ptx.Module)
		}
		mod := kernel.Module(k)
		m.Store(k, mod)
		return mod
	}
}

// prepare runs an ordeal without mutants and returns the budget that it needs.
func prepare(o ordeal, s emu.Schedule, emit func(kernel.Any) *ptx.Module) (budget int64, err error) {
	for _, budget := range budgets {
		err = judge(o, s, budget, place{}, emit)
		if err == nil {
			return budget, nil
		}
		if !strings.Contains(err.Error(), "budget") {
			break
		}
	}
	return 0, fmt.Errorf("%s without a mutant: %w", o.name(), err)
}

// subjects are the kernels that the ordeals launch, one of each kind: the one that
// judges see most of; and one of those that must refuse data.
func subjects(t *testing.T, emit func(kernel.Any) *ptx.Module) []*subject {
	byKernel := map[kernel.Any]*subject{}
	var all []*subject
	of := func(k kernel.Any, group string) *subject {
		s := byKernel[k]
		if s == nil {
			s = &subject{Any: k, group: group}
			byKernel[k] = s
			all = append(all, s)
		}
		return s
	}
	var list []ordeal
	for _, o := range variantOrdeals() {
		list = append(list, o)
	}
	for _, o := range suiteOrdeals() {
		list = append(list, o)
	}
	budgets, took := make([]int64, len(list)), make([]time.Duration, len(list))
	var wg sync.WaitGroup
	slots := make(chan bool, runtime.GOMAXPROCS(0))
	for i, o := range list {
		wg.Go(func() {
			slots <- true
			defer func() { <-slots }()
			var err error
			began := time.Now()
			defer func() { took[i] = time.Since(began) }()
			if v, ok := o.(*variantOrdeal); ok {
				var p *problem
				if p, err = newProblem(ref.New(), v.of, 0); err == nil {
					v.exact, err = p.results()
				}
			}
			if err == nil {
				budgets[i], err = prepare(o, emu.RoundRobin, emit)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for i, o := range list {
		add := func(k kernel.Any, group string, uses int) {
			s := of(k, group)
			s.uses += uses
			s.ordeals = append(s.ordeals, &run{o, emu.RoundRobin, budgets[i], took[i]}, &run{o, emu.Adversarial, budgets[i], took[i]})
		}
		switch o := o.(type) {
		case *variantOrdeal:
			for k := range o.ran {
				add(k, o.op, 100)
			}
		case *suiteOrdeal:
			for k, n := range o.uses {
				add(k, o.of, n)
			}
		}
	}
	best := map[string]*subject{}
	for _, s := range all {
		key := kind(s.Any)
		if slices.ContainsFunc(s.ordeals, func(r *run) bool { o, ok := r.ordeal.(*suiteOrdeal); return ok && o.of == errorsOf }) {
			key += " that refuses data"
		}
		if b := best[key]; b == nil || s.uses > b.uses || s.uses == b.uses && s.Name() < b.Name() {
			best[key] = s
		}
	}
	var subjects []*subject
	for _, s := range best {
		slices.SortStableFunc(s.ordeals, func(a, b *run) int { return cmp.Or(int(a.schedule)-int(b.schedule), cmp.Compare(a.took, b.took)) })
		s.lines = linesOf(emit(s.Any))
		subjects = append(subjects, s)
	}
	slices.SortFunc(subjects, func(a, b *subject) int { return strings.Compare(a.group+a.Name(), b.group+b.Name()) })
	return subjects
}

// killed runs the ordeals that come to a mutant's place, with it in the kernel's place, and
// says what noticed it.
func (s *subject) killed(m *mutate.Mutant, emit func(kernel.Any) *ptx.Module) (by string) {
	mutant, at := m.Module(), place{s.Any, s.lines[m.Index]}
	for _, r := range s.ordeals {
		if !r.covers(at) {
			continue
		}
		err := judge(r.ordeal, r.schedule, r.budget, at, func(k kernel.Any) *ptx.Module {
			if k == s.Any {
				return mutant
			}
			return emit(k)
		})
		if err != nil {
			return noticed(err)
		}
	}
	return ""
}

// reaches reports whether an ordeal comes to the place of a mutant.
func (s *subject) reaches(m *mutate.Mutant) bool {
	at := place{s.Any, s.lines[m.Index]}
	return slices.ContainsFunc(s.ordeals, func(r *run) bool { return r.covers(at) })
}

// assembled is what the assembler says of a mutant.
func assembled(t *testing.T, kernel, mutant *ptx.Module) string {
	bin := ptxas.Find(t)[0]
	was, err := ptxas.Code(bin, "sm_90", kernel.Append(nil))
	if err != nil {
		t.Error(err)
	}
	is, err := ptxas.Code(bin, "sm_90", mutant.Append(nil))
	switch {
	case err != nil:
		return mutatetest.Refused
	case bytes.Equal(was, is):
		return mutatetest.SameCode
	}
	return ""
}

// linesOf gives the lines of a module's text on which the instructions of its only function stand.
func linesOf(m *ptx.Module) []int {
	parsed, err := ptx.Parse("kernel", m.Append(nil))
	if err != nil {
		panic(err)
	}
	var lines []int
	var visit func(b *ptx.Block)
	visit = func(b *ptx.Block) {
		for _, s := range b.Stmts {
			switch s := s.(type) {
			case *ptx.Instr:
				lines = append(lines, s.Pos.Line)
			case *ptx.Block:
				visit(s)
			}
		}
	}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ptx.Func); ok && f.Body != nil {
			visit(f.Body)
		}
	}
	return lines
}

// noticed says in a few words what noticed a mutant.
func noticed(err error) string {
	text := err.Error()
	if _, finding, ok := strings.Cut(text, "the sanitiser found:\n"); ok {
		kind, _, _ := strings.Cut(finding, ":")
		return "finding " + kind
	}
	if strings.Contains(text, "CUDA_ERROR") {
		return "failed launch"
	}
	return "wrong result"
}

// TestMutants plants defects in a seeded sample of as many places as SELKIE_MUTANTS says,
// or in all that are chosen.
func TestMutants(t *testing.T) {
	if os.Getenv("SELKIE_MUTANTS") == "" {
		t.Skip("takes minutes: SELKIE_MUTANTS=200 tries so many")
	}
	sample := mutatetest.Sample(t, 200)
	emit := cached()
	var jobs []mutatetest.Job
	total, unreached := 0, 0
	families := map[string][]*subject{} // that one piece of Go emits
	for _, s := range subjects(t, emit) {
		name := fmt.Sprintf("%T %t", s.Any, strings.Contains(s.Name(), "mma"))
		families[name] = append(families[name], s)
	}
	for _, family := range families {
		var modules [][]*mutate.Mutant
		var weights []int
		for _, s := range family {
			all := mutate.All(emit(s.Any))
			total += len(all)
			modules, weights = append(modules, all), append(weights, s.uses)
		}
		chosen := mutate.Choose(modules, weights, func(i int, m *mutate.Mutant) bool { return family[i].reaches(m) })
		for i, list := range chosen {
			s := family[i]
			for _, m := range list {
				if !s.reaches(m.Mutant) {
					unreached++
				}
				j := mutatetest.Job{Group: s.group, Kernel: s.Name(), Mutant: m.Mutant, Copy: m.Copy, For: m.For, Killed: func() string { return s.killed(m.Mutant, emit) }}
				if os.Getenv("SELKIE_PTXAS") != "" {
					j.Assembled = func() string { return assembled(t, emit(s.Any), m.Module()) }
				}
				jobs = append(jobs, j)
			}
		}
	}
	t.Logf("%d mutants chosen of %d, %d of them where no problem comes", len(jobs), total, unreached)
	mutatetest.Run(t, mutatetest.List{File: "testdata/mutants.txt", Title: "Mutants of the GPU kernels, by scripts/mutate-kernels cuda", How: how,
		Total: total, All: sample == 0, Journal: os.Getenv("SELKIE_MUTANTS_JOURNAL"), Loose: true}, mutatetest.First(jobs, sample))
}

// how is what the list says of itself.
const how = `Of the kernels that are the same Go code with other storages, sizes and heads, one of each kind (see kind in
mutants_test.go) has mutants: the one that most problems launch. Of the rows of the table of variants those with the
smallest tile are taken, on a case that fills it. Mutants of such a family are grouped: the same defect at the same line
of Go, in the same quarter of the kernel, in instructions that differ only in registers, labels and numbers. One of each
group is tried, two of more than fifteen, in the kernel that most problems launch of those in which a problem comes to
the place; their order is that of hashes: a run that was interrupted has tried the first of that order, and goes on from
its journal.
Each is judged by the conformance suite's problems that come to its place (of a case as many as run all of the kernel
that the case runs, at least 8 and at most 24, and the bad data), and by cases that fill the tile, at aligned and odd
addresses, under the round-robin and the adversarial schedule.
`
