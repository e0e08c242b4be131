package nn

import (
	"fmt"
	"io"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/nn/safetensors"
	"github.com/selkie-ml/selkie/tensor"
)

// Merge returns the model with adapters merged into its weights:
// W = round(W₀ + Σ sᵢ·Bᵢ·Aᵢ), summed in f32 and rounded once to the storage type
// of W₀. m is W₀ and stays as it is; later merges start from it again, with all
// adapters so far. Weights that no adapter touches are shared with m, which must
// be closed last.
func (m *Model) Merge(adapters []*Adapter) (_ *Model, err error) {
	defer tensor.Recover(&err)
	out, err := newModel(m.dev, m.Config, LoadOptions{Compute: m.Compute, Recompute: m.Recompute})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			out.Close()
		}
	}()
	for i, a := range adapters {
		if err := a.fits(m.Config); err != nil {
			return nil, fmt.Errorf("adapter %d: %w", i, err)
		}
	}
	for i, p := range out.params {
		p.Tensor = m.params[i].Share()
	}
	for l := range out.layers {
		for _, p := range AllProjections() {
			if err := mergeInto(out.layers[l].weight[p], m, adapters, l, p); err != nil {
				return nil, err
			}
		}
	}
	return out, m.dev.Sync()
}

// mergeInto replaces one weight by its merged form when an adapter targets it.
func mergeInto(w *Param, m *Model, adapters []*Adapter, layer int, p Projection) error {
	in, out := m.Config.Shape(p)
	var sum *tensor.Tensor
	for _, a := range adapters {
		if !a.Has(p) {
			continue
		}
		if sum == nil {
			var err error
			if sum, err = m.dev.New(tensor.F32, out, in); err != nil {
				return err
			}
			defer sum.Free()
			sum.CopyFrom(w.Tensor)
		}
		lr := a.Weights[layer][p]
		A, err := m.dev.FromFloat32s(lr.A, a.Rank, in)
		if err != nil {
			return err
		}
		defer A.Free()
		B, err := m.dev.FromFloat32s(lr.B, out, a.Rank)
		if err != nil {
			return err
		}
		defer B.Free()
		m.dev.Backend().LoRAMerge(kernels.LoRAMergeArgs{
			W: sum.Buffer(), A: A.Buffer(), B: B.Buffer(), In: in, Out: out, Rank: a.Rank, Scale: a.Scale(),
		})
	}
	if sum == nil {
		return nil
	}
	merged, err := m.dev.New(w.DType(), out, in)
	if err != nil {
		return err
	}
	merged.CopyFrom(sum)
	w.Tensor.Free()
	w.Tensor = merged
	return nil
}

// Save writes the weights to DIR/model.safetensors, atomically, each in its
// storage type, with config.json. A tokenizer is not the model's to write.
func (m *Model) Save(dir string) error {
	var tensors []safetensors.Lazy
	for _, p := range m.params {
		tensors = append(tensors, lazyTensor(p.Name, p.Tensor))
	}
	c := m.Config
	c.DType = m.embed.DType()
	return saveFolder(dir, c, tensors)
}

// lazyTensor copies a tensor from the device when its turn to be written comes.
func lazyTensor(name string, x *tensor.Tensor) safetensors.Lazy {
	return safetensors.Lazy{
		Name: name, DType: fileDType(x.DType()), Shape: x.Shape(),
		WriteTo: func(w io.Writer) error {
			data, err := x.Bytes()
			if err != nil {
				return err
			}
			_, err = w.Write(data)
			return err
		},
	}
}

func fileDType(d tensor.DType) safetensors.DType {
	return map[tensor.DType]safetensors.DType{tensor.F32: safetensors.F32, tensor.BF16: safetensors.BF16, tensor.F16: safetensors.F16, tensor.I32: safetensors.I32}[d]
}
