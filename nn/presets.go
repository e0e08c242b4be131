package nn

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/tensor"
)

// presets are the shapes of released models, as in their config.json, and of
// two small ones for trials.
var presets = map[string]Config{
	// https://huggingface.co/Qwen/Qwen2.5-0.5B, -1.5B, -3B, -7B
	"qwen2.5-0.5b": qwen25(896, 4864, 24, 14, 2, 151936, 32768, true),
	"qwen2.5-1.5b": qwen25(1536, 8960, 28, 12, 2, 151936, 131072, true),
	"qwen2.5-3b":   qwen25(2048, 11008, 36, 16, 2, 151936, 32768, true),
	"qwen2.5-7b":   qwen25(3584, 18944, 28, 28, 4, 152064, 131072, false),
	// https://huggingface.co/meta-llama/Llama-3.2-1B, -3B and Llama-3.1-8B
	"llama3.2-1b": llama3(2048, 8192, 16, 32, 8, 64, 32, true),
	"llama3.2-3b": llama3(3072, 8192, 28, 24, 8, 128, 32, true),
	"llama3.1-8b": llama3(4096, 14336, 32, 32, 8, 128, 8, false),
	// The demo's shape, and one that is done in a blink.
	"demo": small(128, 320, 4, 4, 2, 960, 512),
	"mini": small(64, 160, 2, 4, 2, 512, 256),
}

func qwen25(hidden, intermediate, layers, heads, kvHeads, vocab, positions int, tied bool) Config {
	return Config{
		ModelType: "qwen2", HiddenSize: hidden, Intermediate: intermediate, Layers: layers, Heads: heads, KVHeads: kvHeads, HeadDim: hidden / heads,
		VocabSize: vocab, MaxPositions: positions, NormEps: 1e-6, RopeTheta: 1e6, Tied: tied, QKVBias: true,
		DType: tensor.BF16, BOS: 151643, EOS: []int32{151643}, InitRange: 0.02,
	}
}

func llama3(hidden, intermediate, layers, heads, kvHeads, headDim int, ropeFactor float64, tied bool) Config {
	return Config{
		ModelType: "llama", HiddenSize: hidden, Intermediate: intermediate, Layers: layers, Heads: heads, KVHeads: kvHeads, HeadDim: headDim,
		VocabSize: 128256, MaxPositions: 131072, NormEps: 1e-5, RopeTheta: 5e5, Tied: tied,
		RopeScaling: &tensor.RopeScaling{Factor: ropeFactor, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPosition: 8192},
		DType:       tensor.BF16, BOS: 128000, EOS: []int32{128001}, InitRange: 0.02,
	}
}

func small(hidden, intermediate, layers, heads, kvHeads, vocab, positions int) Config {
	return Config{
		ModelType: "llama", HiddenSize: hidden, Intermediate: intermediate, Layers: layers, Heads: heads, KVHeads: kvHeads, HeadDim: hidden / heads,
		VocabSize: vocab, MaxPositions: positions, NormEps: 1e-5, RopeTheta: 10000, Tied: true,
		DType: tensor.BF16, BOS: -1, EOS: nil, InitRange: 0.02,
	}
}

// PresetNames lists the shapes that Preset knows.
func PresetNames() []string { return slices.Sorted(maps.Keys(presets)) }

// Preset returns the shape of a released model by name, such as qwen2.5-0.5b.
func Preset(name string) (Config, error) {
	c, ok := presets[strings.ToLower(name)]
	if !ok {
		return c, fmt.Errorf("no model shape %q is known: want one of %s", name, strings.Join(PresetNames(), ", "))
	}
	c.EOS = slices.Clone(c.EOS)
	if c.RopeScaling != nil {
		scaling := *c.RopeScaling
		c.RopeScaling = &scaling
	}
	return c, nil
}
