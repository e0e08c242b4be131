package nn

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/tensor"
)

func checkpointModel(t *testing.T) *Model {
	t.Helper()
	dev, err := tensor.Open("cpu", tensor.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	m, err := NewRandom(dev, Config{
		ModelType: "llama", HiddenSize: 16, Intermediate: 24, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 8, VocabSize: 40, MaxPositions: 64,
		NormEps: 1e-5, RopeTheta: 10000, Tied: true, DType: tensor.F32, BOS: -1, InitRange: 0.3,
	}, 1, LoadOptions{Float32: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func checkpointJob() Job {
	job := Job{
		LoRA: LoRAConfig{Rank: 2, Alpha: 4, Targets: []Projection{QProj, DownProj}}, Epochs: 3, Batch: 2, AdamW: DefaultAdamW(),
		Schedule: Schedule{Kind: "linear", LR: 0.01},
		Shuffle: func(epoch int) *philox.Stream {
			return philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Round: epoch})
		},
	}
	for i := range 5 {
		job.Examples = append(job.Examples, Example{Tokens: []int32{int32(i), 3, 1, 4, 1, 5}, Weight: float32(i % 3)})
	}
	return job
}

// stopped runs a training that is stopped after every few steps, until it ends.
func stopped(t *testing.T, dir string, train func(ctx context.Context, opt FinetuneOptions) error) int {
	t.Helper()
	for stops := 0; ; stops++ {
		ctx, cancel := context.WithCancel(t.Context())
		steps := 0
		err := train(ctx, FinetuneOptions{Checkpoint: Checkpoint{Dir: dir, Every: 2}, Progress: func(int) {
			if steps++; steps == 3 {
				cancel()
			}
		}})
		cancel()
		if err == nil {
			return stops
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if stops > 20 {
			t.Fatal("no progress")
		}
	}
}

func TestCheckpointGivesTheSameBits(t *testing.T) {
	jobs := []Job{checkpointJob(), checkpointJob()}
	jobs[1].Epochs = 2
	m := checkpointModel(t)
	want, err := m.FinetuneAdapters(t.Context(), jobs, FinetuneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []JobResult
	dir := filepath.Join(t.TempDir(), "c")
	if n := stopped(t, dir, func(ctx context.Context, opt FinetuneOptions) (err error) {
		got, err = m.FinetuneAdapters(ctx, jobs, opt)
		return err
	}); n < 2 {
		t.Errorf("stopped %d times", n)
	}
	for j := range want {
		if !slices.Equal(got[j].Losses, want[j].Losses) || !slices.Equal(got[j].GradNorms, want[j].GradNorms) {
			t.Errorf("job %d: losses %v, want %v", j, got[j].Losses, want[j].Losses)
		}
		for l, layer := range want[j].Adapter.Weights {
			for p := range layer {
				if !slices.Equal(got[j].Adapter.Weights[l][p].A, layer[p].A) || !slices.Equal(got[j].Adapter.Weights[l][p].B, layer[p].B) {
					t.Fatalf("job %d: layer %d has other weights", j, l)
				}
			}
		}
	}
	if _, err := m.FinetuneAdapters(t.Context(), jobs[:1], FinetuneOptions{Checkpoint: Checkpoint{Dir: dir}}); err == nil || !strings.Contains(err.Error(), "a checkpoint of 2 jobs, want 1") {
		t.Errorf("another training's checkpoint gave %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, checkpointFile), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := m.FinetuneAdapters(t.Context(), jobs, FinetuneOptions{Checkpoint: Checkpoint{Dir: dir}}); err == nil || !strings.Contains(err.Error(), "begins again") {
		t.Errorf("a damaged checkpoint gave %v", err)
	}
}

func TestFinetuneAll(t *testing.T) {
	a, b := checkpointModel(t), checkpointModel(t)
	want, err := a.FinetuneAll(t.Context(), checkpointJob(), FinetuneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if first, last := want.Losses[0], want.Losses[len(want.Losses)-1]; len(want.Losses) != 9 || last >= first {
		t.Errorf("losses %v do not fall", want.Losses)
	}
	// Stopped, cut into micro-batches, and begun on fresh weights each time.
	dir := t.TempDir()
	var got JobResult
	stopped(t, dir, func(ctx context.Context, opt FinetuneOptions) (err error) {
		opt.MaxTokens = 7
		b = checkpointModel(t)
		got, err = b.FinetuneAll(ctx, checkpointJob(), opt)
		return err
	})
	if !slices.Equal(got.Losses, want.Losses) {
		t.Errorf("losses %v, want %v", got.Losses, want.Losses)
	}
	for i, p := range a.Params() {
		x, err := p.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		y, err := b.Params()[i].Float32s()
		if err != nil || !slices.Equal(x, y) {
			t.Fatalf("%s differs (%v)", p.Name, err)
		}
	}
}

// Weights tell examples of a step apart, and a constraint holds after every step.
func TestWeightedAndConstrained(t *testing.T) {
	m := checkpointModel(t)
	job := checkpointJob()
	job.Batch = 5
	calls := 0
	job.Constrain = func(a *Adapter) {
		calls++
		for l := range a.Weights {
			for i := range 16 {
				a.Weights[l][QProj].A[i] = 0 // the first row
			}
		}
	}
	r, err := m.FinetuneAdapters(t.Context(), []Job{job}, FinetuneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if calls != 1+job.Steps() {
		t.Errorf("constrained %d times, want %d", calls, 1+job.Steps())
	}
	for l := range r[0].Adapter.Weights {
		w := r[0].Adapter.Weights[l][QProj].A
		if slices.ContainsFunc(w[:16], func(v float32) bool { return v != 0 }) || !slices.ContainsFunc(w[16:], func(v float32) bool { return v != 0 }) {
			t.Errorf("layer %d: the constraint does not hold, or holds everywhere", l)
		}
	}
	// Weight 2 twice is weight 1 twice, doubled: the first loss tells.
	loss := func(weight float32) float64 {
		job := checkpointJob()
		job.Shuffle, job.Examples, job.Epochs = nil, job.Examples[:2], 1
		for i := range job.Examples {
			job.Examples[i].Weight = weight
		}
		r, err := m.FinetuneAdapters(t.Context(), []Job{job}, FinetuneOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return r[0].Losses[0]
	}
	if one, none, two := loss(1), loss(0), loss(2); one != none || two != 2*one {
		t.Errorf("losses %v by default, %v with weight 1, %v with weight 2", none, one, two)
	}
}
