package nn

import (
	"math"

	"github.com/selkie-ml/selkie/tensor"
)

// attention is layer i's causal self-attention over h [rows, hidden]: within
// the packed sequences, or over the KV cache when generating.
func (m *Model) attention(tp *tensor.Tape, h *tensor.Tensor, i int, ps *pass) *tensor.Tensor {
	c := &m.Config
	q := tensor.Reshape(tp, m.project(tp, h, i, QProj, ps), -1, c.Heads, c.HeadDim)
	k := tensor.Reshape(tp, m.project(tp, h, i, KProj, ps), -1, c.KVHeads, c.HeadDim)
	v := tensor.Reshape(tp, m.project(tp, h, i, VProj, ps), -1, c.KVHeads, c.HeadDim)

	scale := float32(1 / math.Sqrt(float64(c.HeadDim)))
	var o *tensor.Tensor
	if ps.cache == nil {
		q, k = tensor.Rope(tp, q, ps.rope), tensor.Rope(tp, k, ps.rope)
		o = tensor.Attention(tp, q, k, v, scale)
	} else {
		q, k = tensor.RopeAt(tp, q, ps.rope, ps.rows.Pos), tensor.RopeAt(tp, k, ps.rope, ps.rows.Pos)
		o = tensor.AttentionPaged(tp, q, k, v, ps.cache, i, ps.rows, scale)
	}
	return m.project(tp, tensor.Reshape(tp, o, -1, c.Heads*c.HeadDim), i, OProj, ps)
}
