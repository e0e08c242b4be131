package nn

import (
	"fmt"
	"math"
	"slices"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/tensor"
)

// AdapterPool holds adapters on the device, so that every sequence of a batch
// may use its own. All matrices lie in one slab, module after module (layer,
// projection), and within a module adapter after adapter.
type AdapterPool struct {
	model    *Model
	configs  []LoRAConfig
	trained  bool
	elements int
	values   *tensor.Tensor // f32 [elements]
	grad     *tensor.Tensor // the rest only when trained
	m, v     *tensor.Tensor
	modules  []poolModule // [layer·NumProjections + projection]
	steps    []int        // optimiser steps of each adapter
	// generations counts the contents a place has had, for caches.
	generations []uint64
}

// poolModule is where a module's A and B matrices start in the slab, and each
// adapter's offset from there; −1: not a target.
type poolModule struct {
	a, b             int
	aOffset, bOffset []int32
	aLen, bLen       int
}

// NewAdapterPool makes room for adapters of the given configurations, with
// gradients and optimiser moments when they are to be trained. Contents are
// undefined until Set.
func NewAdapterPool(m *Model, configs []LoRAConfig, train bool) (_ *AdapterPool, err error) {
	p := &AdapterPool{
		model: m, configs: slices.Clone(configs), trained: train,
		modules: make([]poolModule, m.Config.Layers*int(NumProjections)), steps: make([]int, len(configs)), generations: make([]uint64, len(configs)),
	}
	for j, c := range configs {
		if err := c.Validate(); err != nil {
			return nil, fmt.Errorf("adapter %d: %w", j, err)
		}
	}
	for i := range p.modules {
		proj := Projection(i % int(NumProjections))
		in, out := m.Config.Shape(proj)
		mod := &p.modules[i]
		for _, c := range configs {
			if !c.Has(proj) {
				mod.aOffset, mod.bOffset = append(mod.aOffset, -1), append(mod.bOffset, -1)
				continue
			}
			mod.aOffset, mod.bOffset = append(mod.aOffset, int32(mod.aLen)), append(mod.bOffset, int32(mod.bLen))
			mod.aLen += c.Rank * in
			mod.bLen += c.Rank * out
		}
		mod.a = p.elements
		mod.b = mod.a + mod.aLen
		p.elements = mod.b + mod.bLen
	}
	if p.elements > math.MaxInt32 {
		return nil, fmt.Errorf("%d adapters hold %d numbers, more than %d: train or serve fewer at once", len(configs), p.elements, math.MaxInt32)
	}
	dev := m.dev
	if p.values, err = dev.New(tensor.F32, p.elements); err != nil {
		return nil, err
	}
	if train {
		for _, t := range []**tensor.Tensor{&p.grad, &p.m, &p.v} {
			if *t, err = dev.Zeros(tensor.F32, p.elements); err != nil {
				p.Free()
				return nil, err
			}
		}
	}
	return p, nil
}

// NewPoolOf returns a pool that holds adapters for inspection and generation:
// adapter i of sequences and requests is adapters[i].
func NewPoolOf(m *Model, adapters ...*Adapter) (*AdapterPool, error) {
	configs := make([]LoRAConfig, len(adapters))
	for i, a := range adapters {
		configs[i] = a.LoRAConfig
	}
	p, err := NewAdapterPool(m, configs, false)
	if err != nil {
		return nil, err
	}
	for i, a := range adapters {
		if err := p.Set(i, a); err != nil {
			p.Free()
			return nil, fmt.Errorf("adapter %d: %w", i, err)
		}
	}
	return p, nil
}

// Len returns the number of adapters.
func (p *AdapterPool) Len() int { return len(p.configs) }

// Free gives the pool's memory back.
func (p *AdapterPool) Free() {
	for _, t := range []*tensor.Tensor{p.values, p.grad, p.m, p.v} {
		if t != nil {
			t.Free()
		}
	}
}

// slices calls f with the places of every matrix of adapter j in the slab, in
// slab order: A before B of each module.
func (p *AdapterPool) slices(j int, f func(layer int, proj Projection, isB bool, start, n int)) {
	rank := p.configs[j].Rank
	for i, mod := range p.modules {
		if mod.aOffset[j] < 0 {
			continue
		}
		layer, proj := i/int(NumProjections), Projection(i%int(NumProjections))
		in, out := p.model.Config.Shape(proj)
		f(layer, proj, false, mod.a+int(mod.aOffset[j]), rank*in)
		f(layer, proj, true, mod.b+int(mod.bOffset[j]), rank*out)
	}
}

