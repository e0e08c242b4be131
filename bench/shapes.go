package bench

import (
	"fmt"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/tensor"
)

// SEALLengths are the tokens of the sequences that one adapter of SEAL's inner
// loop is trained on: a passage's self-edits, one optimiser step each.
var SEALLengths = []int{60, 80, 45, 120, 30, 75, 90, 50, 65, 150}

// SEALEpochs is how often they are passed over, and SEALAdapters how many such
// adapters are trained at once.
const (
	SEALEpochs   = 10
	SEALAdapters = 16
)

// Shape returns a model's shape by name: those of nn.Preset, and mini and tiny,
// which are this package's.
func Shape(name string) (nn.Config, error) {
	switch name {
	case "mini":
		return qwen2(256, 688, 6, 4, 2, 4096), nil
	case "tiny":
		return qwen2(32, 48, 2, 2, 1, 64), nil
	case "qwen2.5-0.5b", "llama3.2-1b", "qwen2.5-7b":
		return nn.Preset(name)
	}
	return nn.Config{}, fmt.Errorf("no shape %q is measured: want qwen2.5-0.5b, qwen2.5-7b, llama3.2-1b, mini or tiny", name)
}

func qwen2(hidden, intermediate, layers, heads, kvHeads, vocab int) nn.Config {
	return nn.Config{
		ModelType: "qwen2", HiddenSize: hidden, Intermediate: intermediate, Layers: layers, Heads: heads, KVHeads: kvHeads, HeadDim: hidden / heads,
		VocabSize: vocab, MaxPositions: 2048, NormEps: 1e-6, RopeTheta: 10000, Tied: true, QKVBias: true, DType: tensor.F32, BOS: -1, InitRange: 0.02,
	}
}

// linears returns the distinct sizes (inputs, outputs) of a model's products:
// its projections, then the logits.
func linears(c nn.Config) [][2]int {
	var out [][2]int
	seen := map[[2]int]bool{}
	add := func(in, out2 int) {
		if s := [2]int{in, out2}; !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	for _, p := range nn.AllProjections() {
		add(c.Shape(p))
	}
	add(c.HiddenSize, c.VocabSize)
	return out
}
