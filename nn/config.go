package nn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/tensor"
)

// Config is the shape of a decoder, read from or written to a Hugging Face
// config.json.
type Config struct {
	ModelType    string // "llama" or "qwen2"
	HiddenSize   int
	Intermediate int
	Layers       int
	Heads        int
	KVHeads      int
	HeadDim      int
	VocabSize    int
	MaxPositions int
	NormEps      float32
	RopeTheta    float64
	RopeScaling  *tensor.RopeScaling // nil: plain
	Tied         bool                // the output projection is the embedding
	QKVBias      bool
	OBias        bool
	DType        tensor.DType // of the checkpoint's weights
	BOS          int32        // −1: none
	EOS          []int32      // any of these ends a text
	InitRange    float64      // standard deviation of random weights
}

// configJSON has every key this package reads, of both styles: released
// Qwen2.5 and Llama 3.2 folders use rope_theta, rope_scaling and torch_dtype,
// newer ones rope_parameters and dtype.
type configJSON struct {
	Architectures []string        `json:"architectures,omitempty"`
	ModelType     string          `json:"model_type"`
	HiddenSize    int             `json:"hidden_size"`
	Intermediate  int             `json:"intermediate_size"`
	Layers        int             `json:"num_hidden_layers"`
	Heads         int             `json:"num_attention_heads"`
	KVHeads       *int            `json:"num_key_value_heads,omitempty"`
	HeadDim       *int            `json:"head_dim,omitempty"`
	VocabSize     int             `json:"vocab_size"`
	MaxPositions  int             `json:"max_position_embeddings"`
	NormEps       *float64        `json:"rms_norm_eps,omitempty"`
	HiddenAct     string          `json:"hidden_act,omitempty"`
	Tied          bool            `json:"tie_word_embeddings"`
	AttentionBias bool            `json:"attention_bias"`
	MLPBias       bool            `json:"mlp_bias"`
	RopeTheta     *float64        `json:"rope_theta,omitempty"`
	RopeScaling   *ropeJSON       `json:"rope_scaling,omitempty"`
	RopeParams    *ropeJSON       `json:"rope_parameters,omitempty"`
	TorchDType    string          `json:"torch_dtype,omitempty"`
	DType         string          `json:"dtype,omitempty"`
	BOS           json.RawMessage `json:"bos_token_id,omitempty"`
	EOS           json.RawMessage `json:"eos_token_id,omitempty"`
	Sliding       bool            `json:"use_sliding_window"`
	LayerTypes    []string        `json:"layer_types,omitempty"`
	PartialRotary *float64        `json:"partial_rotary_factor,omitempty"`
	InitRange     *float64        `json:"initializer_range,omitempty"`
	Quantization  json.RawMessage `json:"quantization_config,omitempty"`
}

type ropeJSON struct {
	Type       string   `json:"rope_type,omitempty"`
	OldType    string   `json:"type,omitempty"`
	Theta      *float64 `json:"rope_theta,omitempty"`
	Factor     float64  `json:"factor,omitempty"`
	LowFreq    float64  `json:"low_freq_factor,omitempty"`
	HighFreq   float64  `json:"high_freq_factor,omitempty"`
	OrigMaxPos float64  `json:"original_max_position_embeddings,omitempty"`
	Partial    *float64 `json:"partial_rotary_factor,omitempty"`
}

// architectures are the class names of the supported model types.
var architectures = map[string]string{"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}

// ReadConfig reads DIR/config.json, and the end-of-text ids of
// DIR/generation_config.json when there is one.
func ReadConfig(dir string) (Config, error) {
	path := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("model folder %s: %w: want a Hugging Face model with config.json", dir, err)
	}
	c, err := ParseConfig(data)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	path = filepath.Join(dir, "generation_config.json")
	data, err = os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return Config{}, err
	}
	var g struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if err := json.Unmarshal(data, &g); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, jsonError(data, err))
	}
	ids, err := tokenIDs("eos_token_id", g.EOS, c.VocabSize)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	if len(ids) > 0 {
		c.EOS = ids
	}
	return c, nil
}

