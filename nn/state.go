package nn

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/selkie-ml/selkie/nn/safetensors"
	"github.com/selkie-ml/selkie/tensor"
)

// Gradients returns the accumulated gradients of all parameters by their names;
// for a trainer of a pool see AdapterGradients.
func (t *Trainer) Gradients() (map[string][]float32, error) {
	out := map[string][]float32{}
	for _, p := range t.model.params {
		if p.Grad() == nil {
			continue
		}
		g, err := p.Grad().Float32s()
		if err != nil {
			return nil, err
		}
		out[p.Name] = g
	}
	if t.headGrad != nil {
		head, err := t.headGrad.Float32s()
		if err != nil {
			return nil, err
		}
		for i, g := range head {
			out[t.model.embed.Name][i] += g
		}
	}
	return out, nil
}

// AdapterGradients returns the accumulated gradients of adapter j, in the shape
// of an adapter.
func (t *Trainer) AdapterGradients(j int) (*Adapter, error) { return t.pool.read(t.pool.grad, j) }

// stateTensors names everything that decides how training goes on.
func (t *Trainer) stateTensors() map[string]*tensor.Tensor {
	out := map[string]*tensor.Tensor{}
	for i, p := range t.parts {
		name := "pool"
		if t.pool == nil {
			name = t.model.params[i].Name
		}
		out["value."+name], out["grad."+name] = p.values, p.grad
		out["m."+name], out["v."+name] = p.m, p.v
	}
	if t.headGrad != nil {
		out["grad."+headName] = t.headGrad
	}
	return out
}

// SaveState writes values, gradients, moments and step counts to a file,
// atomically. LoadState makes training go on with the same bits.
func (t *Trainer) SaveState(path string) error {
	var tensors []safetensors.Lazy
	for name, x := range t.stateTensors() {
		tensors = append(tensors, lazyTensor(name, x))
	}
	steps, err := json.Marshal(t.steps)
	if err != nil {
		return err
	}
	return safetensors.WriteLazy(path, tensors, map[string]string{"steps": string(steps), "groups": t.groupNames()})
}

// groupNames describes what is trained: two trainers of equal names have states
// of one shape.
func (t *Trainer) groupNames() string {
	if t.pool == nil {
		return "all parameters"
	}
	return fmt.Sprint(t.pool.configs)
}

// LoadState reads what SaveState wrote for a trainer of the same shape.
func (t *Trainer) LoadState(path string) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var steps []int
	if err := json.Unmarshal([]byte(f.Metadata()["steps"]), &steps); err != nil || len(steps) != t.groups {
		return fmt.Errorf("%s: step counts %q: want those of %d trained groups: this is not a state of the same training", path, f.Metadata()["steps"], t.groups)
	}
	if got := f.Metadata()["groups"]; got != t.groupNames() {
		return fmt.Errorf("%s: state of training %s, want %s", path, got, t.groupNames())
	}
	want := t.stateTensors()
	if len(f.Names()) != len(want) {
		return fmt.Errorf("%s: %d tensors, want %d: this is not a state of the same training", path, len(f.Names()), len(want))
	}
	for name, x := range want {
		s, err := f.Tensor(name)
		if err != nil {
			return err
		}
		if !slices.Equal(s.Shape, x.Shape()) || s.DType != fileDType(x.DType()) {
			return fmt.Errorf("%s: tensor %q is %v %v, want %v %v", path, name, s.DType, s.Shape, x.DType(), x.Shape())
		}
	}
	for name, x := range want {
		s, _ := f.Tensor(name)
		x.SetBytes(s.Data)
	}
	copy(t.steps, steps)
	t.roundHalves()
	for j := range t.groups {
		t.changed(j)
	}
	return t.model.dev.Sync()
}
