package nn

import (
	"math"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/internal/half"
	"github.com/selkie-ml/selkie/tensor"
)

// rounders round to a storage type.
var rounders = map[tensor.DType]func(float32) float32{
	tensor.F32: func(x float32) float32 { return x }, tensor.BF16: half.RoundBF16, tensor.F16: half.RoundF16,
}

// TestMerge: W = round(W₀ + Σ s·B·A), against float64 on the host; m keeps its
// weights, and merging all at once is merging the last after the others, from W₀.
func TestMerge(t *testing.T) {
	for _, device := range []string{"ref", "cpu"} {
		for _, dtype := range []tensor.DType{tensor.F32, tensor.BF16, tensor.F16} {
			t.Run(device+" "+dtype.String(), func(t *testing.T) { checkMerge(t, device, dtype) })
		}
	}
}

func checkMerge(t *testing.T, device string, dtype tensor.DType) {
	dev, err := tensor.Open(device, tensor.Options{Threads: 2, Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	dir := t.TempDir()
	if err := WriteRandom(dir, withDType(kinds["qwen2"], dtype), 3); err != nil {
		t.Fatal(err)
	}
	m, err := Load(dev, dir, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	adapters := []*Adapter{
		randomAdapter(m.Config, LoRAConfig{Rank: 3, Alpha: 7, Targets: []Projection{QProj, UpProj}}, "a"),
		randomAdapter(m.Config, LoRAConfig{Rank: 5, Alpha: 1, Targets: AllProjections()[:6]}, "b"),
	}
	weights := func(m *Model) map[string][]float32 {
		out := map[string][]float32{}
		for _, p := range m.Params() {
			if p.DType() != dtype {
				t.Fatalf("%s is %v, want %v", p.Name, p.DType(), dtype)
			}
			if out[p.Name], err = p.Float32s(); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	before := weights(m)
	first, err := m.Merge(adapters[:1])
	if err != nil {
		t.Fatal(err)
	}
	both, err := m.Merge(adapters)
	if err != nil {
		t.Fatal(err)
	}
	w1, w2 := weights(first), weights(both)
	changed := 0
	for l := range m.layers {
		for _, p := range AllProjections() {
			name := m.layers[l].weight[p].Name
			changed += checkSum(t, m.Config, dtype, name, w1[name], before[name], adapters[:1], l, p)
			changed += checkSum(t, m.Config, dtype, name, w2[name], before[name], adapters, l, p)
		}
	}
	if changed == 0 {
		t.Error("merging changed nothing")
	}
	for name, w := range weights(m) {
		sameBits(t, name+" of the base", w, before[name])
		if !m.Param(name).IsMatrix() {
			sameBits(t, name, w2[name], w)
		}
	}
	first.Close()
	again, err := m.Merge(adapters)
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range weights(again) {
		sameBits(t, name+" merged again", w, w2[name])
	}

	// Saved and loaded, the merged model is the same.
	if err := again.Save(dir + "/merged"); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(dev, dir+"/merged", LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range weights(loaded) {
		sameBits(t, name+" saved and loaded", w, w2[name])
	}
	_, err = m.Merge([]*Adapter{randomAdapter(kinds["llama"], LoRAConfig{Rank: 1, Alpha: 1, Targets: []Projection{QProj}}, "c")})
	wantError(t, "adapter of another model", err, "adapter 0", "q_proj")
	for _, x := range []*Model{loaded, again, both, m} {
		x.Close()
	}
	if n := dev.Stats().InUse; n != 0 {
		t.Errorf("%d bytes in use at the end", n)
	}
}

// checkSum compares one weight with its definition. Sums are f32, so the result
// may be the rounding of any number within a few f32 roundings of the exact one.
func checkSum(t *testing.T, c Config, dtype tensor.DType, name string, got, w0 []float32, adapters []*Adapter, l int, p Projection) (changed int) {
	t.Helper()
	in, out := c.Shape(p)
	for o := range out {
		for k := range in {
			exact, size := float64(w0[o*in+k]), math.Abs(float64(w0[o*in+k]))
			for _, a := range adapters {
				for r := range a.Rank {
					if a.Has(p) {
						d := float64(a.Scale()) * float64(a.Weights[l][p].B[o*a.Rank+r]) * float64(a.Weights[l][p].A[r*in+k])
						exact += d
						size += math.Abs(d)
					}
				}
			}
			slack, round, g := 4*size/(1<<24), rounders[dtype], got[o*in+k]
			if lo, hi := round(float32(exact-slack)), round(float32(exact+slack)); g < lo || g > hi {
				t.Fatalf("%s[%d,%d] is %v, want %v", name, o, k, g, round(float32(exact)))
			}
			if g != w0[o*in+k] {
				changed++
			}
		}
	}
	return changed
}

// TestMergedModelIsItsTwin: the merged model's logits are those of base and
// adapters in a batch, within f32's rounding.
func TestMergedModelIsItsTwin(t *testing.T) {
	l := newLab(t)
	for _, place := range []string{"ref", "cpu 2"} {
		for kind, c := range kinds {
			m := l.model(place, kind, tensor.F32)
			adapters := []*Adapter{
				randomAdapter(c, LoRAConfig{Rank: 3, Alpha: 6, Targets: []Projection{QProj, VProj, DownProj}}, "a"),
				randomAdapter(c, LoRAConfig{Rank: 16, Alpha: 9, Targets: AllProjections()}, "b"),
			}
			pool := newPool(t, m, false, adapters...)
			var batch []Sequence
			for j := range adapters {
				batch = append(batch, NextToken(textOf(c, 70+j, 1), 0, 1, j), NextToken(textOf(c, 3, 2), 0, 1, j))
			}
			got, err := m.Logits(batch, pool)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range batch {
				merged, err := m.Merge(adapters[s.Adapter : s.Adapter+1])
				if err != nil {
					t.Fatal(err)
				}
				s.Adapter = NoAdapter
				want, err := merged.Logits([]Sequence{s}, nil)
				if err != nil {
					t.Fatal(err)
				}
				merged.Close()
				for k := range want[0] {
					if d := math.Abs(float64(got[i][k] - want[0][k])); !(d <= 1e-4) {
						t.Fatalf("%s %s: logit %d of sequence %d is %v, of the merged model %v", place, kind, k, i, got[i][k], want[0][k])
					}
				}
				base, err := m.Logits([]Sequence{s}, nil)
				if err != nil || slices.Equal(base[0], want[0]) {
					t.Fatalf("the adapter changes nothing (%v)", err)
				}
			}
			pool.Free()
		}
	}
}
