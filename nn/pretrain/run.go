package pretrain

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/safetensors"
	"github.com/selkie-ml/selkie/tensor"
)

// Run begins a pretraining, or goes on with the one in c.Dir, and returns when
// the model is finished. A cancelled context ends it after the step in work,
// with a checkpoint, and its cause is returned.
func Run(ctx context.Context, dev *tensor.Device, c Config) error {
	if c.Decay == nil {
		c.Decay = Matrices
	}
	if c.CheckpointEvery == 0 {
		c.CheckpointEvery = 100
	}
	if err := c.validate(); err != nil {
		return fmt.Errorf("pretraining: %w", err)
	}
	f, err := openFolder(c.Dir, withNumerics(c.Settings, dev.NumericsID()), c.AcceptNumerics)
	if err != nil {
		return err
	}
	defer f.close()
	if f.finished {
		return nil
	}
	model, err := c.model(dev)
	if err != nil {
		return err
	}
	defer model.Close()
	pool, err := c.adapter(model)
	if err != nil {
		return err
	}
	if pool != nil {
		defer pool.Free()
	}
	trainer, err := c.trainer(model, pool)
	if err != nil {
		return err
	}
	defer trainer.Close()
	step, err := f.resume(trainer)
	if err != nil {
		return err
	}
	if err := c.train(ctx, f, model, trainer, step); err != nil {
		return err
	}
	if pool != nil {
		err = c.saveAdapter(pool)
	} else {
		err = save(model, c.Shape.DType, c.Dir)
	}
	if err != nil {
		return err
	}
	return f.finish(c.Steps)
}

// model makes the model as it is before the first step.
func (c *Config) model(dev *tensor.Device) (*nn.Model, error) {
	opt := nn.LoadOptions{Compute: c.Compute, Recompute: c.Recompute, Float32: c.LoRA == nil}
	var model *nn.Model
	var err error
	if c.Base != "" {
		model, err = nn.Load(dev, c.Base, opt)
	} else {
		model, err = nn.NewRandom(dev, c.Shape, c.Seed, opt)
	}
	if err != nil {
		return nil, err
	}
	if c.Weights != nil && c.Base == "" {
		for _, p := range model.Params() {
			p.SetFloat32s(c.Weights(p.Name, p.Shape))
		}
	}
	return model, nil
}

// adapter makes the adapter as it is before the first step; nil when all
// parameters are trained.
func (c *Config) adapter(model *nn.Model) (*nn.AdapterPool, error) {
	if c.LoRA == nil {
		return nil, nil
	}
	pool, err := nn.NewAdapterPool(model, []nn.LoRAConfig{*c.LoRA}, true)
	if err != nil {
		return nil, err
	}
	first := nn.NewAdapter(model.Config, *c.LoRA, philox.ID{Seed: c.Seed, Purpose: philox.PurposeInitAdapter}.Key())
	if err := pool.Set(0, first); err != nil {
		pool.Free()
		return nil, err
	}
	return pool, nil
}

func (c *Config) trainer(model *nn.Model, pool *nn.AdapterPool) (trainer *nn.Trainer, err error) {
	if pool != nil {
		trainer, err = nn.NewTrainer(model, pool)
	} else {
		trainer, err = nn.NewFullTrainer(model, c.Decay)
	}
	if err == nil {
		trainer.MaxTokens = c.MaxTokens
	}
	return trainer, err
}

// train runs the steps from step on.
func (c *Config) train(ctx context.Context, f *folder, model *nn.Model, trainer *nn.Trainer, step int) error {
	saved := step
	for step < c.Steps {
		if ctx.Err() != nil {
			if step > saved {
				if err := f.checkpoint(trainer, step); err != nil {
					return err
				}
			}
			return context.Cause(ctx)
		}
		report, err := c.step(trainer, step)
		if err != nil {
			return err
		}
		step++
		if err := f.log(report, c.Progress); err != nil {
			return err
		}
		if c.Evaluate != nil && (step == c.Steps || c.EvaluateEvery > 0 && step%c.EvaluateEvery == 0) {
			eval, err := c.Evaluate(context.WithoutCancel(ctx), model)
			if err != nil {
				return fmt.Errorf("evaluation after step %d: %w", step, err)
			}
			if err := f.log(Report{Step: step, Eval: eval}, c.Progress); err != nil {
				return err
			}
		}
		if step%c.CheckpointEvery == 0 || step == c.Steps {
			if err := f.checkpoint(trainer, step); err != nil {
				return err
			}
			saved = step
		}
	}
	return nil
}

