package cuda

import (
	"context"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// On the emulator variants are ranked by an estimate, and all give the same bits.
func TestTune(t *testing.T) {
	b, err := New(driver.NewEmulated(driver.EmulatorConfig{Config: emu.Config{GPU: emu.A100, Profile: true}}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, c := range []TuneCase{{"linear", kernels.BF16, 9, 128, 96}, {"linear_backward_weight", kernels.F32, 33, 40, 64}} {
		reported := 0
		list, err := b.Tune(context.Background(), c, TuneOptions{Report: func(Timing) { reported++ }})
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
		if chosen != 1 || usable < 3 || reported != len(list) {
			t.Errorf("%v: %d variants, %d usable, %d reported, %d chosen by the table", c, len(list), usable, reported, chosen)
		}
	}
	for _, c := range []TuneCase{{"softmax", kernels.F32, 1, 1, 1}, {"linear", kernels.F32, 0, 1, 1}, {"linear", kernels.I32, 1, 1, 1}} {
		if _, err := b.Tune(context.Background(), c, TuneOptions{}); err == nil {
			t.Errorf("%v: no error", c)
		}
	}
	if b.Stats().InUse != 0 {
		t.Errorf("%d bytes in use", b.Stats().InUse)
	}
}
