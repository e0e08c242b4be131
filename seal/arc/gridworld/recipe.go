package gridworld

import (
	"fmt"

	"github.com/selkie-ml/selkie/seal/world"
)

// Phase is a stretch of pretraining with one mixture.
type Phase struct {
	Steps     int
	Documents [GroupCount]int     // of each group in a step
	Weights   [GroupCount]float64 // of each group's mean loss over its trained tokens
}

// Settings are all that the demo's model is made with.
type Settings struct {
	WorldSeed uint64
	Model     world.Shape
	Phases    []Phase
	Schedule  world.Schedule
}

// Steps is the length of pretraining.
func (r Settings) Steps() int {
	n := 0
	for _, p := range r.Phases {
		n += p.Steps
	}
	return n
}

// Phase returns the mixture of a step, counted from 0. It panics beyond the last.
func (r Settings) Phase(step int) Phase {
	left := step
	for _, p := range r.Phases {
		if left >= 0 && left < p.Steps {
			return p
		}
		left -= p.Steps
	}
	panic(fmt.Sprintf("gridworld: step %d of a pretraining of %d", step, r.Steps()))
}

// Recipe is what the demo's model was pretrained with; docs/demo-fewshot.md
// tells why.
var Recipe = Settings{
	WorldSeed: 1,
	Model: world.Shape{
		Vocabulary: 448, Hidden: 128, Layers: 4, Heads: 4, KVHeads: 4, HeadDim: 32, Intermediate: 256,
		RopeTheta: 10000, NormEpsilon: 1e-5, InitStd: 1, EmbeddingStd: 0.05,
	},
	Phases: []Phase{
		{
			Steps:     600,
			Documents: [GroupCount]int{Small: 20, Edits: 1},
			Weights:   [GroupCount]float64{Small: 1, Edits: 0.1},
		},
		{
			Steps:     2400,
			Documents: [GroupCount]int{Single: 12, Pairs: 6, Edits: 2},
			Weights:   [GroupCount]float64{Single: 0.7, Pairs: 0.4, Edits: 0.1},
		},
	},
	Schedule: world.Schedule{LR: 3e-3, MinLR: 0.02, Warmup: 50, Decay: 0.4, Beta1: 0.9, Beta2: 0.98, WeightDecay: 0.05, Clip: 1},
}
