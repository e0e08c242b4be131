package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
	"github.com/selkie-ml/selkie/ptx/emu/ptxcase"
)

// settings are the flags of commands that execute.
type settings struct {
	gpu       string
	schedules []string
	seeds     int
	seed      uint64
	workers   int
	budget    int64
	without   []string
}

var checkNames = map[string]emu.Checks{
	"bounds": emu.CheckBounds, "alignment": emu.CheckAlignment, "uninit": emu.CheckUninit, "races": emu.CheckRaces,
	"convergence": emu.CheckConvergence, "barriers": emu.CheckBarriers, "async": emu.CheckAsync, "leaks": emu.CheckLeaks, "all": emu.AllChecks,
}

var scheduleNames = map[string]emu.Schedule{"round-robin": emu.RoundRobin, "random": emu.Random, "adversarial": emu.Adversarial}

func (s *settings) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.gpu, "gpu", "", "GPU to be, by a part of its name; default: the oldest that runs the target")
	f.StringSliceVar(&s.schedules, "schedule", []string{"round-robin", "random", "adversarial"}, "orders of warps to try")
	f.IntVar(&s.seeds, "seeds", 2, "seeds per random and adversarial schedule")
	f.Uint64Var(&s.seed, "seed", 1, "first seed")
	f.IntVar(&s.workers, "workers", 0, "goroutines; 0: one per core")
	f.Int64Var(&s.budget, "budget", 0, "warp-instructions after which a launch fails; 0: 1<<33")
	f.StringSliceVar(&s.without, "without", nil, "checks to switch off: bounds, alignment, uninit, races, convergence, barriers, async, leaks, all")
}

// configs are the runs that the flags ask for.
func (s *settings) configs(m *ptx.Module) ([]emu.Config, error) {
	base := emu.Config{Checks: emu.AllChecks, Workers: s.workers, Budget: s.budget}
	for _, n := range s.without {
		c, ok := checkNames[n]
		if !ok {
			return nil, fmt.Errorf("--without %q: no such check", n)
		}
		base.Checks &^= c
	}
	var err error
	if s.gpu != "" {
		base.GPU, err = gpuByName(s.gpu)
	} else {
		base.GPU, err = gpuFor(m.Target)
	}
	if err != nil {
		return nil, err
	}
	var out []emu.Config
	for _, n := range s.schedules {
		k, ok := scheduleNames[n]
		if !ok {
			return nil, fmt.Errorf("--schedule %q: expected round-robin, random or adversarial", n)
		}
		seeds := s.seeds
		if k == emu.RoundRobin {
			seeds = 1
		}
		for i := range seeds {
			c := base
			c.Schedule, c.Seed = k, s.seed+uint64(i)
			out = append(out, c)
		}
	}
	return out, nil
}

func gpuFor(t ptx.Target) (*emu.GPU, error) {
	for _, g := range []*emu.GPU{emu.T4, emu.A100, emu.RTX4090, emu.H100, emu.RTX5090} {
		if t.Class == 0 && t.SM <= g.SM || t.SM == g.SM {
			return g, nil
		}
	}
	return nil, fmt.Errorf("no GPU of the table runs %s", t)
}

// report is what --json prints of a case.
type report struct {
	Case string   `json:"case"`
	Runs []runOut `json:"runs"`
}

type runOut struct {
	Schedule string        `json:"schedule"`
	Seed     uint64        `json:"seed"`
	GPU      string        `json:"gpu"`
	Error    string        `json:"error,omitempty"` // the launch failed
	Wrong    string        `json:"wrong,omitempty"` // outputs differ
	Findings []emu.Finding `json:"findings"`
}

func newRun(a *app) *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use:   "run CASE...",
		Short: "Run cases and compare their outputs, under several schedules",
		Long: "A case is a folder with kernel.ptx, case.json (launch and comparison) and data.safetensors\n" +
			"(inputs and expectations). Exit code 1: findings, wrong outputs or a launch that failed.",
		Example: "  ptxemu run testdata/vec_add\n  ptxemu run --schedule adversarial --seeds 20 softmax",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			bad := false
			var reports []report
			for _, dir := range args {
				r, ok, err := a.runCase(dir, &s)
				if err != nil {
					return err
				}
				bad = bad || !ok
				reports = append(reports, r)
			}
			if a.json {
				if err := a.printJSON(reports); err != nil {
					return err
				}
			}
			if bad {
				return errFindings
			}
			return nil
		},
	}
	s.flags(c)
	return c
}

func (a *app) runCase(dir string, s *settings) (report, bool, error) {
	rep := report{Case: filepath.Base(dir)}
	c, err := ptxcase.Open(dir)
	if err != nil {
		return rep, false, err
	}
	m, err := c.Module()
	if err != nil {
		return rep, false, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "kernel.ptx"))
	if err != nil {
		return rep, false, err
	}
	cfgs, err := s.configs(m)
	if err != nil {
		return rep, false, err
	}
	good := true
	for _, cfg := range cfgs {
		out := runOut{Schedule: cfg.Schedule.String(), Seed: cfg.Seed, GPU: cfg.GPU.Name, Findings: []emu.Finding{}}
		dev := emu.New(cfg)
		r, err := c.Prepare(dev, m)
		if err != nil {
			return rep, false, err
		}
		if err := r.Launch(); err != nil {
			out.Error = err.Error()
		} else if err := r.Compare(); err != nil {
			out.Wrong = err.Error()
		}
		if err := r.Close(); err != nil {
			return rep, false, err
		}
		dev.Close()
		out.Findings = append(out.Findings, dev.Findings()...)
		ok := out.Error == "" && out.Wrong == "" && len(out.Findings) == 0
		good = good && ok
		rep.Runs = append(rep.Runs, out)
		if !a.json {
			a.printRun(rep.Case, &out, string(text))
		}
	}
	return rep, good, nil
}

func (a *app) printRun(name string, r *runOut, text string) {
	where := fmt.Sprintf("%s: %s, seed %d, %s", name, r.Schedule, r.Seed, r.GPU)
	if r.Error == "" && r.Wrong == "" && len(r.Findings) == 0 {
		fmt.Fprintln(a.out, where+":", a.paint(green, "ok"))
		return
	}
	fmt.Fprintln(a.out, where+":")
	if r.Error != "" {
		fmt.Fprintln(a.out, "  "+a.paint(red, "failed")+" "+r.Error)
	}
	if r.Wrong != "" {
		fmt.Fprintln(a.out, "  "+a.paint(red, "wrong")+" "+r.Wrong)
	}
	for _, f := range r.Findings {
		a.printFinding(f, text)
	}
}

func (a *app) printFinding(f emu.Finding, text string) {
	head, rest, _ := strings.Cut(f.String(), "\n")
	kind, msg, _ := strings.Cut(head, ":")
	fmt.Fprintln(a.out, "  "+a.paint(red, kind)+a.paint(bold, ":"+msg))
	for _, l := range strings.Split(rest, "\n") {
		fmt.Fprintln(a.out, "  "+l)
	}
	show := func(line int) {
		if s := sourceLine(text, line); s != "" {
			fmt.Fprintf(a.out, "  %s %s\n", a.paint(dim, fmt.Sprintf("%6d |", line)), s)
		}
	}
	show(f.Line)
	if f.Other != nil && f.Other.Line != f.Line {
		show(f.Other.Line)
	}
}
