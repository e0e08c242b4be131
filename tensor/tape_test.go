package tensor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/kernels"
)

// network is three decoder blocks in small, with a loss: every op of training.
type network struct {
	*bench
	seqs                     Sequences
	embed, norm, w, up, down *Tensor
	inner                    *Tensor // norm between up and down
	table                    *RopeTable
	lora                     *LoRA
	ids, targets, weights    *Tensor
	cut                      func(tp *Tape, x *Tensor, block func(*Tape, *Tensor) *Tensor) *Tensor
	block                    func(*Tape, *Tensor) *Tensor
	tape                     *Tape // used again and again
	logprobs                 []float32
}

func newNetwork(b *bench) *network {
	const dim, vocab, rows = 8, 11, 150
	n := &network{bench: b, seqs: b.batch(100, 20, 30)}
	n.embed, n.norm = b.param(vocab, dim), b.param(dim)
	n.inner = b.param(2 * dim)
	n.w, n.up, n.down = b.param(dim, dim), b.param(2*dim, dim), b.param(dim, 2*dim)
	n.table = must[*RopeTable](b.T)(NewRopeTable(b.dev, InverseFrequencies(4, 100, nil), 128))
	n.lora = b.lora(dim, dim, n.seqs)
	ids := make([]int32, rows)
	for i := range ids {
		ids[i] = int32(i % vocab)
	}
	n.ids, n.targets, n.weights = b.ints(ids...), b.ints(ids...), b.random(rows)
	n.tape, n.block, n.logprobs = NewTape(b.dev, F32, true), n.decode, make([]float32, rows)
	return n
}

func (n *network) decode(tp *Tape, x *Tensor) *Tensor {
	h := RMSNorm(tp, x, n.norm, 1e-5)
	v := Reshape(tp, LoRALinear(tp, h, n.w, nil, n.lora), -1, 2, 4)
	q := Rope(tp, v, n.table)
	x = Add(tp, x, Reshape(tp, Attention(tp, q, q, v, 0.5), -1, 8))
	u := Linear(tp, RMSNorm(tp, x, n.norm, 1e-5), n.up, nil)
	return Add(tp, x, Linear(tp, RMSNorm(tp, SwiGLU(tp, u, u), n.inner, 1e-5), n.down, nil))
}

// step runs forward and backward and frees the tape.
func (n *network) step(grad bool) (err error) {
	defer Recover(&err)
	tp := n.tape
	if !grad {
		tp = NewTape(n.dev, F32, false)
	}
	defer tp.Free()
	tp.Seqs = n.seqs
	x := Embedding(tp, n.embed, n.ids)
	for range 3 {
		y := n.cut(tp, x, n.block)
		tp.Drop(x)
		x = y
	}
	lp := CrossEntropy(tp, x, n.embed, n.targets, n.weights)
	tp.Backward()
	return lp.ReadFloat32s(n.logprobs)
}

var cuts = map[string]func(tp *Tape, x *Tensor, block func(*Tape, *Tensor) *Tensor) *Tensor{
	"plain": func(tp *Tape, x *Tensor, block func(*Tape, *Tensor) *Tensor) *Tensor { return block(tp, x) },
	"scope": func(tp *Tape, x *Tensor, block func(*Tape, *Tensor) *Tensor) *Tensor {
		return tp.Scope(func() *Tensor { return block(tp, x) })
	},
	"checkpoint": func(tp *Tape, x *Tensor, block func(*Tape, *Tensor) *Tensor) *Tensor { return tp.Checkpoint(x, block) },
}

func TestTapeFreesAll(t *testing.T) {
	for name, cut := range cuts {
		for _, grad := range []bool{true, false} {
			n := newNetwork(newBench(t, "ref"))
			n.cut = cut
			before := n.dev.Stats().InUse
			if err := n.step(grad); err != nil {
				t.Fatal(err)
			}
			if after := n.dev.Stats().InUse; after != before {
				t.Errorf("%s, gradients %v: %d bytes in use after a step, %d before", name, grad, after, before)
			}
		}
	}
}

