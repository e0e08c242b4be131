package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/arc/gridworld"
	"github.com/selkie-ml/selkie/seal/demo"
	"github.com/selkie-ml/selkie/seal/report"
	"github.com/selkie-ml/selkie/seal/settings"
)

func newDemoFewshot(a *app) *cobra.Command {
	opt := demo.FewshotOptions{Scale: demo.Fewshot, Split: gridworld.Evaluation}
	var asJSON, tuning bool
	var out string
	var sets []string
	c := &cobra.Command{
		Use:   "fewshot",
		Short: "Show SEAL's effect on few-shot learning, on an embedded model and small grid tasks",
		Long: `Demo fewshot runs few-shot learning on a small embedded model, pretrained by this
program, and grid tasks of kinds it has never seen: it chooses, as JSON, which
variants of a task's demonstrations to train on and how. Choices learnt by
reinforcement beat those of the base model, which beat answering in context. It
prints the table, with a control, and leaves a report that draws the grids.
Stopped anywhere, the same command goes on.`,
		Example: `  seal-run demo fewshot
  seal-run demo fewshot --seeds 1 --out runs/one
  seal-run demo fewshot --json --set inner.examples=48 --out runs/more`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if opt.Seeds < 1 || opt.Evaluation < 1 || opt.Permutations < 1 {
				return fmt.Errorf("--seeds %d, --tasks %d, --permutations %d: expected at least 1", opt.Seeds, opt.Evaluation, opt.Permutations)
			}
			if tuning {
				opt.Split = gridworld.Tuning
			}
			opt.Adjust = func(s *settings.Fewshot) error {
				for _, set := range sets {
					if err := s.Set(set); err != nil {
						return err
					}
				}
				return s.Validate()
			}
			return a.demoFewshot(c, out, opt, asJSON)
		},
	}
	f := c.Flags()
	f.StringVar(&out, "out", filepath.Join("runs", "demo-fewshot"), "folder of the runs")
	f.IntVar(&opt.Seeds, "seeds", opt.Seeds, "reinforcement runs")
	f.IntVar(&opt.Evaluation, "tasks", opt.Evaluation, "evaluation tasks of each")
	f.IntVar(&opt.Permutations, "permutations", opt.Permutations, "permutations of the control")
	f.StringVar(&opt.ModelDir, "model", "", "model of the grid tasks' pretraining, instead of the embedded one")
	f.BoolVar(&tuning, "tuning", false, "evaluate on the tuning tasks, on which settings are chosen")
	f.BoolVar(&asJSON, "json", false, "print the table as one JSON object")
	f.StringArrayVar(&sets, "set", nil, "change a setting, key=value; see seal-run fewshot --help")
	return c
}

func (a *app) demoFewshot(c *cobra.Command, out string, opt demo.FewshotOptions, asJSON bool) error {
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
	result, err := demo.RunFewshot(c.Context(), out, opt)
	phases.stop()
	if err != nil {
		return err
	}
	timings, err := readTimings(out, len(result.Experiments))
	if err != nil {
		return err
	}
	d := seal.FewshotReport("SEAL: few-shot learning on small grids", result.Experiments, result.Settings, timings)
	d.Summary = fmt.Sprintf("A model of 0.7 million parameters, pretrained from scratch on single rules and some pairs of them, is adapted to tasks under rules it has never seen. "+
		"%d tasks, %d self-edits each; %d reinforcement run(s).", d.Rows[0].N, result.Settings.Edits.EvalPerTask, len(result.Experiments))
	d.Notes = append(d.Notes, "The control keeps as many self-edits of the same tasks as SEAL does, but drawn at random, which is what permuted rewards select. The oracle is one configuration for all tasks, chosen by hand on reinforcement and tuning tasks.")
	more := []string{"", "choices of the self-edits, per cent"}
	for i, name := range d.StyleNames {
		line := fmt.Sprintf("  %-16s", name)
		for _, s := range d.Styles {
			line += fmt.Sprintf("  %3.0f", 100*s.Shares[i])
		}
		more = append(more, line)
	}
	var columns []string
	for _, s := range d.Styles {
		columns = append(columns, s.Label)
	}
	more = append(more, "  columns: "+strings.Join(columns, "; "), "", fmt.Sprintf("took %v", time.Since(started).Round(time.Second)))
	return a.showReport(out, d, asJSON, report.JSON, more...)
}
