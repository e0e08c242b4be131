package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/internal/sysmem"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/tensor"
)

type planFlags struct {
	model, compute   string
	memory           []string
	full, recompute  bool
	rank, adapters   int
	targets          []string
	sequences, width int
}

func newPlan(a *app) *cobra.Command {
	var f planFlags
	c := &cobra.Command{
		Use:   "plan --model DIR-OR-SHAPE",
		Short: "Say how much memory training a model takes, before anything is computed",
		Long: `Plan runs a training step without computing anything, and counts what it would
hold: weights, adapters or gradients with their moments, and the step's
activations at their peak. A shape needs no files; there are
` + strings.Join(nn.PresetNames(), ", ") + `.
With --device the step is planned as that device runs it; nothing is used of it.`,
		Example: `  seal-run plan --model qwen2.5-7b --memory 80GiB,141GB
  seal-run plan --model qwen2.5-7b --adapters 16 --sequences 16 --length 150
  seal-run plan --model llama3.2-1b --full --recompute --device cpu`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.plan(f) },
	}
	p := c.Flags()
	p.StringVar(&f.model, "model", "", "model folder, or the name of a shape")
	p.StringVar(&f.compute, "compute", "bf16", "type of activations: f32 or bf16")
	p.StringSliceVar(&f.memory, "memory", []string{"24GB", "48GB", "80GB", "141GB"}, "memory sizes to compare with")
	p.BoolVar(&f.full, "full", false, "train all parameters instead of adapters")
	p.BoolVar(&f.recompute, "recompute", false, "keep each block's input only, and compute the rest again for backward")
	p.IntVar(&f.rank, "rank", 32, "LoRA rank")
	p.StringSliceVar(&f.targets, "targets", []string{"q_proj", "v_proj"}, "linear layers that adapters change, or all")
	p.IntVar(&f.adapters, "adapters", 1, "adapters trained at once")
	p.IntVar(&f.sequences, "sequences", 4, "sequences of a step")
	p.IntVar(&f.width, "length", 512, "tokens of each")
	return c
}

func (a *app) plan(f planFlags) error {
	if f.model == "" {
		return fmt.Errorf("--model is missing: name a model folder, or one of the shapes %s", strings.Join(nn.PresetNames(), ", "))
	}
	for name, n := range map[string]int{"rank": f.rank, "adapters": f.adapters, "sequences": f.sequences, "length": f.width} {
		if n < 1 {
			return fmt.Errorf("--%s %d: expected at least 1", name, n)
		}
	}
	config, err := nn.Preset(f.model)
	if info, e := os.Stat(f.model); e == nil && info.IsDir() {
		config, err = nn.ReadConfig(f.model)
	}
	if err != nil {
		return fmt.Errorf("--model: %w", err)
	}
	compute, err := computeType(f.compute)
	if err != nil {
		return err
	}
	var sizes []int64
	for _, text := range f.memory {
		n, err := parseBytes(text)
		if err != nil {
			return fmt.Errorf("--memory: %w", err)
		}
		sizes = append(sizes, n)
	}
	shape := nn.StepShape{Lengths: slices.Repeat([]int{f.width}, f.sequences)}
	if !f.full {
		lora, err := finetuneFlags{rank: f.rank, targets: f.targets}.lora()
		if err != nil {
			return err
		}
		shape.Adapters = slices.Repeat([]nn.LoRAConfig{lora}, f.adapters)
	}
	dev, err := a.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	step, err := nn.PlanStep(dev, config, nn.LoadOptions{Compute: compute, Recompute: f.recompute, Float32: f.full}, shape)
	if err != nil {
		return err
	}
	a.printPlan(config, f, compute, step, sizes)
	return nil
}

func (a *app) printPlan(c nn.Config, f planFlags, compute tensor.DType, step nn.StepMemory, sizes []int64) {
	row := func(name string, n int64, format string, args ...any) {
		fmt.Fprintf(a.out, "%-12s %10s  %s\n", name, sysmem.Format(n), fmt.Sprintf(format, args...))
	}
	stored := c.DType
	what := fmt.Sprintf("%d adapters of rank %d, their gradients and moments", f.adapters, f.rank)
	if f.adapters == 1 {
		what = fmt.Sprintf("1 adapter of rank %d, its gradients and moments", f.rank)
	}
	if f.full {
		stored, what = tensor.F32, "gradients and moments of all parameters"
	}
	row("weights", step.Mapped+step.Weights, "%.2f million parameters in %v, tables", float64(c.NumParameters())/1e6, stored)
	row("training", step.Training, "%s", what)
	row("step", step.Step, "activations of %d × %d tokens in %v, gradients, scratch", f.sequences, f.width, compute)
	total := step.Mapped + step.Peak()
	row("together", total, "")
	for i, n := range sizes {
		verdict := "fits, " + sysmem.Format(n-total) + " are left"
		if total > n {
			verdict = "does not fit, " + sysmem.Format(total-n) + " are missing: fewer tokens or adapters at once, or --recompute"
		}
		fmt.Fprintf(a.out, "in %-9s %s\n", f.memory[i], verdict)
	}
}