// Set copies an adapter into place j, which must be of its rank and targets, and
// when trained clears its gradient, moments and step count. The adapter brings
// its alpha.
func (p *AdapterPool) Set(j int, a *Adapter) error {
	if err := a.fits(p.model.Config); err != nil {
		return err
	}
	place := &p.configs[j]
	if a.Rank != place.Rank || len(a.Targets) != len(place.Targets) || slices.ContainsFunc(a.Targets, func(t Projection) bool { return !place.Has(t) }) {
		return fmt.Errorf("adapter of rank %d on %v does not fit the place of rank %d on %v", a.Rank, a.Targets, place.Rank, place.Targets)
	}
	place.Alpha = a.Alpha
	p.steps[j] = 0
	p.generations[j]++
	p.write(p.values, j, a)
	if p.trained {
		p.slices(j, func(_ int, _ Projection, _ bool, start, n int) {
			for _, t := range []*tensor.Tensor{p.grad, p.m, p.v} {
				t.Narrow(0, start, n).Fill(0)
			}
		})
	}
	return nil
}

// change lets f change adapter j's weights; moments and steps stay.
func (p *AdapterPool) change(j int, f func(*Adapter)) error {
	a, err := p.Get(j)
	if err != nil {
		return err
	}
	f(a)
	p.generations[j]++
	p.write(p.values, j, a)
	return nil
}

// Get copies adapter j to the host.
func (p *AdapterPool) Get(j int) (*Adapter, error) { return p.read(p.values, j) }

// write and read move one slab's part of adapter j.
func (p *AdapterPool) write(slab *tensor.Tensor, j int, a *Adapter) {
	p.slices(j, func(l int, proj Projection, isB bool, start, n int) {
		w := a.Weights[l][proj]
		data := w.A
		if isB {
			data = w.B
		}
		slab.Narrow(0, start, n).SetFloat32s(data)
	})
}

func (p *AdapterPool) read(slab *tensor.Tensor, j int) (*Adapter, error) {
	a := &Adapter{LoRAConfig: p.configs[j], Weights: make([][NumProjections]LowRank, p.model.Config.Layers)}
	var first error
	p.slices(j, func(l int, proj Projection, isB bool, start, n int) {
		data, err := slab.Narrow(0, start, n).Float32s()
		if err != nil && first == nil {
			first = err
		}
		if isB {
			a.Weights[l][proj].B = data
		} else {
			a.Weights[l][proj].A = data
		}
	})
	return a, first
}

// paramTable lists every matrix of every adapter for the optimiser, the
// adapter's index as its group.
func (p *AdapterPool) paramTable() []int32 {
	var table []int32
	for j := range p.configs {
		p.slices(j, func(_ int, _ Projection, _ bool, start, n int) {
			table = kernels.Param{Group: int32(j), Offset: int32(start), Count: int32(n), Decay: true}.AppendTo(table)
		})
	}
	return table
}

// rowRun is a run of consecutive rows of a batch that belong to one sequence
// and use adapter Adapter (−1: none).
type rowRun struct {
	start, end, adapter int
}

// adapterBatch binds a pool to the rows of one batch after the other.
type adapterBatch struct {
	pool     *AdapterPool
	parts    []tensor.LoRA // per module; rank 0 where no row has an adapter
	segments []int32
}

// newBatch returns a batch without rows; nil for a nil pool.
func (p *AdapterPool) newBatch() *adapterBatch {
	if p == nil {
		return nil
	}
	b := &adapterBatch{pool: p, parts: make([]tensor.LoRA, len(p.modules))}
	for i, mod := range p.modules {
		part := &b.parts[i]
		part.A, part.B = p.values.Narrow(0, mod.a, mod.aLen), p.values.Narrow(0, mod.b, mod.bLen)
		if p.trained {
			part.DA, part.DB = p.grad.Narrow(0, mod.a, mod.aLen), p.grad.Narrow(0, mod.b, mod.bLen)
		}
	}
	return b
}

// bind makes the segment tables of a batch. They belong to the tape.
func (b *adapterBatch) bind(tp *tensor.Tape, runs []rowRun) {
	if b == nil {
		return
	}
	// All layers share one table per projection: offsets count from the module.
	for proj := range NumProjections {
		mod := &b.pool.modules[proj]
		maxRank := 0
		b.segments = b.segments[:0]
		for _, r := range runs {
			seg := kernels.Segment{RowStart: int32(r.start), RowEnd: int32(r.end)}
			if r.adapter >= 0 && mod.aOffset[r.adapter] >= 0 {
				c := &b.pool.configs[r.adapter]
				seg.Rank, seg.Scale = int32(c.Rank), c.Scale()
				seg.AOffset, seg.BOffset = mod.aOffset[r.adapter], mod.bOffset[r.adapter]
				maxRank = max(maxRank, c.Rank)
			}
			b.segments = seg.AppendTo(b.segments)
		}
		var table *tensor.Tensor
		if maxRank > 0 {
			table = tp.FromInt32s(b.segments, len(runs), kernels.SegmentColumns)
		}
		for i := int(proj); i < len(b.parts); i += int(NumProjections) {
			b.parts[i].Segments, b.parts[i].MaxRank = table, maxRank
		}
	}
}

// lora returns the adapters' part of a projection, nil for none.
func (b *adapterBatch) lora(layer int, p Projection) *tensor.LoRA {
	if b == nil {
		return nil
	}
	if part := &b.parts[layer*int(NumProjections)+int(p)]; part.MaxRank > 0 {
		return part
	}
	return nil
}
