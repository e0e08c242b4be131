package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/internal/sysmem"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/pretrain"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/world"
	"github.com/selkie-ml/selkie/tensor"
)

// endOfText ends every document of a model trained here.
const endOfText = "<|endoftext|>"

// pretrainSettings are what every pretraining's result depends on.
type pretrainSettings struct {
	Seed     uint64
	Context  int    // the model's longest text, in tokens
	Dtype    string // of the finished weights
	Model    world.Shape
	Schedule world.Schedule
}

// worldSettings are those of a pretraining on a generated world.
type worldSettings struct {
	pretrainSettings
	Phases []world.Phase
}

// textSettings are those of a pretraining on text files.
type textSettings struct {
	pretrainSettings
	Steps     int
	BatchSize int    // pieces of Context tokens in a step
	Documents string // what is one in a text file: blank-lines or file
}

func defaultWorldSettings() worldSettings {
	r := world.Recipe
	return worldSettings{
		pretrainSettings{Seed: r.WorldSeed, Context: 512, Dtype: "bfloat16", Model: r.Model, Schedule: r.Schedule},
		slices.Clone(r.Phases),
	}
}

func defaultTextSettings() textSettings {
	s := textSettings{defaultWorldSettings().pretrainSettings, 2000, 8, "blank-lines"}
	s.Context, s.Model.Vocabulary = 256, 2048
	return s
}

type pretrainFlags struct {
	text                       []string
	world, tokenizer, out      string
	config                     string
	set                        []string
	checkpointEvery, evalEvery int
	maxTokens                  int
	acceptNumerics             bool
	showSettings               bool
}

func newPretrain(a *app) *cobra.Command {
	var f pretrainFlags
	c := &cobra.Command{
		Use:   "pretrain (--text FILE… | --world NAME) --out DIR",
		Short: "Train a small model and its tokenizer from scratch",
		Long: `Pretrain trains a small Llama-style model, and a byte-level BPE tokenizer for it,
on text files or on the generated world of a demo. The folder of --out becomes a
Hugging Face model folder. Interrupted or killed, the same command goes on and
ends with the same bits.`,
		Example: `  seal-run pretrain --world demo --out runs/demo-model
  seal-run pretrain --world fewshot --out runs/fewshot-model
  seal-run pretrain --text book.txt --text notes.jsonl --set steps=1000 --out runs/book
  seal-run pretrain --text book.txt --config small.yaml --tokenizer models/qwen --out runs/other
  seal-run pretrain --text book.txt --settings    # what can be set, with defaults`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.pretrain(c, f) },
	}
	p := c.Flags()
	p.StringArrayVar(&f.text, "text", nil, "text file, or .jsonl file of {\"text\": …}; repeatable")
	p.StringVar(&f.world, "world", "", "generated world to train on: demo or fewshot")
	p.StringVar(&f.tokenizer, "tokenizer", "", "folder of a tokenizer to use instead of training one")
	p.StringVar(&f.out, "out", "", "folder of the run, and of the model at its end")
	p.StringVar(&f.config, "config", "", "YAML file of settings")
	p.StringArrayVar(&f.set, "set", nil, "one setting, key=value; repeatable")
	p.BoolVar(&f.showSettings, "settings", false, "print all settings and end")
	p.IntVar(&f.checkpointEvery, "checkpoint-every", 100, "steps between checkpoints")
	p.IntVar(&f.evalEvery, "eval-every", 250, "steps between evaluations (of a world)")
	p.IntVar(&f.maxTokens, "max-tokens", 4096, "tokens computed at once; bounds memory, changes no result")
	p.BoolVar(&f.acceptNumerics, "accept-numerics", false, "go on with a run begun on another kind of machine, whose last bits may differ")
	return c
}

