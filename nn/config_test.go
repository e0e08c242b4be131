package nn

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selkie-ml/selkie/tensor"
)

// The two styles of the same model, as released folders and newer versions of
// transformers write them.
const (
	olderStyle = `{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
		"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 500,
		"max_position_embeddings": 1024, "rms_norm_eps": 1e-05, "hidden_act": "silu", "tie_word_embeddings": true, "rope_theta": 500000.0,
		"rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 512, "rope_type": "llama3"},
		"torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": [2, 3], "initializer_range": 0.01, "attention_bias": false}`
	newerStyle = `{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
		"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 500,
		"max_position_embeddings": 1024, "rms_norm_eps": 1e-05, "hidden_act": "silu", "tie_word_embeddings": true,
		"rope_parameters": {"rope_theta": 500000.0, "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
			"original_max_position_embeddings": 512, "rope_type": "llama3"},
		"dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": [2, 3], "initializer_range": 0.01, "pad_token_id": null}`
)

func TestConfigStyles(t *testing.T) {
	want := Config{
		ModelType: "llama", HiddenSize: 64, Intermediate: 96, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 32, VocabSize: 500, MaxPositions: 1024,
		NormEps: 1e-5, RopeTheta: 500000, RopeScaling: &tensor.RopeScaling{Factor: 32, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPosition: 512},
		Tied: true, DType: tensor.BF16, BOS: 1, EOS: []int32{2, 3}, InitRange: 0.01,
	}
	for _, text := range []string{olderStyle, newerStyle} {
		c, err := ParseConfig([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, c); d != "" {
			t.Error(d)
		}
	}
	if got, want := want.NumParameters(), int64(500*64+64+3*(2*64+64*128+2*64*64+128*64+3*64*96)); got != want {
		t.Errorf("%d parameters, want %d", got, want)
	}
}

// edited is the older style with keys replaced; a nil value removes one.
func edited(t *testing.T, edits map[string]any) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(olderStyle), &m); err != nil {
		t.Fatal(err)
	}
	for k, v := range edits {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestConfigDefaults(t *testing.T) {
	for _, c := range []struct {
		edits map[string]any
		check func(c Config) bool
	}{
		{map[string]any{"num_key_value_heads": nil}, func(c Config) bool { return c.KVHeads == 4 }},
		{map[string]any{"head_dim": nil}, func(c Config) bool { return c.HeadDim == 16 }},
		{map[string]any{"rms_norm_eps": nil}, func(c Config) bool { return c.NormEps == 1e-6 }},
		{map[string]any{"rope_theta": nil, "rope_scaling": nil}, func(c Config) bool { return c.RopeTheta == 10000 && c.RopeScaling == nil }},
		{map[string]any{"rope_scaling": map[string]any{"type": "default"}}, func(c Config) bool { return c.RopeScaling == nil && c.RopeTheta == 500000 }},
		{map[string]any{"torch_dtype": nil}, func(c Config) bool { return c.DType == tensor.F32 }},
		{map[string]any{"torch_dtype": "torch.float16"}, func(c Config) bool { return c.DType == tensor.F16 }},
		{map[string]any{"tie_word_embeddings": nil}, func(c Config) bool { return !c.Tied }},
		{map[string]any{"bos_token_id": nil, "eos_token_id": nil}, func(c Config) bool { return c.BOS == -1 && c.EOS == nil }},
		{map[string]any{"eos_token_id": 7}, func(c Config) bool { return slices.Equal(c.EOS, []int32{7}) }},
		{map[string]any{"attention_bias": true}, func(c Config) bool { return c.QKVBias && c.OBias }},
		{map[string]any{"model_type": "qwen2", "architectures": []string{"Qwen2ForCausalLM"}, "layer_types": []string{"full_attention"}}, func(c Config) bool { return c.QKVBias && !c.OBias }},
	} {
		got, err := ParseConfig(edited(t, c.edits))
		if err != nil || !c.check(got) {
			t.Errorf("%v: %+v, %v", c.edits, got, err)
		}
		roundTrip(t, got)
	}
}

func TestConfigRefusals(t *testing.T) {
	for want, edits := range map[string]map[string]any{
		`model_type "gpt2"`:             {"model_type": "gpt2"},
		`model_type ""`:                 {"model_type": nil},
		`architecture "MistralForCausa`: {"architectures": []string{"MistralForCausalLM"}},
		"want LlamaForCausalLM":         {"architectures": []string{"Qwen2ForCausalLM"}},
		`RoPE type "yarn"`:              {"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4}},
		`RoPE type "linear"`:            {"rope_scaling": map[string]any{"type": "linear", "factor": 4}},
		`factor 4 but type ""`:          {"rope_scaling": map[string]any{"factor": 4}},
		"RoPE type llama3 needs":        {"rope_scaling": map[string]any{"rope_type": "llama3", "factor": 4}},
		"partial_rotary_factor 0.5":     {"rope_parameters": map[string]any{"partial_rotary_factor": 0.5}},
		"partial_rotary_factor is":      {"partial_rotary_factor": 0.5},
		"hidden_act gelu":               {"hidden_act": "gelu"},
		"mlp_bias true":                 {"mlp_bias": true},
		"use_sliding_window true":       {"use_sliding_window": true},
		`layer_types ["sliding_attenti`: {"layer_types": []string{"sliding_attention"}},
		"quantization_config":           {"quantization_config": map[string]any{"bits": 4}},
		`dtype "float64"`:               {"torch_dtype": "float64"},
		"hidden_size is 0":              {"hidden_size": nil},
		"num_hidden_layers is -1":       {"num_hidden_layers": -1},
		"vocab_size is 16777217":        {"vocab_size": 1<<24 + 1},
		"head_dim is 0":                 {"head_dim": nil, "hidden_size": 63},
		"head_dim 15 is odd":            {"head_dim": 15},
		"num_attention_heads 4 is not":  {"num_key_value_heads": 3},
		"num_key_value_heads is 0":      {"num_key_value_heads": 0},
		"rms_norm_eps is 0":             {"rms_norm_eps": 0},
		"rope_theta is -1":              {"rope_theta": -1},
		"eos_token_id holds 500":        {"eos_token_id": []int{1, 500}},
		"bos_token_id is \"a\"":         {"bos_token_id": "a"},
		"hidden_size of type int":       {"hidden_size": "64"},
	} {
		_, err := ParseConfig(edited(t, edits))
		wantError(t, want, err, want)
	}
	_, err := ParseConfig([]byte("{\n\"model_type\": \"llama\",\n\"hidden_size\": x}"))
	wantError(t, "bad JSON", err, "line 3")
	_, err = ParseConfig(nil)
	wantError(t, "empty", err, "line 1")
	_, err = json.Marshal(Config{ModelType: "llama", QKVBias: true})
	wantError(t, "biases that no file can say", err, "q/k/v biases true")
}

func TestReadConfig(t *testing.T) {
	dir := t.TempDir()
	_, err := ReadConfig(dir)
	wantError(t, "empty folder", err, dir, "config.json")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("config.json", olderStyle)
	for text, want := range map[string][]int32{`{}`: {2, 3}, `{"eos_token_id": 9}`: {9}, `{"eos_token_id": [9, 8]}`: {9, 8}} {
		write("generation_config.json", text)
		if c, err := ReadConfig(dir); err != nil || !slices.Equal(c.EOS, want) {
			t.Errorf("generation_config.json %s: %v, %v", text, c.EOS, err)
		}
	}
	write("generation_config.json", "{")
	_, err = ReadConfig(dir)
	wantError(t, "half-written", err, "generation_config.json", "line 1")
}

// roundTrip writes a config and reads it again.
func roundTrip(t *testing.T, c Config) {
	t.Helper()
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseConfig(data)
	if err != nil || !reflect.DeepEqual(c, again) {
		t.Fatalf("%+v, written and read again: %+v, %v", c, again, err)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(olderStyle))
	f.Add([]byte(newerStyle))
	for _, dir := range []string{"llama-tiny", "qwen2-tiny"} {
		data, err := os.ReadFile(filepath.Join("testdata", "golden", dir, "config.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		// Small enough that the fuzzer's cuts and joins stay near valid files.
		f.Add([]byte(strings.Join(strings.Fields(string(data)), "")))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if err != nil {
			if msg := fmt.Sprint(err); msg == "" {
				t.Error("empty error")
			}
			return
		}
		roundTrip(t, c)
		if c.NumParameters() < 1 || c.Layers < 1 || c.HeadDim%2 != 0 {
			t.Errorf("%+v", c)
		}
	})
}
