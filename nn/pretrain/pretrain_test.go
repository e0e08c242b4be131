package pretrain_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/pretrain"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/tensor"
)

// drawn is a source of documents in two groups that depend on the step alone.
type drawn struct{}

func (drawn) Batch(step int) ([]pretrain.Group, error) {
	s := philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Round: step})
	doc := func(masked bool) pretrain.Document {
		d := pretrain.Document{Tokens: make([]int32, 2+s.IntN(20))}
		for i := range d.Tokens {
			d.Tokens[i] = int32(s.IntN(50))
		}
		if masked {
			d.Train = make([]bool, len(d.Tokens))
			for i := range d.Train {
				d.Train[i] = s.IntN(2) == 0
			}
			d.Train[1] = true
		}
		return d
	}
	return []pretrain.Group{
		{Name: "whole", Weight: 1, Documents: []pretrain.Document{doc(false), doc(false)}},
		{Name: "masked", Weight: 0.5, Documents: []pretrain.Document{doc(true)}},
	}, nil
}

func config(dir string) pretrain.Config {
	schedule := nn.Schedule{Kind: "linear", LR: 1e-2, Warmup: 2, Decay: 0.5}
	return pretrain.Config{
		Dir: dir, Seed: 3, Source: drawn{}, Steps: 12, CheckpointEvery: 5,
		Shape: nn.Config{
			ModelType: "llama", HiddenSize: 16, Intermediate: 24, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 8,
			VocabSize: 50, MaxPositions: 32, NormEps: 1e-5, RopeTheta: 1e4, Tied: true, BOS: -1,
		},
		LearningRate: func(step int) float64 { return schedule.At(step, 12) },
		AdamW:        nn.AdamW{Beta1: 0.9, Beta2: 0.98, Eps: 1e-8, WeightDecay: 0.1, ClipNorm: 1},
		Settings:     map[string]string{"lr": "1e-2"},
		Evaluate: func(_ context.Context, m *nn.Model) (map[string]float64, error) {
			x, err := m.Param("model.norm.weight").Float32s()
			return map[string]float64{"first": float64(x[0])}, err
		},
		EvaluateEvery: 4,
	}
}

