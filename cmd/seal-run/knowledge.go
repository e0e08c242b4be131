package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/report"
	"github.com/selkie-ml/selkie/seal/settings"
	"github.com/selkie-ml/selkie/tensor"
)

// knowledgeFlags are what the command line adds to a run's settings.
type knowledgeFlags struct {
	model, train, eval, edits, config string
	sets                              []string
	experimentFlags
}

func newKnowledge(a *app) *cobra.Command {
	var k knowledgeFlags
	c := &cobra.Command{
		Use:   "knowledge",
		Short: "SEAL's experiment of knowledge incorporation on a model and articles",
		Long: `Knowledge runs the paper's experiment: a model writes self-edits about passages,
is finetuned on each with LoRA, answers questions without the passage, and learns
by ReST-EM which self-edits help. Defaults are the paper's settings; every one,
and every prompt, can be replaced. Stopped anywhere, the same command goes on.

Settings (--set key=value, or in a file after --config):

` + settings.Help(),
		Example: `  seal-run knowledge --model Qwen2.5-0.5B --train squad_train.json --eval squad_val.json --out runs/a
  seal-run knowledge --model DIR --train t.json --eval e.json --out runs/b --set inner.epochs=5 --set outer.articles=20
  seal-run knowledge --model DIR --train t.json --eval e.json --out runs/c --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.knowledge(c, k) },
	}
	f := c.Flags()
	f.StringVar(&k.model, "model", "", "model folder in Hugging Face format")
	f.StringVar(&k.train, "train", "", "training articles: JSON of [{title, context, questions: [{question, answer}]}]")
	f.StringVar(&k.eval, "eval", "", "evaluation articles, same form")
	f.StringVar(&k.edits, "edits", "", "self-edits made elsewhere for the evaluation articles, tested as a row of their own")
	f.StringVar(&k.config, "config", "", "YAML file of settings")
	f.StringVar(&k.out, "out", "", "folder of the run")
	f.StringArrayVar(&k.sets, "set", nil, "change a setting, key=value")
	f.BoolVar(&k.dryRun, "dry-run", false, "print what the run would take, and stop")
	f.BoolVar(&k.acceptNumerics, "accept-numerics", false, "go on with a run begun under another numerics id")
	f.BoolVar(&k.asJSON, "json", false, "print the table as one JSON object")
	return c
}

// settings resolves defaults, file, flags and --set, in this order.
func (k knowledgeFlags) settings() (settings.Settings, error) {
	s := settings.Default()
	if k.config != "" {
		if err := s.LoadFile(k.config); err != nil {
			return s, err
		}
	}
	for _, f := range []struct {
		to   *string
		from string
	}{{&s.Model.Dir, k.model}, {&s.Data.Train, k.train}, {&s.Data.Eval, k.eval}, {&s.Edits.File, k.edits}} {
		if f.from != "" {
			*f.to = f.from
		}
	}
	for _, set := range k.sets {
		if err := s.Set(set); err != nil {
			return s, err
		}
	}
	for _, need := range []struct{ flag, value string }{{"--model", s.Model.Dir}, {"--train", s.Data.Train}, {"--eval", s.Data.Eval}} {
		if need.value == "" {
			return s, fmt.Errorf("%s is missing: see seal-run knowledge --help", need.flag)
		}
	}
	return s, s.Validate()
}

// smaller says what lowers the memory of any run on passages.
const smaller = "fewer tokens (run.max_batch_tokens) or texts (run.max_decodes), or run.recompute=true"

func (a *app) knowledge(c *cobra.Command, k knowledgeFlags) error {
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
	in, err := a.inputs(s, dev)
	if err != nil {
		return err
	}
	defer in.Model.Close()
	plan, err := seal.NewPlan(s, in)
	if err != nil {
		return err
	}
	if ready, err := a.prepare(c, k.dryRun, in.Model, plan, "use fewer adapters at once (run.max_adapters), "+smaller); !ready || err != nil {
		return err
	}
	opt, stop := a.options(k.acceptNumerics, "")
	e, err := seal.Execute(c.Context(), k.out, s, in, opt)
	stop()
	if err != nil {
		return err
	}
	return a.showRun(k.out, s, e, k.asJSON)
}

// inputs reads what a run's settings name.
func (a *app) inputs(s settings.Settings, dev *tensor.Device) (in seal.Inputs, err error) {
	if in.Train, err = seal.ReadArticles(s.Data.Train); err != nil {
		return in, err
	}
	if in.Eval, err = seal.ReadArticles(s.Data.Eval); err != nil {
		return in, err
	}
	if s.Edits.File != "" {
		if in.Outside, err = seal.ReadEdits(s.Edits.File, in.Eval); err != nil {
			return in, err
		}
	}
	in.Fingerprints = map[string]string{}
	for _, path := range []string{s.Model.Dir, s.Data.Train, s.Data.Eval, s.Edits.File, s.Edits.Prompt, s.Eval.Prompt, s.Judge.Prompt} {
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

// measureSpeed times one small training batch and one generation, in tokens per
// second.
func measureSpeed(c *cobra.Command, m *nn.Model) (train, decode float64, err error) {
	const tokens, texts, steps = 128, 8, 4
	ids := make([]int32, tokens)
	job := nn.Job{
		LoRA:     nn.LoRAConfig{Rank: 16, Alpha: 16, Targets: []nn.Projection{nn.QProj, nn.VProj}},
		Examples: []nn.Example{{Tokens: ids}}, Epochs: 1, Batch: 1, AdamW: nn.DefaultAdamW(), Schedule: nn.Schedule{Kind: "constant", LR: 1e-9},
	}
	started := time.Now()
	if _, err := m.FinetuneAdapters(c.Context(), []nn.Job{job}, nn.FinetuneOptions{}); err != nil {
		return 0, 0, err
	}
	train = tokens / time.Since(started).Seconds()
	gen := nn.NewGenerator(m, nil, nn.GeneratorOptions{})
	defer gen.Close()
	var requests []nn.Request
	for range texts {
		requests = append(requests, nn.Request{Prompt: ids[:1], MaxNew: steps, Adapter: nn.NoAdapter})
	}
	started = time.Now()
	if _, err := gen.Run(c.Context(), requests); err != nil {
		return 0, 0, err
	}
	return train, texts * steps / time.Since(started).Seconds(), nil
}

// showRun writes a run's report and prints its table.
func (a *app) showRun(dir string, s settings.Settings, e *seal.Experiment, asJSON bool) error {
	run, err := journal.Read(dir)
	if err != nil {
		return err
	}
	timings, err := run.Timings()
	if err != nil {
		return err
	}
	d := seal.ReportData("SEAL: knowledge incorporation", []*seal.Experiment{e}, s, timings)
	d.Summary = fmt.Sprintf("Model %s, %d evaluation passages of %s.", s.Model.Dir, len(e.Articles), s.Data.Eval)
	d.Paper = report.PaperKnowledge()
	if err := addJudgeCost(&d, run, s); err != nil {
		return err
	}
	return a.showReport(dir, d, asJSON, report.JSON)
}

func newReport(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "report DIR",
		Short: "Write a finished run's report again and print its table",
		Example: `  seal-run report runs/a
  seal-run report runs/a --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("got %d folders, expected one: seal-run report DIR", len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if done, err := a.showOther(args[0], asJSON); done || err != nil {
				return err
			}
			e, err := seal.ReadExperiment(args[0])
			if err != nil {
				return err
			}
			config := filepath.Join(args[0], "config.yaml")
			if len(e.Tasks) > 0 {
				s, err := settings.LoadFewshot(config)
				if err != nil {
					return err
				}
				return a.showFewshot(args[0], s, e, asJSON)
			}
			s, err := settings.Load(config)
			if err != nil {
				return err
			}
			return a.showRun(args[0], s, e, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the table as one JSON object")
	return c
}