// TestFreedTensors: what an op made, and what its owner freed, cannot be used any
// more, and nobody frees what is another's.
func TestFreedTensors(t *testing.T) {
	b := newBench(t, "cpu")
	tp := NewTape(b.dev, F32, false)
	x := b.random(2, 3)
	y, dropped := Add(tp, x, x), Add(tp, x, x)
	tp.Drop(dropped)
	for want, f := range map[string]func(){
		"belongs to a tape": y.Free,
		"is a view":         x.Narrow(0, 0, 1).Free,
		"dropped before":    func() { tp.Drop(dropped) },
		"not the tape's":    func() { tp.Drop(x) },
	} {
		mustPanic(t, want, f)
	}
	tp.Free()
	x.Free()
	for what, f := range map[string]func(){
		"of a tape, in an op": func() { Add(tp, y, y) },
		"of a tape, read":     func() { y.ReadFloat32s(make([]float32, 6)) },
		"of the caller":       func() { x.Fill(1) },
		"twice":               x.Free,
		"its view":            func() { x.Reshape(6) },
	} {
		t.Run(what, func(t *testing.T) { mustPanic(t, "was freed", f) })
	}
}

func mustPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if r := fmt.Sprint(recover()); !strings.Contains(r, want) {
			t.Errorf("panic %q, want %q in it", r, want)
		}
	}()
	f()
}

// TestStepAllocatesNothing: a tape used again makes nothing on the Go heap.
func TestStepAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for name, cut := range cuts {
		for _, threads := range []int{1, 2} {
			dev, err := Open("cpu", Options{Threads: threads})
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			n := newNetwork(&bench{t, dev, philox.NewStream(philox.ID{Purpose: philox.PurposeTest})})
			n.cut = cut
			step := func() {
				if err := n.step(true); err != nil {
					t.Fatal(err)
				}
			}
			for range 3 {
				step()
			}
			if allocs := testing.AllocsPerRun(20, step); allocs > 0 {
				t.Errorf("%s, %d threads: %v allocations in a step", name, threads, allocs)
			}
		}
	}
}

// TestWhatIsMadeAgain: outputs that a scope ends before backward asks for them are
// made again, with the same bits, once.
func TestWhatIsMadeAgain(t *testing.T) {
	results := map[string][][]float32{}
	for name, cut := range cuts {
		b := newBench(t, "cpu")
		b.rng = philox.NewStream(philox.ID{Purpose: philox.PurposeTest})
		n := newNetwork(b)
		n.cut = cut
		ops := &countingBackend{Backend: n.dev.backend}
		n.dev.backend = ops
		if err := n.step(true); err != nil {
			t.Fatal(err)
		}
		// Three blocks of three norms and an activation; plain keeps all of them.
		want := countingBackend{norms: 3 * 3, activations: 3}
		switch name {
		case "scope":
			want.norms, want.activations = 2*want.norms, 2*want.activations
		case "checkpoint":
			want.norms, want.activations = 3*want.norms, 3*want.activations
		}
		if ops.norms != want.norms || ops.activations != want.activations {
			t.Errorf("%s: %d norms and %d activations computed, want %d and %d", name, ops.norms, ops.activations, want.norms, want.activations)
		}
		results[name] = [][]float32{n.logprobs}
		for _, p := range []*Tensor{n.embed, n.norm, n.inner, n.w, n.up, n.down, n.lora.A, n.lora.B} {
			results[name] = append(results[name], b.values(p.grad))
		}
	}
	for name, got := range results {
		for i := range got {
			if !slices.Equal(got[i], results["plain"][i]) {
				t.Errorf("%s: result %d differs", name, i)
			}
		}
	}
}

// TestSkipsWhatNobodyNeeds: with frozen weights, backward ends at the lowest
// adapter, and nothing below it is kept.
func TestSkipsWhatNobodyNeeds(t *testing.T) {
	n := newNetwork(newBench(t, "ref"))
	ops := &countingBackend{Backend: n.dev.backend}
	n.dev.backend = ops
	for _, p := range []*Tensor{n.embed, n.norm, n.inner, n.w, n.up, n.down} {
		p.SetGrad(nil)
	}
	adapted := n.lora
	tp := n.tape
	tp.Seqs = n.seqs
	x := Embedding(tp, n.embed, n.ids)
	for i := range 4 { // only the third has an adapter
		n.lora = nil
		if i == 2 {
			n.lora = adapted
		}
		y := cuts["scope"](tp, x, n.block)
		tp.Drop(x)
		if kept := len(tp.nodes); (kept > 0) != (i >= 2) {
			t.Errorf("%d ops are recorded after block %d", kept, i)
		}
		x = y
	}
	CrossEntropy(tp, x, n.embed, n.targets, n.weights)
	tp.Backward()
	tp.Free()
	// In the fourth block the inputs of three linears, in the third of those after
	// attention.
	want := countingBackend{inputGrads: 3 + 2, attentions: 2, adapters: 1}
	got := *ops
	got.Backend, got.norms, got.activations = nil, 0, 0
	if got != want {
		t.Errorf("backward computed %+v, want %+v", got, want)
	}
}

