package nn

import (
	"fmt"
	"math"
	"slices"

	"github.com/selkie-ml/selkie/internal/philox"
)

// LoRAConfig says what a low-rank adapter (Hu et al., "LoRA", 2021) adapts.
type LoRAConfig struct {
	Rank    int
	Alpha   float64 // the update is scaled by Alpha/Rank
	Targets []Projection
}

// Scale returns what multiplies B·A.
func (c LoRAConfig) Scale() float32 { return float32(c.Alpha / float64(c.Rank)) }

// Validate reports what no adapter can have.
func (c LoRAConfig) Validate() error {
	switch {
	case c.Rank < 1 || c.Rank > 1024:
		return fmt.Errorf("LoRA rank is %d: want 1 … 1024", c.Rank)
	case !(c.Alpha > 0) || math.IsInf(c.Alpha, 0):
		return fmt.Errorf("LoRA alpha is %v: want a positive number", c.Alpha)
	case len(c.Targets) == 0:
		return fmt.Errorf("LoRA has no target layers: want some of %v", AllProjections())
	}
	for i, p := range c.Targets {
		if p >= NumProjections {
			return fmt.Errorf("LoRA target %d is not a projection", p)
		}
		if slices.Contains(c.Targets[:i], p) {
			return fmt.Errorf("LoRA target %v is named twice", p)
		}
	}
	return nil
}

// Has reports whether a projection is adapted.
func (c LoRAConfig) Has(p Projection) bool { return slices.Contains(c.Targets, p) }

// Adapter is a LoRA adapter in host memory, float32.
type Adapter struct {
	LoRAConfig
	// Weights of layer l and projection p are Weights[l][p]; those of
	// projections that are not targets are empty.
	Weights [][NumProjections]LowRank
}

// LowRank is the pair of matrices of one adapted layer, row-major.
type LowRank struct {
	A []float32 // [rank, in]
	B []float32 // [out, rank]
}

// NewAdapter returns an adapter as PEFT initialises it: A uniform in ±1/√in
// (Kaiming uniform, a = √5), B zero, so that it changes nothing yet. The
// elements of A depend on key and their place alone.
func NewAdapter(c Config, lora LoRAConfig, key Key) *Adapter {
	a := &Adapter{LoRAConfig: lora, Weights: make([][NumProjections]LowRank, c.Layers)}
	for l := range a.Weights {
		for _, p := range lora.Targets {
			in, out := c.Shape(p)
			w := &a.Weights[l][p]
			w.A, w.B = make([]float32, lora.Rank*in), make([]float32, out*lora.Rank)
			bound := 1 / math.Sqrt(float64(in))
			for i := range w.A {
				word := philox.Block(key, philox.Counter{uint32(i / 4), uint32(l), uint32(p)})[i%4]
				w.A[i] = float32(bound * (2*float64(philox.Float32(word)) - 1))
			}
		}
	}
	return a
}

// fits reports whether the adapter's matrices have the sizes config asks for.
func (a *Adapter) fits(c Config) error {
	if err := a.Validate(); err != nil {
		return err
	}
	if len(a.Weights) != c.Layers {
		return fmt.Errorf("adapter has %d layers, the model %d", len(a.Weights), c.Layers)
	}
	for l := range a.Weights {
		for _, p := range a.Targets {
			in, out := c.Shape(p)
			w := a.Weights[l][p]
			if len(w.A) != a.Rank*in || len(w.B) != out*a.Rank {
				return fmt.Errorf("adapter's layer %d %v has %d and %d elements; a model of %d inputs and %d outputs at rank %d needs %d and %d",
					l, p, len(w.A), len(w.B), in, out, a.Rank, a.Rank*in, out*a.Rank)
			}
		}
	}
	return nil
}