func (a *app) pretrain(c *cobra.Command, f pretrainFlags) error {
	switch {
	case (len(f.text) > 0) == (f.world != ""):
		return errors.New("expected either --text FILE or --world demo (or fewshot)")
	case f.world != "" && f.world != "demo" && f.world != "fewshot":
		return fmt.Errorf("--world %s: expected demo or fewshot", f.world)
	case f.out == "" && !f.showSettings:
		return errors.New("--out is missing: name a folder for the run")
	case f.maxTokens < 1 || f.checkpointEvery < 1 || f.evalEvery < 0:
		return fmt.Errorf("--max-tokens %d, --checkpoint-every %d, --eval-every %d: expected at least 1, 1 and 0", f.maxTokens, f.checkpointEvery, f.evalEvery)
	}
	ws, gs, ts := defaultWorldSettings(), defaultGridSettings(), defaultTextSettings()
	var settings any = &ws
	switch f.world {
	case "":
		settings = &ts
	case "fewshot":
		settings = &gs
	}
	if f.config != "" {
		if err := readYAML(f.config, settings); err != nil {
			return err
		}
	}
	for _, assignment := range f.set {
		if err := assign(settings, assignment); err != nil {
			return err
		}
	}
	if f.showSettings {
		for _, l := range leaves(settings) {
			fmt.Fprintf(a.out, "%s=%v\n", l.key, l.value.Interface())
		}
		return nil
	}
	cfg := pretrain.Config{
		Dir: f.out, Settings: flat(settings), AcceptNumerics: f.acceptNumerics,
		MaxTokens: f.maxTokens, CheckpointEvery: f.checkpointEvery, EvaluateEvery: f.evalEvery,
	}
	var tok *tokenizer.Tokenizer
	var err error
	switch f.world {
	case "":
		tok, err = a.textPretraining(&cfg, f, ts)
	case "fewshot":
		tok, err = a.gridPretraining(&cfg, f, gs)
	default:
		tok, err = a.worldPretraining(&cfg, f, ws)
	}
	if err != nil {
		return err
	}
	return a.runPretraining(c, "pretraining", cfg, tok)
}

// worldPretraining fills in what a generated world has of its own.
func (a *app) worldPretraining(cfg *pretrain.Config, f pretrainFlags, s worldSettings) (*tokenizer.Tokenizer, error) {
	recipe := world.Recipe
	recipe.WorldSeed, recipe.Model, recipe.Schedule, recipe.Phases = s.Seed, s.Model, s.Schedule, s.Phases
	for i, p := range s.Phases {
		if p.Steps < 0 || slices.Min(p.Documents[:]) < 0 || slices.Max(p.Documents[:]) < 1 {
			return nil, fmt.Errorf("phases.%d: expected 0 or more steps and documents of at least one group", i)
		}
	}
	tok, err := a.pretrainTokenizer(cfg, f, s.Model.Vocabulary, func() ([]string, error) {
		return slices.Collect(worldTokenizerTexts(s.Seed)), nil
	})
	if err != nil {
		return nil, err
	}
	cfg.Settings["source"] = "world " + f.world
	cfg.Steps = recipe.Steps()
	if err := s.shape(cfg, tok); err != nil {
		return nil, err
	}
	cfg.Source = &worldSource{recipe, tok, cfg.Shape.EOS[0]}
	cfg.Evaluate = worldEvaluation(recipe, tok)
	return tok, nil
}

// textPretraining fills in what text files have of their own.
func (a *app) textPretraining(cfg *pretrain.Config, f pretrainFlags, s textSettings) (*tokenizer.Tokenizer, error) {
	if s.Documents != "blank-lines" && s.Documents != "file" {
		return nil, fmt.Errorf("documents: got %q, expected blank-lines or file", s.Documents)
	}
	for i, path := range f.text {
		sum, err := journal.Fingerprint(path)
		if err != nil {
			return nil, err
		}
		cfg.Settings[fmt.Sprintf("source.%d", i)] = "text " + sum
	}
	texts, err := pretrain.ReadTexts(f.text, s.Documents == "file")
	if err != nil {
		return nil, err
	}
	tok, err := a.pretrainTokenizer(cfg, f, s.Model.Vocabulary, func() ([]string, error) { return texts, nil })
	if err != nil {
		return nil, err
	}
	cfg.Steps = s.Steps
	if err := s.shape(cfg, tok); err != nil {
		return nil, err
	}
	source, err := pretrain.NewTextSource(texts, tok, s.Context, s.BatchSize, s.Seed)
	if err != nil {
		return nil, err
	}
	a.say("%d documents of %d tokens; %d steps are %.1f epochs", len(texts), source.Tokens(), s.Steps,
		float64(s.Steps)*float64(s.BatchSize)*float64(s.Context)/float64(source.Tokens()))
	cfg.Source = source
	return tok, nil
}

