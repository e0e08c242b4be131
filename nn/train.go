package nn

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/tensor"
)

// Trainer trains the adapters of a pool, or all parameters of a model, by two
// primitives: ForwardBackward accumulates gradients, OptimStep applies them.
type Trainer struct {
	// MaxTokens bounds the tokens computed at once; 0: the whole batch. It
	// changes memory, never a result.
	MaxTokens int

	model  *Model
	pool   *AdapterPool // nil: all parameters
	groups int          // adapters, or 1
	parts  []trainedPart
	steps  []int // updates done, per group

	sumSquares, settings *tensor.Tensor
}

// trainedPart is a slab of trained numbers with what the optimiser keeps.
type trainedPart struct {
	values, grad, m, v, table *tensor.Tensor
	own                       []*tensor.Tensor // freed by Close
}

// NewTrainer trains the adapters of a pool made for training; the base model
// stays frozen.
func NewTrainer(m *Model, pool *AdapterPool) (*Trainer, error) {
	if pool == nil || !pool.trained {
		return nil, fmt.Errorf("trainer needs a pool of adapters made for training")
	}
	t := &Trainer{model: m, pool: pool}
	rows := pool.paramTable()
	table, err := m.dev.FromInt32s(rows, len(rows)/kernels.ParamColumns, kernels.ParamColumns)
	if err != nil {
		return nil, err
	}
	t.parts = []trainedPart{{values: pool.values, grad: pool.grad, m: pool.m, v: pool.v, table: table, own: []*tensor.Tensor{table}}}
	return t, t.init(pool.Len())
}

// NewFullTrainer trains all parameters of a model whose weights are f32 (see
// LoadOptions.Float32). decay tells which of them weight decay applies to; nil:
// all. Adapter indices of its sequences are NoAdapter; its losses and updates
// have index 0.
func NewFullTrainer(m *Model, decay func(*Param) bool) (_ *Trainer, err error) {
	t := &Trainer{model: m}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	for _, p := range m.params {
		if p.DType() != tensor.F32 {
			return nil, fmt.Errorf("training all parameters needs f32 weights, but %s is %v: load the model as Float32", p.Name, p.DType())
		}
		part := trainedPart{values: p.Tensor}
		for _, x := range []**tensor.Tensor{&part.grad, &part.m, &part.v} {
			if *x, err = m.dev.Zeros(tensor.F32, p.Shape...); err != nil {
				return nil, err
			}
			part.own = append(part.own, *x)
		}
		row := kernels.Param{Count: int32(p.Len()), Decay: decay == nil || decay(p)}.AppendTo(nil)
		if part.table, err = m.dev.FromInt32s(row, 1, kernels.ParamColumns); err != nil {
			return nil, err
		}
		part.own = append(part.own, part.table)
		p.SetGrad(part.grad)
		t.parts = append(t.parts, part)
	}
	return t, t.init(1)
}

func (t *Trainer) init(groups int) (err error) {
	t.groups, t.steps = groups, make([]int, groups)
	if t.sumSquares, err = t.model.dev.New(tensor.F32, groups); err != nil {
		return err
	}
	t.settings, err = t.model.dev.New(tensor.F32, groups, kernels.AdamColumns)
	return err
}

// Close frees gradients and moments. The pool stays the caller's.
func (t *Trainer) Close() {
	if t.pool == nil {
		for _, p := range t.model.params {
			p.SetGrad(nil)
		}
	}
	for _, part := range t.parts {
		for _, x := range part.own {
			x.Free()
		}
	}
	for _, x := range []*tensor.Tensor{t.sumSquares, t.settings} {
		if x != nil {
			x.Free()
		}
	}
}

// Losses is what a forward pass found.
type Losses struct {
	// Sum is Σ −weight·logprob of each adapter's sequences (index 0 when all
	// parameters are trained): a sum, nothing is divided.
	Sum []float64
	// LogProbs has each sequence's log-probabilities of its targets, 0 where
	// there is none.
	LogProbs [][]float32
}

// ForwardBackward adds the gradients of a batch to those accumulated since the
// last OptimStep. A sequence's share does not depend on the others, nor on how
// a batch is cut into several calls between sequences.
func (t *Trainer) ForwardBackward(batch []Sequence) (*Losses, error) { return t.run(batch, true) }

// Forward is ForwardBackward without gradients.
func (t *Trainer) Forward(batch []Sequence) (*Losses, error) { return t.run(batch, false) }