// step is one training step.
func (c *Config) step(trainer *nn.Trainer, step int) (Report, error) {
	groups, err := c.Source.Batch(step)
	if err != nil {
		return Report{}, fmt.Errorf("documents of step %d: %w", step+1, err)
	}
	adapter := nn.NoAdapter
	if c.LoRA != nil {
		adapter = 0
	}
	batch, err := sequences(groups, adapter)
	if err != nil {
		return Report{}, fmt.Errorf("step %d: %w", step+1, err)
	}
	losses, err := trainer.ForwardBackward(batch)
	if err != nil {
		return Report{}, fmt.Errorf("step %d: %w", step+1, err)
	}
	lr := c.LearningRate(step)
	norms, err := trainer.OptimStep([]nn.Update{{LR: lr, AdamW: c.AdamW}})
	if err != nil {
		return Report{}, fmt.Errorf("step %d: %w", step+1, err)
	}
	r := Report{Step: step + 1, Loss: losses.Sum[0], LR: lr, Norm: norms[0], Groups: groupLosses(groups, batch, losses)}
	for _, s := range batch {
		r.Tokens += len(s.Tokens)
	}
	if sum := r.Loss + r.Norm; math.IsNaN(sum) || math.IsInf(sum, 0) {
		return r, fmt.Errorf("%w at step %d: loss %v, gradient norm %v: a lower learning rate or a longer warm-up may help (the last checkpoint is kept)",
			ErrDiverged, step+1, r.Loss, r.Norm)
	}
	return r, nil
}

// sequences turns a step's documents into a batch whose loss is the sum of the
// groups' weighted means.
func sequences(groups []Group, adapter int) ([]nn.Sequence, error) {
	var batch []nn.Sequence
	for _, g := range groups {
		first, n := len(batch), 0
		for i, d := range g.Documents {
			if d.Train != nil && len(d.Train) != len(d.Tokens) {
				return nil, fmt.Errorf("document %d of group %q: %d tokens and %d marks", i, g.Name, len(d.Tokens), len(d.Train))
			}
			s := nn.NextToken(d.Tokens, 0, 1, adapter)
			for i := range s.Targets {
				if s.Targets[i] >= 0 && d.Train != nil && !d.Train[i+1] {
					s.Targets[i], s.Weights[i] = -1, 0
				}
			}
			n += s.NumTargets()
			batch = append(batch, s)
		}
		for _, s := range batch[first:] {
			for i := range s.Weights {
				if s.Targets[i] >= 0 {
					s.Weights[i] = float32(g.Weight / float64(n))
				}
			}
		}
	}
	if len(batch) == 0 {
		return nil, fmt.Errorf("no documents")
	}
	return batch, nil
}

// groupLosses is the mean loss of every group.
func groupLosses(groups []Group, batch []nn.Sequence, losses *nn.Losses) map[string]float64 {
	if len(groups) < 2 {
		return nil
	}
	out := map[string]float64{}
	for _, g := range groups {
		sum, n := 0.0, 0
		for i := range g.Documents {
			for j, t := range batch[i].Targets {
				if t >= 0 {
					sum -= float64(losses.LogProbs[i][j])
					n++
				}
			}
		}
		batch, losses = batch[len(g.Documents):], &nn.Losses{LogProbs: losses.LogProbs[len(g.Documents):]}
		if n > 0 {
			out[g.Name] = sum / float64(n)
		}
	}
	return out
}

// saveAdapter writes the adapter in PEFT's form.
func (c *Config) saveAdapter(pool *nn.AdapterPool) error {
	adapter, err := pool.Get(0)
	if err != nil {
		return err
	}
	base, err := filepath.Abs(c.Base)
	if err != nil {
		return err
	}
	return adapter.SavePEFT(c.Dir, base, c.Shape)
}

// save writes the model with its weights rounded to a storage type.
func save(m *nn.Model, dtype tensor.DType, dir string) error {
	if dtype == 0 || dtype == tensor.F32 {
		return m.Save(dir)
	}
	c := m.Config
	rounded, err := nn.FromSource(m.Device(), c, &roundedSource{m, dtype}, nn.LoadOptions{})
	if err != nil {
		return err
	}
	defer rounded.Close()
	return rounded.Save(dir)
}

// roundedSource gives a model's weights in another storage type.
type roundedSource struct {
	model *nn.Model
	dtype tensor.DType
}

func (r *roundedSource) Names() []string   { return nil }
func (r *roundedSource) Has(n string) bool { return r.model.Param(n) != nil }
func (r *roundedSource) Close() error      { return nil }

func (r *roundedSource) Tensor(name string) (safetensors.Tensor, error) {
	p := r.model.Param(name)
	x, err := r.model.Device().New(r.dtype, p.Shape...)
	if err != nil {
		return safetensors.Tensor{}, err
	}
	defer x.Free()
	x.CopyFrom(p.Tensor)
	data, err := x.Bytes()
	file := map[tensor.DType]safetensors.DType{tensor.BF16: safetensors.BF16, tensor.F16: safetensors.F16}[r.dtype]
	return safetensors.Tensor{Name: name, DType: file, Shape: p.Shape, Data: data}, err
}
