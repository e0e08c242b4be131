package main

import (
	"strings"
	"testing"
)

// The plan names what a step holds and compares it with memory sizes; more adapters,
// and all parameters, take more.
func TestPlan(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--model", "qwen2.5-7b", "--memory", "24GB,16GB"}, []string{"7615.62 million parameters in bf16", "1 adapter of rank 32", "in 24GB      fits", "in 16GB      does not fit"}},
		{[]string{"--model", "qwen2.5-7b", "--adapters", "16", "--sequences", "16", "--memory", "24GB"}, []string{"16 adapters", "does not fit"}},
		{[]string{"--model", "qwen2.5-7b", "--full", "--recompute", "--memory", "141GB,80GB"}, []string{"parameters in f32", "gradients and moments of all parameters", "in 141GB     fits", "in 80GB      does not fit"}},
	} {
		out, _ := must(t, append([]string{"plan", "--device", "cpu"}, c.args...)...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("plan %v lacks %q:\n%s", c.args, want, out)
			}
		}
	}
	for _, c := range [][2]string{
		{"--model qwen9", "known"}, {"--adapters 0 --model qwen2.5-7b", "--adapters 0"}, {"", "--model is missing"},
		{"--model qwen2.5-7b --memory lots", "--memory"}, {"--model qwen2.5-7b --targets z_proj", "--targets"}, {"--model qwen2.5-7b --compute f8", "--compute"},
	} {
		if code, _, errOut := try("", append([]string{"plan"}, strings.Fields(c[0])...)...); code != exitError || !strings.Contains(errOut, c[1]) {
			t.Errorf("plan %s: exit code %d, %q, want a message with %q", c[0], code, errOut, c[1])
		}
	}
}
