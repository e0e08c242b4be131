package world

// linears are the seven linear layers of a block.
var linears = []string{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}

// Recipe is what the demo's model was pretrained with and its loop runs with;
// docs/demo-world.md tells why.
var Recipe = Settings{
	WorldSeed: 1,
	Model: Shape{
		Vocabulary: 1024, Hidden: 128, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 32, Intermediate: 320,
		RopeTheta: 10000, NormEpsilon: 1e-5, InitStd: 1, EmbeddingStd: 0.05,
	},
	Phases: []Phase{
		{
			Steps:     200,
			Documents: [GroupCount]int{Glances: 40},
			Weights:   [GroupCount]float64{Glances: 1},
		},
		{
			Steps:     2000,
			Documents: [GroupCount]int{Passages: 2, ClosedBook: 14, Edits: 7, Readings: 4, Glances: 3},
			Weights:   [GroupCount]float64{Passages: 0.3, ClosedBook: 1, Edits: 0.8, Readings: 0.7, Glances: 0.2},
		},
	},
	Schedule: Schedule{LR: 3e-3, MinLR: 0.02, Warmup: 50, Decay: 0.4, Beta1: 0.9, Beta2: 0.98, WeightDecay: 0.05, Clip: 1},

	Rounds: 2, Passages: 64, Samples: 5,
	Sampling: Sampling{Temperature: 1, TopP: 0.95, MaxTokens: 115},
	Inner:    Update{Rank: 4, Alpha: 8, Targets: linears, LR: 6e-3, Epochs: 5, Batch: 1, Clip: 1},
	Outer:    Update{Rank: 16, Alpha: 32, Targets: linears, LR: 3e-3, Epochs: 4, Batch: 4, Clip: 1},
}
