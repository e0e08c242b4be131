package nn

import (
	"math"

	"github.com/selkie-ml/selkie/tensor"
)

// keysValues returns what positions of layer i are attended by, of h [rows,
// hidden]; when generating they are in the KV cache then.
func (m *Model) keysValues(tp *tensor.Tape, h *tensor.Tensor, i int, ps *pass) (k, v *tensor.Tensor) {
	c := &m.Config
	k = tensor.Reshape(tp, m.project(tp, h, i, KProj, ps), -1, c.KVHeads, c.HeadDim)
	k = ps.rotate(tp, k)
	v = tensor.Reshape(tp, m.project(tp, h, i, VProj, ps), -1, c.KVHeads, c.HeadDim)
	if ps.cache != nil {
		tensor.KVStore(tp, k, v, ps.cache, i, ps.rows)
	}
	return k, v
}

// attention is layer i's causal self-attention over h [rows, hidden]: within
// the packed sequences, to k and v, or over the KV cache when generating.
func (m *Model) attention(tp *tensor.Tape, h, k, v *tensor.Tensor, i int, ps *pass) *tensor.Tensor {
	c := &m.Config
	q := tensor.Reshape(tp, m.project(tp, h, i, QProj, ps), -1, c.Heads, c.HeadDim)
	q = ps.rotate(tp, q)
	scale := float32(1 / math.Sqrt(float64(c.HeadDim)))
	var o *tensor.Tensor
	if ps.cache == nil {
		o = tensor.Attention(tp, q, k, v, scale)
	} else {
		o = tensor.AttentionPaged(tp, q, ps.cache, i, ps.rows, scale)
	}
	return m.project(tp, tensor.Reshape(tp, o, -1, c.Heads*c.HeadDim), i, OProj, ps)
}

// rotate applies the rotary embedding of each row's position.
func (ps *pass) rotate(tp *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
	if ps.cache == nil {
		return tensor.Rope(tp, x, ps.rope)
	}
	return tensor.RopeAt(tp, x, ps.rope, ps.rows.Pos)
}
