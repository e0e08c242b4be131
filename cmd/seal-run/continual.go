package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/demo"
	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/report"
	"github.com/selkie-ml/selkie/seal/settings"
	"github.com/selkie-ml/selkie/seal/world"
	"github.com/selkie-ml/selkie/tensor"
)

// runFlags are what commands on passages have in common.
type runFlags struct {
	model, data, edits, config, out string
	sets                            []string
	dryRun, acceptNumerics, asJSON  bool
}

func (r *runFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&r.model, "model", "", "model folder in Hugging Face format")
	f.StringVar(&r.data, "data", "", "passages: JSON of [{title, context, questions: [{question, answer}]}]")
	f.StringVar(&r.edits, "edits", "", "self-edits made elsewhere for the passages, in place of the model's own")
	f.StringVar(&r.config, "config", "", "YAML file of settings")
	f.StringVar(&r.out, "out", "", "folder of the run")
	f.StringArrayVar(&r.sets, "set", nil, "change a setting, key=value; see seal-run knowledge --help for all")
	f.BoolVar(&r.dryRun, "dry-run", false, "print what the run would take, and stop")
	f.BoolVar(&r.acceptNumerics, "accept-numerics", false, "go on with a run begun under another numerics id")
	f.BoolVar(&r.asJSON, "json", false, "print the result as one JSON object")
}

// settings resolves defaults, file, flags and --set, in this order.
func (r runFlags) settings(s settings.Settings) (settings.Settings, error) {
	if r.config != "" {
		if err := s.LoadFile(r.config); err != nil {
			return s, err
		}
	}
	for _, f := range []struct {
		to   *string
		from string
	}{{&s.Model.Dir, r.model}, {&s.Data.Eval, r.data}, {&s.Edits.File, r.edits}} {
		if f.from != "" {
			*f.to = f.from
		}
	}
	for _, set := range r.sets {
		if err := s.Set(set); err != nil {
			return s, err
		}
	}
	return s, s.Validate()
}

// need tells which flag is missing.
func (r runFlags) need(command string, s settings.Settings) error {
	for _, need := range []struct{ flag, value string }{{"--model", s.Model.Dir}, {"--data", s.Data.Eval}, {"--out", r.out}} {
		if need.value == "" && !(need.flag == "--out" && r.dryRun) {
			return fmt.Errorf("%s is missing: see seal-run %s --help", need.flag, command)
		}
	}
	return nil
}

func newContinual(a *app) *cobra.Command {
	var r runFlags
	var worldName, ways string
	var own bool
	c := &cobra.Command{
		Use:   "continual",
		Short: "Continual self-edits: one update after the other, and what is kept of the earlier ones",
		Long: `Continual updates a model on sequences of passages, one self-edit each, merges
every update, and after each asks about all passages seen so far: the paper's
lower-triangular matrix, with mean and deviation over sequences.

The paper's way forgets. continual.keep names what is done against it (replay,
kl, orthogonal, routed, or several with commas), and --compare runs several ways
on the same passages and prints a table. Stopped anywhere, the same command goes on.

With --world demo it runs on the embedded model and its world, with self-edits
that are true and complete, or with --own-edits the model's own.`,
		Example: `  seal-run continual --world demo --out runs/continual
  seal-run continual --world demo --compare none,replay,kl,orthogonal,routed --out runs/forgetting
  seal-run continual --model Qwen2.5-0.5B --data squad_val.json --out runs/c --set continual.keep=replay`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.continual(c, r, worldName, ways, own) },
	}
	r.add(c)
	c.Flags().StringVar(&worldName, "world", "", "demo: the embedded model and its world, in place of --model and --data")
	c.Flags().BoolVar(&own, "own-edits", false, "with --world, the model's own self-edits in place of true and complete ones")
	c.Flags().StringVar(&ways, "compare", "", "ways to run one after the other, with commas; join several into one way with +")
	return c
}

