package nn

import (
	"fmt"
	"math"
	"slices"

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

	// What a step needs, used again by the next.
	tape, quiet *tensor.Tape // with gradients, without
	pass        *pass
	batch       packed
	rows        []float32 // of settings
	squares     []float32
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
// have index 0. In compute mode bf16 products take a copy of the matrices in bf16,
// rounded anew after each step; the f32 weights are the masters.
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
		t.makeHalf(p, part.grad)
		t.parts = append(t.parts, part)
	}
	if m.head == m.embed {
		head := t.keep(m.embed.Share(), nil)
		t.headGrad = zeros(m.embed.Shape)
		head.SetGrad(t.headGrad)
		m.head = &Param{Name: headName, Shape: m.embed.Shape, Tensor: head}
		if m.embed.half != nil {
			m.head.half = t.keep(m.embed.half.Share(), nil)
			m.head.half.SetGrad(t.headGrad)
		}
	}
	t.init(make([]int, 1))
	return t, nil
}

func (t *Trainer) init(steps []int) {
	t.groups, t.steps = len(steps), steps
	t.sumSquares = t.keep(t.model.dev.New(tensor.F32, t.groups))
	t.settings = t.keep(t.model.dev.New(tensor.F32, t.groups, kernels.AdamColumns))
	t.tape = tensor.NewTape(t.model.dev, t.model.Compute, true)
	t.quiet = tensor.NewTape(t.model.dev, t.model.Compute, false)
	t.pass = t.model.newPass(t.pool)
	t.rows, t.squares = make([]float32, t.groups*kernels.AdamColumns), make([]float32, t.groups)
}

// makeHalf gives a matrix the copy in bf16 that computes while its f32 values are
// trained: where activations are bf16, products want both so.
func (t *Trainer) makeHalf(p *Param, grad *tensor.Tensor) {
	if t.model.Compute != tensor.BF16 || !p.IsMatrix() {
		return
	}
	p.half = t.keep(t.model.dev.New(tensor.BF16, p.Shape...))
	p.half.CopyFrom(p.Tensor)
	p.half.SetGrad(grad)
}

// roundHalves brings the copies in bf16 up to what training made of the weights.
func (t *Trainer) roundHalves() {
	if t.pool != nil {
		return
	}
	for _, p := range t.model.params {
		if p.half != nil {
			p.half.CopyFrom(p.Tensor)
		}
	}
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
			p.half = nil
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

	logProbs []float32 // all of LogProbs, end to end
}

// ForwardBackward adds the gradients of a batch to those accumulated since the
// last OptimStep. A sequence's share does not depend on the others, nor on how
// a batch is cut into several calls between sequences. After an error, as for
// want of memory, some of the batch may have been added: ZeroGrad, then try
// again with a smaller MaxTokens.
func (t *Trainer) ForwardBackward(batch []Sequence) (*Losses, error) {
	losses := new(Losses)
	if err := t.ForwardBackwardInto(losses, batch); err != nil {
		return nil, err
	}
	return losses, nil
}

// ForwardBackwardInto is ForwardBackward that writes over losses, whose memory it
// uses again: training in which batches of one form repeat allocates nothing.
func (t *Trainer) ForwardBackwardInto(losses *Losses, batch []Sequence) error {
	return t.run(losses, batch, t.tape)
}

// Forward is ForwardBackward without gradients.
func (t *Trainer) Forward(batch []Sequence) (*Losses, error) {
	losses := new(Losses)
	if err := t.run(losses, batch, t.quiet); err != nil {
		return nil, err
	}
	return losses, nil
}

func (t *Trainer) run(losses *Losses, batch []Sequence, tp *tensor.Tape) error {
	adapters := 0
	if t.pool != nil {
		adapters = t.groups
	}
	tokens := 0
	for i, s := range batch {
		if err := s.check(t.model.Config, adapters); err != nil {
			return fmt.Errorf("sequence %d: %w", i, err)
		}
		tokens += len(s.Tokens)
	}
	losses.logProbs = slices.Grow(losses.logProbs[:0], tokens)[:tokens]
	for rest, out := batch, losses.logProbs; len(rest) > 0; {
		n := microBatch(rest, t.MaxTokens)
		rows, err := t.logProbs(tp, rest[:n], out)
		if err != nil {
			return err
		}
		rest, out = rest[n:], out[rows:]
	}
	losses.collect(batch, t.groups, t.pool == nil)
	return nil
}

