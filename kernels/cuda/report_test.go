package cuda

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/selkie-ml/selkie/internal/ptxas"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/kernels/cuda/report"
	"github.com/selkie-ml/selkie/ptx/emu"
)

var update = flag.Bool("update", false, "write variants.md or testdata/pins.txt anew")

// reported is a kernel of the report: how it is used, and what the emulator counted.
type reported struct {
	launched
	problem string
	profile *emu.KernelProfile
}

// shipped are the kernels that the table or an op's code gives, for aligned operands in
// bf16 or f32.
func shipped(t *testing.T) (list []reported) {
	seen := map[kernel.Any]bool{}
	on := func(problem string, run func(b *Backend)) {
		api := driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.H100, Profile: true, Workers: 1}})
		b, err := New(api, Options{})
		if err != nil {
			t.Fatal(err)
		}
		b.tuner.on = true
		run(b)
		made := b.tuner.made
		if err := b.Close(); err != nil {
			t.Fatalf("%s: %v", problem, err)
		}
		for _, k := range made {
			if !seen[k.Any] {
				seen[k.Any] = true
				list = append(list, reported{k, problem, profileOf(api.Emulator().Profile(), k.Name())})
			}
		}
	}
	for _, v := range variants {
		c := v.cases()[0]
		if v.dim == 0 && strings.HasPrefix(v.op, "attention") { // the largest heads
			for _, o := range v.cases() {
				if o.DType == c.DType && o.weights() == c.weights() {
					c = o
				}
			}
		}
		on(strings.TrimPrefix(c.String(), c.Op+" "), func(b *Backend) {
			p, err := newProblem(b, c, 0)
			if err != nil {
				t.Fatal(err)
			}
			b.tuner.made, b.tuner.trying = nil, &v
			p.op()
			made := b.tuner.kernels(v.op)
			if len(made) == 0 {
				t.Errorf("%+v: no kernel", v)
			}
			if err := b.Sync(); err != nil {
				t.Fatal(err)
			}
			p.close()
			var rest []launched // kernels of other rows have rows of their own
			for _, k := range b.tuner.made {
				if k.row.op == "" {
					rest = append(rest, k)
				}
			}
			b.tuner.made = append(made, rest...)
		})
	}
	for _, o := range opProblems() {
		on(o.name, func(b *Backend) {
			p := &problem{b: b}
			o.run(p)
			if p.failed != nil {
				t.Fatal(p.failed)
			}
			if err := b.Sync(); err != nil {
				t.Fatal(err)
			}
			p.close()
		})
	}
	return list
}

// when says for which launches a row is.
func (v variant) when() string {
	var list []string
	add := func(is bool, format string, args ...any) {
		if is {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	add(v.sm > leastSM, "from sm_%d", v.sm)
	add(v.room > 0, "%d KB or more", v.room)
	add(v.rows > 0, "rows ≤ %d", v.rows)
	add(v.dim > 0, "heads ≤ %d", v.dim)
	add(v.depth > 0, "depth ≥ %d", v.depth)
	add(v.fill > 0, "blocks ≥ %v × SMs", v.fill)
	if list == nil {
		return "all others"
	}
	return strings.Join(list, ", ")
}

// mayConflict are kernels whose accesses of shared memory conflict, and why that is left.
var mayConflict = map[string]string{"Sample": "a histogram, whose banks follow from the logits"}

// emulatorTable is what the emulator counted.
func emulatorTable(t *testing.T, list []reported) string {
	var b strings.Builder
	b.WriteString("| Op | For | Kernel | Problem | Conflicts | Sectors | Tensor |\n|---|---|---|---|--:|--:|--:|\n")
	for _, k := range list {
		op, when := k.row.op+" "+string(k.row.engine), k.row.when()
		if k.row.op == "" {
			op, when = reflect.TypeOf(k.Any).Name(), "every launch"
		}
		extra, _ := k.profile.BankConflicts()
		var requests int64
		for _, in := range k.profile.Insts {
			if in.Ideal > 0 {
				requests += in.Requests
			}
		}
		conflicts := "–"
		if requests > 0 {
			conflicts = fmt.Sprintf("%.3g", float64(extra)/float64(requests))
		}
		if extra > 0 {
			why := mayConflict[reflect.TypeOf(k.Any).Name()]
			if why == "" {
				t.Errorf("%s: %d passes through the banks of shared memory too many, in %d accesses, and no reason is given in mayConflict", k.Name(), extra, requests)
				noConflictsIn(t, k.profile)
			}
			conflicts += ": " + why
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %s | %.1f | %.0f %% |\n", op, when, k.Name(), k.problem, conflicts, k.profile.SectorsPerRequest(), 100*k.profile.TensorShare())
	}
	return b.String()
}

// assemblerTable is what NVIDIA's assembler makes of the kernels, and what follows.
func assemblerTable(t *testing.T, bin string, list []reported) string {
	rows := make([]report.Row, len(list)*len(targets))
	next := make(chan int)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for i := range next {
				k, target := list[i/len(targets)], targets[i%len(targets)]
				row, err := report.Assemble(bin, k.Any, k.launch, target)
				if err != nil && row.Registers == 0 {
					t.Error(err)
				}
				if row.Spilled > 0 {
					t.Errorf("%s for %s: %d bytes are spilled", k.Name(), target, row.Spilled)
				}
				rows[i] = row
			}
		})
	}
	for i := range rows {
		next <- i
	}
	close(next)
	workers.Wait()
	var b strings.Builder
	fmt.Fprintf(&b, "| Kernel | Warps | Shared | Spilled | %s |\n|---|--:|--:|--:|%s\n", strings.Join(targets, " | "), strings.Repeat("---|", len(targets)))
	for i, k := range list {
		of := rows[i*len(targets):][:len(targets)]
		spilled := 0
		var cells []string
		for _, r := range of {
			spilled += r.Spilled
			cell := fmt.Sprintf("%d: %d × %d, %s", r.Registers, r.Occupancy.Blocks, (r.Threads+31)/32, r.Occupancy.Limit)
			if r.Occupancy.Limit == "" {
				cell = fmt.Sprintf("%d: none", r.Registers)
			}
			cells = append(cells, strings.Replace(cell, " memory", "", 1))
		}
		fmt.Fprintf(&b, "| `%s` | %d | %d | %d | %s |\n", k.Name(), (of[0].Threads+31)/32, of[0].Shared, spilled, strings.Join(cells, " | "))
	}
	return b.String()
}

