package nn

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/nn/safetensors"
	"github.com/selkie-ml/selkie/tensor"
)

func TestPEFTRoundTrip(t *testing.T) {
	for kind, c := range kinds {
		for _, lora := range []LoRAConfig{
			{Rank: 1, Alpha: 0.5, Targets: []Projection{DownProj}}, {Rank: 5, Alpha: 16, Targets: []Projection{VProj, QProj}}, {Rank: 16, Alpha: 8, Targets: AllProjections()},
		} {
			a := randomAdapter(c, lora, kind)
			dir := filepath.Join(t.TempDir(), "new", "folder")
			if err := a.SavePEFT(dir, "base/model", c); err != nil {
				t.Fatal(err)
			}
			b, err := LoadPEFT(dir, c)
			if err != nil {
				t.Fatal(err)
			}
			targets := slices.Sorted(slices.Values(a.Targets))
			if b.Rank != a.Rank || b.Alpha != a.Alpha || !slices.Equal(b.Targets, targets) || b.Scale() != a.Scale() {
				t.Errorf("%+v, saved and loaded: %+v", a.LoRAConfig, b.LoRAConfig)
			}
			sameBits(t, kind, b.numbers(), a.numbers())
		}
	}
}

// TestPEFTConfig: keys that PEFT writes and that change nothing are read over;
// those that change the result are refused by name.
func TestPEFTConfig(t *testing.T) {
	c := kinds["llama"]
	a := randomAdapter(c, LoRAConfig{Rank: 2, Alpha: 4, Targets: []Projection{QProj, VProj}}, "a")
	dir := t.TempDir()
	if err := a.SavePEFT(dir, "base", c); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, peftConfigFile)
	saved, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	load := func(edits map[string]any) error {
		var m map[string]any
		if err := json.Unmarshal(saved, &m); err != nil {
			t.Fatal(err)
		}
		for k, v := range edits {
			m[k] = v
		}
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		got, err := LoadPEFT(dir, c)
		if err == nil {
			sameBits(t, "adapter", got.numbers(), a.numbers())
		}
		return err
	}
	for _, edits := range []map[string]any{
		{"lora_dropout": 0.1, "init_lora_weights": true, "inference_mode": false, "peft_version": "0.17", "revision": nil},
		{"rank_pattern": map[string]int{}, "alpha_pattern": map[string]int{}, "modules_to_save": nil, "layers_to_transform": nil, "exclude_modules": nil, "use_dora": false, "loftq_config": map[string]int{}},
		{"target_modules": []string{"v_proj", "q_proj"}},
		{"target_modules": []string{"model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj", "model.layers.0.self_attn.v_proj", "model.layers.1.self_attn.v_proj"}},
	} {
		if err := load(edits); err != nil {
			t.Errorf("%v: %v", edits, err)
		}
	}
	for want, edits := range map[string]map[string]any{
		`peft_type "IA3"`:                {"peft_type": "IA3"},
		`bias "all"`:                     {"bias": "all"},
		"fan_in_fan_out":                 {"fan_in_fan_out": true},
		"use_dora":                       {"use_dora": true},
		"use_rslora":                     {"use_rslora": true},
		"lora_bias":                      {"lora_bias": true},
		"rank_pattern":                   {"rank_pattern": map[string]int{"q_proj": 4}},
		"alpha_pattern":                  {"alpha_pattern": map[string]int{"q_proj": 4}},
		"modules_to_save":                {"modules_to_save": []string{"lm_head"}},
		"layers_to_transform":            {"layers_to_transform": []int{0}},
		"layer_replication":              {"layer_replication": [][]int{{0, 2}}},
		"alora_invocation_tokens":        {"alora_invocation_tokens": []int{5}},
		"LoRA rank is 0":                 {"r": 0},
		"LoRA alpha is -1":               {"lora_alpha": -1},
		"want a list of layer names":     {"target_modules": "all-linear"},
		`target "c_attn"`:                {"target_modules": []string{"c_attn"}},
		"no target layer":                {"target_modules": []string{}},
		"shape [2 16], want [3 16]":      {"r": 3},
		"belongs to no layer":            {"target_modules": []string{"q_proj"}},
		"no such tensor":                 {"target_modules": []string{"q_proj", "v_proj", "o_proj"}},
		"cannot unmarshal string into G": {"r": "2"},
	} {
		wantError(t, want, load(edits), want, dir)
	}
	if err := os.WriteFile(path, []byte("{\n\"r\": 2,"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = LoadPEFT(dir, c)
	wantError(t, "half-written", err, path, "line 2")
	if err := os.WriteFile(path, saved, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = LoadPEFT(dir, kinds["qwen2"])
	wantError(t, "another model's", err, "shape", "on this model")
	if err := os.Remove(filepath.Join(dir, peftWeightsFile)); err != nil {
		t.Fatal(err)
	}
	_, err = LoadPEFT(dir, c)
	wantError(t, "no weights", err, peftWeightsFile, "does not exist")
	_, err = LoadPEFT(dir+"x", c)
	wantError(t, "no folder", err, dir+"x", "want a PEFT adapter")

	bad := *a
	bad.Weights = bad.Weights[:1]
	wantError(t, "cut adapter", bad.SavePEFT(dir, "base", c), "1 layers, the model 2")
}

// TestExportPEFT trains an adapter on each of the repository's golden models and
// writes what scripts/check-peft compares with PEFT, to the folder that
// SELKIE_PEFT_OUT names: MODEL/adapter and MODEL/logits.safetensors.
func TestExportPEFT(t *testing.T) {
	out := os.Getenv("SELKIE_PEFT_OUT")
	if out == "" {
		t.Skip("writes files for scripts/check-peft when SELKIE_PEFT_OUT names a folder")
	}
	dev, err := tensor.Open("cpu", tensor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	for _, name := range []string{"llama-tiny", "qwen2-tiny"} {
		m, err := Load(dev, filepath.Join("testdata", "golden", name), LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		results, err := m.FinetuneAdapters(t.Context(), []Job{{
			LoRA: LoRAConfig{Rank: 4, Alpha: 12, Targets: AllProjections()}, Init: Key{1},
			Examples: []Example{{Tokens: textOf(m.Config, 70, 1)}, {Tokens: textOf(m.Config, 9, 2)}},
			Epochs:   20, Batch: 2, AdamW: DefaultAdamW(), Schedule: Schedule{Kind: "cosine", LR: 1e-2},
		}}, FinetuneOptions{})
		if err != nil {
			t.Fatal(err)
		}
		adapter, losses := results[0].Adapter, results[0].Losses
		t.Logf("%s: loss %.4f … %.4f", name, losses[0], losses[len(losses)-1])
		dir := filepath.Join(out, name)
		if err := adapter.SavePEFT(filepath.Join(dir, "adapter"), name, m.Config); err != nil {
			t.Fatal(err)
		}
		pool := newPool(t, m, false, adapter)
		seqs := []Sequence{NextToken(textOf(m.Config, 80, 3), 0, 1, 0), NextToken(textOf(m.Config, 5, 4), 0, 1, 0)}
		logits, err := m.Logits(seqs, pool)
		if err != nil {
			t.Fatal(err)
		}
		ids := slices.Concat(seqs[0].Tokens, seqs[1].Tokens)
		f := func(name string, d safetensors.DType, data []byte, shape ...int) safetensors.Tensor {
			return safetensors.Tensor{Name: name, DType: d, Shape: shape, Data: data}
		}
		err = safetensors.Write(filepath.Join(dir, "logits.safetensors"), []safetensors.Tensor{
			f("input_ids", safetensors.I32, int32Bytes(ids), len(ids)),
			f("seq_starts", safetensors.I32, int32Bytes([]int32{0, 80, 85}), 3),
			f("logits", safetensors.F32, encodeFloats(slices.Concat(logits...), tensor.F32), len(ids), m.Config.VocabSize),
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		pool.Free()
		m.Close()
	}
}

func int32Bytes(x []int32) (out []byte) {
	for _, v := range x {
		out = append(out, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
	}
	return out
}