// countingBackend counts ops that may be computed more often than needed.
type countingBackend struct {
	kernels.Backend
	norms, activations                                        int
	inputGrads, weightGrads, embeddings, attentions, adapters int
}

func (c *countingBackend) LinearBackwardInput(a kernels.LinearBackwardInputArgs) {
	c.inputGrads++
	c.Backend.LinearBackwardInput(a)
}

func (c *countingBackend) LinearBackwardWeight(a kernels.LinearBackwardWeightArgs) {
	c.weightGrads++
	c.Backend.LinearBackwardWeight(a)
}

func (c *countingBackend) EmbeddingBackward(a kernels.EmbeddingBackwardArgs) {
	c.embeddings++
	c.Backend.EmbeddingBackward(a)
}

func (c *countingBackend) AttentionBackward(a kernels.AttentionBackwardArgs) {
	c.attentions++
	c.Backend.AttentionBackward(a)
}

func (c *countingBackend) LoRABackward(a kernels.LoRABackwardArgs) {
	c.adapters++
	c.Backend.LoRABackward(a)
}

func (c *countingBackend) RMSNorm(a kernels.RMSNormArgs) {
	c.norms++
	c.Backend.RMSNorm(a)
}

func (c *countingBackend) SwiGLU(a kernels.SwiGLUArgs) {
	c.activations++
	c.Backend.SwiGLU(a)
}

func TestPeakMemory(t *testing.T) {
	n := newNetwork(newBench(t, "ref")) // whose ops need no scratch
	peak := func(name string, grad bool) int64 {
		n.cut = cuts[name]
		n.dev.Backend().ResetPeak()
		before := n.dev.Stats().InUse
		if err := n.step(grad); err != nil {
			t.Fatal(err)
		}
		return n.dev.Stats().Peak - before
	}
	plain, scope, checkpoint := peak("plain", true), peak("scope", true), peak("checkpoint", true)
	if !(checkpoint < scope*3/4 && scope < plain) {
		t.Errorf("peak of a training step: plain %d, scopes %d, checkpoints %d bytes", plain, scope, checkpoint)
	}
	plain, scope = peak("plain", false), peak("scope", false)
	if !(scope < plain/2) {
		t.Errorf("peak without gradients: plain %d, scopes %d bytes", plain, scope)
	}
}

// TestMemoryLimit lets every single allocation of a step fail, one after the
// other: each failure is an error and leaves nothing allocated.
func TestMemoryLimit(t *testing.T) {
	for name, cut := range cuts {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(newBench(t, "ref"))
			n.cut = cut
			faulty := &faultyBackend{Backend: n.dev.backend}
			n.dev.backend = faulty
			before := n.dev.Stats().InUse
			failures := 0
			for fail := 1; ; fail++ {
				faulty.until = fail
				err := n.step(true)
				if after := n.dev.Stats().InUse; after != before {
					t.Fatalf("allocation %d failed: %d bytes in use, %d before", fail, after, before)
				}
				if err == nil {
					break
				}
				var device *DeviceError
				if !errors.As(err, &device) || !strings.Contains(err.Error(), "no memory") {
					t.Fatalf("allocation %d failed with %v", fail, err)
				}
				failures++
			}
			if failures < 50 {
				t.Errorf("only %d allocations in a step", failures)
			}
		})
	}
}

// faultyBackend fails one allocation.
type faultyBackend struct {
	kernels.Backend
	until int
}

func (f *faultyBackend) Alloc(n int64) (kernels.Mem, error) {
	if f.until--; f.until == 0 {
		return nil, errors.New("no memory")
	}
	return f.Backend.Alloc(n)
}

func TestOpenLimits(t *testing.T) {
	for _, device := range []string{"ref", "cpu", "emulated", "emulated:h100:unchecked"} {
		dev, err := Open(device, Options{MemoryLimit: 4096, Poison: true, Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		x, err := dev.New(F32, 100)
		if err != nil {
			t.Fatal(err)
		}
		if v, _ := x.Float32s(); v[0] == v[0] {
			t.Errorf("%s: fresh memory holds %v, want poison", device, v[0])
		}
		if _, err := dev.New(F32, 10000); err == nil || !strings.Contains(err.Error(), "limit") {
			t.Errorf("%s: beyond the limit: %v", device, err)
		}
	}
	for name, want := range map[string]string{"tpu": "want auto, cpu, cuda, cuda:1", "cuda:x": "want the number of a GPU", "cuda:-1": "want the number of a GPU", "emulated:h9": "no GPU \"h9\"", "emulated:lost@0": "want the number of a launch"} {
		if _, err := Open(name, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("device %s: %v, want an error with %q", name, err, want)
		}
	}
}
