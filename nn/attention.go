package nn

import (
	"math"

	"github.com/selkie-ml/selkie/tensor"
)

// attention is layer i's causal self-attention over h [rows, hidden]: within
// the packed sequences, or over the KV cache when generating. Only the rows of w,
// which may be nil, look back; keys and values come from all.
func (m *Model) attention(tp *tensor.Tape, h *tensor.Tensor, i int, ps *pass, w *wanted) *tensor.Tensor {
	c := &m.Config
	k, v := m.heads(tp, h, i, KProj, ps), m.heads(tp, h, i, VProj, ps)
	var q *tensor.Tensor
	asking := ps
	if w == nil {
		q, k = tensor.RopePairAt(tp, m.heads(tp, h, i, QProj, ps), k, ps.rope, ps.positions(tp))
	} else {
		k = tensor.RopeAt(tp, k, ps.rope, ps.positions(tp))
		asking = w.pass
		q = m.heads(tp, tensor.Gather(tp, h, w.index), i, QProj, asking)
		q = tensor.RopeAt(tp, q, asking.rope, asking.positions(tp))
	}
	scale := float32(1 / math.Sqrt(float64(c.HeadDim)))
	var o *tensor.Tensor
	if ps.cache == nil {
		o = tensor.Attention(tp, q, k, v, scale)
	} else {
		tensor.KVStore(tp, k, v, ps.cache, i, ps.rows)
		o = tensor.AttentionPaged(tp, q, asking.cache, i, asking.rows, scale)
	}
	return m.project(tp, tensor.Reshape(tp, o, -1, c.Heads*c.HeadDim), i, OProj, asking)
}

// heads is project, seen as [rows, heads, head dimension].
func (m *Model) heads(tp *tensor.Tape, h *tensor.Tensor, i int, p Projection, ps *pass) *tensor.Tensor {
	x := m.project(tp, h, i, p, ps)
	return tensor.Reshape(tp, x, -1, x.Dim(1)/m.Config.HeadDim, m.Config.HeadDim)
}

// positions are those of the rows in their sequences.
func (ps *pass) positions(tp *tensor.Tape) *tensor.Tensor {
	if ps.cache == nil {
		return tp.Seqs.Positions
	}
	return ps.rows.Pos
}
