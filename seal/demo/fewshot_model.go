package demo

import (
	"embed"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/arc/gridworld"
	"github.com/selkie-ml/selkie/tensor"
)

// The model that docs/demo-fewshot.md tells how to make, weights in bf16.
//
//go:embed fewshot/config.json fewshot/model.safetensors fewshot/tokenizer.json fewshot/tokenizer_config.json
var fewshotFiles embed.FS

// EmbeddedFewshot returns the few-shot demo's model, its weights widened to f32
// so that merging adapters rounds nothing away, and its tokenizer.
func EmbeddedFewshot(dev *tensor.Device) (*nn.Model, *tokenizer.Tokenizer, error) {
	return embedded(dev, fewshotFiles, "fewshot", gridworld.ChatTemplate)
}
