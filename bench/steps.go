package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/selkie-ml/selkie/nn"
)

const (
	stepRank  = 32
	stepAlpha = 64
)

// steps are training steps: forward, backward and update. LoRA adapters on the
// large and the small shape, SEAL's workload, and all parameters.
func steps(s Sizes) ([]Case, error) {
	type batch struct {
		shape      string
		batch, seq int
	}
	batches := []batch{{s.Large, 1, s.BatchSeq}, {s.Large, 1, s.Rows}, {s.Small, 1, s.BatchSeq}, {s.Small, 8, s.BatchSeq}}
	for _, shape := range s.Shapes {
		if shape != s.Large && shape != s.Small {
			batches = append(batches, batch{shape, 1, s.BatchSeq})
		}
	}
	var out []Case
	for _, b := range batches {
		for _, targets := range [][]nn.Projection{QV, All7} {
			for _, kind := range []string{F32, BF16W, BF16} {
				c, err := loraStepCase(b.shape, kind, targets, stepRank, 1, b.batch, b.seq)
				if err != nil {
					return nil, err
				}
				out = append(out, c)
			}
		}
	}
	for _, targets := range [][]nn.Projection{QV, All7} {
		for _, kind := range []string{F32, BF16} {
			for _, together := range []bool{true, false} {
				for _, adapters := range []int{1, s.Adapters} {
					if adapters == 1 && !together {
						continue
					}
					c, err := sealCase(s.SEAL, kind, targets, adapters, together, s.Epochs, s.Lengths)
					if err != nil {
						return nil, err
					}
					out = append(out, c)
				}
			}
		}
	}
	full, err := fullStepCase(s.Small, s.FullBatch, s.BatchSeq)
	return append(out, full), err
}

// repeat returns n times the same length.
func repeat(n, length int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = length
	}
	return out
}

// batchOf returns random sequences, the weights of each adapter's making the
// loss a mean over its targets. Sequences take adapters in turn, each adapter
// those that lie together.
func (e *Env) batchOf(c nn.Config, batch, seq, adapters int) []nn.Sequence {
	out := make([]nn.Sequence, batch)
	for i := range out {
		adapter := nn.NoAdapter
		targets := batch * (seq - 1)
		if adapters > 0 {
			adapter = i * adapters / batch
			targets = (batch + adapters - 1) / adapters * (seq - 1)
		}
		out[i] = nn.NextToken(e.tokens(c, seq), 0, 1/float32(targets), adapter)
	}
	return out
}

// step is the Run of a trainer's step on one batch; done is called at the end.
func step(t *nn.Trainer, batch []nn.Sequence, adapters int, done func()) *Run {
	updates := make([]nn.Update, max(1, adapters))
	for i := range updates {
		updates[i] = nn.Update{Adapter: i, LR: 1e-4, AdamW: nn.DefaultAdamW()}
	}
	var losses nn.Losses
	norms := make([]float64, len(updates))
	return &Run{Once: func() (time.Duration, error) {
		began := time.Now()
		if err := t.ForwardBackwardInto(&losses, batch); err != nil {
			return 0, err
		}
		err := t.OptimStepInto(norms, updates)
		return time.Since(began), err
	}, Close: done}
}

func loraStepCase(shape, kind string, targets []nn.Projection, rank, adapters, batch, seq int) (Case, error) {
	c, err := Shape(shape)
	return Case{
		Name: fmt.Sprintf("step/%s/%s/%s/rank%d/%dx%d", shape, kind, targetsName(targets), rank, batch, seq),
		Work: stepWork(c, repeat(batch, seq), rank, targets, kind == BF16),
		Spec: Spec{Op: "step", Type: kind, Model: shape, Targets: names(targets), Rank: rank, Adapters: adapters, Batch: batch, Seq: seq},
		setup: func(e *Env) (*Run, error) {
			return e.startLoRAStep(shape, kind, targets, rank, adapters, batch, seq)
		},
	}, err
}

