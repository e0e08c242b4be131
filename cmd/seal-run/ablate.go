package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/report"
	"github.com/selkie-ml/selkie/seal/settings"
)

func newAblate(a *app) *cobra.Command {
	k := knowledgeFlags{}
	var kinds string
	c := &cobra.Command{
		Use:   "ablate",
		Short: "Compare the kinds of self-edit prompts, before and after reinforcement",
		Long: `Ablate runs the knowledge experiment once for each kind of self-edit and prints
the paper's table: adapter accuracy by kind, after no, one and two rounds. Each
kind has a run folder of its own within --out, and its own report.
Stopped anywhere, the same command goes on.`,
		Example: `  seal-run ablate --model Qwen2.5-0.5B --train squad_train.json --eval squad_val.json --out runs/ablate
  seal-run ablate --model DIR --train t.json --eval e.json --out runs/a --kinds rewrite,self-qa --set outer.rounds=0
  seal-run ablate --model DIR --train t.json --eval e.json --out runs/a --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.ablate(c, k, kinds) },
	}
	var all []string
	for _, kind := range seal.Kinds() {
		if kind != seal.KindNone {
			all = append(all, string(kind))
		}
	}
	f := c.Flags()
	f.StringVar(&k.model, "model", "", "model folder in Hugging Face format")
	f.StringVar(&k.train, "train", "", "training articles: JSON of [{title, context, questions: [{question, answer}]}]")
	f.StringVar(&k.eval, "eval", "", "evaluation articles, same form")
	f.StringVar(&k.config, "config", "", "YAML file of settings")
	f.StringVar(&k.out, "out", "", "folder of the runs")
	f.StringArrayVar(&k.sets, "set", nil, "change a setting, key=value; see seal-run knowledge --help")
	f.BoolVar(&k.dryRun, "dry-run", false, "print what the runs would take, and stop")
	f.BoolVar(&k.acceptNumerics, "accept-numerics", false, "go on with runs begun under another numerics id")
	f.BoolVar(&k.asJSON, "json", false, "print the table as one JSON object")
	f.StringVar(&kinds, "kinds", strings.Join(all, ","), "kinds compared, with commas")
	return c
}

// paperKinds are the paper's figures: accuracy after 0, 1 and 2 rounds.
var paperKinds = map[string][]string{
	"implications": {"39.7", "42.7", "47.0"}, "implications-long": {"49.3", "52.4", "54.4"}, "implications-very-long": {"45.0", "51.5", "52.1"},
	"rewrite": {"49.4", "55.3", "55.6"}, "self-qa": {"37.3", "42.8", "48.7"},
}

func (a *app) ablate(c *cobra.Command, k knowledgeFlags, kinds string) error {
	s, err := k.settings()
	if err != nil {
		return err
	}
	if k.out == "" && !k.dryRun {
		return fmt.Errorf("--out is missing: name a folder for the runs")
	}
	var list []string
	for kind := range strings.SplitSeq(kinds, ",") {
		kind = strings.TrimSpace(kind)
		if parsed, err := seal.ParseKind(kind); err != nil || parsed == seal.KindNone || slices.Contains(list, kind) {
			return fmt.Errorf("--kinds %s: got %q, expected different ones of %v", kinds, kind, seal.Kinds()[:5])
		}
		list = append(list, kind)
	}
	if s.Edits.Prompt != "" || s.Edits.File != "" {
		return fmt.Errorf("edits.prompt and edits.file: expected none, since every kind has its own prompt")
	}
	dev, err := a.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	in, err := a.inputs(s, dev)
	if err != nil {
		return err
	}
	defer in.Model.Close()
	one, err := seal.NewPlan(s, in)
	if err != nil {
		return err
	}
	plan := one
	for range list[1:] {
		plan = plan.Plus(one)
	}
	if ready, err := a.prepare(c, k.dryRun, in.Model, plan, "use fewer adapters at once (run.max_adapters), "+smaller); !ready || err != nil {
		return err
	}
	t := report.Table{ID: "kinds", Title: "Accuracy by kind of self-edit, %", Head: []string{"kind"},
		Note: "Before reinforcement and after every round, with the 95 % interval; in brackets the paper's figure: Zweiger et al. 2025, Qwen2.5-7B on 200 SQuAD passages."}
	t.Head = append(t.Head, "before")
	for round := range s.Outer.Rounds {
		t.Head = append(t.Head, fmt.Sprintf("round %d", round+1))
	}
	for _, kind := range list {
		one := s
		one.Edits.Kind = kind
		dir := filepath.Join(k.out, kind)
		opt, stop := a.options(k.acceptNumerics, kind+": ")
		e, err := seal.Execute(c.Context(), dir, one, in, opt)
		stop()
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		t.Rows = append(t.Rows, kindRow(kind, e, one))
		quiet := *a
		quiet.out = discard{}
		if err := quiet.showRun(dir, one, e, false); err != nil {
			return err
		}
	}
	d := report.Data{Title: "SEAL: kinds of self-edits", Tables: []report.Table{t}}
	d.Summary = fmt.Sprintf("Model %s, evaluation passages of %s. Every kind's own report is in its folder.", s.Model.Dir, s.Data.Eval)
	return a.showReport(k.out, d, k.asJSON, report.TablesJSON)
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func kindRow(kind string, e *seal.Experiment, s settings.Settings) []string {
	row := []string{kind}
	figures := seal.Compare([]*seal.Experiment{e}, s.Eval.Resamples).Rows
	for round := range len(e.Rounds) + 1 {
		name := seal.RowBase
		if round > 0 {
			name = seal.RowRound(round)
		}
		cell := [2]string{"–"}
		for _, f := range figures {
			if f.Name == name {
				cell = [2]string{fmt.Sprintf("%.1f", 100*f.Mean), fmt.Sprintf("\n[%.1f, %.1f]", 100*f.Low, 100*f.High)}
			}
		}
		if p := paperKinds[kind]; round < len(p) {
			cell[0] += " (" + p[round] + ")"
		}
		row = append(row, cell[0]+cell[1])
	}
	return row
}
