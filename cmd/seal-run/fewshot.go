package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/arc"
	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/report"
	"github.com/selkie-ml/selkie/seal/settings"
	"github.com/selkie-ml/selkie/tensor"
)

// fewshotFlags are what the command line adds to a run's settings.
type fewshotFlags struct {
	model, train, eval, oracle, config string
	solutions, sets                    []string
	experimentFlags
}

func newFewshot(a *app) *cobra.Command {
	var k fewshotFlags
	c := &cobra.Command{
		Use:   "fewshot",
		Short: "SEAL's experiment of few-shot learning on ARC tasks",
		Long: `Fewshot runs the paper's second experiment: a chat model reads the demonstrations
of an ARC task and chooses, as JSON, which variants of them to train on and how;
an adapter is trained so, answers the task's test inputs by vote, and the model is
reinforced on the choices that solved their task. Defaults are the paper's settings;
every one, and every prompt, can be replaced. Stopped anywhere, the same command
goes on.

Settings (--set key=value, or in a file after --config):

` + settings.HelpFewshot(),
		Example: `  seal-run fewshot --model Llama-3.2-1B-Instruct --train train.json --eval eval.json \
      --solutions train_solutions.json --solutions eval_solutions.json --out runs/arc
  seal-run fewshot --model DIR --train t.json --eval e.json --solutions s.json --out runs/b --oracle oracle.json --set eval.controls=shuffled
  seal-run fewshot --model DIR --train t.json --eval e.json --solutions s.json --out runs/c --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.fewshot(c, k) },
	}
	f := c.Flags()
	f.StringVar(&k.model, "model", "", "chat model's folder in Hugging Face format")
	f.StringVar(&k.train, "train", "", "training challenges: JSON of {id: {train: [{input, output}], test: [{input}]}}")
	f.StringVar(&k.eval, "eval", "", "evaluation challenges, same form")
	f.StringArrayVar(&k.solutions, "solutions", nil, "solutions: JSON of {id: [grid, …]}; repeatable")
	f.StringVar(&k.oracle, "oracle", "", "a self-edit made by hand, as JSON or a file, tested on every evaluation task")
	f.StringVar(&k.config, "config", "", "YAML file of settings")
	f.StringVar(&k.out, "out", "", "folder of the run")
	f.StringArrayVar(&k.sets, "set", nil, "change a setting, key=value")
	f.BoolVar(&k.dryRun, "dry-run", false, "print what the run would take, and stop")
	f.BoolVar(&k.acceptNumerics, "accept-numerics", false, "go on with a run begun under another numerics id")
	f.BoolVar(&k.asJSON, "json", false, "print the table as one JSON object")
	return c
}

// settings resolves defaults, file, flags and --set, in this order.
func (k fewshotFlags) settings() (settings.Fewshot, error) {
	s := settings.DefaultFewshot()
	if k.config != "" {
		if err := s.LoadFile(k.config); err != nil {
			return s, err
		}
	}
	for _, f := range []struct {
		to   *string
		from string
	}{{&s.Model.Dir, k.model}, {&s.Data.Train, k.train}, {&s.Data.Eval, k.eval}, {&s.Eval.Oracle, k.oracle}} {
		if f.from != "" {
			*f.to = f.from
		}
	}
	if len(k.solutions) > 0 {
		s.Data.Solutions = k.solutions
	}
	for _, set := range k.sets {
		if err := s.Set(set); err != nil {
			return s, err
		}
	}
	for _, need := range []struct{ flag, value string }{{"--model", s.Model.Dir}, {"--train", s.Data.Train}, {"--eval", s.Data.Eval}} {
		if need.value == "" && !(need.flag == "--train" && s.Outer.Rounds == 0) {
			return s, fmt.Errorf("%s is missing: see seal-run fewshot --help", need.flag)
		}
	}
	return s, s.Validate()
}

func (a *app) fewshot(c *cobra.Command, k fewshotFlags) error {
	s, err := k.settings()
	if err != nil {
		return err
	}
	if k.out == "" && !k.dryRun {
		return fmt.Errorf("--out is missing: name a folder for the run")
	}
	dev, err := a.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	in, err := a.fewshotInputs(s, dev)
	if err != nil {
		return err
	}
	defer in.Model.Close()
	plan, err := seal.NewFewshotPlan(s, in)
	if err != nil {
		return err
	}
	if ready, err := a.prepare(c, k.dryRun, in.Model, plan, "use fewer adapters at once (run.max_adapters), "+smaller); !ready || err != nil {
		return err
	}
	opt, stop := a.options(k.acceptNumerics, "")
	e, err := seal.ExecuteFewshot(c.Context(), k.out, s, in, opt)
	stop()
	if err != nil {
		return err
	}
	return a.showFewshot(k.out, s, e, k.asJSON)
}

// fewshotInputs reads what a run's settings name.
func (a *app) fewshotInputs(s settings.Fewshot, dev *tensor.Device) (in seal.FewshotInputs, err error) {
	solutions, err := arc.ReadSolutions(s.Data.Solutions...)
	if err != nil {
		return in, err
	}
	for _, set := range []struct {
		path string
		to   *[]arc.Challenge
	}{{s.Data.Train, &in.Train}, {s.Data.Eval, &in.Eval}} {
		if set.path == "" {
			continue
		}
		if *set.to, err = arc.ReadChallenges(set.path); err != nil {
			return in, err
		}
		if err := arc.AddSolutions(*set.to, solutions); err != nil {
			return in, fmt.Errorf("%s: %w (--solutions)", set.path, err)
		}
	}
	in.Fingerprints = map[string]string{}
	for _, path := range append([]string{s.Model.Dir, s.Data.Train, s.Data.Eval, s.Model.Solve, s.Edits.Prompt}, s.Data.Solutions...) {
		if path == "" {
			continue
		}
		if in.Fingerprints[path], err = journal.Fingerprint(path); err != nil {
			return in, err
		}
	}
	if in.Tokenizer, err = tokenizer.Load(s.Model.Dir); err != nil {
		return in, err
	}
	opt := nn.LoadOptions{Compute: computeSetting(s.Model.Compute), Recompute: s.Run.Recompute}
	in.Model, err = nn.Load(dev, s.Model.Dir, opt)
	return in, err
}

// showFewshot writes a run's report and prints its table.
func (a *app) showFewshot(dir string, s settings.Fewshot, e *seal.Experiment, asJSON bool) error {
	run, err := journal.Read(dir)
	if err != nil {
		return err
	}
	timings, err := run.Timings()
	if err != nil {
		return err
	}
	d := seal.FewshotReport("SEAL: few-shot learning", []*seal.Experiment{e}, s, timings)
	d.Summary = fmt.Sprintf("Model %s, %d evaluation tasks of %s.", s.Model.Dir, len(e.Articles), s.Data.Eval)
	d.Paper = report.PaperFewshot()
	return a.showReport(dir, d, asJSON, report.JSON)
}
