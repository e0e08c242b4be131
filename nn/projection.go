package nn

import (
	"fmt"
	"slices"
	"strings"
)

// Projection is one of the seven linear layers of a decoder block.
type Projection uint8

// The linear layers, in the order they are applied.
const (
	QProj Projection = iota
	KProj
	VProj
	OProj
	GateProj
	UpProj
	DownProj
	NumProjections
)

var projectionNames = [NumProjections]string{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}

// AllProjections lists all seven.
func AllProjections() []Projection {
	return []Projection{QProj, KProj, VProj, OProj, GateProj, UpProj, DownProj}
}

func (p Projection) String() string { return projectionNames[p] }

// path is the projection's place within a layer in weight names.
func (p Projection) path() string {
	if p <= OProj {
		return "self_attn." + p.String()
	}
	return "mlp." + p.String()
}

// ParseProjections reads names such as "q_proj"; order does not matter, doubles
// are refused.
func ParseProjections(names []string) ([]Projection, error) {
	var out []Projection
	for _, n := range names {
		i := slices.Index(projectionNames[:], n)
		if i < 0 {
			return nil, fmt.Errorf("target %q is not a linear layer of the model: want some of %s", n, strings.Join(projectionNames[:], ", "))
		}
		if slices.Contains(out, Projection(i)) {
			return nil, fmt.Errorf("target %q is named twice", n)
		}
		out = append(out, Projection(i))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no target layer: want some of %s", strings.Join(projectionNames[:], ", "))
	}
	slices.Sort(out)
	return out, nil
}

// Shape returns the projection's input and output sizes.
func (c Config) Shape(p Projection) (in, out int) {
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	switch p {
	case QProj:
		return c.HiddenSize, q
	case KProj, VProj:
		return c.HiddenSize, kv
	case OProj:
		return q, c.HiddenSize
	case GateProj, UpProj:
		return c.HiddenSize, c.Intermediate
	case DownProj:
		return c.Intermediate, c.HiddenSize
	}
	panic("nn: no such projection")
}

// hasBias tells whether the model's projection has a bias.
func (c Config) hasBias(p Projection) bool {
	return p <= VProj && c.QKVBias || p == OProj && c.OBias
}

// NumParameters returns the number of weights, a tied matrix counted once.
func (c Config) NumParameters() int64 {
	n := int64(c.VocabSize) * int64(c.HiddenSize)
	if !c.Tied {
		n *= 2
	}
	layer := 2 * c.HiddenSize
	for _, p := range AllProjections() {
		in, out := c.Shape(p)
		layer += in * out
		if c.hasBias(p) {
			layer += out
		}
	}
	return n + int64(c.Layers)*int64(layer) + int64(c.HiddenSize)
}