func (a *app) continual(c *cobra.Command, r runFlags, worldName, ways string, own bool) error {
	base := settings.Default()
	switch worldName {
	case "":
	case "demo":
		base = demo.ContinualSettings(0)
	default:
		return fmt.Errorf("--world %s: expected demo", worldName)
	}
	base.Outer.Rounds = 0
	s, err := r.settings(base)
	if err != nil {
		return err
	}
	if worldName == "" {
		if err := r.need("continual", s); err != nil {
			return err
		}
	} else if r.out == "" && !r.dryRun {
		return errors.New("--out is missing: name a folder for the run")
	}
	methods := [][]string{s.Continual.Keep}
	if ways != "" {
		methods = nil
		for way := range strings.SplitSeq(ways, ",") {
			one := s
			if way = strings.TrimSpace(way); way == "none" {
				way = ""
			}
			if err := one.Set("continual.keep=" + strings.ReplaceAll(way, "+", ",")); err != nil {
				return fmt.Errorf("--compare %s: %w", ways, err)
			}
			if err := one.Validate(); err != nil {
				return fmt.Errorf("--compare %s: %w", ways, err)
			}
			if slices.ContainsFunc(methods, func(m []string) bool { return seal.MethodName(m) == seal.MethodName(one.Continual.Keep) }) {
				return fmt.Errorf("--compare %s: %s comes twice", ways, seal.MethodName(one.Continual.Keep))
			}
			methods = append(methods, one.Continual.Keep)
		}
	}
	dev, err := a.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	in, err := a.continualInputs(s, dev, worldName, own)
	if err != nil {
		return err
	}
	defer in.Model.Close()
	var plan seal.Plan
	for _, keep := range methods {
		one := s
		one.Continual.Keep = keep
		next, err := seal.NewContinualPlan(one, in)
		if err != nil {
			return err
		}
		plan = plan.Plus(next)
	}
	if ready, err := a.prepare(c, r.dryRun, in.Model, plan, "use "+smaller); !ready || err != nil {
		return err
	}
	var done []seal.ContinualMethod
	var dirs []string
	for _, keep := range methods {
		one, dir := s, r.out
		one.Continual.Keep = keep
		name := seal.MethodName(keep)
		if ways != "" {
			dir = filepath.Join(r.out, name)
		}
		opt, stop := a.options(r.acceptNumerics, name+": ")
		result, err := seal.ExecuteContinual(c.Context(), dir, one, in, opt)
		stop()
		if err != nil {
			return err
		}
		done = append(done, seal.ContinualMethod{Name: name, Result: result, Settings: one})
		dirs = append(dirs, dir)
	}
	return a.showContinual(r.out, dirs, done, r.asJSON)
}

// showContinual writes the report of runs in several folders and prints its tables.
func (a *app) showContinual(out string, dirs []string, done []seal.ContinualMethod, asJSON bool) error {
	var timings []journal.Timing
	var notes report.Data
	for i, dir := range dirs {
		run, err := journal.Read(dir)
		if err != nil {
			return err
		}
		t, err := run.Timings()
		if err != nil {
			return err
		}
		timings = append(timings, t...)
		if err := addJudgeCost(&notes, run, done[i].Settings); err != nil {
			return err
		}
	}
	d := seal.ContinualReport("SEAL: continual self-edits", done, timings)
	d.Notes = append(d.Notes, notes.Notes...)
	return a.showReport(out, d, asJSON, report.TablesJSON)
}

// continualInputs reads what the settings name, or makes the demo's.
func (a *app) continualInputs(s settings.Settings, dev *tensor.Device, worldName string, own bool) (seal.Inputs, error) {
	if worldName != "" {
		return demo.ContinualInputs(dev, s.Model.Dir, world.Evaluation, s, !own)
	}
	s.Data.Train = s.Data.Eval // the same passages: nothing is reinforced
	return a.inputs(s, dev)
}
