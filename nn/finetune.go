package nn

import (
	"context"
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/internal/philox"
)

// Example is one text to train on. Targets of tokens before Masked carry no
// loss.
type Example struct {
	Tokens []int32
	Masked int
	// Train, when not nil, tells which tokens bear loss besides; it has the length
	// of Tokens.
	Train []bool
}

// Job is the training of one LoRA adapter.
type Job struct {
	LoRA     LoRAConfig
	Init     Key // of A's random numbers
	Examples []Example
	Epochs   int
	Batch    int // examples per optimiser step; the loss is the mean over their targets
	AdamW    AdamW
	Schedule Schedule
	// Shuffle, when not nil, draws a new order of examples for every epoch;
	// nil keeps the given order.
	Shuffle func(epoch int) *philox.Stream
}

// Steps returns the number of optimiser steps of the job.
func (j Job) Steps() int {
	if j.Batch < 1 {
		return 0
	}
	return j.Epochs * ((len(j.Examples) + j.Batch - 1) / j.Batch)
}

// Tokens returns how many tokens the job computes over all epochs.
func (j Job) Tokens() int {
	n := 0
	for _, e := range j.Examples {
		n += len(e.Tokens)
	}
	return n * j.Epochs
}

func (j Job) validate() error {
	if err := j.LoRA.Validate(); err != nil {
		return err
	}
	if err := j.AdamW.Validate(); err != nil {
		return err
	}
	if err := j.Schedule.Validate(); err != nil {
		return err
	}
	switch {
	case j.Epochs < 0:
		return fmt.Errorf("%d epochs: want 0 or more", j.Epochs)
	case j.Batch < 1:
		return fmt.Errorf("batch of %d examples: want 1 or more", j.Batch)
	}
	for i, e := range j.Examples {
		if e.Train != nil && len(e.Train) != len(e.Tokens) {
			return fmt.Errorf("example %d has %d tokens and %d marks in Train: want as many", i, len(e.Tokens), len(e.Train))
		}
	}
	return nil
}

// plan returns the job's batches in order: indices of examples.
func (j Job) plan() [][]int {
	var out [][]int
	for epoch := range j.Epochs {
		order := make([]int, len(j.Examples))
		for i := range order {
			order[i] = i
		}
		if j.Shuffle != nil {
			order = j.Shuffle(epoch).Perm(len(order))
		}
		for start := 0; start < len(order); start += j.Batch {
			out = append(out, order[start:min(start+j.Batch, len(order))])
		}
	}
	return out
}

// JobResult is what became of a job.
type JobResult struct {
	Adapter   *Adapter
	Losses    []float64 // mean loss of every step, before its update
	GradNorms []float64 // before clipping
	// Diverged is set when a loss or gradient was not finite: the training
	// ended there, and the adapter is that of the last finite step.
	Diverged error
}

// FinetuneOptions bound what is computed at once; they change no result.
type FinetuneOptions struct {
	MaxTokens   int // tokens per forward pass; 0: 4096
	MaxAdapters int // adapters trained together; 0: all
	// Progress, when not nil, is called after every step with the tokens done.
	Progress func(tokens int)
	// Observe, when not nil, is told the mean loss of every step of every job,
	// counted from 0, as it is computed.
	Observe func(job, step int, loss float64)
}

// FinetuneAdapters trains one adapter per job, many in one batch. Each keeps
// its own steps, schedule, clipping and optimiser state, stops at its own end,
// and gets the bits that training it alone would give.
func (m *Model) FinetuneAdapters(ctx context.Context, jobs []Job, opt FinetuneOptions) ([]JobResult, error) {
	if opt.MaxTokens == 0 {
		opt.MaxTokens = 4096
	}
	if opt.MaxAdapters == 0 {
		opt.MaxAdapters = max(1, len(jobs))
	}
	var results []JobResult
	observe := opt.Observe
	for start := 0; start < len(jobs); start += opt.MaxAdapters {
		if observe != nil {
			opt.Observe = func(job, step int, loss float64) { observe(start+job, step, loss) }
		}
		part, err := m.finetuneTogether(ctx, jobs[start:min(start+opt.MaxAdapters, len(jobs))], opt)
		if err != nil {
			return nil, err
		}
		results = append(results, part...)
	}
	return results, nil
}

