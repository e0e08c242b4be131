package nn

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// TestScheduleByHand: values worked out from transformers' formulas.
func TestScheduleByHand(t *testing.T) {
	for _, c := range []struct {
		s     Schedule
		steps []float64
	}{
		{Schedule{Kind: "constant", LR: 2}, []float64{2, 2, 2}},
		{Schedule{Kind: "constant", LR: 2, Warmup: 4}, []float64{0, 0.5, 1, 1.5, 2, 2}},
		{Schedule{Kind: "linear", LR: 4}, []float64{4, 3, 2, 1}},
		{Schedule{Kind: "linear", LR: 3, Warmup: 2}, []float64{0, 1.5, 3, 2, 1}},
		{Schedule{Kind: "linear", LR: 3, Warmup: 2, Decay: 1}, []float64{0, 1.5, 3, 2, 1}},
		{Schedule{Kind: "linear", LR: 2, Decay: 0.4}, []float64{2, 2, 2, 2, 1}},
		{Schedule{Kind: "cosine", LR: 2}, []float64{2, 1 + math.Sqrt2/2, 1, 1 - math.Sqrt2/2}},
		{Schedule{Kind: "cosine", LR: 2, Warmup: 1}, []float64{0, 2, 1}},
		{Schedule{Kind: "linear", LR: 2, Warmup: 5}, []float64{0, 0.4, 0.8}},
	} {
		for i, want := range c.steps {
			near(t, c.s.Kind, c.s.At(i, len(c.steps)), want, 1e-12, 0)
		}
	}
}

// TestScheduleShape: a schedule rises to LR, never beyond, then never rises
// again; every step after warm-up trains.
func TestScheduleShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Schedule{
			Kind: rapid.SampledFrom(ScheduleKinds).Draw(t, "kind"), LR: rapid.Float64Range(1e-6, 1).Draw(t, "lr"),
			Warmup: rapid.IntRange(0, 30).Draw(t, "warm-up"), Decay: rapid.Float64Range(0, 1).Draw(t, "decay"),
		}
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		n := rapid.IntRange(1, 50).Draw(t, "steps")
		last := 0.0
		for i := range n {
			lr := s.At(i, n)
			if !(lr >= 0 && lr <= s.LR) || i >= s.Warmup && lr == 0 || i < s.Warmup && lr < last || i > s.Warmup && lr > last {
				t.Fatalf("%+v: step %d of %d is %v after %v", s, i, n, lr, last)
			}
			if i == s.Warmup && lr != s.LR && s.Kind != "linear" {
				t.Fatalf("%+v: first step after warm-up is %v", s, lr)
			}
			last = lr
		}
	})
}

func TestSettingsRefusals(t *testing.T) {
	for want, s := range map[string]Schedule{
		`schedule ""`: {LR: 1}, `schedule "step"`: {Kind: "step", LR: 1}, "learning rate is NaN": {Kind: "linear", LR: math.NaN()},
		"learning rate is +Inf": {Kind: "linear", LR: math.Inf(1)}, "warm-up of -1": {Kind: "linear", LR: 1, Warmup: -1}, "decay share is 2": {Kind: "linear", LR: 1, Decay: 2},
	} {
		wantError(t, want, s.Validate(), want)
	}
	for want, change := range map[string]func(a *AdamW){
		"beta1 is 1": func(a *AdamW) { a.Beta1 = 1 }, "beta2 is NaN": func(a *AdamW) { a.Beta2 = math.NaN() }, "eps is 0": func(a *AdamW) { a.Eps = 0 },
		"weight decay is -1": func(a *AdamW) { a.WeightDecay = -1 }, "clip norm is +Inf": func(a *AdamW) { a.ClipNorm = math.Inf(1) },
	} {
		a := DefaultAdamW()
		change(&a)
		wantError(t, want, a.Validate(), want)
	}
}
