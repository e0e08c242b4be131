package demo

import (
	"context"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/seal/world"
	"github.com/selkie-ml/selkie/tensor"
)

// On an emulated GPU the demo's model trains an adapter on a passage for five steps
// and then gives the answer that it gives on the CPU.
func TestEmulatedGPU(t *testing.T) {
	s := Settings(Short, 0)
	article := Inputs(world.Evaluation, s, 0).Eval[0]
	answer := func(device string) (tokens []int32, losses []float64) {
		dev, err := tensor.Open(device, tensor.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := dev.Close(); err != nil {
				t.Error(err)
			}
		}()
		m, tok, err := Embedded(dev)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		results, err := m.FinetuneAdapters(context.Background(), []nn.Job{{
			LoRA:     nn.LoRAConfig{Rank: 8, Alpha: 16, Targets: []nn.Projection{nn.QProj, nn.VProj, nn.UpProj}},
			Examples: []nn.Example{{Tokens: tok.Encode(article.Context, true)}},
			Epochs:   5, Batch: 1, AdamW: nn.DefaultAdamW(), Schedule: nn.Schedule{Kind: "constant", LR: 3e-3},
		}}, nn.FinetuneOptions{})
		if err != nil {
			t.Fatal(err)
		}
		pool, err := nn.NewPoolOf(m, results[0].Adapter)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Free()
		g := nn.NewGenerator(m, pool, nn.GeneratorOptions{})
		defer g.Close()
		out, err := g.Run(context.Background(), []nn.Request{{Prompt: tok.Encode(article.Questions[0].Question, true), MaxNew: 8, Stop: m.Config.EOS}})
		if err != nil {
			t.Fatal(err)
		}
		return out[0].Tokens, results[0].Losses
	}
	want, wantLosses := answer("cpu")
	got, losses := answer("emulated:unchecked")
	if !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("the emulated GPU answers %v, the CPU %v", got, want)
	}
	if len(losses) != 5 {
		t.Fatalf("%d steps", len(losses))
	}
	for i, l := range wantLosses {
		if d := losses[i] - l; d > 1e-4*l || d < -1e-4*l {
			t.Errorf("loss %d is %v on the emulated GPU, %v on the CPU", i, losses[i], l)
		}
	}
	if losses[4] >= losses[0] {
		t.Errorf("losses %v do not fall", losses)
	}
}