// pretrainTokenizer loads the tokenizer asked for or that of a begun run, or
// trains one and puts it into the folder.
func (a *app) pretrainTokenizer(cfg *pretrain.Config, f pretrainFlags, size int, texts func() ([]string, error)) (*tokenizer.Tokenizer, error) {
	begun, err := pretrain.Begun(f.out)
	if err != nil {
		return nil, err
	}
	if f.tokenizer != "" {
		sum, err := journal.Fingerprint(filepath.Join(f.tokenizer, "tokenizer.json"))
		if err != nil {
			return nil, err
		}
		cfg.Settings["tokenizer"] = sum
		tok, err := tokenizer.Load(f.tokenizer)
		if err != nil {
			return nil, err
		}
		if _, _, ok := tok.EOS(); !ok {
			return nil, fmt.Errorf("%s: the tokenizer names no end-of-text token (eos_token in tokenizer_config.json)", f.tokenizer)
		}
		return tok, tok.Save(f.out)
	}
	if begun {
		return tokenizer.Load(f.out)
	}
	all, err := texts()
	if err != nil {
		return nil, err
	}
	a.say("training a tokenizer of %d tokens", size)
	tok, err := tokenizer.Train(slices.Values(all), tokenizer.TrainOptions{
		VocabSize: size, Special: []string{endOfText}, EOS: endOfText, PAD: endOfText, Pattern: tokenizer.PatternGPT2,
	})
	if err != nil {
		return nil, err
	}
	return tok, tok.Save(f.out)
}

// shape fills in the model and how it is trained.
func (s pretrainSettings) shape(cfg *pretrain.Config, tok *tokenizer.Tokenizer) (err error) {
	_, end, _ := tok.EOS()
	m, t := s.Model, s.Schedule
	cfg.Seed = s.Seed
	cfg.Shape = nn.Config{
		ModelType: "llama", HiddenSize: m.Hidden, Intermediate: m.Intermediate, Layers: m.Layers, Heads: m.Heads, KVHeads: m.KVHeads, HeadDim: m.HeadDim,
		VocabSize: tok.VocabSize(), MaxPositions: s.Context, NormEps: float32(m.NormEpsilon), RopeTheta: m.RopeTheta, Tied: true,
		BOS: -1, EOS: []int32{end}, InitRange: 0.02,
	}
	cfg.Weights = firstWeights(cfg.Shape, m, s.Seed)
	cfg.AdamW = nn.AdamW{Beta1: t.Beta1, Beta2: t.Beta2, Eps: 1e-8, WeightDecay: t.WeightDecay, ClipNorm: t.Clip}
	steps := cfg.Steps
	cfg.LearningRate = func(step int) float64 { return t.LearningRate(step, steps) }
	if !(t.LR > 0) || t.Warmup < 0 || !(t.Decay >= 0 && t.Decay <= 1) || !(t.MinLR >= 0 && t.MinLR <= 1) {
		return fmt.Errorf("schedule: expected lr above 0, warmup of 0 or more, decay and min_lr within 0 … 1; got %v, %d, %v, %v", t.LR, t.Warmup, t.Decay, t.MinLR)
	}
	cfg.Shape.DType, err = storageType(s.Dtype)
	return err
}

func storageType(name string) (tensor.DType, error) {
	for d, n := range map[tensor.DType]string{tensor.F32: "float32", tensor.BF16: "bfloat16", tensor.F16: "float16"} {
		if name == n || name == d.String() {
			return d, nil
		}
	}
	return 0, fmt.Errorf("dtype: got %q, expected float32, bfloat16 or float16", name)
}

