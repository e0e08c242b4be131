package nn

import (
	"fmt"
	"slices"

	"github.com/selkie-ml/selkie/tensor"
)

// StepShape is the form of a training step.
type StepShape struct {
	Lengths   []int        // tokens of each sequence
	Adapters  []LoRAConfig // trained; sequences use them in turn. None: all parameters are trained
	MaxTokens int          // see Trainer.MaxTokens
}

// LargestStep returns the form of the step with the most tokens of all that
// training jobs together takes; see Model.FinetuneAdapters.
func LargestStep(jobs []Job, opt FinetuneOptions) StepShape {
	shape := StepShape{MaxTokens: opt.MaxTokens}
	if shape.MaxTokens == 0 {
		shape.MaxTokens = defaultMaxTokens
	}
	steps := 0
	for _, j := range jobs {
		shape.Adapters = append(shape.Adapters, j.LoRA)
		steps = max(steps, j.Steps())
	}
	lengths, most := make([][]int, steps), -1
	for _, j := range jobs {
		for step, examples := range j.plan() {
			for _, e := range examples {
				lengths[step] = append(lengths[step], len(j.Examples[e].Tokens))
			}
		}
	}
	for _, l := range lengths {
		tokens := 0
		for _, n := range l {
			tokens += n
		}
		if tokens > most {
			shape.Lengths, most = l, tokens
		}
	}
	return shape
}

// StepMemory is what training holds on a device, in bytes.
type StepMemory struct {
	Mapped   int64 // weights used in their file's mapping, beside the rest
	Weights  int64 // weights of the model's own, and tables
	Training int64 // adapters, gradients and optimiser moments
	Step     int64 // activations, their gradients and scratch, at the step's peak
}

// Peak is the most that the device hands out during a step.
func (m StepMemory) Peak() int64 { return m.Weights + m.Training + m.Step }

// PlanStep tells what training in steps of a shape will hold on dev, before any
// of it is allocated: the step is run on dev.Dry. Weights are mapped from a file
// in the config's storage type unless opt.Float32. What the device keeps for
// itself, as for packing a product's factors, is not counted.
func PlanStep(dev *tensor.Device, c Config, opt LoadOptions, shape StepShape) (StepMemory, error) {
	dtype := c.DType
	if opt.Float32 {
		dtype = tensor.F32
	}
	return planStep(dev, c, opt, shape, func(int) (tensor.DType, bool) { return dtype, !opt.Float32 })
}

// PlanStep is PlanStep for a model that is loaded.
func (m *Model) PlanStep(shape StepShape) (StepMemory, error) {
	return planStep(m.dev, m.Config, LoadOptions{Compute: m.Compute, Recompute: m.Recompute}, shape,
		func(i int) (tensor.DType, bool) { return m.params[i].DType(), m.params[i].Mapped() })
}

// planStep plans for weights of which stored tells the type, and whether they are
// mapped.
func planStep(dev *tensor.Device, c Config, opt LoadOptions, shape StepShape, stored func(i int) (tensor.DType, bool)) (plan StepMemory, err error) {
	if len(shape.Lengths) == 0 {
		return plan, fmt.Errorf("plan of a training step: it has no sequences")
	}
	dry := dev.Dry()
	inUse := func() int64 { return dry.Stats().InUse }
	m, err := newModel(dry, c, opt)
	if err != nil {
		return plan, err
	}
	defer m.Close()
	for i, p := range m.params {
		dtype, mapped := stored(i)
		before := inUse()
		if p.Tensor, err = dry.New(dtype, p.Shape...); err != nil {
			return plan, err
		}
		if mapped {
			plan.Mapped += int64(p.Len() * dtype.Size())
		} else {
			plan.Weights += inUse() - before
		}
	}
	before := inUse()
	if _, err := m.ropeFor(slices.Max(shape.Lengths)); err != nil {
		return plan, err
	}
	plan.Weights += inUse() - before

	before = inUse()
	trainer, err := m.planTrainer(shape)
	if err != nil {
		return plan, err
	}
	trainer.MaxTokens = shape.MaxTokens
	plan.Training = inUse() - before

	before = inUse()
	dry.Backend().ResetPeak()
	var batch []Sequence
	for i, n := range shape.Lengths {
		adapter := NoAdapter
		if len(shape.Adapters) > 0 {
			adapter = i % len(shape.Adapters)
		}
		batch = append(batch, NextToken(make([]int32, n), 0, 1, adapter))
	}
	if _, err := trainer.ForwardBackward(batch); err != nil {
		return plan, err
	}
	plan.Step = dry.Stats().Peak - before
	return plan, nil
}

// planTrainer returns the trainer of a shape.
func (m *Model) planTrainer(shape StepShape) (*Trainer, error) {
	if len(shape.Adapters) == 0 {
		return NewFullTrainer(m, nil)
	}
	pool, err := NewAdapterPool(m, shape.Adapters, true)
	if err != nil {
		return nil, err
	}
	return NewTrainer(m, pool)
}
