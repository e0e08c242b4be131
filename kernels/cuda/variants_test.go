package cuda

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/ptxas"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/kernels/cuda/report"
	"github.com/selkie-ml/selkie/kernels/ref"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// targets are those that every kernel assembles for.
var targets = []string{"sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"}

// cases are small cases of a row's op and engine that the row is for, by storages and
// dimensions of heads.
func (v variant) cases() (list []TuneCase) {
	storages := [][2]kernels.DType{{kernels.F32, kernels.F32}, {kernels.F32, kernels.BF16}}
	if v.engine == byMMA {
		storages = [][2]kernels.DType{{kernels.BF16, kernels.BF16}, {kernels.F16, kernels.F16}}
	} else if strings.HasPrefix(v.op, "lora") {
		storages[1] = [2]kernels.DType{kernels.BF16, kernels.BF16}
	}
	for _, dim := range v.dims() {
		for n, s := range storages {
			if n > 0 && dim > 128 {
				continue // slow, and as for smaller heads
			}
			const many = 1 << 20
			c := TuneCase{Op: v.op, DType: s[0], Weights: s[1], Rows: many, In: many, Out: many, Parts: 4, Rank: many, Heads: 2, KVHeads: 1, HeadDim: dim}
			if c.engine() == v.engine {
				list = append(list, c.small())
			}
		}
	}
	return list
}

// dims are the dimensions of heads at which a row is tried: its own largest and, if other
// rows give the same bits, theirs.
func (v variant) dims() (list []int) {
	most := kernel.MaxHeadDim
	if v.engine == byMMA {
		most = 128
	}
	switch {
	case !strings.HasPrefix(v.op, "attention"):
		return []int{0}
	case v.dim > 0:
		return []int{v.dim}
	case v.op != "attention" && v.engine == byFMA: // the order of sums is the rows'
		return []int{most}
	}
	for _, o := range variants {
		if o.op == v.op && o.engine == v.engine && o.dim > 0 && !slices.Contains(list, o.dim) {
			list = append(list, o.dim)
		}
	}
	return append(list, most)
}

// run runs a case with a row's sizes on a backend, and returns the results and the
// kernels that had the sizes.
func (v variant) run(b *Backend, c TuneCase, odd int) (p *problem, results [][]byte, made []launched, err error) {
	if p, err = newProblem(b, c, odd); err != nil {
		return nil, nil, nil, err
	}
	b.tuner = tuner{on: true, trying: &v}
	results, err = p.results()
	made = b.tuner.kernels(v.op)
	b.tuner = tuner{}
	return p, results, made, err
}

// emulatedFor returns an emulated GPU that allows blocks the most shared memory.
func emulatedFor(t testing.TB, checks emu.Checks, schedule emu.Schedule) (*Backend, *emu.Device) {
	api := driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.H100, Checks: checks, Schedule: schedule, Profile: true}})
	b, err := New(api, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return b, api.Emulator()
}

// TestVariantsAgree runs the kernels of every row, on aligned and on odd addresses: their
// results are right and have the bits of the other rows', and aligned ones access shared
// memory without conflicts.
func TestVariantsAgree(t *testing.T) {
	t.Parallel()
	first, exact := map[string][][]byte{}, map[string][][]byte{}
	for i, v := range variants {
		for n, c := range v.cases() {
			for odd := range 2 {
				if odd == 1 && n > 0 {
					continue // as in the first storage
				}
				t.Run(fmt.Sprintf("%d/%v/odd%d", i, c, odd), func(t *testing.T) {
					name := fmt.Sprint(c, v.engine)
					if exact[name] == nil {
						p, err := newProblem(ref.New(), c, 0)
						if err != nil {
							t.Fatal(err)
						}
						if exact[name], err = p.results(); err != nil {
							t.Fatal(err)
						}
					}
					b, dev := emulatedFor(t, emu.AllChecks, []emu.Schedule{emu.Random, emu.Adversarial}[odd])
					p, got, made, err := v.run(b, c, odd)
					if err != nil {
						t.Fatal(err)
					}
					for r, want := range exact[name] {
						if err := near(c, p.out[r].DType, got[r], want); err != nil {
							t.Errorf("result %d: %v", r, err)
						}
					}
					if first[name] == nil {
						first[name] = got
					} else if !slices.EqualFunc(got, first[name], bytes.Equal) {
						t.Error("other bits than the first variant")
					}
					if len(made) == 0 {
						t.Error("no kernel had the row's sizes")
					}
					if odd == 0 {
						for _, k := range made {
							noConflictsIn(t, profileOf(dev.Profile(), k.Name()))
						}
					}
					p.close()
					if err := b.Close(); err != nil {
						t.Error(err)
					}
					for _, f := range dev.Findings() {
						t.Error(f)
					}
				})
			}
		}
	}
}

func profileOf(p *emu.Profile, name string) *emu.KernelProfile {
	return p.Kernels[slices.IndexFunc(p.Kernels, func(k *emu.KernelProfile) bool { return k.Kernel == name })]
}

// noConflictsIn reports accesses of shared memory that take more passes than they need.
func noConflictsIn(t *testing.T, p *emu.KernelProfile) {
	t.Helper()
	extra, total := p.BankConflicts()
	if extra == 0 {
		return
	}
	t.Errorf("%s: %d conflicts in %d passes through the banks of shared memory", p.Kernel, extra, total)
	for _, in := range p.Insts {
		if in.Wavefronts > in.Ideal {
			t.Logf("%s: %s: %d, ideally %d", in.GoLine, in.Text, in.Wavefronts, in.Ideal)
		}
	}
}

