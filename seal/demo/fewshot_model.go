package demo

import (
	"embed"
	"encoding/json"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/safetensors"
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
	read := func(name string) []byte {
		data, err := fewshotFiles.ReadFile("fewshot/" + name)
		if err != nil {
			panic("demo: embedded model: " + err.Error())
		}
		return data
	}
	var about map[string]any
	if err := json.Unmarshal(read("tokenizer_config.json"), &about); err != nil {
		return nil, nil, err
	}
	about["chat_template"] = gridworld.ChatTemplate
	withTemplate, err := json.Marshal(about)
	if err != nil {
		return nil, nil, err
	}
	tok, err := tokenizer.Parse(read("tokenizer.json"), withTemplate)
	if err != nil {
		return nil, nil, err
	}
	config, err := nn.ParseConfig(read("config.json"))
	if err != nil {
		return nil, nil, err
	}
	weights, err := safetensors.Parse("embedded model", read("model.safetensors"))
	if err != nil {
		return nil, nil, err
	}
	m, err := nn.FromSource(dev, config, weights, nn.LoadOptions{Float32: true})
	return m, tok, err
}
