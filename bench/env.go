package bench

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/internal/sysmem"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/tensor"
)

// Env is where cases run: a device with some number of threads, and the models
// made for it so far. Environments share weights.
type Env struct {
	Threads int

	dev     *tensor.Device
	weights *Weights
	models  map[modelKey]*nn.Model
	random  *philox.Stream
}

type modelKey struct{ shape, kind string }

// NewEnv opens a device by name, as tensor.Open knows them. weights may be shared
// with other environments.
func NewEnv(device string, threads int, weights *Weights) (*Env, error) {
	dev, err := tensor.Open(device, tensor.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	return &Env{
		Threads: threads, dev: dev, weights: weights, models: map[modelKey]*nn.Model{},
		random: philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Seed: 11}),
	}, nil
}

// Close frees the models and the device.
func (e *Env) Close() {
	e.DropModels()
	e.dev.Close()
}

// DropModels frees the models made so far. The weights stay.
func (e *Env) DropModels() {
	for k, m := range e.models {
		m.Close()
		delete(e.models, k)
	}
}

// GPU tells whether the device is one, whose threads do not matter.
func (e *Env) GPU() bool { return e.dev.IsGPU() }

// GPUName describes the GPU and its driver; empty on a CPU.
func (e *Env) GPUName() string { return e.dev.Describe() }

// NumericsID names the device's instruction set and versions.
func (e *Env) NumericsID() string { return e.dev.NumericsID() }

// Stats returns the device's memory figures.
func (e *Env) Stats() kernels.MemStats { return e.dev.Stats() }

// kindTypes are the storage of weights and the compute mode of a Spec.Type.
func kindTypes(kind string) (weights, compute tensor.DType) {
	switch kind {
	case BF16:
		return tensor.BF16, tensor.BF16
	case BF16W:
		return tensor.BF16, tensor.F32
	}
	return tensor.F32, tensor.F32
}

// model returns the model of a shape, made at the first call. Its weights are
// read-only.
func (e *Env) model(shape, kind string) (*nn.Model, error) {
	key := modelKey{shape, kind}
	if m := e.models[key]; m != nil {
		return m, nil
	}
	m, err := e.newModel(shape, kind, false)
	if err == nil {
		e.models[key] = m
	}
	return m, err
}

// newModel makes a model of the shared weights, or with own f32 copies of them,
// which can be trained.
func (e *Env) newModel(shape, kind string, own bool) (*nn.Model, error) {
	c, err := Shape(shape)
	if err != nil {
		return nil, err
	}
	stored, compute := kindTypes(kind)
	src, err := e.weights.source(shape, c, stored)
	if err != nil {
		return nil, err
	}
	return nn.FromSource(e.dev, c, src, nn.LoadOptions{Compute: compute, Float32: own})
}

// tokens returns n random tokens of a model.
func (e *Env) tokens(c nn.Config, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(e.random.IntN(c.VocabSize))
	}
	return out
}

// arrays are the buffers of one case. The first failure to get memory stays in
// err.
type arrays struct {
	env *Env
	own []*tensor.Tensor
	err error
}

func (a *arrays) keep(t *tensor.Tensor, err error) kernels.Buffer {
	if err != nil {
		a.err = cmp.Or(a.err, err)
		return kernels.Buffer{}
	}
	a.own = append(a.own, t)
	return t.Buffer()
}

// random returns n random numbers in ±1.
func (a *arrays) random(dt tensor.DType, n int) kernels.Buffer {
	t := a.zeros(dt, n)
	block, err := a.env.dev.FromFloat32s(noise(), len(noise()))
	if err != nil || a.err != nil {
		a.err = cmp.Or(a.err, err)
		return t
	}
	defer block.Free()
	for at := 0; at < n; at += block.Len() {
		k := min(n-at, block.Len())
		a.env.dev.Backend().Copy(kernels.CopyArgs{Dst: t.At(at), Src: block.Buffer(), Rows: 1, Cols: k, DstStride: k, SrcStride: k})
	}
	return t
}

func (a *arrays) zeros(dt tensor.DType, n int) kernels.Buffer {
	return a.keep(a.env.dev.Zeros(dt, n))
}
func (a *arrays) ints(v []int32) kernels.Buffer {
	return a.keep(a.env.dev.FromInt32s(v, len(v)))
}
func (a *arrays) floats(v []float32) kernels.Buffer {
	return a.keep(a.env.dev.FromFloat32s(v, len(v)))
}

func (a *arrays) free() {
	for _, t := range a.own {
		t.Free()
	}
	a.own = nil
	a.env.dev.Trim()
}

// ops is the Run of ops over arrays: f enqueues them, and may be called when a
// has no error.
func (a *arrays) ops(f func()) (*Run, error) {
	if a.err != nil {
		a.free()
		return nil, a.err
	}
	return &Run{Enqueue: f, Sync: a.env.dev.Sync, Once: func() (time.Duration, error) {
		began := time.Now()
		f()
		err := a.env.dev.Sync()
		return time.Since(began), err
	}, Close: a.free}, nil
}

// ErrMemory is what cases that do not fit in the free memory return.
var ErrMemory = errors.New("memory is short")

// fits returns an error when plan needs more bytes than can be had, with a
// quarter for what an arena rounds up.
func fits(plan string, bytes int) error {
	err := sysmem.Check(plan, int64(bytes)*5/4+256<<20, 0, "choose a smaller shape, or end other programs")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMemory, err)
	}
	return nil
}
