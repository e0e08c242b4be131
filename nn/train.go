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
	steps  []int // updates done, per group; those of a pool are the pool's
	// headGrad is the output projection's part of a tied embedding's gradient:
	// kept apart until OptimStep, so that either is a sum over sequences in
	// order however a batch is cut.
	headGrad *tensor.Tensor

	sumSquares, settings *tensor.Tensor
	own                  []*tensor.Tensor // freed by Close
}

// trainedPart is a slab of trained numbers with what the optimiser keeps.
type trainedPart struct {
	values, grad, m, v, table *tensor.Tensor
}

// NewTrainer trains the adapters of a pool made for training; the base model
// stays frozen.
func NewTrainer(m *Model, pool *AdapterPool) (_ *Trainer, err error) {
	defer tensor.Recover(&err)
	if pool == nil || !pool.trained || pool.model != m {
		return nil, fmt.Errorf("trainer needs a pool of the model's adapters that was made for training")
	}
	t := &Trainer{model: m, pool: pool}
	defer t.closeUnfinished()
	rows := pool.paramTable()
	table := t.keep(m.dev.FromInt32s(rows, len(rows)/kernels.ParamColumns, kernels.ParamColumns))
	t.parts = []trainedPart{{values: pool.values, grad: pool.grad, m: pool.m, v: pool.v, table: table}}
	t.init(pool.steps)
	return t, nil
}

// NewFullTrainer trains all parameters of a model whose weights are f32 (see
// LoadOptions.Float32). decay tells which of them weight decay applies to; nil:
// all. Adapter indices of its sequences are NoAdapter; its losses and updates
// have index 0.
func NewFullTrainer(m *Model, decay func(*Param) bool) (_ *Trainer, err error) {
	defer tensor.Recover(&err)
	for _, p := range m.params {
		switch {
		case p.DType() != tensor.F32:
			return nil, fmt.Errorf("training all parameters needs f32 weights, but %s is %v: load the model with LoadOptions.Float32", p.Name, p.DType())
		case p.Grad() != nil:
			return nil, fmt.Errorf("the model's parameters are being trained already: close the other trainer first")
		case !p.Exclusive():
			return nil, fmt.Errorf("training all parameters needs weights of the model's own, but %s is mapped from a file or shared with the model it was merged from: save it and load it with LoadOptions.Float32", p.Name)
		case p.Len() > math.MaxInt32:
			return nil, fmt.Errorf("%s has %d elements: training takes at most %d", p.Name, p.Len(), math.MaxInt32)
		}
	}
	t := &Trainer{model: m}
	defer t.closeUnfinished()
	zeros := func(shape []int) *tensor.Tensor { return t.keep(m.dev.Zeros(tensor.F32, shape...)) }
	for _, p := range m.params {
		row := kernels.Param{Count: int32(p.Len()), Decay: decay == nil || decay(p)}.AppendTo(nil)
		part := trainedPart{
			values: p.Tensor, grad: zeros(p.Shape), m: zeros(p.Shape), v: zeros(p.Shape),
			table: t.keep(m.dev.FromInt32s(row, 1, kernels.ParamColumns)),
		}
		p.SetGrad(part.grad)
		t.parts = append(t.parts, part)
	}
	if m.head == m.embed {
		head := t.keep(m.embed.Share(), nil)
		t.headGrad = zeros(m.embed.Shape)
		head.SetGrad(t.headGrad)
		m.head = &Param{Name: headName, Shape: m.embed.Shape, Tensor: head}
	}
	t.init(make([]int, 1))
	return t, nil
}

func (t *Trainer) init(steps []int) {
	t.groups, t.steps = len(steps), steps
	t.sumSquares = t.keep(t.model.dev.New(tensor.F32, t.groups))
	t.settings = t.keep(t.model.dev.New(tensor.F32, t.groups, kernels.AdamColumns))
}

