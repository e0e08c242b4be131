package bench

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/safetensors"
	"github.com/selkie-ml/selkie/tensor"
)

// Weights holds the random weights of models in memory, once per shape and
// storage type.
type Weights struct {
	made map[weightsKey]memorySource
}

type weightsKey struct {
	shape string
	dtype tensor.DType
}

// NewWeights returns an empty store.
func NewWeights() *Weights { return &Weights{made: map[weightsKey]memorySource{}} }

// Drop forgets all weights, for the collector to free once no model maps them.
func (w *Weights) Drop() { clear(w.made) }

// source returns a shape's weights, making them at the first call.
func (w *Weights) source(shape string, c nn.Config, dt tensor.DType) (safetensors.Source, error) {
	key := weightsKey{shape, dt}
	if s, ok := w.made[key]; ok {
		return s, nil
	}
	if err := fits(fmt.Sprintf("a model of shape %s in %v", shape, dt), int(c.NumParameters())*dt.Size()); err != nil {
		return nil, err
	}
	s := newSource(c, dt)
	w.made[key] = s
	return s, nil
}

// memorySource is a model's weights as if read from its files.
type memorySource map[string]safetensors.Tensor

func newSource(c nn.Config, dt tensor.DType) memorySource {
	s := memorySource{}
	add := func(name string, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		t := safetensors.Tensor{Name: name, DType: safetensors.F32, Shape: shape, Data: make([]byte, n*dt.Size())}
		if dt == tensor.BF16 {
			t.DType = safetensors.BF16
		}
		switch {
		case len(shape) == 2:
			fillNoise(t.Data, len(s), dt)
		case strings.HasSuffix(name, "norm.weight"):
			fillOnes(t.Data, dt)
		}
		s[name] = t
	}
	add("model.embed_tokens.weight", c.VocabSize, c.HiddenSize)
	for l := range c.Layers {
		prefix := fmt.Sprintf("model.layers.%d.", l)
		add(prefix+"input_layernorm.weight", c.HiddenSize)
		add(prefix+"post_attention_layernorm.weight", c.HiddenSize)
		for _, p := range nn.AllProjections() {
			in, out := c.Shape(p)
			module := "mlp."
			if p <= nn.OProj {
				module = "self_attn."
			}
			add(prefix+module+p.String()+".weight", out, in)
			if c.QKVBias && p <= nn.VProj || c.OBias && p == nn.OProj {
				add(prefix+module+p.String()+".bias", out)
			}
		}
	}
	add("model.norm.weight", c.HiddenSize)
	if !c.Tied {
		add("lm_head.weight", c.VocabSize, c.HiddenSize)
	}
	return s
}

// Names implements safetensors.Source.
func (s memorySource) Names() []string {
	var out []string
	for n := range s {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// Has implements safetensors.Source.
func (s memorySource) Has(name string) bool { _, ok := s[name]; return ok }

// Tensor implements safetensors.Source.
func (s memorySource) Tensor(name string) (safetensors.Tensor, error) {
	t, ok := s[name]
	if !ok {
		return t, fmt.Errorf("%q: %w", name, safetensors.ErrNoTensor)
	}
	return t, nil
}

// Close implements safetensors.Source. The memory is the store's.
func (s memorySource) Close() error { return nil }

// noise is a block of random numbers in ±1, always the same. Its length has no
// factor in common with rows of usual sizes, so that repeats are not aligned.
var noise = sync.OnceValue(func() []float32 {
	r := philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Seed: 5})
	out := make([]float32, 1<<20-3)
	for i := range out {
		out[i] = 2*philox.Float32(r.Uint32()) - 1
	}
	return out
})

// weightNoise is noise of a usual initialisation's size, as bytes of a type.
var weightNoise = map[tensor.DType]func() []byte{
	tensor.F32: sync.OnceValue(func() []byte {
		var out []byte
		for _, v := range noise() {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v*0.035))
		}
		return out
	}),
	tensor.BF16: sync.OnceValue(func() []byte {
		var out []byte
		for _, v := range noise() {
			out = binary.LittleEndian.AppendUint16(out, uint16(math.Float32bits(v*0.035)>>16))
		}
		return out
	}),
}

// fillNoise fills a tensor from the noise, each starting elsewhere.
func fillNoise(data []byte, seed int, dt tensor.DType) {
	block := weightNoise[dt]()
	for at := seed * 7919 % (1 << 16) * dt.Size(); len(data) > 0; at = 0 {
		data = data[copy(data, block[at:]):]
	}
}

func fillOnes(data []byte, dt tensor.DType) {
	one := []byte{0, 0, 0x80, 0x3F}[4-dt.Size():]
	for i := range data {
		data[i] = one[i%dt.Size()]
	}
}
