package tensor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
)

// TestMisusePanics: a wrong shape names the op and the shapes involved.
func TestMisusePanics(t *testing.T) {
	b := newBench(t, "ref")
	f := func(shape ...int) *Tensor { return b.random(shape...) }
	cache := &PagedCache{Data: f(1, 2*2*64*4), Pages: 1, Layers: 1, KVHeads: 2, HeadDim: 4}
	rows := PagedRows{Seq: b.ints(0, 0, 0), Pos: b.ints(0, 1, 2), PageTable: b.ints(0).Reshape(1, 1)}
	table := must[*RopeTable](t)(NewRopeTable(b.dev, InverseFrequencies(4, 100, nil), 8))
	lora := b.lora(3, 5, b.batch(1, 1, 1))
	wrong := *lora
	wrong.Segments = b.ints(1, 2, 3)
	mapped := must[*Tensor](t)(b.dev.Map(F32, make([]byte, 8), 2))
	tp := NewTape(b.dev, F32, true)
	tp.Seqs = b.batch(1, 2)
	for _, c := range []struct {
		want []string // of the message
		f    func()
	}{
		{[]string{"add", "[2 3]", "[3 2]"}, func() { Add(tp, f(2, 3), f(3, 2)) }},
		{[]string{"add", "not contiguous", "[3 2]"}, func() { Add(tp, f(2, 3).Transpose(0, 1), f(3, 2)) }},
		{[]string{"linear", "[3 4]", "[5 3]"}, func() { Linear(tp, f(3, 4), f(5, 3), nil) }},
		{[]string{"linear", "[5 4]", "[4]"}, func() { Linear(tp, f(3, 4), f(5, 4), f(4)) }},
		{[]string{"linear", "[5 4]", "result of an op"}, func() { w := b.param(5, 4); Linear(tp, f(3, 4), Add(tp, w, w), nil) }},
		{[]string{"linear", "4 rows", "batch has 3"}, func() { Linear(tp, f(4, 4), b.param(5, 4), nil) }},
		{[]string{"lora", "[3]", "[n, 6]"}, func() { LoRALinear(tp, f(3, 3), f(5, 3), nil, &wrong) }},
		{[]string{"embedding", "[2 3 4]", "[3]"}, func() { Embedding(tp, f(2, 3, 4), b.ints(0, 1, 0)) }},
		{[]string{"rmsnorm", "[3 4]", "[3]"}, func() { RMSNorm(tp, f(3, 4), f(3), 1) }},
		{[]string{"add", "[3 4]", "[4 3]"}, func() { AddRMSNorm(tp, f(3, 4), f(4, 3), f(4), 1) }},
		{[]string{"rope", "[3 2 6]", "[8 2]"}, func() { Rope(tp, f(3, 2, 6), table) }},
		{[]string{"rope", "5 rows", "batch has 3"}, func() { Rope(tp, f(5, 2, 4), table) }},
		{[]string{"swiglu", "[3 4]", "[4 3]"}, func() { SwiGLU(tp, f(3, 4), f(4, 3)) }},
		{[]string{"attention", "[3 3 4]", "[3 2 4]"}, func() { Attention(tp, f(3, 3, 4), f(3, 2, 4), f(3, 2, 4), 1) }},
		{[]string{"attention", "4 rows", "batch has 3"}, func() { Attention(tp, f(4, 2, 4), f(4, 2, 4), f(4, 2, 4), 1) }},
		{[]string{"kvstore", "[3 1 4]", "2 KV heads × 4"}, func() { KVStore(tp, f(3, 1, 4), f(3, 1, 4), cache, 0, rows) }},
		{[]string{"kvstore", "[3 2 4]", "[2 2 4]"}, func() { KVStore(tp, f(3, 2, 4), f(2, 2, 4), cache, 0, rows) }},
		{[]string{"kvstore", "[2 2 4]", "[3]"}, func() { KVStore(tp, f(2, 2, 4), f(2, 2, 4), cache, 0, rows) }},
		{[]string{"attention", "[3 2 8]", "2 KV heads × 4"}, func() { AttentionPaged(tp, f(3, 2, 8), cache, 0, rows, 1) }},
		{[]string{"attention", "[2 2 4]", "[3]"}, func() { AttentionPaged(tp, f(2, 2, 4), cache, 0, rows, 1) }},
		{[]string{"crossentropy", "[3 4]", "[7 5]"}, func() { CrossEntropy(tp, f(3, 4), f(7, 5), b.ints(1, 2, 3), f(3)) }},
		{[]string{"crossentropy", "[3 4]", "[2]"}, func() { CrossEntropy(tp, f(3, 4), f(7, 4), b.ints(1, 2), f(3)) }},
		{[]string{"gather", "[3]", "[1]"}, func() { Gather(tp, f(3), b.ints(0)) }},
		{[]string{"sample", "[2 5]", "[3]"}, func() { Sample(tp, f(2, 5), f(3), b.ints(1, 2, 3)) }},
		{[]string{"adamw", "[3]", "[4]"}, func() {
			AdamW(f(3), f(4), f(3), f(3), f(1), f(1, kernels.AdamColumns), b.ints(0, 0, 3, 1).Reshape(1, kernels.ParamColumns))
		}},
		{[]string{"gradnorm", "[3]", "[n, 4]"}, func() { GradNorm(f(1), f(3), b.ints(0, 0, 3)) }},
		{[]string{"reshape", "[2 3]", "[4 2]"}, func() { f(2, 3).Reshape(4, 2) }},
		{[]string{"reshape", "[2 3]", "[4 1]"}, func() { f(2, 3).Reshape(4, -1) }},
		{[]string{"narrow", "2…5", "[4]"}, func() { f(4).Narrow(0, 2, 3) }},
		{[]string{"transpose", "0 and 2", "[2 3]"}, func() { f(2, 3).Transpose(0, 2) }},
		{[]string{"copy", "[2 3]", "[3 2]"}, func() { f(2, 3).CopyFrom(f(3, 2)) }},
		{[]string{"gradient", "[3 2]", "[2 3]"}, func() { f(2, 3).SetGrad(f(3, 2)) }},
		{[]string{"12 bytes", "[2]", "want 8"}, func() { b.dev.FromFloat32s(make([]float32, 3), 2) }},
		{[]string{"fill", "mapped file"}, func() { mapped.Fill(1) }},
		{[]string{"copy", "mapped file"}, func() { mapped.SetFloat32s(make([]float32, 2)) }},
		{[]string{"copy", "mapped file"}, func() { mapped.CopyFrom(f(2)) }},
		{[]string{"f16"}, func() { NewTape(b.dev, F16, false) }},
	} {
		func() {
			defer func() {
				r := recover()
				if r == nil {
					t.Errorf("%v: no panic", c.want)
					return
				}
				for _, w := range c.want {
					if !strings.Contains(fmt.Sprint(r), w) {
						t.Errorf("panic %q: want %q in it", fmt.Sprint(r), w)
					}
				}
			}()
			c.f()
		}()
	}
	if mapped.Exclusive() {
		t.Error("a mapped tensor is exclusive")
	}
}

// TestOtherPanicsPass: only DeviceErrors become errors.
func TestOtherPanicsPass(t *testing.T) {
	defer func() {
		if r := recover(); r != "mine" {
			t.Errorf("recovered %v", r)
		}
	}()
	var err error
	func() {
		defer Recover(&err)
		panic("mine")
	}()
}

// TestBadContentsAreErrors: what only the contents show comes back from Sync,
// naming the op.
func TestBadContentsAreErrors(t *testing.T) {
	for _, device := range []string{"ref", "cpu"} {
		b := newBench(t, device)
		tp := NewTape(b.dev, F32, false)
		tp.Seqs = b.batch(2)
		Embedding(tp, b.random(4, 2), b.ints(1, 4))
		if err := b.dev.Sync(); err == nil || !strings.Contains(strings.ToLower(err.Error()), "embedding") || !strings.Contains(err.Error(), "4") {
			t.Errorf("%s: id beyond the vocabulary: %v", device, err)
		}
		if err := b.dev.Sync(); err != nil {
			t.Errorf("%s: the error came twice: %v", device, err)
		}
		tp.Free()
	}
}