func (m *Model) finetuneTogether(ctx context.Context, jobs []Job, opt FinetuneOptions) ([]JobResult, error) {
	configs := make([]LoRAConfig, len(jobs))
	for j, job := range jobs {
		if err := job.validate(); err != nil {
			return nil, fmt.Errorf("job %d: %w", j, err)
		}
		for i, e := range job.Examples {
			if err := e.sequence(NoAdapter).check(m.Config, 0); err != nil {
				return nil, fmt.Errorf("job %d: example %d: %w", j, i, err)
			}
		}
		configs[j] = job.LoRA
	}
	pool, err := NewAdapterPool(m, configs, true)
	if err != nil {
		return nil, err
	}
	defer pool.Free()
	trainer, err := NewTrainer(m, pool)
	if err != nil {
		return nil, err
	}
	defer trainer.Close()
	trainer.MaxTokens = opt.MaxTokens

	results := make([]JobResult, len(jobs))
	plans := make([][][]int, len(jobs))
	longest := 0
	for j, job := range jobs {
		if err := pool.Set(j, NewAdapter(m.Config, job.LoRA, job.Init)); err != nil {
			return nil, err
		}
		plans[j] = job.plan()
		longest = max(longest, len(plans[j]))
	}
	for step := range longest {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var batch []Sequence
		var updates []Update
		tokens := 0
		for j, job := range jobs {
			if step >= len(plans[j]) || results[j].Diverged != nil {
				continue
			}
			seqs := job.batch(plans[j][step], j)
			for _, s := range seqs {
				tokens += len(s.Tokens)
			}
			batch = append(batch, seqs...)
			updates = append(updates, Update{Adapter: j, LR: job.Schedule.At(step, len(plans[j])), AdamW: job.AdamW})
		}
		losses, err := trainer.ForwardBackward(batch)
		if err != nil {
			return nil, err
		}
		norms, err := trainer.OptimStep(updates)
		if err != nil {
			return nil, err
		}
		for _, u := range updates {
			r := &results[u.Adapter]
			r.Losses = append(r.Losses, losses.Sum[u.Adapter])
			r.GradNorms = append(r.GradNorms, norms[u.Adapter])
			if opt.Observe != nil {
				opt.Observe(u.Adapter, step, losses.Sum[u.Adapter])
			}
			if loss, norm := losses.Sum[u.Adapter], norms[u.Adapter]; !finite(loss) || !finite(norm) {
				r.Diverged = fmt.Errorf("step %d of %d: loss %v, gradient norm %v", step+1, len(plans[u.Adapter]), loss, norm)
			}
		}
		if opt.Progress != nil {
			opt.Progress(tokens)
		}
	}
	for j := range results {
		if results[j].Adapter, err = pool.Get(j); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// sequence returns the example with a weight of 1 for every target.
func (e Example) sequence(adapter int) Sequence {
	s := NextToken(e.Tokens, e.Masked, 1, adapter)
	for i := range s.Targets {
		if e.Train != nil && s.Targets[i] >= 0 && !e.Train[i+1] {
			s.Targets[i], s.Weights[i] = -1, 0
		}
	}
	return s
}

// batch returns the sequences of one step, their weights making the loss the
// mean over the step's targets.
func (j Job) batch(indices []int, adapter int) []Sequence {
	var seqs []Sequence
	n := 0
	for _, i := range indices {
		s := j.Examples[i].sequence(adapter)
		n += s.NumTargets()
		seqs = append(seqs, s)
	}
	for _, s := range seqs {
		for i := range s.Weights {
			if s.Targets[i] >= 0 {
				s.Weights[i] = float32(1 / float64(n))
			}
		}
	}
	return seqs
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