// TestVariantsAssemble assembles the kernels of every row for odd addresses and further
// storages, without spills; those of the report are its own business.
func TestVariantsAssemble(t *testing.T) {
	bins := ptxas.Find(t)
	some := targets
	if os.Getenv("SELKIE_HEAVY") == "" {
		some = []string{"sm_80", "sm_120"}
	}
	seen := map[kernel.Any]bool{}
	for i, v := range variants {
		for n, c := range v.cases() {
			for odd := range 2 {
				if n > 0 && os.Getenv("SELKIE_HEAVY") == "" || odd == 0 && n == 0 {
					continue
				}
				b, _ := emulatedFor(t, 0, emu.RoundRobin)
				p, _, made, err := v.run(b, c, odd)
				if err != nil {
					t.Fatal(err)
				}
				p.close()
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
				for _, k := range made {
					if seen[k.Any] {
						continue
					}
					seen[k.Any] = true
					for _, target := range some {
						t.Run(fmt.Sprintf("%d/%s/%s", i, k.Name(), target), func(t *testing.T) {
							row, err := report.Assemble(bins[0], k.Any, k.launch, target)
							tooMuch := row.Registers > 0 && row.Occupancy.Limit == "" // of shared memory, for this target
							if err != nil && !tooMuch {
								t.Fatal(err)
							}
							if row.Spilled > 0 {
								t.Errorf("%d bytes are spilled", row.Spilled)
							}
							t.Log(row)
						})
					}
				}
			}
		}
	}
}

// TestChoose sees that launches and GPUs get the rows that are meant for them.
func TestChoose(t *testing.T) {
	on := func(g *emu.GPU) Info { return Info{Name: g.Name, SM: g.SM, SMs: g.SMs, SharedPerBlock: g.SharedBytes} }
	long, short := headsShape(4096, 1, 32, 128), headsShape(1000, 20, 32, 128)
	for _, c := range []struct {
		gpu   *emu.GPU
		op    string
		of    engine
		shape shape
		want  string
	}{
		{emu.H100, "linear", byMMA, shape{rows: 1, cols: 18944, depth: 3584}, "tile: sizes(16, 32, 64, 1, 1, 3), split: 4"},
		{emu.H100, "linear", byMMA, shape{rows: 17, cols: 64, depth: 64}, "tile: sizes(32, 32, 64, 1, 1, 3), split: 2"},
		{emu.H100, "linear", byMMA, shape{rows: 4096, cols: 4096, depth: 4096}, "tile: sizes(128, 128, 32, 2, 4, 4)"},
		{emu.H100, "lora_down", byFMA, shape{rows: 8, times: 2}, "tile: sizes(8, 32, 16, 1, 1, 4), split: 8"},
		{emu.H100, "lora_down", byFMA, shape{rows: 9, times: 2}, "tile: sizes(32, 32, 16, 1, 1, 2), split: 4"},
		{emu.A100, "attention", byMMA, long, "block: kernel.AttentionSizes{Rows: 128, Blocks: 1}"},
		{emu.A100, "attention", byMMA, short, "block: kernel.AttentionSizes{Rows: 64, Blocks: 2}"},
		{emu.A100, "attention", byMMA, headsShape(4096, 1, 32, 64), "block: kernel.AttentionSizes{Rows: 64, Blocks: 3}"},
		{emu.A100, "attention", byMMA, headsShape(4096, 1, 1, 128), "block: kernel.AttentionSizes{Rows: 64, Blocks: 2}"},
		{emu.A100, "attention", byFMA, headsShape(100, 1, 1, 256), "block: kernel.AttentionSizes{Rows: 32, Keys: 64}"},
		{emu.RTX4090, "attention", byFMA, headsShape(100, 1, 1, 256), "block: kernel.AttentionSizes{Rows: 16, Keys: 64}"},
		{emu.A100, "attention_backward_dkdv", byMMA, long, "block: kernel.AttentionSizes{Rows: 128, Stages: 2, Blocks: 1}"},
		{emu.RTX4090, "attention_backward_dkdv", byMMA, long, "block: kernel.AttentionSizes{Rows: 64, Stages: 2, Blocks: 2}"},
	} {
		if got := choose(on(c.gpu), c.op, c.of, c.shape, func(variant) int { return 0 }).sizesText(); got != c.want {
			t.Errorf("%s on %s, %+v: %s, want %s", c.op, c.gpu.Name, c.shape, got, c.want)
		}
	}
	v := choose(on(emu.H100), "linear", byMMA, shape{rows: 1, cols: 18944, depth: 4096}, func(v variant) int { return v.split * 30 << 10 })
	if v.split != 4 {
		t.Errorf("a row is taken whose blocks want more shared memory than the GPU has: %+v", v)
	}
}

// TestVariantsLast sees that the table has a row for every launch, on every GPU.
func TestVariantsLast(t *testing.T) {
	t.Parallel()
	last := map[string]variant{}
	for _, v := range variants {
		last[v.op+" "+string(v.engine)] = v
	}
	b, _ := emulatedFor(t, 0, emu.RoundRobin)
	for name, v := range last {
		if v.sm > leastSM || v.room != 0 || v.rows != 0 || v.dim != 0 || v.depth != 0 || v.fill != 0 {
			t.Errorf("%s: the last row, %+v, does not fit every launch", name, v)
		}
		for _, c := range v.cases() {
			p, _, made, err := v.run(b, c, 0)
			if err != nil {
				t.Fatal(err)
			}
			p.close()
			for _, k := range made {
				if k.launch.Shared > 99<<10 {
					t.Errorf("%s: %s wants %d bytes of shared memory, more than some GPUs have", name, k.Name(), k.launch.Shared)
				}
			}
		}
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
