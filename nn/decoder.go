package nn

import "github.com/selkie-ml/selkie/tensor"

// pass is what a forward pass shares across layers. One that is kept serves pass
// after pass.
type pass struct {
	rope     *tensor.RopeTable
	adapters *adapterBatch // nil: base model
	cache    *tensor.PagedCache
	rows     tensor.PagedRows // with cache
	wanted   *wanted          // nil: all rows
	blocks   []func(tp *tensor.Tape, x *tensor.Tensor) *tensor.Tensor
}

// wanted are the rows of a pass whose hidden state is asked for. Of the last
// layer the others need keys and values only.
type wanted struct {
	index *tensor.Tensor // i32: their numbers
	pass  *pass          // with the adapters, sequences and positions of these rows
}

// newPass prepares passes with the adapters of a pool, which may be nil.
func (m *Model) newPass(pool *AdapterPool) *pass {
	ps := &pass{adapters: pool.newBatch()}
	for i := range m.layers {
		ps.blocks = append(ps.blocks, func(tp *tensor.Tape, x *tensor.Tensor) *tensor.Tensor { return m.block(tp, x, i, ps) })
	}
	return ps
}

// hidden runs the decoder over token ids [rows] and returns the normed hidden
// state [rows, hidden], of the wanted rows, that the output projection reads.
func (m *Model) hidden(tp *tensor.Tape, ids *tensor.Tensor, ps *pass) *tensor.Tensor {
	x := tensor.Embedding(tp, m.embed.computing(), ids)
	for _, block := range ps.blocks {
		before := x
		if m.Recompute {
			x = tp.Checkpoint(before, block)
		} else {
			x = tp.Scope(func() *tensor.Tensor { return block(tp, before) })
		}
		tp.Drop(before)
	}
	return tensor.RMSNorm(tp, x, m.norm.Tensor, m.Config.NormEps)
}

// block is one decoder layer: attention and feed-forward, each added to the
// residual stream x.
func (m *Model) block(tp *tensor.Tape, x *tensor.Tensor, i int, ps *pass) *tensor.Tensor {
	w := ps.wanted
	if i < len(m.layers)-1 {
		w = nil
	}
	branch := tp.Scope(func() *tensor.Tensor {
		h := tensor.RMSNorm(tp, x, m.layers[i].inputNorm.Tensor, m.Config.NormEps)
		return m.attention(tp, h, i, ps, w)
	})
	if w != nil {
		x, ps = tensor.Gather(tp, x, w.index), w.pass
	}
	x, h := tensor.AddRMSNorm(tp, x, branch, m.layers[i].postNorm.Tensor, m.Config.NormEps)
	tp.Drop(branch)
	activation := tp.Scope(func() *tensor.Tensor {
		return tensor.SwiGLU(tp, m.project(tp, h, i, GateProj, ps), m.project(tp, h, i, UpProj, ps))
	})
	tp.Drop(h)
	return tensor.Add(tp, x, m.project(tp, activation, i, DownProj, ps))
}

// project applies a layer's linear projection with each sequence's adapter.
func (m *Model) project(tp *tensor.Tape, x *tensor.Tensor, i int, p Projection, ps *pass) *tensor.Tensor {
	l := &m.layers[i]
	var bias *tensor.Tensor
	if l.bias[p] != nil {
		bias = l.bias[p].Tensor
	}
	return tensor.LoRALinear(tp, x, l.weight[p].computing(), bias, ps.adapters.lora(i, p))
}