// ParseConfig reads a config.json. What this package cannot compute exactly is
// refused by name.
func ParseConfig(data []byte) (Config, error) {
	var j configJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return Config{}, jsonError(data, err)
	}
	c := Config{
		ModelType: j.ModelType, HiddenSize: j.HiddenSize, Intermediate: j.Intermediate, Layers: j.Layers,
		Heads: j.Heads, KVHeads: j.Heads, VocabSize: j.VocabSize, MaxPositions: j.MaxPositions,
		NormEps: 1e-6, RopeTheta: 10000, Tied: j.Tied, BOS: -1, InitRange: 0.02,
	}
	switch j.ModelType {
	case "llama":
		c.QKVBias, c.OBias = j.AttentionBias, j.AttentionBias
	case "qwen2":
		c.QKVBias = true
	default:
		return c, fmt.Errorf("model_type %q is not supported: want llama or qwen2", j.ModelType)
	}
	for _, a := range j.Architectures {
		if want := architectures[j.ModelType]; a != want {
			return c, fmt.Errorf("architecture %q is not supported: want %s for model_type %s", a, want, j.ModelType)
		}
	}
	if j.KVHeads != nil {
		c.KVHeads = *j.KVHeads
	}
	if j.NormEps != nil {
		c.NormEps = float32(*j.NormEps)
	}
	if j.InitRange != nil {
		c.InitRange = *j.InitRange
	}
	switch {
	case j.HeadDim != nil:
		c.HeadDim = *j.HeadDim
	case c.Heads > 0 && c.HiddenSize%c.Heads == 0:
		c.HeadDim = c.HiddenSize / c.Heads
	}
	if err := c.setRope(&j); err != nil {
		return c, err
	}
	for _, bad := range []struct {
		is   bool
		what string
	}{
		{j.HiddenAct != "" && j.HiddenAct != "silu", "hidden_act " + j.HiddenAct},
		{j.MLPBias, "mlp_bias true"},
		{j.Sliding, "use_sliding_window true"},
		{slices.ContainsFunc(j.LayerTypes, func(t string) bool { return t != "full_attention" }), fmt.Sprintf("layer_types %q", j.LayerTypes)},
		{j.PartialRotary != nil && *j.PartialRotary != 1, "partial_rotary_factor"},
		{len(j.Quantization) > 0 && string(j.Quantization) != "null", "quantization_config"},
	} {
		if bad.is {
			return c, fmt.Errorf("%s is not supported", bad.what)
		}
	}
	var err error
	if c.DType, err = configDType(j.DType, j.TorchDType); err != nil {
		return c, err
	}
	if err := c.Validate(); err != nil {
		return c, err
	}
	if c.EOS, err = tokenIDs("eos_token_id", j.EOS, c.VocabSize); err != nil {
		return c, err
	}
	bos, err := tokenIDs("bos_token_id", j.BOS, c.VocabSize)
	if err != nil {
		return c, err
	}
	if len(bos) > 0 {
		c.BOS = bos[0]
	}
	return c, nil
}

// setRope reads base and scaling from either style.
func (c *Config) setRope(j *configJSON) error {
	r := j.RopeScaling
	if j.RopeTheta != nil {
		c.RopeTheta = *j.RopeTheta
	}
	if j.RopeParams != nil {
		r = j.RopeParams
		if r.Theta != nil {
			c.RopeTheta = *r.Theta
		}
	}
	if r == nil {
		return nil
	}
	kind := r.Type
	if kind == "" {
		kind = r.OldType
	}
	if r.Partial != nil && *r.Partial != 1 {
		return fmt.Errorf("partial_rotary_factor %v is not supported", *r.Partial)
	}
	switch kind {
	case "", "default":
		if r.Factor != 0 && r.Factor != 1 {
			return fmt.Errorf("RoPE has factor %v but type %q: want rope_type llama3, or no factor", r.Factor, kind)
		}
		return nil
	case "llama3":
	default:
		return fmt.Errorf("RoPE type %q is not supported: want default or llama3", kind)
	}
	c.RopeScaling = &tensor.RopeScaling{
		Factor: r.Factor, LowFreqFactor: r.LowFreq, HighFreqFactor: r.HighFreq, OriginalMaxPosition: int(r.OrigMaxPos),
	}
	if !(r.Factor >= 1) || !(r.LowFreq > 0) || !(r.HighFreq > r.LowFreq) || !(r.OrigMaxPos >= 1 && r.OrigMaxPos < 1<<31) {
		return fmt.Errorf("RoPE type llama3 needs factor ≥ 1, 0 < low_freq_factor < high_freq_factor and original_max_position_embeddings ≥ 1, found %v, %v, %v, %v",
			r.Factor, r.LowFreq, r.HighFreq, r.OrigMaxPos)
	}
	return nil
}

