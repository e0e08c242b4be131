package world

import "fmt"

// Phase is a stretch of pretraining with one mixture.
type Phase struct {
	Steps     int
	Documents [GroupCount]int     // of each group in a step
	Weights   [GroupCount]float64 // of each group's mean loss over its trained tokens; a step's loss is the sum
}

// Shape is a Llama model's: RMSNorm, rotary positions, SwiGLU, tied embeddings.
type Shape struct {
	Vocabulary, Hidden, Layers, Heads, KVHeads, HeadDim, Intermediate int
	RopeTheta, NormEpsilon                                            float64
	InitStd, EmbeddingStd                                             float64 // InitStd is times 1/√(inputs)
}

// Schedule is AdamW's over a known number of steps: linear warm-up, constant,
// then linear to MinLR·LR over the last Decay of the steps.
type Schedule struct {
	LR, MinLR    float64
	Warmup       int
	Decay        float64
	Beta1, Beta2 float64
	WeightDecay  float64 // on matrices other than the embedding
	Clip         float64
}

// Update is a finetuning with LoRA: AdamW (0.9, 0.999) without weight decay, LR
// falling linearly to zero from the first step.
type Update struct {
	Rank    int
	Alpha   float64
	Targets []string
	LR      float64
	Epochs  int
	Batch   int // sequences in a step
	Clip    float64
}

// Sampling of self-edits.
type Sampling struct {
	Temperature, TopP float64
	MaxTokens         int
}

// Settings are all that the demo runs with.
type Settings struct {
	WorldSeed uint64
	Model     Shape
	Phases    []Phase
	Schedule  Schedule

	Rounds, Passages, Samples int // of the outer loop: rounds, passages a round, edits a passage
	Sampling                  Sampling
	Inner                     Update
	Outer                     Update
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
	panic(fmt.Sprintf("world: step %d of a pretraining of %d", step, r.Steps()))
}

// Batch returns the documents of a step, group by group. It is a function of
// its arguments alone, so pretraining resumes exactly at any step.
func (p Phase) Batch(seed uint64, step int) []Document {
	var docs []Document
	for g := Group(0); g < GroupCount; g++ {
		for i := range p.Documents[g] {
			docs = append(docs, NewDocument(seed, g, step, i))
		}
	}
	return docs
}

// LearningRate returns the rate of a step, counted from 0, of total.
func (s Schedule) LearningRate(step, total int) float64 {
	f := 1.0
	if left := float64(total-step) / float64(total); left < s.Decay {
		f = max(s.MinLR, left/s.Decay)
	}
	return s.LR * f * min(1, float64(step+1)/float64(s.Warmup))
}
