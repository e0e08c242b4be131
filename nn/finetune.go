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
	// Weight of its targets among those of its step; 0: 1.
	Weight float32
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
	// Constrain, when not nil, may change the adapter's weights in place, on the
	// host: once before the first step and after every step.
	Constrain func(*Adapter)
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
	return j.validateTraining()
}

func (j Job) validateTraining() error {
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
	Adapter   *Adapter  `json:"-"`
	Losses    []float64 // mean loss of every step, before its update
	GradNorms []float64 // before clipping
	// Diverged is set when a loss or gradient was not finite: the training
	// ended there, and the adapter is that of the last finite step.
	Diverged error `json:"-"`
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
	// Checkpoint, when it names a folder, keeps the training there and goes on from
	// what it finds. It needs all jobs to be trained together (MaxAdapters).
	Checkpoint Checkpoint
}

const defaultMaxTokens = 4096

// FinetuneAdapters trains one adapter per job, many in one batch. Each keeps
// its own steps, schedule, clipping and optimiser state, stops at its own end,
// and gets the bits that training it alone would give.
func (m *Model) FinetuneAdapters(ctx context.Context, jobs []Job, opt FinetuneOptions) ([]JobResult, error) {
	if opt.MaxTokens == 0 {
		opt.MaxTokens = defaultMaxTokens
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

// finetuning is the training of some jobs together.
type finetuning struct {
	opt     FinetuneOptions
	jobs    []jobInWork
	pool    *AdapterPool
	trainer *Trainer

	// Of the step in work.
	batch   []Sequence
	updates []Update
	losses  Losses
	norms   []float64
}

// jobInWork is a job with what its steps take.
type jobInWork struct {
	Job
	plan   [][]int    // examples of every step
	seqs   []Sequence // every example; a step sets the weights
	result JobResult
}

func (m *Model) finetuneTogether(ctx context.Context, jobs []Job, opt FinetuneOptions) ([]JobResult, error) {
	f, err := m.newFinetuning(jobs, opt)
	if err != nil {
		return nil, err
	}
	defer f.close()
	if err := f.run(ctx); err != nil {
		return nil, err
	}
	results := make([]JobResult, len(jobs))
	for j := range f.jobs {
		results[j] = f.jobs[j].result
		if results[j].Adapter, err = f.pool.Get(j); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// FinetuneAll trains all parameters of a model in place, see NewFullTrainer. The
// job's LoRA, Init and Constrain are not used, and the result has no adapter.
func (m *Model) FinetuneAll(ctx context.Context, job Job, opt FinetuneOptions) (JobResult, error) {
	if opt.MaxTokens == 0 {
		opt.MaxTokens = defaultMaxTokens
	}
	job.Constrain = nil
	if err := job.validateTraining(); err != nil {
		return JobResult{}, err
	}
	f := &finetuning{opt: opt, norms: make([]float64, 1), jobs: make([]jobInWork, 1)}
	if err := f.jobs[0].init(m, job, NoAdapter, 0); err != nil {
		return JobResult{}, err
	}
	var err error
	if f.trainer, err = NewFullTrainer(m, nil); err != nil {
		return JobResult{}, err
	}
	defer f.close()
	f.trainer.MaxTokens = opt.MaxTokens
	if err := f.run(ctx); err != nil {
		return JobResult{}, err
	}
	return f.jobs[0].result, nil
}

// run does the steps that no checkpoint has.
func (f *finetuning) run(ctx context.Context) error {
	steps := 0
	for _, j := range f.jobs {
		steps = max(steps, len(j.plan))
	}
	first, err := f.load()
	if err != nil {
		return err
	}
	for i := first; i < steps; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.step(i); err != nil {
			return err
		}
		if err := f.save(i+1, steps); err != nil {
			return err
		}
	}
	return nil
}

func (m *Model) newFinetuning(jobs []Job, opt FinetuneOptions) (_ *finetuning, err error) {
	f := &finetuning{opt: opt, jobs: make([]jobInWork, len(jobs)), norms: make([]float64, len(jobs))}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	configs := make([]LoRAConfig, len(jobs))
	for j, job := range jobs {
		if err := job.validate(); err != nil {
			return nil, fmt.Errorf("job %d: %w", j, err)
		}
		if err := f.jobs[j].init(m, job, j, len(jobs)); err != nil {
			return nil, fmt.Errorf("job %d: %w", j, err)
		}
		configs[j] = job.LoRA
	}
	if f.pool, err = NewAdapterPool(m, configs, true); err != nil {
		return nil, err
	}
	if f.trainer, err = NewTrainer(m, f.pool); err != nil {
		return nil, err
	}
	f.trainer.MaxTokens = opt.MaxTokens
	for j, job := range jobs {
		a := NewAdapter(m.Config, job.LoRA, job.Init)
		if job.Constrain != nil {
			job.Constrain(a)
		}
		if err := f.pool.Set(j, a); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// init prepares a job whose sequences use an adapter of so many.
func (w *jobInWork) init(m *Model, job Job, adapter, adapters int) error {
	w.Job, w.plan = job, job.plan()
	for i, e := range job.Examples {
		s := e.sequence(adapter)
		if err := s.check(m.Config, adapters); err != nil {
			return fmt.Errorf("example %d: %w", i, err)
		}
		w.seqs = append(w.seqs, s)
	}
	w.result.Losses, w.result.GradNorms = make([]float64, 0, len(w.plan)), make([]float64, 0, len(w.plan))
	return nil
}

func (f *finetuning) close() {
	if f.trainer != nil {
		f.trainer.Close()
	}
	if f.pool != nil {
		f.pool.Free()
	}
}

// step trains every unfinished job on its next examples, all in one batch.
func (f *finetuning) step(i int) error {
	f.batch, f.updates = f.batch[:0], f.updates[:0]
	tokens := 0
	for j := range f.jobs {
		w := &f.jobs[j]
		if i >= len(w.plan) || w.result.Diverged != nil {
			continue
		}
		first := len(f.batch)
		f.batch = w.appendBatch(f.batch, i)
		for _, s := range f.batch[first:] {
			tokens += len(s.Tokens)
		}
		f.updates = append(f.updates, Update{Adapter: j, LR: w.Schedule.At(i, len(w.plan)), AdamW: w.AdamW})
	}
	if err := f.trainer.ForwardBackwardInto(&f.losses, f.batch); err != nil {
		return err
	}
	if err := f.trainer.OptimStepInto(f.norms, f.updates); err != nil {
		return err
	}
	for _, u := range f.updates {
		w, loss, norm := &f.jobs[u.Adapter], f.losses.Sum[u.Adapter], f.norms[u.Adapter]
		w.result.Losses = append(w.result.Losses, loss)
		w.result.GradNorms = append(w.result.GradNorms, norm)
		if f.opt.Observe != nil {
			f.opt.Observe(u.Adapter, i, loss)
		}
		if w.Constrain != nil && finite(norm) {
			if err := f.pool.change(u.Adapter, w.Constrain); err != nil {
				return err
			}
		}
		if !finite(loss) || !finite(norm) {
			w.result.Diverged = fmt.Errorf("step %d of %d: loss %v, gradient norm %v", i+1, len(w.plan), loss, norm)
		}
	}
	if f.opt.Progress != nil {
		f.opt.Progress(tokens)
	}
	return nil
}

// appendBatch appends the sequences of step i, their weights making the loss the
// mean over the step's targets.
func (w *jobInWork) appendBatch(batch []Sequence, i int) []Sequence {
	first, targets := len(batch), 0
	for _, e := range w.plan[i] {
		batch = append(batch, w.seqs[e])
		targets += w.seqs[e].NumTargets()
	}
	for at, s := range batch[first:] {
		weight := 1.0
		if own := w.Examples[w.plan[i][at]].Weight; own != 0 {
			weight = float64(own)
		}
		for k := range s.Weights {
			if s.Targets[k] >= 0 {
				s.Weights[k] = float32(weight / float64(targets))
			}
		}
	}
	return batch
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

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
