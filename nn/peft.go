package nn

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/nn/safetensors"
	"github.com/selkie-ml/selkie/tensor"
)

const (
	peftConfigFile  = "adapter_config.json"
	peftWeightsFile = "adapter_model.safetensors"
	peftPrefix      = "base_model.model."
)

// peftConfig is the part of PEFT's adapter_config.json that decides results.
type peftConfig struct {
	PeftType      string          `json:"peft_type"`
	TaskType      string          `json:"task_type"`
	BaseModel     string          `json:"base_model_name_or_path"`
	Rank          int             `json:"r"`
	Alpha         float64         `json:"lora_alpha"`
	Dropout       float64         `json:"lora_dropout"`
	Targets       json.RawMessage `json:"target_modules"`
	Bias          string          `json:"bias"`
	FanInFanOut   bool            `json:"fan_in_fan_out"`
	InferenceMode bool            `json:"inference_mode"`
	UseDora       bool            `json:"use_dora"`
	UseRSLora     bool            `json:"use_rslora"`
}

// peftUnsupported are keys that change what an adapter computes, beyond plain
// LoRA, when they are set.
var peftUnsupported = []string{
	"use_dora", "use_rslora", "use_qalora", "use_bdlora", "lora_bias", "rank_pattern", "alpha_pattern", "modules_to_save",
	"layers_to_transform", "layer_replication", "exclude_modules", "target_parameters", "trainable_token_indices",
	"alora_invocation_tokens", "arrow_config", "kasa_config",
}

// SavePEFT writes an adapter as a folder that PEFT loads unchanged. base names
// the model it belongs to.
func (a *Adapter) SavePEFT(dir, base string, c Config) error {
	if err := a.fits(c); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("adapter folder: %w", err)
	}
	var tensors []safetensors.Tensor
	for l := range a.Weights {
		for _, p := range a.Targets {
			in, out := c.Shape(p)
			w := a.Weights[l][p]
			tensors = append(tensors,
				safetensors.Tensor{Name: peftName(l, p, "A"), DType: safetensors.F32, Shape: []int{a.Rank, in}, Data: encodeFloats(w.A, tensor.F32)},
				safetensors.Tensor{Name: peftName(l, p, "B"), DType: safetensors.F32, Shape: []int{out, a.Rank}, Data: encodeFloats(w.B, tensor.F32)})
		}
	}
	if err := safetensors.Write(filepath.Join(dir, peftWeightsFile), tensors, map[string]string{"format": "pt"}); err != nil {
		return err
	}
	names := make([]string, len(a.Targets))
	for i, p := range a.Targets {
		names[i] = p.String()
	}
	targets, err := json.Marshal(names)
	if err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, peftConfigFile), peftConfig{
		PeftType: "LORA", TaskType: "CAUSAL_LM", BaseModel: base, Rank: a.Rank, Alpha: a.Alpha, Targets: targets, Bias: "none", InferenceMode: true,
	})
}

func peftName(layer int, p Projection, matrix string) string {
	return fmt.Sprintf("%smodel.layers.%d.%s.lora_%s.weight", peftPrefix, layer, p.path(), matrix)
}

// LoadPEFT reads a PEFT LoRA adapter for a model of config c. What would change
// the result and is not supported is refused by name.
func LoadPEFT(dir string, c Config) (*Adapter, error) {
	path := filepath.Join(dir, peftConfigFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("adapter folder %s: %w: want a PEFT adapter with %s", dir, err, peftConfigFile)
	}
	lora, err := parsePEFTConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f, err := safetensors.Open(filepath.Join(dir, peftWeightsFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	a := &Adapter{LoRAConfig: lora, Weights: make([][NumProjections]LowRank, c.Layers)}
	read := map[string]bool{}
	load := func(name string, shape ...int) []float32 {
		t, e := f.Tensor(name)
		if e == nil && !slices.Equal(t.Shape, shape) {
			e = fmt.Errorf("%s: tensor %q has shape %v, want %v for rank %d on this model", f.Path(), name, t.Shape, shape, lora.Rank)
		}
		var x []float32
		if e == nil {
			x, e = safetensors.Float32s(t)
		}
		if e != nil && err == nil {
			err = e
		}
		read[name] = true
		return x
	}
	for l := range a.Weights {
		for _, p := range lora.Targets {
			in, out := c.Shape(p)
			a.Weights[l][p] = LowRank{A: load(peftName(l, p, "A"), lora.Rank, in), B: load(peftName(l, p, "B"), out, lora.Rank)}
		}
	}
	if err != nil {
		return nil, err
	}
	for _, n := range f.Names() {
		if !read[n] {
			return nil, fmt.Errorf("%s: tensor %q belongs to no layer of this model that %s targets", f.Path(), n, peftConfigFile)
		}
	}
	return a, nil
}

func parsePEFTConfig(data []byte) (LoRAConfig, error) {
	var j peftConfig
	if err := json.Unmarshal(data, &j); err != nil {
		return LoRAConfig{}, jsonError(data, err)
	}
	for _, bad := range []struct {
		is   bool
		what string
	}{
		{j.PeftType != "LORA", fmt.Sprintf("peft_type %q", j.PeftType)},
		{j.Bias != "" && j.Bias != "none", fmt.Sprintf("bias %q", j.Bias)},
		{j.FanInFanOut, "fan_in_fan_out"},
	} {
		if bad.is {
			return LoRAConfig{}, fmt.Errorf("%s is not supported: want a plain LoRA adapter", bad.what)
		}
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return LoRAConfig{}, jsonError(data, err)
	}
	for _, key := range peftUnsupported {
		if v := string(raw[key]); v != "" && v != "null" && v != "false" && v != "{}" && v != "[]" {
			return LoRAConfig{}, fmt.Errorf("%s is not supported: want a plain LoRA adapter", key)
		}
	}
	var names []string
	if err := json.Unmarshal(j.Targets, &names); err != nil {
		return LoRAConfig{}, fmt.Errorf("target_modules is %s: want a list of layer names", j.Targets)
	}
	// Full paths are allowed where every layer is meant; a layer left out shows
	// as a missing tensor.
	for i, n := range names {
		names[i] = n[strings.LastIndexByte(n, '.')+1:]
	}
	slices.Sort(names)
	names = slices.Compact(names)
	targets, err := ParseProjections(names)
	if err != nil {
		return LoRAConfig{}, fmt.Errorf("target_modules: %w", err)
	}
	lora := LoRAConfig{Rank: j.Rank, Alpha: j.Alpha, Targets: targets}
	return lora, lora.Validate()
}
