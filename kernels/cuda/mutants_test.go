package cuda

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
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
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/kernels/ref"
	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
	"github.com/selkie-ml/selkie/ptx/mutate"
	"github.com/selkie-ml/selkie/ptx/mutate/mutatetest"
)

// subject is a kernel and what judges it, the cheapest first.
type subject struct {
	kernel.Any
	group   string // an op of the suite or of the table
	ordeals []*run
	uses    int   // problems of the suite that launch it, a filled tile counts for many
	lines   []int // of the instructions in the kernel's text
}

// prepared is an ordeal with what it needs, as a run without mutants showed.
type prepared struct {
	ordeal
	budget int64
	took   time.Duration
}

// run is an ordeal under a schedule.
type run struct {
	prepared
	schedule emu.Schedule
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

var modules sync.Map

// emit is kernel.Module, once for each kernel.
func emit(k kernel.Any) *ptx.Module {
	if mod, ok := modules.Load(k); ok {
		return mod.(*ptx.Module)
	}
	mod := kernel.Module(k)
	modules.Store(k, mod)
	return mod
}

// prepare runs an ordeal without mutants.
func prepare(o ordeal) (_ prepared, err error) {
	if v, ok := o.(*variantOrdeal); ok {
		p, err := newProblem(ref.New(), v.of, 0)
		if err == nil {
			v.exact, err = p.results()
		}
		if err != nil {
			return prepared{}, err
		}
	}
	p := prepared{ordeal: o, budget: budgets[len(budgets)-1]}
	began := time.Now()
	if err := judge(p, emu.RoundRobin, place{}, emit); err != nil {
		return prepared{}, fmt.Errorf("%s without a mutant: %w", o.name(), err)
	}
	p.took = time.Since(began)
	for _, b := range slices.Backward(budgets) {
		if o.pins().longest <= b {
			p.budget = b
		}
	}
	return p, nil
}

// ordeals are all of them, prepared once.
var ordeals = sync.OnceValues(func() ([]prepared, error) {
	var list []ordeal
	for _, o := range variantOrdeals() {
		list = append(list, o)
	}
	for _, o := range suiteOrdeals() {
		list = append(list, o)
	}
	list = append(list, new(overlap))
	all, failed := make([]prepared, len(list)), make([]error, len(list))
	onAllCores(len(list), func(i int) { all[i], failed[i] = prepare(list[i]) })
	return all, errors.Join(failed...)
})

// onAllCores does n things, as many at once as there are cores.
func onAllCores(n int, do func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan bool, runtime.GOMAXPROCS(0))
	for i := range n {
		wg.Go(func() {
			slots <- true
			do(i)
			<-slots
		})
	}
	wg.Wait()
}

// subjects are the kernels that the ordeals launch, one of each kind: the one that
// judges see most of; and one of those that must refuse data.
func subjects(list []prepared) []*subject {
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
	for _, p := range list {
		add := func(k kernel.Any, group string, uses int) {
			s := of(k, group)
			s.uses += uses
			s.ordeals = append(s.ordeals, &run{p, emu.RoundRobin}, &run{p, emu.Adversarial})
		}
		switch o := p.ordeal.(type) {
		case *variantOrdeal:
			for k := range o.ran {
				add(k, o.op, 100)
			}
		case *suiteOrdeal:
			for k, n := range o.uses {
				if o.of == errorsOf {
					n = 1 // most of what it launches a kernel with is much the same
				}
				add(k, o.of, n)
			}
		case *overlap:
			for k := range o.ran {
				add(k, "GradNorm", 1)
			}
		}
	}
	best := map[string]*subject{}
	for _, s := range all {
		key := kind(s.Any)
		if slices.ContainsFunc(s.ordeals, func(r *run) bool {
			o, ok := r.ordeal.(*suiteOrdeal)
			return ok && o.of == errorsOf
		}) {
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
func (s *subject) killed(m *mutate.Mutant) (by string) {
	at, mod := s.place(m), m.Module()
	if by := s.judged(mod, at); by != "" {
		return by
	}
	at.rest = true
	return s.judged(mod, at)
}

// place is where a mutant is.
func (s *subject) place(m *mutate.Mutant) place { return place{Any: s.Any, line: s.lines[m.Index]} }

func (s *subject) judged(mutant *ptx.Module, at place) (by string) {
	for _, r := range s.ordeals {
		if !r.covers(at) {
			continue
		}
		err := judge(r.prepared, r.schedule, at, func(k kernel.Any) *ptx.Module {
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
	at := s.place(m)
	rest := at
	rest.rest = true
	return slices.ContainsFunc(s.ordeals, func(r *run) bool { return r.covers(at) || r.covers(rest) })
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
	switch {
	case errors.Is(err, errBits):
		return "other bits"
	case errors.Is(err, errTraffic):
		return "other accesses of memory"
	}
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
	list, err := ordeals()
	if err != nil {
		t.Fatal(err)
	}
	var jobs []mutatetest.Job
	all := subjects(list)
	checkUnharmed(t, all, sample)
	total, unreached := 0, 0
	families := map[string][]*subject{} // that one piece of Go emits
	for _, s := range all {
		name := fmt.Sprintf("%T %t", s.Any, strings.Contains(s.Name(), "mma"))
		families[name] = append(families[name], s)
	}
	for _, family := range families {
		var modules [][]*mutate.Mutant
		var weights []int
		for _, s := range family {
			mutants := mutate.All(emit(s.Any))
			total += len(mutants)
			modules, weights = append(modules, mutants), append(weights, s.uses)
		}
		chosen := mutate.Choose(modules, weights, func(i int, m *mutate.Mutant) bool { return family[i].reaches(m) })
		for i, list := range chosen {
			s := family[i]
			for _, m := range list {
				if !s.reaches(m.Mutant) {
					unreached++
				}
				j := mutatetest.Job{Group: s.group, Kernel: s.Name(), Mutant: m.Mutant, Copy: m.Copy, For: m.For, Killed: func() string { return s.killed(m.Mutant) }}
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

// checkUnharmed fails if a kernel without a defect is noticed. Of a sample of mutants it asks
// one kernel for 20 of them.
func checkUnharmed(t *testing.T, all []*subject, sample int) {
	step := 1
	if sample > 0 {
		step = max(1, 20*len(all)/sample)
	}
	onAllCores((len(all)+step-1)/step, func(i int) {
		s := all[i*step]
		if by := s.judged(emit(s.Any), place{Any: s.Any, line: s.lines[0]}); by != "" {
			t.Errorf("%s without a mutant: %s", s.Name(), by)
		}
	})
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
that the case runs, as often, at least 12 and at most 24, and the bad data), and by cases that fill the tile, at aligned
and odd addresses, under the round-robin and the adversarial schedule; what survives that, by all the suite's problems that
come there. Results must be right and have the bits that they
have without the mutant, and the kernel must ask the memories for as much: accesses of warps, bytes of their threads,
sectors of global memory and distinct ones, passes through the banks of shared memory (see TestPins).
`
