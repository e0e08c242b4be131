package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/pretrain"
	"github.com/selkie-ml/selkie/nn/textdata"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/journal"
)

type finetuneFlags struct {
	modelFlags
	data, out         string
	full              bool
	rank              int
	alpha             float64
	targets           []string
	epochs, batch     int
	schedule          nn.Schedule
	adamw             nn.AdamW
	seed              uint64
	dtype             string
	length, maxTokens int
	cut, allTokens    bool
	checkpointEvery   int
	acceptNumerics    bool
}

func newFinetune(a *app) *cobra.Command {
	f := finetuneFlags{schedule: nn.Schedule{}, adamw: nn.DefaultAdamW()}
	c := &cobra.Command{
		Use:   "finetune --model DIR --data FILE.jsonl --out DIR",
		Short: "Train a LoRA adapter, or all parameters, on texts, completions or chats",
		Long: `Finetune trains a model on a file of JSON Lines, each of them one of

  {"text": "…"}
  {"prompt": "…", "completion": "…"}                            loss on the completion
  {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
                                                                loss on the assistant's turns

It writes a LoRA adapter that PEFT loads, or with --full a model folder. Stopped
anywhere, the same command goes on and ends with the same bits.`,
		Example: `  seal-run finetune --model Qwen2.5-0.5B --data chats.jsonl --out runs/adapter
  seal-run finetune --model runs/demo-model --data notes.jsonl --rank 8 --targets q_proj,v_proj --epochs 5 --out runs/notes
  seal-run finetune --model runs/demo-model --data notes.jsonl --full --lr 1e-4 --out runs/full`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.finetune(c, f) },
	}
	f.add(c, false)
	p := c.Flags()
	p.StringVar(&f.data, "data", "", "JSONL file to train on")
	p.StringVar(&f.out, "out", "", "folder for the adapter or model")
	p.BoolVar(&f.full, "full", false, "train all parameters instead of an adapter")
	p.IntVar(&f.rank, "rank", 32, "LoRA rank")
	p.Float64Var(&f.alpha, "alpha", 0, "LoRA scale; 0 for twice the rank")
	p.StringSliceVar(&f.targets, "targets", []string{"all"}, "linear layers that the adapter changes: all, or some of q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj")
	p.Float64Var(&f.schedule.LR, "lr", 0, "learning rate; 0 for 3e-4 (adapter) or 2e-5 (full)")
	p.StringVar(&f.schedule.Kind, "schedule", "linear", "course of the learning rate: "+strings.Join(nn.ScheduleKinds, ", "))
	p.IntVar(&f.schedule.Warmup, "warmup", 0, "steps of linear rise to the learning rate")
	p.IntVar(&f.epochs, "epochs", 3, "passes over the data")
	p.IntVar(&f.batch, "batch", 8, "examples in a step")
	p.Float64Var(&f.adamw.WeightDecay, "weight-decay", 0, "AdamW's decoupled weight decay (of matrices)")
	p.Float64Var(&f.adamw.ClipNorm, "clip", 1, "largest gradient norm; 0 for no clipping")
	p.Uint64Var(&f.seed, "seed", 0, "seed of the adapter's first weights and of the order")
	p.BoolVar(&f.allTokens, "all-tokens", false, "loss on prompts and on all turns, too")
	p.IntVar(&f.length, "length", 0, "longest example in tokens; 0 for the model's context")
	p.BoolVar(&f.cut, "cut", false, "cut longer examples instead of refusing them")
	p.IntVar(&f.maxTokens, "max-tokens", 4096, "tokens computed at once; bounds memory, changes no result")
	p.StringVar(&f.dtype, "dtype", "", "type of a full finetuning's weights: float32, bfloat16, float16; empty for the model's")
	p.IntVar(&f.checkpointEvery, "checkpoint-every", 100, "steps between checkpoints")
	p.BoolVar(&f.acceptNumerics, "accept-numerics", false, "go on with a finetuning begun on another kind of machine")
	return c
}

func (a *app) finetune(c *cobra.Command, f finetuneFlags) error {
	switch {
	case f.data == "":
		return errors.New("--data is missing: name a JSONL file")
	case f.out == "":
		return errors.New("--out is missing: name a folder to write")
	case f.epochs < 1 || f.batch < 1 || f.maxTokens < 1 || f.checkpointEvery < 1:
		return fmt.Errorf("--epochs %d, --batch %d, --max-tokens %d, --checkpoint-every %d: expected at least 1", f.epochs, f.batch, f.maxTokens, f.checkpointEvery)
	case f.length < 0:
		return fmt.Errorf("--length %d: expected 0 or more", f.length)
	}
	if f.schedule.LR == 0 {
		f.schedule.LR = 3e-4
		if f.full {
			f.schedule.LR = 2e-5
		}
	}
	if err := f.schedule.Validate(); err != nil {
		return err
	}
	if err := f.adamw.Validate(); err != nil {
		return err
	}
	config, tok, err := f.read()
	if err != nil {
		return err
	}
	data, err := f.examples(config, tok)
	if err != nil {
		return err
	}
	tokens := 0
	for _, e := range data.Examples {
		tokens += len(e.Tokens)
	}
	a.say("%d examples of %d tokens, %d of them cut", len(data.Examples), tokens, data.Cut)
	if f.full {
		return a.finetuneFull(c, f, config, tok, data)
	}
	return a.finetuneAdapter(c, f, config, data)
}