func (t *Trainer) run(batch []Sequence, grad bool) (*Losses, error) {
	losses := &Losses{Sum: make([]float64, t.groups)}
	adapters := 0
	if t.pool != nil {
		adapters = t.groups
	}
	for i, s := range batch {
		if err := s.check(t.model.Config, adapters); err != nil {
			return nil, fmt.Errorf("sequence %d: %w", i, err)
		}
	}
	for _, micro := range microBatches(batch, t.MaxTokens) {
		logprobs, err := t.model.logProbs(micro, t.pool, grad)
		if err != nil {
			return nil, err
		}
		for _, s := range micro {
			n := len(s.Tokens)
			group := max(0, s.Adapter)
			for i, lp := range logprobs[:n] {
				if s.Targets[i] >= 0 && s.Weights[i] != 0 {
					losses.Sum[group] -= float64(s.Weights[i]) * float64(lp)
				}
			}
			losses.LogProbs = append(losses.LogProbs, logprobs[:n:n])
			logprobs = logprobs[n:]
		}
	}
	return losses, nil
}

// logProbs is a training step's forward, loss and backward over one packed
// batch; it returns the log-probability of every row's target.
func (m *Model) logProbs(seqs []Sequence, pool *AdapterPool, grad bool) (_ []float32, err error) {
	defer tensor.Recover(&err)
	tp := tensor.NewTape(m.dev, m.Compute, grad)
	defer tp.Free()
	batch, err := pack(tp, seqs)
	if err != nil {
		return nil, err
	}
	longest := 0
	for _, s := range seqs {
		longest = max(longest, len(s.Tokens))
	}
	ps := &pass{}
	if ps.rope, err = m.ropeFor(longest); err != nil {
		return nil, err
	}
	if ps.adapters, err = pool.bind(tp, batch.runs); err != nil {
		return nil, err
	}

	hidden := m.hidden(tp, batch.ids, ps)
	logprob := tensor.CrossEntropy(tp, hidden, m.head.Tensor, batch.targets, batch.weights)
	tp.Backward()
	return logprob.Float32s()
}

// Update is one optimiser step of one adapter (0 when all parameters are
// trained).
type Update struct {
	Adapter int
	LR      float64
	AdamW
}

// OptimStep applies the accumulated gradients of the named adapters and zeroes
// all gradients; adapters not named stay as they are. It returns every
// adapter's gradient norm before clipping. An adapter whose norm is not finite
// is left unchanged.
func (t *Trainer) OptimStep(updates []Update) (norms []float64, err error) {
	defer tensor.Recover(&err)
	settings := make([]float32, t.groups*kernels.AdamColumns)
	for _, u := range updates {
		if u.Adapter < 0 || u.Adapter >= t.groups {
			return nil, fmt.Errorf("update names adapter %d: there are %d", u.Adapter, t.groups)
		}
		if err := u.AdamW.Validate(); err != nil {
			return nil, err
		}
		t.steps[u.Adapter]++
		n := float64(t.steps[u.Adapter])
		row := settings[u.Adapter*kernels.AdamColumns:][:kernels.AdamColumns]
		row[kernels.AdamLR] = float32(u.LR)
		row[kernels.AdamRate1], row[kernels.AdamRate2] = float32(1-u.Beta1), float32(1-u.Beta2)
		row[kernels.AdamEps], row[kernels.AdamDecay] = float32(u.Eps), float32(u.WeightDecay)
		row[kernels.AdamBias1] = float32(1 - math.Pow(u.Beta1, n))
		row[kernels.AdamBias2] = float32(1 - math.Pow(u.Beta2, n))
		row[kernels.AdamMaxNorm], row[kernels.AdamActive] = float32(u.ClipNorm), 1
	}
	t.settings.SetFloat32s(settings)
	t.sumSquares.Fill(0)
	for _, p := range t.parts {
		tensor.GradNorm(t.sumSquares, p.grad, p.table)
	}
	for _, p := range t.parts {
		tensor.AdamW(p.values, p.grad, p.m, p.v, t.sumSquares, t.settings, p.table)
	}
	squares, err := t.sumSquares.Float32s()
	if err != nil {
		return nil, err
	}
	if t.pool == nil {
		t.model.version++
	}
	norms = make([]float64, t.groups)
	for i, s := range squares {
		norms[i] = math.Sqrt(float64(s))
	}
	return norms, nil
}