func open(t *testing.T, threads int) *tensor.Device {
	t.Helper()
	dev, err := tensor.Open("cpu", tensor.Options{Threads: threads, Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	return dev
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A run stopped at any step and by any means ends with the files of a run that
// nothing disturbed, byte for byte, on another number of threads and with other
// micro-batches.
func TestStoppedRunsEndEqual(t *testing.T) {
	whole := t.TempDir()
	if err := pretrain.Run(context.Background(), open(t, 1), config(whole)); err != nil {
		t.Fatal(err)
	}
	same := func(dir, what string) {
		for _, name := range []string{"model.safetensors", "config.json", "training/log.jsonl"} {
			if read(t, dir, name) != read(t, whole, name) {
				t.Errorf("%s: %s differs", what, name)
			}
		}
	}
	for stop := 1; stop <= 12; stop += 3 {
		for _, how := range []string{"cancelled", "killed"} {
			dir := t.TempDir()
			ctx, cancel := context.WithCancelCause(context.Background())
			because := errors.New("test")
			c := config(dir)
			c.MaxTokens = 20
			c.Progress = func(r pretrain.Report) {
				if r.Step == stop {
					if how == "killed" {
						panic(because)
					}
					cancel(because)
				}
			}
			dev := open(t, 2)
			err := func() (err error) {
				defer func() {
					if r := recover(); r != nil {
						err = r.(error)
					}
				}()
				return pretrain.Run(ctx, dev, c)
			}()
			// The last step of a cancelled run may be the last of all.
			if err != because && !(stop == 12 && how == "cancelled" && err == nil) {
				t.Fatalf("%s at %d: %v", how, stop, err)
			}
			if how == "killed" { // in the middle of a line, too
				f, err := os.OpenFile(filepath.Join(dir, "training/log.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteString(`{"step":`); err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
			if err := pretrain.Run(context.Background(), open(t, 2), config(dir)); err != nil {
				t.Fatalf("%s at %d: %v", how, stop, err)
			}
			same(dir, how)
		}
	}
}

// A run that goes on under another numerics id is asked for it, and its log says where.
func TestLogSaysWhereNumericsChange(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := config(dir)
	c.Progress = func(r pretrain.Report) {
		if r.Step == 5 {
			cancel()
		}
	}
	dev := open(t, 1)
	if err := pretrain.Run(ctx, dev, c); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	other, err := tensor.Open("ref", tensor.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	c = config(dir)
	if err := pretrain.Run(context.Background(), other, c); err == nil || !strings.Contains(err.Error(), "--accept-numerics") {
		t.Fatalf("went on under another numerics id: %v", err)
	}
	c.AcceptNumerics = true
	if err := pretrain.Run(context.Background(), other, c); err != nil {
		t.Fatal(err)
	}
	want := map[int]string{1: dev.NumericsID(), 6: other.NumericsID()}
	for line := range strings.Lines(read(t, dir, "training/log.jsonl")) {
		var r pretrain.Report
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.Numerics != "" && r.Numerics != want[r.Step] {
			t.Errorf("step %d: numerics %q, want %q", r.Step, r.Numerics, want[r.Step])
		}
		if r.Numerics != "" {
			delete(want, r.Step)
		}
	}
	if len(want) > 0 {
		t.Errorf("the log lacks %v", want)
	}
}

func TestLossIsTheSumOfWeightedMeans(t *testing.T) {
	c := config(t.TempDir())
	c.Steps, c.Evaluate = 3, nil
	steps := 0
	c.Progress = func(r pretrain.Report) {
		steps++
		if want := r.Groups["whole"] + 0.5*r.Groups["masked"]; math.Abs(r.Loss-want) > 1e-5*want {
			t.Errorf("step %d: loss %v, groups %v: want %v", r.Step, r.Loss, r.Groups, want)
		}
		// At the start every token is about as likely: ln 50.
		if r.Step == 1 && (r.Groups["whole"] < 3 || r.Groups["whole"] > 5) {
			t.Errorf("first loss %v", r.Groups)
		}
	}
	if err := pretrain.Run(context.Background(), open(t, 1), c); err != nil || steps != 3 {
		t.Fatal(steps, err)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	c := config(dir)
	c.Steps, c.Evaluate = 1, nil
	if err := pretrain.Run(context.Background(), open(t, 1), c); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]struct {
		change func(*pretrain.Config)
		text   string
	}{
		"other settings":   {func(c *pretrain.Config) { c.Settings = map[string]string{"lr": "2e-2"} }, "lr: was 1e-2, is now 2e-2"},
		"no steps":         {func(c *pretrain.Config) { c.Steps = 0 }, "0 steps"},
		"impossible shape": {func(c *pretrain.Config) { c.Shape.Heads = 0 }, "num_attention_heads"},
	} {
		c := c
		want.change(&c)
		if err := pretrain.Run(context.Background(), open(t, 1), c); err == nil || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %v, want %q", what, err, want.text)
		}
	}
	if err := pretrain.Run(context.Background(), open(t, 1), c); err != nil {
		t.Errorf("a finished run again: %v", err)
	}
	// Another model's folder is left alone.
	other := t.TempDir()
	if err := nn.WriteRandom(other, c.Shape, 1); err == nil {
		c.Dir = other
		if err := pretrain.Run(context.Background(), open(t, 1), c); err == nil || !strings.Contains(err.Error(), "holds a model already") {
			t.Errorf("another model's folder: %v", err)
		}
	}
}

func TestDivergenceIsNamed(t *testing.T) {
	c := config(t.TempDir())
	c.LearningRate = func(int) float64 { return 1e30 }
	c.Evaluate = nil
	err := pretrain.Run(context.Background(), open(t, 1), c)
	if !errors.Is(err, pretrain.ErrDiverged) || !strings.Contains(err.Error(), "learning rate") {
		t.Fatal(err)
	}
}

// bf16 and f16 files hold the rounded weights of the f32 run.
func TestStorageTypes(t *testing.T) {
	dev := open(t, 1)
	weights := func(d tensor.DType) []float32 {
		c := config(t.TempDir())
		c.Steps, c.Evaluate, c.Shape.DType = 2, nil, d
		if err := pretrain.Run(context.Background(), dev, c); err != nil {
			t.Fatal(err)
		}
		m, err := nn.Load(dev, c.Dir, nn.LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if m.Config.DType != d || m.Params()[1].DType() != d {
			t.Fatalf("wrote %v, want %v", m.Config.DType, d)
		}
		x, err := m.Param("model.embed_tokens.weight").Float32s()
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	exact := weights(tensor.F32)
	for d, relative := range map[tensor.DType]float64{tensor.BF16: 1.0 / 256, tensor.F16: 1.0 / 2048} {
		rounded, differ := weights(d), false
		for i, x := range exact {
			differ = differ || rounded[i] != x
			if math.Abs(float64(rounded[i]-x)) > relative*math.Abs(float64(x))+1e-7 {
				t.Fatalf("%v: element %d is %v, want %v", d, i, rounded[i], x)
			}
		}
		if !differ {
			t.Errorf("%v: nothing was rounded", d)
		}
	}
}

// Every epoch holds every token of every document exactly once, whatever the
// context, and no piece reaches beyond its document.
func TestTextSourceCoversEveryEpoch(t *testing.T) {
	tok, err := tokenizer.Bytes(300)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{"a", "bcd", "efghijklmnop", "qrstuvwxyz0123456789", "ABC"}
	_, end, _ := tok.EOS()
	total := len(strings.Join(texts, "")) + len(texts)
	for _, context := range []int{2, 3, 7, 16, 100} {
		s, err := pretrain.NewTextSource(texts, tok, context, 1, 5)
		if err != nil {
			t.Fatal(err)
		}
		steps := (total + context - 1) / context
		var orders []string
		for epoch := range 3 {
			seen, lone := "", 0
			for step := epoch * steps; step < (epoch+1)*steps; step++ {
				groups, err := s.Batch(step)
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				for _, d := range groups[0].Documents {
					n += len(d.Tokens)
					text := tok.Decode(d.Tokens, true)
					for _, id := range d.Tokens[:len(d.Tokens)-1] {
						if id == end {
							t.Fatalf("context %d: the piece %q goes beyond a document", context, text)
						}
					}
					seen += text
				}
				if want := min(context, total-step%steps*context); n > want {
					t.Fatalf("context %d: step of %d tokens, want at most %d", context, n, want)
				} else {
					lone += want - n
				}
			}
			orders = append(orders, seen)
			if context >= 16 && len(seen) < len(strings.Join(texts, ""))-lone {
				t.Errorf("context %d, epoch %d: %q", context, epoch, seen)
			}
		}
		if context == 100 && (len(orders[0]) != total-len(texts) || orders[0] == orders[1] && orders[1] == orders[2]) {
			t.Errorf("epochs %q", orders)
		}
		// Any step alone gives the same as in order.
		again, _ := pretrain.NewTextSource(texts, tok, context, 1, 5)
		for _, step := range []int{2 * steps, 0, steps} {
			a, _ := s.Batch(step)
			b, _ := again.Batch(step)
			for i, d := range a[0].Documents {
				if tok.Decode(d.Tokens, true) != tok.Decode(b[0].Documents[i].Tokens, true) {
					t.Errorf("context %d: step %d depends on the steps before", context, step)
				}
			}
		}
	}
}

func TestReadTexts(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := write("a.txt", "\ufeffone\ntwo\n\n \n three\r\n\r\nfour\n")
	lines := write("b.jsonl", "{\"text\":\"five\"}\n\n{\"text\":\"six\",\"id\":1}\n")
	texts, err := pretrain.ReadTexts([]string{plain, lines}, false)
	if got := strings.Join(texts, "|"); err != nil || got != "one\ntwo|three|four|five|six" {
		t.Errorf("%q, %v", got, err)
	}
	if texts, err = pretrain.ReadTexts([]string{plain}, true); err != nil || len(texts) != 1 {
		t.Errorf("%q, %v", texts, err)
	}
	for name, want := range map[string]struct{ text, says string }{
		"half.jsonl":  {"{\"text\":\"x\"}\n{\"text\":\"y", "half.jsonl:2: malformed JSON"},
		"blank.jsonl": {"{\"text\":\" \"}\n", "blank.jsonl:1: field \"text\""},
		"empty.txt":   {"\n \n", "empty.txt: holds no text"},
		"binary.txt":  {"\xff\xfe\x00", "binary.txt: not valid UTF-8"},
	} {
		if _, err := pretrain.ReadTexts([]string{write(name, want.text)}, false); err == nil || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%s: %v, want %q", name, err, want.says)
		}
	}
}

func TestExampleSource(t *testing.T) {
	examples := make([]nn.Example, 5)
	for i := range examples {
		examples[i] = nn.Example{Tokens: []int32{int32(i), 9, 9}, Masked: 2, Train: []bool{true, true, i != 4}}
	}
	s, err := pretrain.NewExampleSource(examples, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if s.Steps(2) != 6 {
		t.Errorf("%d steps of 2 epochs", s.Steps(2))
	}
	for epoch := range 2 {
		seen := map[int32]int{}
		for step := range 3 {
			groups, err := s.Batch(3*epoch + step)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range groups[0].Documents {
				seen[d.Tokens[0]]++
				if d.Train[0] || d.Train[1] || d.Train[2] != (d.Tokens[0] != 4) {
					t.Errorf("example %d: marks %v", d.Tokens[0], d.Train)
				}
			}
		}
		if len(seen) != 5 {
			t.Errorf("epoch %d: %v", epoch, seen)
		}
	}
}

// An adapter trained in a folder, stopped on the way, has the bits of one trained
// by nn alone.
func TestAdapter(t *testing.T) {
	dev := open(t, 2)
	base := filepath.Join(t.TempDir(), "base")
	if err := pretrain.Run(context.Background(), dev, config(base)); err != nil {
		t.Fatal(err)
	}
	shape, err := nn.ReadConfig(base)
	if err != nil {
		t.Fatal(err)
	}
	examples := []nn.Example{{Tokens: []int32{1, 2, 3, 4}, Masked: 2}, {Tokens: []int32{5, 6}}, {Tokens: []int32{7, 8, 9}, Train: []bool{false, true, false}}}
	lora := nn.LoRAConfig{Rank: 2, Alpha: 4, Targets: nn.AllProjections()}
	schedule := nn.Schedule{Kind: "linear", LR: 1e-2, Warmup: 1}
	const seed, epochs, batch = 7, 5, 2

	model, err := nn.Load(dev, base, nn.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	adamw := nn.DefaultAdamW()
	adamw.WeightDecay = 0.1
	results, err := model.FinetuneAdapters(context.Background(), []nn.Job{{
		LoRA: lora, Init: philox.ID{Seed: seed, Purpose: philox.PurposeInitAdapter}.Key(), Examples: examples, Epochs: epochs, Batch: batch,
		AdamW: adamw, Schedule: schedule, Shuffle: func(epoch int) *philox.Stream { return pretrain.FinetuneOrder(seed, epoch) },
	}}, nn.FinetuneOptions{})
	if err != nil {
		t.Fatal(err)
	}

	dir := filepath.Join(t.TempDir(), "adapter")
	for stop := 3; ; stop += 3 {
		source, err := pretrain.NewExampleSource(examples, batch, seed)
		if err != nil {
			t.Fatal(err)
		}
		steps := source.Steps(epochs)
		ctx, cancel := context.WithCancel(context.Background())
		c := pretrain.Config{Dir: dir, Base: base, Shape: shape, LoRA: &lora, Seed: seed, Source: source, Steps: steps, AdamW: adamw,
			LearningRate: func(step int) float64 { return schedule.At(step, steps) }}
		c.Progress = func(r pretrain.Report) {
			if r.Step == stop {
				cancel()
			}
		}
		err = pretrain.Run(ctx, dev, c)
		cancel()
		if err == nil {
			if stop < steps {
				t.Fatalf("finished, but was to stop after step %d", stop)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	got, err := nn.LoadPEFT(dir, shape)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(results[0].Adapter.Weights, got.Weights); d != "" {
		t.Error(d)
	}
}
