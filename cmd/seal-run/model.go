package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/tensor"
)

// modelFlags name a model and how it computes.
type modelFlags struct {
	model, adapter, compute string
}

func (f *modelFlags) add(c *cobra.Command, adapter bool) {
	c.Flags().StringVar(&f.model, "model", "", "model folder in Hugging Face format")
	if adapter {
		c.Flags().StringVar(&f.adapter, "adapter", "", "PEFT LoRA adapter folder to use with it")
	}
	c.Flags().StringVar(&f.compute, "compute", "auto", "type of activations: f32, bf16, or auto: f32 on the CPU, the checkpoint's on a GPU")
}

// loaded is a model with all that goes with it.
type loaded struct {
	*nn.Model
	tok     *tokenizer.Tokenizer
	pool    *nn.AdapterPool // nil: no adapter
	adapter int             // in the pool, or nn.NoAdapter
	stop    []int32         // ids that end a text
	dev     *tensor.Device
}

// load opens the device, the model, its tokenizer and the adapter.
func (a *app) load(f modelFlags) (_ *loaded, err error) {
	config, tok, err := f.read()
	if err != nil {
		return nil, err
	}
	compute, err := computeType(f.compute)
	if err != nil {
		return nil, err
	}
	l := &loaded{tok: tok, adapter: nn.NoAdapter, stop: stopTokens(config, tok)}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.dev, err = a.open(); err != nil {
		return nil, err
	}
	if err := a.checkMemory(l.dev, "this model", weightBytes(f.model), "choose a smaller model"); err != nil {
		return nil, err
	}
	if l.Model, err = nn.Load(l.dev, f.model, nn.LoadOptions{Compute: compute}); err != nil {
		return nil, err
	}
	if f.adapter == "" {
		return l, nil
	}
	adapter, err := nn.LoadPEFT(f.adapter, config)
	if err != nil {
		return nil, err
	}
	if l.pool, err = nn.NewAdapterPool(l.Model, []nn.LoRAConfig{adapter.LoRAConfig}, false); err != nil {
		return nil, err
	}
	l.adapter = 0
	return l, l.pool.Set(0, adapter)
}

func (l *loaded) close() {
	if l.pool != nil {
		l.pool.Free()
	}
	if l.Model != nil {
		_ = l.Model.Close()
	}
	if l.dev != nil {
		_ = l.dev.Close()
	}
}

// read reads what says how a model is to be used.
func (f modelFlags) read() (nn.Config, *tokenizer.Tokenizer, error) {
	if f.model == "" {
		return nn.Config{}, nil, errors.New("--model is missing: name a model folder")
	}
	config, err := nn.ReadConfig(f.model)
	if err != nil {
		return config, nil, err
	}
	tok, err := tokenizer.Load(f.model)
	if err != nil {
		return config, nil, err
	}
	if tok.VocabSize() > config.VocabSize {
		return config, nil, fmt.Errorf("%s: the tokenizer has %d entries, the model a vocabulary of %d: they do not belong together", f.model, tok.VocabSize(), config.VocabSize)
	}
	return config, tok, nil
}

func stopTokens(c nn.Config, tok *tokenizer.Tokenizer) []int32 {
	stop := slices.Clone(c.EOS)
	if _, id, ok := tok.EOS(); ok && !slices.Contains(stop, id) {
		stop = append(stop, id)
	}
	return stop
}

func computeType(name string) (tensor.DType, error) {
	switch name {
	case "f32", "bf16", "auto":
		return computeSetting(name), nil
	}
	return 0, fmt.Errorf("--compute %s: expected f32, bf16 or auto", name)
}

// computeSetting is the type of a setting that was checked; 0, which lets the device
// choose, for auto.
func computeSetting(name string) tensor.DType {
	switch name {
	case "f32":
		return tensor.F32
	case "bf16":
		return tensor.BF16
	}
	return 0
}

// weightBytes is the size of a model folder's weight files.
func weightBytes(dir string) int64 {
	var n int64
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && strings.HasSuffix(e.Name(), ".safetensors") {
			n += info.Size()
		}
	}
	return n
}

// newFolder refuses a folder that holds something already.
func newFolder(dir string) error {
	if dir == "" {
		return errors.New("--out is missing: name a folder to write")
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty: choose another folder", dir)
	}
	return nil
}
