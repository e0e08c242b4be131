package nn

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// AdamW holds the optimiser's settings (Loshchilov and Hutter, 2019).
type AdamW struct {
	Beta1, Beta2, Eps, WeightDecay float64
	ClipNorm                       float64 // gradient norm above which gradients are scaled down; 0: off
}

// DefaultAdamW is PyTorch's AdamW without decay, clipping at norm 1.
func DefaultAdamW() AdamW { return AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, ClipNorm: 1} }

// Validate reports settings AdamW cannot run with.
func (a AdamW) Validate() error {
	for _, f := range []struct {
		name  string
		value float64
		ok    bool
	}{
		{"beta1", a.Beta1, a.Beta1 >= 0 && a.Beta1 < 1}, {"beta2", a.Beta2, a.Beta2 >= 0 && a.Beta2 < 1},
		{"eps", a.Eps, a.Eps > 0}, {"weight decay", a.WeightDecay, a.WeightDecay >= 0}, {"clip norm", a.ClipNorm, a.ClipNorm >= 0},
	} {
		if !f.ok || math.IsInf(f.value, 0) {
			return fmt.Errorf("AdamW: %s is %v", f.name, f.value)
		}
	}
	return nil
}

// Schedule is the course of the learning rate over the steps of a training.
type Schedule struct {
	Kind   string // constant, linear or cosine; the latter two end at 0
	LR     float64
	Warmup int     // steps of linear rise from 0
	Decay  float64 // linear only: the share of steps that decays, 0 or 1: all
}

// ScheduleKinds are the values of Schedule.Kind.
var ScheduleKinds = []string{"constant", "linear", "cosine"}

// Validate reports a schedule that cannot be followed.
func (s Schedule) Validate() error {
	switch {
	case !slices.Contains(ScheduleKinds, s.Kind):
		return fmt.Errorf("schedule %q: want %s", s.Kind, strings.Join(ScheduleKinds, ", "))
	case !(s.LR > 0) || math.IsInf(s.LR, 0):
		return fmt.Errorf("learning rate is %v: want a positive number", s.LR)
	case s.Warmup < 0:
		return fmt.Errorf("warm-up of %d steps: want 0 or more", s.Warmup)
	case !(s.Decay >= 0 && s.Decay <= 1):
		return fmt.Errorf("decay share is %v: want 0 … 1", s.Decay)
	}
	return nil
}

// At returns the learning rate of step i (from 0) of n, as transformers' LR
// schedulers give it: i/w while i < w, then 1, (n−i)/(n−w) or
// ½(1+cos π(i−w)/(n−w)).
func (s Schedule) At(i, n int) float64 {
	if i < s.Warmup {
		return s.LR * float64(i) / float64(s.Warmup)
	}
	rest := float64(max(1, n-s.Warmup))
	switch s.Kind {
	case "linear":
		if s.Decay > 0 {
			rest = max(1, min(rest, math.Round(s.Decay*float64(n))))
		}
		return s.LR * min(1, max(0, float64(n-i)/rest))
	case "cosine":
		return s.LR * max(0, 0.5*(1+math.Cos(math.Pi*float64(i-s.Warmup)/rest)))
	}
	return s.LR
}