// keep makes Close free x. It raises an error as a DeviceError.
func (t *Trainer) keep(x *tensor.Tensor, err error) *tensor.Tensor {
	if err != nil {
		panic(&tensor.DeviceError{Err: err})
	}
	t.own = append(t.own, x)
	return x
}

// closeUnfinished, deferred, closes a trainer whose making ended early.
func (t *Trainer) closeUnfinished() {
	if t.settings == nil {
		t.Close()
	}
}

// Close frees gradients and moments, before the model's Close. The pool stays
// the caller's.
func (t *Trainer) Close() {
	if t.pool == nil {
		for _, p := range t.model.params {
			p.SetGrad(nil)
		}
		if t.model.Config.Tied {
			t.model.head = t.model.embed
		}
	}
	for _, x := range t.own {
		x.Free()
	}
	t.own = nil
}

// ZeroGrad forgets the accumulated gradients, as after a ForwardBackward that
// failed half way.
func (t *Trainer) ZeroGrad() {
	for _, p := range t.parts {
		p.grad.Fill(0)
	}
	if t.headGrad != nil {
		t.headGrad.Fill(0)
	}
}

// Losses is what a forward pass found.
type Losses struct {
	// Sum is Σ −weight·logprob of each adapter's sequences (index 0 when all
	// parameters are trained): a sum, nothing is divided. Sequences without an
	// adapter beside a pool's count nowhere.
	Sum []float64
	// LogProbs has each sequence's log-probabilities of its targets, 0 where
	// there is none.
	LogProbs [][]float32
}

// ForwardBackward adds the gradients of a batch to those accumulated since the
// last OptimStep. A sequence's share does not depend on the others, nor on how
// a batch is cut into several calls between sequences. After an error, as for
// want of memory, some of the batch may have been added: ZeroGrad, then try
// again with a smaller MaxTokens.
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
			group := s.Adapter
			if t.pool == nil {
				group = 0
			}
			for i, lp := range logprobs[:n] {
				if group >= 0 && s.Targets[i] >= 0 && s.Weights[i] != 0 {
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
// is left unchanged, its step not counted. A refused update changes nothing.
func (t *Trainer) OptimStep(updates []Update) (norms []float64, err error) {
	defer tensor.Recover(&err)
	seen := make([]bool, t.groups)
	for _, u := range updates {
		switch {
		case u.Adapter < 0 || u.Adapter >= t.groups:
			return nil, fmt.Errorf("update names adapter %d: there are %d", u.Adapter, t.groups)
		case seen[u.Adapter]:
			return nil, fmt.Errorf("two updates name adapter %d: want one per step", u.Adapter)
		case !(u.LR >= 0) || math.IsInf(u.LR, 0):
			return nil, fmt.Errorf("learning rate of adapter %d is %v: want 0 or more", u.Adapter, u.LR)
		}
		if err := u.AdamW.Validate(); err != nil {
			return nil, err
		}
		seen[u.Adapter] = true
	}
	settings := make([]float32, t.groups*kernels.AdamColumns)
	for _, u := range updates {
		n := float64(t.steps[u.Adapter] + 1)
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
	if t.headGrad != nil {
		g := t.model.embed.Grad()
		t.model.dev.Backend().Add(kernels.AddArgs{Dst: g.Buffer(), A: g.Buffer(), B: t.headGrad.Buffer(), N: g.Len()})
		t.headGrad.Fill(0)
	}
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
	norms = make([]float64, t.groups)
	for i, s := range squares {
		norms[i] = math.Sqrt(float64(s))
	}
	for _, u := range updates {
		if finite(norms[u.Adapter]) {
			t.steps[u.Adapter]++
			t.changed(u.Adapter)
		}
	}
	return norms, nil
}

// changed makes caches forget what they computed with an adapter's weights, or
// the model's.
func (t *Trainer) changed(group int) {
	if t.pool == nil {
		t.model.version++
	} else {
		t.pool.generations[group]++
	}
}