// Validate reports the first size that no model can have.
func (c Config) Validate() error {
	for _, f := range []struct {
		name  string
		value int
	}{
		{"hidden_size", c.HiddenSize}, {"intermediate_size", c.Intermediate}, {"num_hidden_layers", c.Layers},
		{"num_attention_heads", c.Heads}, {"num_key_value_heads", c.KVHeads}, {"vocab_size", c.VocabSize},
		{"max_position_embeddings", c.MaxPositions}, {"head_dim", c.HeadDim},
	} {
		if f.value < 1 || f.value > 1<<24 {
			return fmt.Errorf("%s is %d: want 1 … %d", f.name, f.value, 1<<24)
		}
	}
	switch {
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("num_attention_heads %d is not a multiple of num_key_value_heads %d", c.Heads, c.KVHeads)
	case c.HeadDim%2 != 0:
		return fmt.Errorf("head_dim %d is odd: RoPE needs an even one", c.HeadDim)
	case !(c.NormEps > 0) || math.IsInf(float64(c.NormEps), 0):
		return fmt.Errorf("rms_norm_eps is %v: want a positive number", c.NormEps)
	case !(c.RopeTheta > 0) || math.IsInf(c.RopeTheta, 0):
		return fmt.Errorf("rope_theta is %v: want a positive number", c.RopeTheta)
	}
	return nil
}

// MarshalJSON writes the older style, which every version of transformers reads.
func (c Config) MarshalJSON() ([]byte, error) {
	eps, headDim, kv := float64(c.NormEps), c.HeadDim, c.KVHeads
	// The shortest decimal that reads back as the same float32.
	json.Unmarshal(fmt.Appendf(nil, "%v", c.NormEps), &eps)
	arch, ok := architectures[c.ModelType]
	if !ok || c.QKVBias != (c.OBias || c.ModelType == "qwen2") || c.OBias && c.ModelType == "qwen2" {
		return nil, fmt.Errorf("no config.json can say model_type %q with q/k/v biases %v and an output bias %v", c.ModelType, c.QKVBias, c.OBias)
	}
	j := configJSON{
		Architectures: []string{arch}, ModelType: c.ModelType, HiddenSize: c.HiddenSize, Intermediate: c.Intermediate,
		Layers: c.Layers, Heads: c.Heads, KVHeads: &kv, HeadDim: &headDim, VocabSize: c.VocabSize, MaxPositions: c.MaxPositions,
		NormEps: &eps, HiddenAct: "silu", Tied: c.Tied, AttentionBias: c.OBias, RopeTheta: &c.RopeTheta, InitRange: &c.InitRange,
		TorchDType: map[tensor.DType]string{tensor.F32: "float32", tensor.BF16: "bfloat16", tensor.F16: "float16"}[c.DType],
	}
	if s := c.RopeScaling; s != nil {
		j.RopeScaling = &ropeJSON{Type: "llama3", Factor: s.Factor, LowFreq: s.LowFreqFactor, HighFreq: s.HighFreqFactor, OrigMaxPos: float64(s.OriginalMaxPosition)}
	}
	if c.BOS >= 0 {
		j.BOS = fmt.Appendf(nil, "%d", c.BOS)
	}
	switch len(c.EOS) {
	case 0:
	case 1:
		j.EOS = fmt.Appendf(nil, "%d", c.EOS[0])
	default:
		j.EOS, _ = json.Marshal(c.EOS)
	}
	return json.Marshal(j)
}

func configDType(names ...string) (tensor.DType, error) {
	for _, n := range names {
		switch strings.TrimPrefix(n, "torch.") {
		case "":
		case "float32":
			return tensor.F32, nil
		case "bfloat16":
			return tensor.BF16, nil
		case "float16":
			return tensor.F16, nil
		default:
			return 0, fmt.Errorf("dtype %q is not supported: want float32, bfloat16 or float16", n)
		}
	}
	return tensor.F32, nil
}

// tokenIDs reads a number, a list of numbers, or null.
func tokenIDs(field string, raw json.RawMessage, vocab int) ([]int32, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var one int64
	var many []int64
	if json.Unmarshal(raw, &one) == nil {
		many = []int64{one}
	} else if err := json.Unmarshal(raw, &many); err != nil {
		return nil, fmt.Errorf("%s is %s: want a token id or a list of them", field, raw)
	}
	if len(many) == 0 {
		return nil, nil
	}
	ids := make([]int32, len(many))
	for i, id := range many {
		if id < 0 || id >= int64(vocab) {
			return nil, fmt.Errorf("%s holds %d, outside the vocabulary of %d", field, id, vocab)
		}
		ids[i] = int32(id)
	}
	return ids, nil
}

// jsonError adds the line to an error of encoding/json.
func jsonError(data []byte, err error) error {
	var offset int64
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &wrong):
		offset = wrong.Offset
	default:
		return err
	}
	line := 1 + strings.Count(string(data[:min(int(offset), len(data))]), "\n")
	return fmt.Errorf("line %d: %w", line, err)
}
