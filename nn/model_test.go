package nn

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/selkie-ml/selkie/nn/safetensors"
	"github.com/selkie-ml/selkie/tensor"
)

// TestFromSource: a model of bytes in memory, aligned or not, is the model of
// the folder.
func TestFromSource(t *testing.T) {
	dir := filepath.Join("testdata", "golden", "qwen2-tiny")
	data, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, device := range []string{"ref", "cpu"} {
		dev, err := tensor.Open(device, tensor.Options{Threads: 1, Poison: true})
		if err != nil {
			t.Fatal(err)
		}
		m, err := Load(dev, dir, LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		seqs := []Sequence{NextToken(textOf(m.Config, 70, 1), 0, 1, NoAdapter)}
		want, err := m.Logits(seqs, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, shift := range []int{0, 1, 2} {
			shifted := append(make([]byte, shift, shift+len(data)), data...)[shift:]
			f, err := safetensors.Parse("embedded", shifted)
			if err != nil {
				t.Fatal(err)
			}
			for _, float32s := range []bool{false, true} {
				e, err := FromSource(dev, m.Config, f, LoadOptions{Float32: float32s})
				if err != nil {
					t.Fatal(err)
				}
				got, err := e.Logits(seqs, nil)
				if err != nil {
					t.Fatal(err)
				}
				sameBits(t, "logits", got[0], want[0])
				e.source = nil // f serves again
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
		m.Close()
		if s := dev.Stats(); s.InUse != 0 || s.Mapped != 0 {
			t.Errorf("%s: %d bytes in use and %d mapped at the end", device, s.InUse, s.Mapped)
		}
		dev.Close()
	}
}

// TestLoadRefusals: a folder whose files do not belong together is refused,
// naming the tensor, and leaves nothing behind.
func TestLoadRefusals(t *testing.T) {
	dev, err := tensor.Open("cpu", tensor.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	c := kinds["llama"]
	params, err := newModel(nil, c, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// write makes a folder of zeros, one tensor changed or, with a nil shape, left out.
	write := func(name string, dtype safetensors.DType, shape []int) string {
		dir := t.TempDir()
		var tensors []safetensors.Tensor
		for _, p := range params.params {
			x := safetensors.Tensor{Name: p.Name, DType: safetensors.F32, Shape: p.Shape}
			if p.Name == name {
				if shape == nil {
					continue
				}
				x.DType, x.Shape = dtype, shape
			}
			n := x.DType.Size()
			for _, d := range x.Shape {
				n *= d
			}
			x.Data = make([]byte, n)
			tensors = append(tensors, x)
		}
		if err := safetensors.Write(filepath.Join(dir, "model.safetensors"), tensors, nil); err != nil {
			t.Fatal(err)
		}
		if err := writeJSON(filepath.Join(dir, "config.json"), c); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	const q, norm = "model.layers.1.self_attn.q_proj.weight", "model.norm.weight"
	for _, bad := range []struct {
		dir  string
		want []string
	}{
		{write(q, safetensors.F32, nil), []string{q, "no such tensor"}},
		{write(headName, safetensors.F32, nil), []string{headName, "no such tensor"}},
		{write(q, safetensors.F32, []int{16, 32}), []string{q, "[16 32]", "[32 16]", "different models"}},
		{write(norm, safetensors.F32, []int{16, 1}), []string{norm, "[16 1]", "[16]"}},
		{write(norm, safetensors.F64, []int{16}), []string{norm, "F64", "want F32, BF16 or F16"}},
		{t.TempDir(), []string{"config.json"}},
	} {
		for _, opt := range []LoadOptions{{}, {Float32: true}} {
			_, err := Load(dev, bad.dir, opt)
			wantError(t, bad.want[0], err, append(bad.want, bad.dir)...)
			if s := dev.Stats(); s.InUse != 0 || s.Mapped != 0 {
				t.Errorf("%v: %d bytes in use and %d mapped after the refusal", bad.want, s.InUse, s.Mapped)
			}
		}
	}
	_, err = Load(dev, write(q, safetensors.F32, nil), LoadOptions{})
	if !errors.Is(err, safetensors.ErrNoTensor) {
		t.Errorf("missing tensor: %v", err)
	}
	m, err := Load(dev, write("", safetensors.F32, nil), LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
}

// TestWriteRandom: a written model is NewRandom's, rounded to its storage type.
func TestWriteRandom(t *testing.T) {
	dev, err := tensor.Open("cpu", tensor.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	for kind, c := range kinds {
		for dtype, round := range rounders {
			c.DType, c.InitRange = dtype, map[string]float64{"llama": 0, "qwen2": 0.02}[kind]
			dir := filepath.Join(t.TempDir(), "model")
			if err := WriteRandom(dir, c, 5); err != nil {
				t.Fatal(err)
			}
			m, err := Load(dev, dir, LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want, err := NewRandom(dev, c, 5, LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range m.Params() {
				got, err := p.Float32s()
				if err != nil {
					t.Fatal(err)
				}
				w, err := want.Params()[i].Float32s()
				if err != nil {
					t.Fatal(err)
				}
				for i := range w {
					w[i] = round(w[i])
				}
				sameBits(t, p.Name, got, w)
				if p.DType() != dtype || m.Param(p.Name) != p {
					t.Errorf("%s is %v, want %v", p.Name, p.DType(), dtype)
				}
			}
			m.Close()
			want.Close()
		}
	}
}
