package gridworld

import (
	"fmt"

	"github.com/selkie-ml/selkie/seal/world"
)

// Phase is a stretch of pretraining with one mixture.
type Phase struct {
	Steps     int
	Documents Counts  // of each group in a step
	Weights   Weights // of each group's mean loss over its trained tokens
}

// Counts has a number of documents for each group.
type Counts struct{ Copies, Near, Single, Pairs, Edits int }

// Of returns a group's number.
func (c Counts) Of(g Group) int {
	return [GroupCount]int{c.Copies, c.Near, c.Single, c.Pairs, c.Edits}[g]
}

// Weights has a weight for each group.
type Weights struct{ Copies, Near, Single, Pairs, Edits float64 }

// Of returns a group's weight.
func (w Weights) Of(g Group) float64 {
	return [GroupCount]float64{w.Copies, w.Near, w.Single, w.Pairs, w.Edits}[g]
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
		Vocabulary: 448, Hidden: 128, Layers: 4, Heads: 8, KVHeads: 8, HeadDim: 16, Intermediate: 256,
		RopeTheta: 1000, NormEpsilon: 1e-5, InitStd: 1, EmbeddingStd: 0.05,
	},
	Phases: []Phase{
		{
			Steps:     400,
			Documents: Counts{Copies: 8, Near: 12},
			Weights:   Weights{Copies: 0.5, Near: 0.5},
		},
		{
			Steps:     2000,
			Documents: Counts{Copies: 1, Near: 3, Single: 16},
			Weights:   Weights{Copies: 0.1, Near: 0.2, Single: 0.8},
		},
		{
			Steps:     3600,
			Documents: Counts{Single: 11, Pairs: 7, Edits: 2},
			Weights:   Weights{Single: 0.6, Pairs: 0.5, Edits: 0.1},
		},
	},
	Schedule: world.Schedule{LR: 1.5e-3, MinLR: 0.02, Warmup: 50, Decay: 0.4, Beta1: 0.9, Beta2: 0.98, WeightDecay: 0.05, Clip: 1},
}
