// Package pretrain trains all parameters of a model, from scratch or from
// another model's weights, or an adapter over these. A run is a folder, which at
// its end is a Hugging Face model folder or a PEFT adapter's; killed anywhere, the
// same call goes on and ends with the same bits as a run that nothing disturbed.
//
//	model.safetensors, config.json     the model, once finished; or, of an adapter,
//	adapter_model.safetensors, adapter_config.json
//	training/settings.json             what the run was started with
//	training/log.jsonl                 a line per step and per evaluation, and under which numerics id
//	training/checkpoint-N.safetensors  everything after N steps, until finished
//	training/finished                  says that it is
//
// It imports nn and the packages below it, and nothing of package seal.
package pretrain

import (
	"context"
	"errors"
	"fmt"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/tensor"
)

// Document is one training sequence.
type Document struct {
	Tokens []int32
	// Train tells which tokens bear loss; nil: all. The first token of a document
	// never does: nothing predicts it.
	Train []bool
}

// Group is a part of a step's documents with a loss of its own: the mean over
// its trained tokens. A step's loss is the sum of weight times loss over groups.
type Group struct {
	Name      string
	Weight    float64
	Documents []Document
}

// Source gives the documents of every step. Batch depends on the step alone,
// counted from 0, so that a run resumes exactly.
type Source interface {
	Batch(step int) ([]Group, error)
}

// Config is a pretraining.
type Config struct {
	Dir   string    // the run's folder
	Shape nn.Config // of the model; DType is that of the finished file's weights
	// Base is a model folder to go on from, of the same shape; empty: from scratch.
	Base string
	// LoRA, when not nil, has an adapter over Base trained in place of all
	// parameters; AdamW.WeightDecay applies to all of it. Seed draws its first values.
	LoRA *nn.LoRAConfig
	// Weights returns a tensor's first values, without a Base; nil: those of
	// Shape.RandomWeights and Seed.
	Weights func(name string, shape []int) []float32
	Seed    uint64
	Source  Source
	Steps   int
	// LearningRate of a step, counted from 0; see nn.Schedule.At.
	LearningRate func(step int) float64
	AdamW        nn.AdamW
	Decay        func(*nn.Param) bool // what AdamW.WeightDecay applies to; nil: Matrices
	Compute      tensor.DType         // of activations; 0: as nn.LoadOptions says
	Recompute    bool                 // see nn.Model.Recompute

	// Settings are stored with the run; a call with others is refused and told
	// the difference. They must name all that Source, LearningRate and the other
	// fields above depend on.
	Settings map[string]string
	// AcceptNumerics lets a run go on under another numerics id of the device.
	AcceptNumerics bool

	// The following change no result.

	MaxTokens       int // tokens computed at once; 0: a whole step
	CheckpointEvery int // steps; 0: 100
	// Evaluate, called every EvaluateEvery steps (0: never) and at the end, puts
	// figures into the log. It must be a function of the model alone.
	Evaluate      func(context.Context, *nn.Model) (map[string]float64, error)
	EvaluateEvery int
	Progress      func(Report) // called after every step and evaluation
}

// Report is a line of the log.
type Report struct {
	Step   int                `json:"step"` // steps done
	Loss   float64            `json:"loss,omitempty"`
	Groups map[string]float64 `json:"groups,omitempty"` // each group's mean loss
	LR     float64            `json:"lr,omitempty"`
	Norm   float64            `json:"norm,omitempty"`   // of the gradient, before clipping
	Tokens int                `json:"tokens,omitempty"` // computed in this step
	Eval   map[string]float64 `json:"eval,omitempty"`
	// Numerics is the numerics id that this step and the following ones were computed under:
	// in the first step, and where a run went on under another one.
	Numerics string `json:"numerics,omitempty"`
}

// Matrices is the usual choice for weight decay: weight matrices other than the
// embedding and the output projection.
func Matrices(p *nn.Param) bool {
	return p.IsMatrix() && p.Name != "model.embed_tokens.weight" && p.Name != "lm_head.weight"
}

// ErrDiverged is in the error of a run whose loss or gradient became infinite or
// not a number.
var ErrDiverged = errors.New("training diverged")

func (c *Config) validate() error {
	if err := c.Shape.Validate(); err != nil {
		return err
	}
	if err := c.AdamW.Validate(); err != nil {
		return err
	}
	if c.LoRA != nil {
		if err := c.LoRA.Validate(); err != nil {
			return err
		}
	}
	switch {
	case c.LoRA != nil && (c.Base == "" || c.Evaluate != nil):
		return errors.New("an adapter needs a base model, and is not evaluated on the way")
	case c.Dir == "":
		return errors.New("no folder to write to")
	case c.Steps < 1:
		return fmt.Errorf("%d steps: want 1 or more", c.Steps)
	case c.CheckpointEvery < 0 || c.EvaluateEvery < 0:
		return fmt.Errorf("a checkpoint every %d steps, an evaluation every %d: want 0 or more", c.CheckpointEvery, c.EvaluateEvery)
	}
	return nil
}