// collect computes the rest from logProbs.
func (l *Losses) collect(batch []Sequence, groups int, oneGroup bool) {
	l.Sum = slices.Grow(l.Sum[:0], groups)[:groups]
	clear(l.Sum)
	l.LogProbs = l.LogProbs[:0]
	rest := l.logProbs
	for _, s := range batch {
		n := len(s.Tokens)
		group := s.Adapter
		if oneGroup {
			group = 0
		}
		for i, lp := range rest[:n] {
			if group >= 0 && s.Targets[i] >= 0 && s.Weights[i] != 0 {
				l.Sum[group] -= float64(s.Weights[i]) * float64(lp)
			}
		}
		l.LogProbs = append(l.LogProbs, rest[:n:n])
		rest = rest[n:]
	}
}

// logProbs is a training step's forward, loss and backward over one packed
// batch; it writes the log-probability of every row's target to out.
func (t *Trainer) logProbs(tp *tensor.Tape, seqs []Sequence, out []float32) (rows int, err error) {
	defer tensor.Recover(&err)
	defer tp.Free()
	m, batch, ps := t.model, &t.batch, t.pass
	batch.pack(seqs)
	rows = len(batch.ids)
	if ps.rope, err = m.ropeFor(batch.longest); err != nil {
		return 0, err
	}
	tp.Compute = m.Compute
	ids := batch.begin(tp)
	targets, weights := tp.FromInt32s(batch.targets, rows), tp.FromFloat32s(batch.weights, rows)
	ps.adapters.bind(tp, batch.runs)

	hidden := m.hidden(tp, ids, ps)
	logprob := tensor.CrossEntropy(tp, hidden, m.head.computing(), targets, weights)
	tp.Backward()
	return rows, logprob.ReadFloat32s(out[:rows])
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
	norms = make([]float64, t.groups)
	if err := t.OptimStepInto(norms, updates); err != nil {
		return nil, err
	}
	return norms, nil
}

// OptimStepInto is OptimStep that writes the norms to a slice of one per adapter
// and allocates nothing.
func (t *Trainer) OptimStepInto(norms []float64, updates []Update) (err error) {
	defer tensor.Recover(&err)
	if len(norms) != t.groups {
		panic(fmt.Sprintf("optimiser step: room for %d norms, want %d", len(norms), t.groups))
	}
	if err := t.readUpdates(updates); err != nil {
		return err
	}
	t.settings.SetFloat32s(t.rows)
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
	t.roundHalves()
	if err := t.sumSquares.ReadFloat32s(t.squares); err != nil {
		return err
	}
	for i, s := range t.squares {
		norms[i] = math.Sqrt(float64(s))
	}
	for _, u := range updates {
		if finite(norms[u.Adapter]) {
			t.steps[u.Adapter]++
			t.changed(u.Adapter)
		}
	}
	return nil
}

// readUpdates turns updates into the rows that AdamW reads; adapters that are not
// named stay inactive.
func (t *Trainer) readUpdates(updates []Update) error {
	clear(t.rows)
	for _, u := range updates {
		if u.Adapter < 0 || u.Adapter >= t.groups {
			return fmt.Errorf("update names adapter %d: there are %d", u.Adapter, t.groups)
		}
		row := t.rows[u.Adapter*kernels.AdamColumns:][:kernels.AdamColumns]
		switch {
		case row[kernels.AdamActive] != 0:
			return fmt.Errorf("two updates name adapter %d: want one per step", u.Adapter)
		case !(u.LR >= 0) || math.IsInf(u.LR, 0):
			return fmt.Errorf("learning rate of adapter %d is %v: want 0 or more", u.Adapter, u.LR)
		}
		if err := u.AdamW.Validate(); err != nil {
			return err
		}
		n := float64(t.steps[u.Adapter] + 1)
		row[kernels.AdamLR] = float32(u.LR)
		row[kernels.AdamRate1], row[kernels.AdamRate2] = float32(1-u.Beta1), float32(1-u.Beta2)
		row[kernels.AdamEps], row[kernels.AdamDecay] = float32(u.Eps), float32(u.WeightDecay)
		row[kernels.AdamBias1] = float32(1 - math.Pow(u.Beta1, n))
		row[kernels.AdamBias2] = float32(1 - math.Pow(u.Beta2, n))
		row[kernels.AdamMaxNorm], row[kernels.AdamActive] = float32(u.ClipNorm), 1
	}
	return nil
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
