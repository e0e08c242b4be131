package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/report"
	"github.com/selkie-ml/selkie/seal/settings"
	"github.com/selkie-ml/selkie/tensor"
)

func newContinue(a *app) *cobra.Command {
	var r runFlags
	c := &cobra.Command{
		Use:   "continue",
		Short: "Continued pretraining: one update from many passages and their self-edits",
		Long: `Continue trains one update on many passages, each with k self-edits of the model,
and asks every question of all of them: the paper's table of continued pretraining,
with rows for the base model, the passages alone, and the self-edits.

continue.train says what is trained: a LoRA adapter (of the inner update's form),
or all parameters. Training is checkpointed; stopped anywhere, the same command goes on.`,
		Example: `  seal-run continue --model Qwen2.5-0.5B --data squad_val.json --out runs/cpt
  seal-run continue --model DIR --data squad_val.json --out runs/cpt-all --set continue.train=all --set continue.lr=1e-5 --set data.eval_articles=2067
  seal-run continue --model DIR --data e.json --edits gpt.jsonl --out runs/cpt-given`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.continuePretraining(c, r) },
	}
	r.add(c)
	return c
}

func (a *app) continuePretraining(c *cobra.Command, r runFlags) error {
	base := settings.Default()
	base.Outer.Rounds, base.Edits.SplitNewlines = 0, false
	s, err := r.settings(base)
	if err != nil {
		return err
	}
	if err := r.need("continue", s); err != nil {
		return err
	}
	dev, err := a.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	s.Data.Train = s.Data.Eval
	inputs, err := a.inputs(s, dev)
	if err != nil {
		return err
	}
	defer inputs.Model.Close()
	s.Data.Train = ""
	if s.Continue.Train == "all" && s.Model.Compute != "bf16" {
		// Weights in f32, for the base too: rows differ by what was trained alone.
		base, err := a.openTrainable(dev, s, s.Model.Dir)
		if err != nil {
			return err
		}
		_ = inputs.Model.Close()
		inputs.Model = base
	}
	in := seal.ContinueInputs{Inputs: inputs, Open: func(dir string) (*nn.Model, error) {
		if dir == "" {
			dir = s.Model.Dir
		}
		return a.openTrainable(dev, s, dir)
	}}
	plan, err := seal.NewContinuePlan(s, inputs)
	if err != nil {
		return err
	}
	if ready, err := a.prepare(c, r.dryRun, inputs.Model, plan, "use "+smaller); !ready || err != nil {
		return err
	}
	opt, stop := a.options(r.acceptNumerics, "")
	result, err := seal.ExecuteContinue(c.Context(), r.out, s, in, opt)
	stop()
	if err != nil {
		return err
	}
	return a.showContinue(r.out, s, result, r.asJSON)
}

// showContinue writes a run's report and prints its table.
func (a *app) showContinue(dir string, s settings.Settings, result *seal.ContinueResult, asJSON bool) error {
	run, err := journal.Read(dir)
	if err != nil {
		return err
	}
	timings, err := run.Timings()
	if err != nil {
		return err
	}
	d := seal.ReportData("SEAL: continued pretraining", []*seal.Experiment{&result.Experiment}, s, timings)
	d.Summary = fmt.Sprintf("Model %s, one update from %d passages of %s (%s).", s.Model.Dir, len(result.Articles), s.Data.Eval, map[string]string{"lora": "LoRA", "all": "all parameters"}[s.Continue.Train])
	d.Paper = report.PaperContinue()
	if err := addJudgeCost(&d, run, s); err != nil {
		return err
	}
	return a.showReport(dir, d, asJSON, report.JSON)
}

// addJudgeCost tells what an endpoint was asked and paid for, if one was.
func addJudgeCost(d *report.Data, run *journal.Run, s settings.Settings) error {
	cost, err := seal.ReadJudgeCost(run, s.Judge)
	if err == nil && cost.Replies > 0 {
		text := cost.String()
		d.Notes = append(d.Notes, strings.ToUpper(text[:1])+text[1:]+".")
	}
	return err
}

// showOther shows a finished run of continue or continual, and tells whether the
// folder holds one.
func (a *app) showOther(dir string, asJSON bool) (bool, error) {
	has := func(file string) bool {
		_, err := os.Stat(filepath.Join(dir, file))
		return err == nil
	}
	if !has(seal.ContinueFile) && !has(seal.ContinualFile) {
		return false, nil
	}
	s, err := settings.Load(filepath.Join(dir, "config.yaml"))
	if err != nil {
		return true, err
	}
	if has(seal.ContinueFile) {
		r, err := seal.ReadContinue(dir)
		if err != nil {
			return true, err
		}
		return true, a.showContinue(dir, s, r, asJSON)
	}
	r, err := seal.ReadContinual(dir)
	if err != nil {
		return true, err
	}
	return true, a.showContinual(dir, []string{dir}, []seal.ContinualMethod{{Name: seal.MethodName(s.Continual.Keep), Result: r, Settings: s}}, asJSON)
}

// openTrainable opens a model all of whose parameters can be trained.
func (a *app) openTrainable(dev *tensor.Device, s settings.Settings, dir string) (*nn.Model, error) {
	opt := nn.LoadOptions{Compute: computeSetting(s.Model.Compute), Recompute: s.Run.Recompute, Float32: true}
	return nn.Load(dev, dir, opt)
}
