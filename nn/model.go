package nn

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn/safetensors"
	"github.com/selkie-ml/selkie/tensor"
)

// Param is a named weight of a model.
type Param struct {
	Name  string
	Shape []int
	*tensor.Tensor

	half *tensor.Tensor // a copy in bf16, which computes instead while a FullTrainer keeps it
}

// computing returns what products take.
func (p *Param) computing() *tensor.Tensor {
	if p.half != nil {
		return p.half
	}
	return p.Tensor
}

// IsMatrix tells a weight matrix from a norm's scale or a bias.
func (p *Param) IsMatrix() bool { return len(p.Shape) == 2 }

// Model is a decoder on a device. Its methods, and those of what is made from
// it, are used by one goroutine at a time.
type Model struct {
	Config  Config
	Compute tensor.DType // storage of activations: F32 or BF16
	// Recompute keeps only each block's input for backward and computes the
	// rest again: less memory, a third more work, the same bits.
	Recompute bool

	dev    *tensor.Device
	params []*Param // in the order of the forward pass
	byName map[string]*Param
	embed  *Param
	layers []layer
	norm   *Param
	head   *Param // the embedding itself when tied
	rope   *tensor.RopeTable

	source  safetensors.Source // weights mapped from it
	version uint64             // of the weights, for caches
}

// headName is the output projection's name where it is not the embedding.
const headName = "lm_head.weight"

type layer struct {
	inputNorm, postNorm *Param
	weight              [NumProjections]*Param
	bias                [NumProjections]*Param // nil: none
}

// LoadOptions say how a model is loaded.
type LoadOptions struct {
	Compute   tensor.DType // F32 or BF16; 0: F32 on a CPU, on a GPU BF16 where the weights are halves
	Float32   bool         // hold all weights as f32, as training all parameters needs
	Recompute bool         // see Model.Recompute
}

// newModel returns a model without weights.
func newModel(dev *tensor.Device, c Config, opt LoadOptions) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if opt.Compute == 0 {
		opt.Compute = tensor.F32
		if dev != nil && dev.IsGPU() && c.DType != tensor.F32 && !opt.Float32 {
			opt.Compute = tensor.BF16
		}
	}
	m := &Model{Config: c, Compute: opt.Compute, Recompute: opt.Recompute, dev: dev, byName: map[string]*Param{}, version: 1}
	add := func(name string, shape ...int) *Param {
		p := &Param{Name: name, Shape: shape}
		m.params = append(m.params, p)
		m.byName[name] = p
		return p
	}
	m.embed = add("model.embed_tokens.weight", c.VocabSize, c.HiddenSize)
	m.layers = make([]layer, c.Layers)
	for i := range m.layers {
		prefix := fmt.Sprintf("model.layers.%d.", i)
		l := &m.layers[i]
		l.inputNorm = add(prefix+"input_layernorm.weight", c.HiddenSize)
		for _, p := range AllProjections() {
			if p == GateProj {
				l.postNorm = add(prefix+"post_attention_layernorm.weight", c.HiddenSize)
			}
			in, out := c.Shape(p)
			l.weight[p] = add(prefix+p.path()+".weight", out, in)
			if c.hasBias(p) {
				l.bias[p] = add(prefix+p.path()+".bias", out)
			}
		}
	}
	m.norm = add("model.norm.weight", c.HiddenSize)
	m.head = m.embed
	if !c.Tied {
		m.head = add(headName, c.VocabSize, c.HiddenSize)
	}
	return m, nil
}

// Load opens a Hugging Face model folder. Weights stay in the file's mapping
// and storage type unless opt.Float32.
func Load(dev *tensor.Device, dir string, opt LoadOptions) (*Model, error) {
	c, err := ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	src, err := safetensors.OpenModel(dir)
	if err != nil {
		return nil, err
	}
	m, err := FromSource(dev, c, src, opt)
	if err != nil {
		src.Close()
		return nil, fmt.Errorf("model folder %s: %w", dir, err)
	}
	return m, nil
}

// FromSource makes a model of weights by their Hugging Face names. It takes
// over src and closes it in Close.
func FromSource(dev *tensor.Device, c Config, src safetensors.Source, opt LoadOptions) (*Model, error) {
	m, err := newModel(dev, c, opt)
	if err != nil {
		return nil, err
	}
	for _, p := range m.params {
		if p.Tensor, err = m.loadParam(src, p, opt.Float32); err != nil {
			m.Close()
			return nil, err
		}
	}
	if err := dev.Sync(); err != nil {
		m.Close()
		return nil, err
	}
	m.source = src
	return m, nil
}

