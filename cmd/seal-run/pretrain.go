package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/pretrain"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/world"
	"github.com/selkie-ml/selkie/tensor"
)

// pretrainSettings are what a pretraining's result depends on.
type pretrainSettings struct {
	Seed     uint64
	Context  int    // the model's longest text, in tokens
	DType    string // of the finished weights
	Model    world.Shape
	Schedule world.Schedule
	Phases   []world.Phase // of a world
	Text     textSettings  // of text files
}

// textSettings say how text files are trained on.
type textSettings struct {
	Steps     int
	BatchSize int // sequences of Context tokens in a step
}

type pretrainFlags struct {
	text                       []string
	world, tokenizer, out      string
	config                     string
	set                        []string
	checkpointEvery, evalEvery int
	maxTokens                  int
	acceptNumerics             bool
}

func newPretrain(a *app) *cobra.Command {
	var f pretrainFlags
	c := &cobra.Command{
		Use:   "pretrain (--text FILE… | --world demo) --out DIR",
		Short: "Train a small model and its tokenizer from scratch",
		Long: `Pretrain trains a small Llama-style model, and a byte-level BPE tokenizer for it,
on text files or on the demo's generated world. OUT becomes a Hugging Face model
folder. Interrupted or killed, the same command goes on with equal bits.`,
		Example: `  seal-run pretrain --world demo --out runs/demo-model
  seal-run pretrain --text book.txt --text notes.jsonl --set text.steps=2000 --out runs/book
  seal-run pretrain --text book.txt --config small.yaml --tokenizer runs/demo-model --out runs/other`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.pretrain(c, f) },
	}
	p := c.Flags()
	p.StringArrayVar(&f.text, "text", nil, "text file (documents separated by blank lines) or .jsonl file of {\"text\": …}; repeatable")
	p.StringVar(&f.world, "world", "", "generated world to train on: demo")
	p.StringVar(&f.tokenizer, "tokenizer", "", "folder of a tokenizer to use instead of training one")
	p.StringVar(&f.out, "out", "", "folder of the run, and of the model at its end")
	p.StringVar(&f.config, "config", "", "YAML file of settings")
	p.StringArrayVar(&f.set, "set", nil, "one setting, key=value; repeatable")
	p.IntVar(&f.checkpointEvery, "checkpoint-every", 100, "steps between checkpoints")
	p.IntVar(&f.evalEvery, "eval-every", 250, "steps between evaluations (of a world)")
	p.IntVar(&f.maxTokens, "max-tokens", 4096, "tokens computed at once; bounds memory, changes no result")
	p.BoolVar(&f.acceptNumerics, "accept-numerics", false, "go on with a run begun on another kind of machine, whose last bits may differ")
	return c
}