const (
	reportFile = "variants.md"
	reportHead = `# GPU kernels and their variants

Written by ` + "`go generate ./kernels/cuda`" + ` from the table in [variants.go](variants.go); tests compare. Nothing here is measured on a GPU.

## What the emulator counts

Every row of the table, for aligned operands in bf16 or f32, on a small problem; then the kernels that have no choices. Conflicts are passes through the banks of
shared memory beyond those needed, per access by a warp; sectors are 32-byte pieces of global memory per access by a warp (16 is a warp that reads 16 bytes a lane,
4 is 4 bytes a lane); tensor is the share of floating-point operations that tensor cores did.

`
	assemblerHead = `
## What the assembler says

By ptxas of nvidia-cuda-nvcc %s. Shared memory is a block's, in bytes; spilled are bytes of registers that went to memory, on all targets together. By target: registers of a
thread, then blocks × warps that a multiprocessor holds at once, and what allows no more.

`
)

// TestReport compares variants.md with the kernels that there are: what the emulator says,
// and with ptxas what it says.
func TestReport(t *testing.T) {
	t.Parallel()
	kept, err := os.ReadFile(reportFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	list := shipped(t)
	complete(t, list)
	text := reportHead + emulatorTable(t, list) + estimates(t)
	marker := assemblerHead[:strings.Index(assemblerHead, "By ptxas")]
	before, assembler, _ := strings.Cut(string(kept), marker)
	if *update && os.Getenv("SELKIE_PTXAS") == "" {
		t.Log("SELKIE_PTXAS is not set: what the assembler says is left as it was")
	}
	if os.Getenv("SELKIE_PTXAS") != "" {
		bin := ptxas.Find(t)[0]
		version := ptxas.Version(t, bin)
		now := fmt.Sprintf(strings.TrimPrefix(assemblerHead, marker), version) + assemblerTable(t, bin, list)
		if !*update {
			sameText(t, assembler, now)
		}
		assembler = now
	}
	if !*update {
		sameText(t, before, text)
		return
	}
	if err := os.WriteFile(reportFile, []byte(text+marker+assembler), 0o666); err != nil {
		t.Fatal(err)
	}
}

// sameText reports the first line in which two texts differ.
func sameText(t *testing.T, kept, now string) {
	t.Helper()
	if kept == now {
		return
	}
	a, b := strings.Split(kept, "\n"), strings.Split(now, "\n")
	for i := range max(len(a), len(b)) {
		line := func(of []string) string {
			if i < len(of) {
				return of[i]
			}
			return "(the end)"
		}
		if line(a) != line(b) {
			t.Errorf("%s is not what go generate ./kernels/cuda writes (with SELKIE_PTXAS for what the assembler says). It has\n%s\nwhere now is\n%s", reportFile, line(a), line(b))
			return
		}
	}
}

// complete sees that every kernel of package kernel is in the list.
func complete(t *testing.T, list []reported) {
	have := map[string]bool{}
	for _, k := range list {
		have[reflect.TypeOf(k.Any).Name()] = true
	}
	files, err := filepath.Glob("kernel/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != "Emit" || f.Recv == nil {
				continue
			}
			if name := f.Recv.List[0].Type.(*ast.Ident).Name; !have[name] {
				t.Errorf("kernel %s is not in the report: opProblems needs an op that launches it", name)
			}
		}
	}
}