func (e *Env) startLoRAStep(shape, kind string, targets []nn.Projection, rank, adapters, batch, seq int) (*Run, error) {
	m, err := e.model(shape, kind)
	if err != nil {
		return nil, err
	}
	config := nn.LoRAConfig{Rank: rank, Alpha: stepAlpha, Targets: targets}
	configs := make([]nn.LoRAConfig, adapters)
	for i := range configs {
		configs[i] = config
	}
	pool, err := nn.NewAdapterPool(m, configs, true)
	if err != nil {
		return nil, err
	}
	for i := range adapters {
		if err = pool.Set(i, nn.NewAdapter(m.Config, config, nn.Key{uint32(i)})); err != nil {
			pool.Free()
			return nil, err
		}
	}
	t, err := nn.NewTrainer(m, pool)
	if err != nil {
		pool.Free()
		return nil, err
	}
	return step(t, e.batchOf(m.Config, batch, seq, adapters), adapters, func() { t.Close(); pool.Free(); e.dev.Trim() }), nil
}

// fullStepCase trains all parameters.
func fullStepCase(shape string, batch, seq int) (Case, error) {
	c, err := Shape(shape)
	return Case{
		Name: fmt.Sprintf("full/%s/f32/%dx%d", shape, batch, seq),
		Work: stepWork(c, repeat(batch, seq), 0, nil, false),
		Spec: Spec{Op: "step", Type: F32, Model: shape, Batch: batch, Seq: seq},
		setup: func(e *Env) (*Run, error) {
			m, err := e.newModel(shape, F32, true)
			if err != nil {
				return nil, err
			}
			t, err := nn.NewFullTrainer(m, nil)
			if err != nil {
				m.Close()
				return nil, err
			}
			return step(t, e.batchOf(c, batch, seq, 0), 0, func() { t.Close(); m.Close(); e.dev.Trim() }), nil
		},
	}, err
}

// sealCase is SEAL's inner loop for some adapters, trained at once or one by
// one: per adapter a pass over the sequences for every epoch, one optimiser step
// a sequence. Adapters start at different sequences.
func sealCase(shape, kind string, targets []nn.Projection, adapters int, together bool, epochs int, lengths []int) (Case, error) {
	c, err := Shape(shape)
	how := "together"
	if !together {
		how = "one-by-one"
	}
	var work Work
	for _, n := range lengths {
		one := stepWork(c, []int{n}, stepRank, targets, kind == BF16)
		work.FLOPs += one.FLOPs
		work.Tokens += one.Tokens
	}
	work = work.Times(epochs * adapters)
	work.BF16 = kind == BF16
	return Case{
		Name: fmt.Sprintf("seal/%s/%s/%s/rank%d/adapters%d/%s/epochs%d", shape, kind, targetsName(targets), stepRank, adapters, how, epochs),
		Work: work,
		Spec: Spec{Op: "seal", Type: kind, Model: shape, Targets: names(targets), Rank: stepRank, Adapters: adapters, Epochs: epochs, Lengths: lengths},
		setup: func(e *Env) (*Run, error) {
			m, err := e.model(shape, kind)
			if err != nil {
				return nil, err
			}
			jobs := make([]nn.Job, adapters)
			for j := range jobs {
				jobs[j] = nn.Job{
					LoRA: nn.LoRAConfig{Rank: stepRank, Alpha: stepAlpha, Targets: targets}, Init: nn.Key{uint32(j)}, Epochs: epochs, Batch: 1,
					AdamW: nn.DefaultAdamW(), Schedule: nn.Schedule{Kind: "linear", LR: 1e-3},
				}
				for i := range lengths {
					jobs[j].Examples = append(jobs[j].Examples, nn.Example{Tokens: e.tokens(c, lengths[(i+j)%len(lengths)])})
				}
			}
			opt := nn.FinetuneOptions{}
			if !together {
				opt.MaxAdapters = 1
			}
			return &Run{Once: func() (time.Duration, error) {
				began := time.Now()
				_, err := m.FinetuneAdapters(context.Background(), jobs, opt)
				return time.Since(began), err
			}, Close: e.dev.Trim}, nil
		},
	}, err
}
