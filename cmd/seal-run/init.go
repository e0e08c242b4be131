package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/internal/sysmem"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
)

type initFlags struct {
	like, tokenizer, out, dtype string
	seed                        uint64
}

func newInit(a *app) *cobra.Command {
	var f initFlags
	c := &cobra.Command{
		Use:   "init --like NAME --out DIR",
		Short: "Write a model of a known shape with random weights, for benchmarks",
		Long: `Init writes a model folder of random weights in the shape of a released model:
` + strings.Join(nn.PresetNames(), ", ") + `.
Without --tokenizer it gets one whose tokens are the 256 bytes; the size of the
vocabulary stays the model's.`,
		Example: `  seal-run init --like qwen2.5-0.5b --out models/random-qwen
  seal-run init --like llama3.2-1b --tokenizer models/llama --dtype float32 --out models/random-llama`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.init(f) },
	}
	p := c.Flags()
	p.StringVar(&f.like, "like", "", "the shape")
	p.StringVar(&f.tokenizer, "tokenizer", "", "folder of the tokenizer to put beside it")
	p.StringVar(&f.out, "out", "", "folder of the model")
	p.StringVar(&f.dtype, "dtype", "bfloat16", "type of the weights: float32, bfloat16 or float16")
	p.Uint64Var(&f.seed, "seed", 0, "seed of the weights")
	return c
}

func (a *app) init(f initFlags) error {
	if f.like == "" {
		return fmt.Errorf("--like is missing: expected one of %s", strings.Join(nn.PresetNames(), ", "))
	}
	config, err := nn.Preset(f.like)
	if err != nil {
		return fmt.Errorf("--like: %w", err)
	}
	if config.DType, err = storageType(f.dtype); err != nil {
		return err
	}
	if err := newFolder(f.out); err != nil {
		return err
	}
	var tok *tokenizer.Tokenizer
	if f.tokenizer == "" {
		tok, err = tokenizer.Bytes(config.VocabSize)
	} else {
		tok, err = tokenizer.Load(f.tokenizer)
	}
	if err != nil {
		return err
	}
	if tok.VocabSize() > config.VocabSize {
		return fmt.Errorf("%s: the tokenizer has %d entries, %s a vocabulary of %d: choose a smaller one", f.tokenizer, tok.VocabSize(), f.like, config.VocabSize)
	}
	// The shape's own ids mean nothing to another tokenizer.
	config.BOS, config.EOS = -1, nil
	if _, id, ok := tok.BOS(); ok {
		config.BOS = id
	}
	if _, id, ok := tok.EOS(); ok {
		config.EOS = []int32{id}
	}
	a.say("writing %.0f million parameters, %s", float64(config.NumParameters())/1e6, sysmem.Format(config.NumParameters()*int64(config.DType.Size())))
	if err := tok.Save(f.out); err != nil {
		return err
	}
	if err := nn.WriteRandom(f.out, config, f.seed); err != nil {
		return err
	}
	a.say("the model is in %s", f.out)
	return nil
}