func (a *app) pretrain(c *cobra.Command, f pretrainFlags) error {
	switch {
	case f.out == "":
		return fmt.Errorf("--out is missing: name a folder for the run")
	case (len(f.text) > 0) == (f.world != ""):
		return fmt.Errorf("expected either --text FILE or --world demo")
	case f.world != "" && f.world != "demo":
		return fmt.Errorf("--world %s: expected demo", f.world)
	}
	recipe := worldRecipe()
	s := pretrainSettings{Seed: recipe.WorldSeed, Context: 512, DType: "bfloat16", Model: recipe.Model, Schedule: recipe.Schedule, Phases: recipe.Phases}
	if f.config != "" {
		if err := readYAML(f.config, &s); err != nil {
			return err
		}
	}
	for _, assignment := range f.set {
		if err := assign(&s, assignment); err != nil {
			return err
		}
	}
	recipe.WorldSeed, recipe.Model, recipe.Schedule, recipe.Phases = s.Seed, s.Model, s.Schedule, s.Phases
	tok, err := a.pretrainTokenizer(f, s)
	if err != nil {
		return err
	}
	source, err := newWorldSource(recipe, tok)
	if err != nil {
		return err
	}
	cfg := pretrain.Config{
		Dir: f.out, Shape: worldConfig(s.Model, tok, s.Context), Seed: s.Seed, Source: source, Steps: recipe.Steps(),
		LearningRate: func(step int) float64 { return s.Schedule.LearningRate(step, recipe.Steps()) },
		AdamW:        nn.AdamW{Beta1: s.Schedule.Beta1, Beta2: s.Schedule.Beta2, Eps: 1e-8, WeightDecay: s.Schedule.WeightDecay, ClipNorm: s.Schedule.Clip},
		Settings:     flat(&s), AcceptNumerics: f.acceptNumerics,
		MaxTokens: f.maxTokens, CheckpointEvery: f.checkpointEvery, EvaluateEvery: f.evalEvery,
		Evaluate: worldEvaluation(recipe, tok),
	}
	cfg.Weights = worldWeights(cfg.Shape, s.Model, s.Seed)
	cfg.Settings["source"] = "world " + f.world
	if cfg.Shape.DType, err = storageType(s.DType); err != nil {
		return err
	}
	dev, err := a.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	a.say("training %.2f million parameters for %d steps into %s", float64(cfg.Shape.NumParameters())/1e6, cfg.Steps, f.out)
	stop, err := a.showPretraining(&cfg)
	if err != nil {
		return err
	}
	defer stop()
	if err := pretrain.Run(c.Context(), dev, cfg); err != nil {
		return err
	}
	stop()
	if err := tok.Save(f.out); err != nil {
		return err
	}
	a.say("the model is in %s", f.out)
	return nil
}

// pretrainTokenizer loads the tokenizer asked for, or trains one.
func (a *app) pretrainTokenizer(f pretrainFlags, s pretrainSettings) (*tokenizer.Tokenizer, error) {
	if f.tokenizer != "" {
		return tokenizer.Load(f.tokenizer)
	}
	a.say("training a tokenizer of %d tokens", s.Model.Vocabulary)
	return tokenizer.Train(worldTokenizerTexts(s.Seed), tokenizer.TrainOptions{
		VocabSize: s.Model.Vocabulary, Special: []string{endOfText}, EOS: endOfText, PAD: endOfText,
	})
}

func storageType(name string) (tensor.DType, error) {
	for d, n := range map[tensor.DType]string{tensor.F32: "float32", tensor.BF16: "bfloat16", tensor.F16: "float16"} {
		if name == n {
			return d, nil
		}
	}
	return 0, fmt.Errorf("dtype %q: expected float32, bfloat16 or float16", name)
}

// showPretraining has a meter follow the steps, from the first one reported.
func (a *app) showPretraining(cfg *pretrain.Config) (stop func(), err error) {
	m, err := a.newMeter("pretraining "+filepath.Base(cfg.Dir), "steps", int64(cfg.Steps), 0)
	if err != nil {
		return nil, err
	}
	stopped := false
	loss, tokens, since := 0.0, 0, time.Now()
	cfg.Progress = func(r pretrain.Report) {
		if r.Eval != nil {
			var parts []string
			for k, v := range r.Eval {
				parts = append(parts, fmt.Sprintf("%s %.3f", strings.ReplaceAll(k, "_", " "), v))
			}
			slices.Sort(parts)
			a.say("after step %d: %s", r.Step, strings.Join(parts, ", "))
			return
		}
		if m.done == 0 && r.Step > 1 {
			m.done, m.first = int64(r.Step-1), int64(r.Step-1)
		}
		if loss == 0 {
			loss = r.Loss
		}
		loss = 0.95*loss + 0.05*r.Loss
		tokens += r.Tokens
		m.add(1, fmt.Sprintf("loss %.3f, %.0f tokens/s", loss, float64(tokens)/time.Since(since).Seconds()))
	}
	return func() {
		if !stopped {
			stopped = true
			m.stop()
		}
	}, nil
}
