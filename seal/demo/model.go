package demo

import (
	"embed"
	"encoding/json"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/safetensors"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/tensor"
)

// The model that docs/demo-world.md tells how to make, weights in bf16.
//
//go:embed model/config.json model/model.safetensors model/tokenizer.json model/tokenizer_config.json
var files embed.FS

// Embedded returns the demo's model, its weights widened to f32 so that merging
// adapters rounds nothing away, and its tokenizer.
func Embedded(dev *tensor.Device) (*nn.Model, *tokenizer.Tokenizer, error) {
	return embedded(dev, files, "model", "")
}

// embedded reads a folder of the program; a chat template replaces the tokenizer's.
func embedded(dev *tensor.Device, files embed.FS, folder, template string) (*nn.Model, *tokenizer.Tokenizer, error) {
	read := func(name string) []byte {
		data, err := files.ReadFile(folder + "/" + name)
		if err != nil {
			panic("demo: embedded model: " + err.Error())
		}
		return data
	}
	about := read("tokenizer_config.json")
	if template != "" {
		var fields map[string]any
		err := json.Unmarshal(about, &fields)
		if err != nil {
			return nil, nil, err
		}
		fields["chat_template"] = template
		if about, err = json.Marshal(fields); err != nil {
			return nil, nil, err
		}
	}
	tok, err := tokenizer.Parse(read("tokenizer.json"), about)
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
