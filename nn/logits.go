package nn

import "github.com/selkie-ml/selkie/tensor"

// Logits returns the logits of every position of each sequence of tokens,
// [len(tokens)·vocab] row-major: for inspection and comparison; training and
// generation never hold them all. pool and the sequences' adapters may be nil
// and NoAdapter.
func (m *Model) Logits(seqs []Sequence, pool *AdapterPool) (_ [][]float32, err error) {
	defer tensor.Recover(&err)
	adapters := 0
	if pool != nil {
		adapters = pool.Len()
	}
	for _, s := range seqs {
		if err := s.check(m.Config, adapters); err != nil {
			return nil, err
		}
	}
	tp := tensor.NewTape(m.dev, m.Compute, false)
	defer tp.Free()
	var batch packed
	batch.pack(seqs)
	ps := m.newPass(pool)
	if ps.rope, err = m.ropeFor(batch.longest); err != nil {
		return nil, err
	}
	ps.adapters.bind(tp, batch.runs)
	all, err := tensor.Logits(tp, m.hidden(tp, batch.begin(tp), ps), m.head.computing()).Float32s()
	if err != nil {
		return nil, err
	}
	out := make([][]float32, len(seqs))
	for i, s := range seqs {
		n := len(s.Tokens) * m.Config.VocabSize
		out[i], all = all[:n:n], all[n:]
	}
	return out, nil
}