func (a *app) runPretraining(c *cobra.Command, what string, cfg pretrain.Config, tok *tokenizer.Tokenizer) error {
	if err := cfg.Shape.Validate(); err != nil {
		return err
	}
	dev, err := a.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	if err := a.planTraining(dev, &cfg, min(cfg.Shape.MaxPositions, cfg.MaxTokens), "choose a smaller model, or fewer --max-tokens"); err != nil {
		return err
	}
	a.say("training %.2f million parameters for %d steps in %s", float64(cfg.Shape.NumParameters())/1e6, cfg.Steps, cfg.Dir)
	stop, err := a.showPretraining(what, &cfg)
	if err != nil {
		return err
	}
	err = pretrain.Run(c.Context(), dev, cfg)
	stop()
	if err != nil {
		return err
	}
	// Once more: what is missing would be written now.
	if err := tok.Save(cfg.Dir); err != nil {
		return err
	}
	a.say("the model is in %s", cfg.Dir)
	return nil
}

// planTraining says what a step with sequences of up to longest tokens will hold,
// and refuses one that cannot fit, before it begins.
func (a *app) planTraining(dev *tensor.Device, cfg *pretrain.Config, longest int, advice string) error {
	shape := nn.StepShape{Lengths: slices.Repeat([]int{longest}, max(1, cfg.MaxTokens/longest)), MaxTokens: cfg.MaxTokens}
	if cfg.LoRA != nil {
		shape.Adapters = []nn.LoRAConfig{*cfg.LoRA}
	} else if err := a.checkMemory(dev, "the training", 16*cfg.Shape.NumParameters(), advice); err != nil {
		return err // the state alone, of any size of model
	}
	plan, err := nn.PlanStep(dev, cfg.Shape, nn.LoadOptions{Compute: cfg.Compute, Recompute: cfg.Recompute, Float32: cfg.LoRA == nil}, shape)
	if err != nil {
		return err
	}
	weights := plan.Mapped + plan.Weights
	if err := a.checkMemory(dev, "the training", plan.Mapped+plan.Peak(), advice); err != nil {
		return err
	}
	a.say("memory at most %s: weights %s, training state %s, a step of %d tokens %s", sysmem.Format(plan.Mapped+plan.Peak()),
		sysmem.Format(weights), sysmem.Format(plan.Training), max(longest, cfg.MaxTokens/longest*longest), sysmem.Format(plan.Step))
	return nil
}

// checkMemory refuses a plan that cannot fit in a device's memory, before it begins.
func (a *app) checkMemory(dev *tensor.Device, plan string, need int64, advice string) error {
	limit, err := parseBytes(a.memoryLimit)
	if err != nil {
		return fmt.Errorf("--memory-limit: %w", err)
	}
	if free, own := dev.Available(); own {
		return sysmem.CheckOf(free, plan, need, limit, advice)
	}
	return sysmem.Check(plan, need, limit, advice)
}

// showPretraining has a meter follow the steps, from the first one reported.
func (a *app) showPretraining(name string, cfg *pretrain.Config) (stop func(), err error) {
	m, err := a.newMeter(name, "steps", int64(cfg.Steps), 0)
	if err != nil {
		return nil, err
	}
	loss, tokens, since := 0.0, 0, time.Now()
	cfg.Progress = func(r pretrain.Report) {
		if r.Eval != nil {
			var parts []string
			for k, v := range r.Eval {
				parts = append(parts, fmt.Sprintf("%s %.1f %%", strings.ReplaceAll(k, "_", " "), 100*v))
			}
			slices.Sort(parts)
			m.say(fmt.Sprintf("after step %d: %s", r.Step, strings.Join(parts, ", ")))
			return
		}
		if tokens == 0 {
			m.resume(int64(r.Step - 1))
			loss = r.Loss
		}
		loss = 0.95*loss + 0.05*r.Loss
		tokens += r.Tokens
		m.add(1, fmt.Sprintf("loss %.3f, %.0f tokens/s", loss, float64(tokens)/time.Since(since).Seconds()))
	}
	return m.stop, nil
}
