package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/demo"
	"github.com/selkie-ml/selkie/seal/report"
	"github.com/selkie-ml/selkie/seal/settings"
	"github.com/selkie-ml/selkie/seal/world"
)

func newDemo(a *app) *cobra.Command {
	opt := demo.Options{Scale: demo.Short, Split: world.Evaluation}
	var full, asJSON, tuning bool
	var out string
	var sets []string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show SEAL's effect on an embedded model, in minutes",
		Long: `Demo runs the whole loop on a small embedded model and passages it has never
seen: self-edits learnt by reinforcement beat those of the base model, which
beat the passage alone. It prints the table, with controls, and leaves a report.

With --full it runs three seeds with more passages and permutations: the
evidence behind the README's table. Stopped anywhere, the same command goes on.`,
		Example: `  seal-run demo
  seal-run demo --full --out runs/demo-full
  seal-run demo --json --set outer.rounds=1 --out runs/one-round`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			scale := demo.Short
			if full {
				scale = demo.Full
			}
			f := c.Flags()
			if !f.Changed("seeds") {
				opt.Seeds = scale.Seeds
			}
			if !f.Changed("passages") {
				opt.Evaluation = scale.Evaluation
			}
			if !f.Changed("permutations") {
				opt.Permutations = scale.Permutations
			}
			if opt.Seeds < 1 || opt.Evaluation < 1 || opt.Permutations < 1 {
				return fmt.Errorf("--seeds %d, --passages %d, --permutations %d: expected at least 1", opt.Seeds, opt.Evaluation, opt.Permutations)
			}
			if tuning {
				opt.Split = world.Tuning
			}
			if out == "" {
				out = filepath.Join("runs", "demo")
				if full {
					out += "-full"
				}
			}
			opt.Adjust = func(s *settings.Settings) error {
				for _, set := range sets {
					if err := s.Set(set); err != nil {
						return err
					}
				}
				return s.Validate()
			}
			return a.demo(c, out, opt, asJSON)
		},
	}
	f := c.Flags()
	f.BoolVar(&full, "full", false, "three seeds, 100 passages each, three permutations of the control")
	f.StringVar(&out, "out", "", "folder of the run (default runs/demo, or runs/demo-full)")
	f.BoolVar(&asJSON, "json", false, "print the table as one JSON object")
	f.IntVar(&opt.Seeds, "seeds", demo.Short.Seeds, "whole reinforcement runs")
	f.IntVar(&opt.Evaluation, "passages", demo.Short.Evaluation, "evaluation passages per seed")
	f.IntVar(&opt.Permutations, "permutations", demo.Short.Permutations, "permutations of the control per seed")
	f.StringVar(&opt.ModelDir, "model", "", "a model made by `seal-run pretrain --world demo`, in place of the embedded one")
	f.BoolVar(&tuning, "tuning", false, "evaluate on the tuning passages, on which settings are chosen")
	f.StringArrayVar(&sets, "set", nil, "change a setting, key=value; see seal-run knowledge --help")
	c.AddCommand(newDemoFewshot(a))
	return c
}

func (a *app) demo(c *cobra.Command, out string, opt demo.Options, asJSON bool) error {
	dev, err := a.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	phases := newPhaseMeter(a)
	defer phases.stop()
	opt.Device = dev
	opt.Say = func(s string) { a.say("%s", s) }
	opt.Progress = func(seed int, phase string, done, total int) {
		phases.show(fmt.Sprintf("seed %d: %s", seed, phase), done, total)
	}
	started := time.Now()
	result, err := demo.Run(c.Context(), out, opt)
	phases.stop()
	if err != nil {
		return err
	}
	data, err := demoReport(out, result)
	if err != nil {
		return err
	}
	more := []string{"", "styles of the self-edits"}
	for _, s := range result.Styles {
		more = append(more, fmt.Sprint("  ", s))
	}
	return a.showReport(out, data, asJSON, report.JSON, append(more, "", fmt.Sprintf("took %v", time.Since(started).Round(time.Second)))...)
}

// demoReport adds what is special to the world to a run's report.
func demoReport(out string, r *demo.Result) (report.Data, error) {
	timings, err := readTimings(out, len(r.Experiments))
	if err != nil {
		return report.Data{}, err
	}
	d := seal.ReportData("SEAL on a small world", r.Experiments, r.Settings, timings)
	d.Summary = fmt.Sprintf("A model of 0.8 million parameters, pretrained from scratch, learns about people it has never heard of. "+
		"Accuracy is closed-book, on %d passages of 8 questions each; %d reinforcement run(s).", d.Rows[0].N, len(r.Experiments))
	d.StyleNames = demo.StyleNames()
	for _, s := range r.Styles {
		d.Styles = append(d.Styles, report.Style{Label: strings.ReplaceAll(s.Row, "_", " "), Shares: s.Shares})
	}
	d.Notes = append(d.Notes, "The passage alone is shown three times: for as many epochs as every self-edit, for as many trained tokens as the base model's self-edits, and for as many optimiser steps. A small model can learn a passage by repetition, which the paper's larger models hardly do; these two rows keep that in sight.",
		"The control keeps as many self-edits of the same passages as SEAL does, but drawn at random, which is what permuted rewards select. The best style by hand is "+demo.BestStyle.String()+": true lines about all eight facts.")
	return d, nil
}