func (m *Model) loadParam(src safetensors.Source, p *Param, f32 bool) (*tensor.Tensor, error) {
	t, err := src.Tensor(p.Name)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(t.Shape, p.Shape) {
		return nil, fmt.Errorf("tensor %q has shape %v, but config.json asks for %v: the two files are of different models", p.Name, t.Shape, p.Shape)
	}
	dtype, ok := map[safetensors.DType]tensor.DType{safetensors.F32: tensor.F32, safetensors.BF16: tensor.BF16, safetensors.F16: tensor.F16}[t.DType]
	if !ok {
		return nil, fmt.Errorf("tensor %q has dtype %v: want F32, BF16 or F16", p.Name, t.DType)
	}
	stored, err := m.dev.Map(dtype, t.Data, p.Shape...)
	if err != nil || !f32 {
		return stored, err
	}
	defer stored.Free()
	own, err := m.dev.New(tensor.F32, p.Shape...)
	if err != nil {
		return nil, err
	}
	own.CopyFrom(stored)
	return own, nil
}

// NewRandom makes a model of random f32 weights: matrices N(0, s²) with s the
// config's InitRange (0: 1/√in, o_proj and down_proj divided by √(2·layers)),
// norms 1, biases 0. Weight e of a tensor depends on seed, its name and e alone.
func NewRandom(dev *tensor.Device, c Config, seed uint64, opt LoadOptions) (*Model, error) {
	m, err := newModel(dev, c, opt)
	if err != nil {
		return nil, err
	}
	for _, p := range m.params {
		if p.Tensor, err = dev.New(tensor.F32, p.Shape...); err != nil {
			m.Close()
			return nil, err
		}
		p.SetFloat32s(c.RandomWeights(p.Name, p.Shape, seed))
	}
	return m, nil
}

// RandomWeights returns what NewRandom gives the tensor of a name and shape.
func (c Config) RandomWeights(name string, shape []int, seed uint64) []float32 {
	n := 1
	for _, d := range shape {
		n *= d
	}
	w := make([]float32, n)
	if len(shape) == 1 {
		if strings.HasSuffix(name, ".weight") {
			for i := range w {
				w[i] = 1
			}
		}
		return w
	}
	std := c.InitRange
	if std == 0 {
		std = 1 / math.Sqrt(float64(shape[1]))
		if name == "model.embed_tokens.weight" {
			std = 0.05
		} else if strings.HasSuffix(name, "o_proj.weight") || strings.HasSuffix(name, "down_proj.weight") {
			std /= math.Sqrt(2 * float64(c.Layers))
		}
	}
	key := philox.ID{Seed: seed, Purpose: philox.PurposeInitWeights, Item: name}.Key()
	for i := 0; i < n; i += 4 {
		b := philox.Block(key, philox.Counter{uint32(i / 4)})
		for j := 0; j < 4 && i+j < n; j += 2 {
			// Box and Muller's transform of two uniforms.
			r := math.Sqrt(-2 * math.Log(1-philox.Float64(b[j], 0)))
			s, c := math.Sincos(2 * math.Pi * philox.Float64(b[j+1], 0))
			w[i+j] = float32(std * r * c)
			if i+j+1 < n {
				w[i+j+1] = float32(std * r * s)
			}
		}
	}
	return w
}

// Device returns where the model lives.
func (m *Model) Device() *tensor.Device { return m.dev }

// Params returns the weights in the order of the forward pass.
func (m *Model) Params() []*Param { return m.params }

// Param returns a weight by its Hugging Face name, nil when there is none.
func (m *Model) Param(name string) *Param { return m.byName[name] }

// Close frees the weights and unmaps their file.
func (m *Model) Close() error {
	for _, p := range m.params {
		if p.Tensor != nil {
			p.Free()
			p.Tensor = nil
		}
	}
	if m.rope != nil {
		m.rope.Free()
		m.rope = nil
	}
	if m.source != nil {
		return m.source.Close()
	}
	return nil
}

// ropeFor returns a table that covers positions below n.
func (m *Model) ropeFor(n int) (*tensor.RopeTable, error) {
	if n > m.Config.MaxPositions {
		return nil, fmt.Errorf("sequence of %d tokens: the model's context is %d (max_position_embeddings)", n, m.Config.MaxPositions)
	}
	if m.rope != nil && m.rope.MaxPos >= n {
		return m.rope, nil
	}
	size := 256
	for size < n {
		size *= 2
	}
	inv := tensor.InverseFrequencies(m.Config.HeadDim, m.Config.RopeTheta, m.Config.RopeScaling)
	table, err := tensor.NewRopeTable(m.dev, inv, min(size, m.Config.MaxPositions))
	if err != nil {
		return nil, err
	}
	if m.rope != nil {
		m.rope.Free()
	}
	m.rope = table
	return table, nil
}
