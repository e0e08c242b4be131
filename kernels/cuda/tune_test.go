package cuda

import (
	"context"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/ref"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// On the emulator variants are ranked by an estimate, and all give the same bits.
func TestTune(t *testing.T) {
	t.Parallel()
	b, err := New(driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.A100, Profile: true}}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	const f32, bf16 = kernels.F32, kernels.BF16
	for _, c := range []TuneCase{
		{Op: "linear", DType: bf16, Rows: 9, Parts: 1, In: 128, Out: 96}, {Op: "linear_backward_weight", DType: f32, Rows: 33, Parts: 1, In: 40, Out: 64},
		{Op: "lora_down", DType: bf16, Rows: 20, Parts: 2, In: 64, Out: 48, Rank: 8}, {Op: "loss_logits", DType: bf16, Rows: 10, Parts: 1, In: 64, Out: 256},
		{Op: "attention", DType: bf16, Rows: 40, Parts: 2, Heads: 2, KVHeads: 1, HeadDim: 64}, {Op: "attention_backward_dkdv", DType: bf16, Rows: 40, Parts: 2, Heads: 2, KVHeads: 1, HeadDim: 32},
	} {
		reported := 0
		list, err := b.Tune(context.Background(), c, TuneOptions{Reference: ref.New(), Report: func(Timing) { reported++ }})
		if err != nil {
			t.Fatal(err)
		}
		chosen, usable := 0, 0
		for i, v := range list {
			if v.Chosen {
				chosen++
			}
			if v.Err != nil {
				if s := v.Err.Error(); !strings.Contains(s, "shared memory") && !strings.Contains(s, "evenly") && !strings.Contains(s, "BK") {
					t.Errorf("%v, %s: %v", c, v.Variant, v.Err)
				}
				continue
			}
			usable++
			if !v.Estimated || v.Seconds <= 0 || i > 0 && v.Seconds < list[i-1].Seconds {
				t.Errorf("%v, %s: %v s after %v", c, v.Variant, v.Seconds, list[max(0, i-1)].Seconds)
			}
		}
		if chosen != 1 || usable < 2 || reported != len(list) {
			t.Errorf("%v: %d variants, %d usable, %d reported, %d chosen by the table", c, len(list), usable, reported, chosen)
		}
	}
	for _, c := range []TuneCase{
		{Op: "softmax", DType: f32, Rows: 1, Parts: 1, In: 1, Out: 1}, {Op: "linear", DType: f32, Parts: 1, In: 1, Out: 1},
		{Op: "linear", DType: kernels.I32, Rows: 1, Parts: 1, In: 1, Out: 1}, {Op: "lora_up", DType: f32, Rows: 1, Parts: 1, In: 1, Out: 1}, {Op: "attention", DType: f32, Rows: 1, Parts: 1, In: 1, Out: 1},
	} {
		if _, err := b.Tune(context.Background(), c, TuneOptions{}); err == nil {
			t.Errorf("%v: no error", c)
		}
	}
	if b.Stats().InUse != 0 {
		t.Errorf("%d bytes in use", b.Stats().InUse)
	}
}