// examples reads the data for a model.
func (f finetuneFlags) examples(config nn.Config, tok *tokenizer.Tokenizer) (*textdata.Dataset, error) {
	opt := textdata.Options{MaxTokens: config.MaxPositions, Cut: f.cut, End: -1, AllTokens: f.allTokens}
	if f.length > 0 {
		opt.MaxTokens = min(opt.MaxTokens, f.length)
	}
	if _, id, ok := tok.EOS(); ok {
		opt.End = id
	} else if len(config.EOS) > 0 {
		opt.End = config.EOS[0]
	}
	return textdata.Read(f.data, tok, opt)
}

func (f finetuneFlags) lora() (nn.LoRAConfig, error) {
	if f.alpha == 0 {
		f.alpha = 2 * float64(f.rank)
	}
	lora := nn.LoRAConfig{Rank: f.rank, Alpha: f.alpha, Targets: nn.AllProjections()}
	if len(f.targets) != 1 || f.targets[0] != "all" {
		var err error
		if lora.Targets, err = nn.ParseProjections(f.targets); err != nil {
			return lora, fmt.Errorf("--targets: %w", err)
		}
	}
	return lora, lora.Validate()
}

// training returns what both kinds of finetuning have in common.
func (f finetuneFlags) training(config nn.Config, data *textdata.Dataset) (cfg pretrain.Config, err error) {
	source, err := pretrain.NewExampleSource(data.Examples, f.batch, f.seed)
	if err != nil {
		return cfg, err
	}
	cfg = pretrain.Config{
		Dir: f.out, Base: f.model, Shape: config, Seed: f.seed, Source: source, Steps: source.Steps(f.epochs), AdamW: f.adamw,
		MaxTokens: f.maxTokens, CheckpointEvery: f.checkpointEvery, AcceptNumerics: f.acceptNumerics,
		Settings: map[string]string{
			"lr": fmt.Sprint(f.schedule.LR), "schedule": f.schedule.Kind, "warmup": fmt.Sprint(f.schedule.Warmup),
			"epochs": fmt.Sprint(f.epochs), "batch": fmt.Sprint(f.batch), "seed": fmt.Sprint(f.seed),
			"weight_decay": fmt.Sprint(f.adamw.WeightDecay), "clip": fmt.Sprint(f.adamw.ClipNorm),
			"length": fmt.Sprint(f.length), "cut": fmt.Sprint(f.cut), "all_tokens": fmt.Sprint(f.allTokens), "compute": f.compute,
		},
	}
	steps := cfg.Steps
	cfg.LearningRate = func(step int) float64 { return f.schedule.At(step, steps) }
	if cfg.Compute, err = computeType(f.compute); err != nil {
		return cfg, err
	}
	for name, path := range map[string]string{"data": f.data, "model": f.model} {
		if cfg.Settings[name], err = journal.Fingerprint(path); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

func (a *app) finetuneAdapter(c *cobra.Command, f finetuneFlags, config nn.Config, data *textdata.Dataset) error {
	lora, err := f.lora()
	if err != nil {
		return err
	}
	if begun, err := pretrain.Begun(f.out); err != nil {
		return err
	} else if !begun {
		if err := newFolder(f.out); err != nil {
			return err
		}
	}
	cfg, err := f.training(config, data)
	if err != nil {
		return err
	}
	cfg.LoRA = &lora
	cfg.Settings["rank"], cfg.Settings["alpha"], cfg.Settings["targets"] = fmt.Sprint(lora.Rank), fmt.Sprint(lora.Alpha), fmt.Sprint(lora.Targets)
	dev, err := a.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	longest := 1
	for _, e := range data.Examples {
		longest = max(longest, len(e.Tokens))
	}
	if err := a.planTraining(dev, &cfg, longest, "take fewer --max-tokens, or shorter examples (--length with --cut)"); err != nil {
		return err
	}
	stop, err := a.showPretraining("finetuning", &cfg)
	if err != nil {
		return err
	}
	err = pretrain.Run(c.Context(), dev, cfg)
	stop()
	if err != nil {
		return err
	}
	a.say("the adapter is in %s", f.out)
	return nil
}

func (a *app) finetuneFull(c *cobra.Command, f finetuneFlags, config nn.Config, tok *tokenizer.Tokenizer, data *textdata.Dataset) error {
	cfg, err := f.training(config, data)
	if err != nil {
		return err
	}
	cfg.Settings["dtype"] = f.dtype
	if f.dtype != "" {
		if cfg.Shape.DType, err = storageType(f.dtype); err != nil {
			return err
		}
	}
	return a.runPretraining(c, "finetuning", cfg, tok)
}
