package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/internal/atomicfile"
	"github.com/selkie-ml/selkie/kernels/cuda"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/tensor"
)

type tuneFlags struct {
	ops, shapes []string
	rows, heads []int
	in, out     int
	parts, rank int
	dtype, file string
	samples     int
}

func newTune(a *app) *cobra.Command {
	var f tuneFlags
	c := &cobra.Command{
		Use:   "tune",
		Short: "Compare the variants of GPU kernels on this machine's GPU",
		Long: `Tune runs every variant of an op's kernel that the GPU can have, on the sizes of
known models or on some of your own: tile sizes, stages, and warps that share a sum.
The table's choice must agree with the reference first, and each variant must give
the bits that it gives. The op that the kernel is part of is timed by events, with the
L2 cache emptied before each time. Where another is faster, the row for
kernels/cuda/variants.go is printed. Nothing is changed.

Without a GPU, --device emulated:h100:profile ranks variants by what the emulator counts
and the data sheet: an estimate that knows nothing of latency.`,
		Example: `  seal-run tune --device cuda --json bench/results/tune.json
  seal-run tune --device cuda --op linear --rows 1,8 --shapes qwen2.5-7b
  seal-run tune --device cuda --op attention,attention_backward_dkdv --rows 1000 --parts 10
  seal-run tune --device emulated:a100:profile --op linear --rows 16 --in 256 --out 128`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.tune(c, f) },
	}
	p := c.Flags()
	p.StringSliceVar(&f.ops, "op", cuda.TuneOps(), "ops to tune")
	p.StringSliceVar(&f.shapes, "shapes", []string{"qwen2.5-0.5b", "llama3.2-1b", "qwen2.5-7b"}, "models whose layers, heads and vocabulary are tuned for")
	p.IntSliceVar(&f.rows, "rows", []int{1, 8, 32, 512, 4096}, "tokens at once")
	p.IntVar(&f.parts, "parts", 1, "sequences, or segments of LoRA, that share them")
	p.IntVar(&f.rank, "rank", 32, "rank of LoRA")
	p.IntVar(&f.in, "in", 0, "with --out: inputs of one layer, instead of models'")
	p.IntVar(&f.out, "out", 0, "outputs of it, or vocabulary")
	p.IntSliceVar(&f.heads, "heads", nil, "heads, KV heads and elements of a head, instead of models'")
	p.StringVar(&f.dtype, "dtype", "bf16", "storage of the operands: bf16, f16 or f32")
	p.IntVar(&f.samples, "samples", 7, "timings of each variant")
	p.StringVar(&f.file, "json", "", "file for all timings")
	return c
}

// cases are the launches asked for.
func (f *tuneFlags) cases() ([]cuda.TuneCase, error) {
	dtypes := map[string]tensor.DType{"bf16": tensor.BF16, "f16": tensor.F16, "f32": tensor.F32}
	dtype, ok := dtypes[f.dtype]
	if !ok {
		return nil, fmt.Errorf("--dtype %s: expected bf16, f16 or f32", f.dtype)
	}
	for _, op := range f.ops {
		if !slices.Contains(cuda.TuneOps(), op) {
			return nil, fmt.Errorf("--op %s: expected some of %v", op, cuda.TuneOps())
		}
	}
	for _, n := range f.rows {
		if n < 1 {
			return nil, fmt.Errorf("--rows %d: expected at least 1", n)
		}
	}
	if f.samples < 1 {
		return nil, fmt.Errorf("--samples %d: expected at least 1", f.samples)
	}
	if f.parts < 1 || f.rank < 1 {
		return nil, fmt.Errorf("--parts %d, --rank %d: expected at least 1", f.parts, f.rank)
	}
	var layers, outputs [][2]int // inputs and outputs; hidden elements and vocabulary
	var heads [][3]int
	for _, name := range f.shapes {
		c, err := nn.Preset(name)
		if err != nil {
			return nil, fmt.Errorf("--shapes: %w", err)
		}
		for _, p := range nn.AllProjections() {
			in, out := c.Shape(p)
			layers = appendNew(layers, [2]int{in, out})
		}
		outputs = appendNew(outputs, [2]int{c.HiddenSize, c.VocabSize})
		heads = appendNew(heads, [3]int{c.Heads, c.KVHeads, c.HeadDim})
	}
	switch {
	case f.in > 0 && f.out > 0:
		layers = [][2]int{{f.in, f.out}}
		outputs = layers
	case f.in != 0 || f.out != 0:
		return nil, fmt.Errorf("--in %d, --out %d: expected both, at least 1", f.in, f.out)
	}
	if f.heads != nil {
		if len(f.heads) != 3 || slices.Min(f.heads) < 1 || f.heads[0]%f.heads[1] != 0 {
			return nil, fmt.Errorf("--heads %v: expected heads, KV heads that divide them, and elements, as 14,2,64", f.heads)
		}
		heads = [][3]int{[3]int(f.heads)}
	}
	var list []cuda.TuneCase
	for _, op := range f.ops {
		for _, rows := range f.rows {
			tc := cuda.TuneCase{Op: op, DType: dtype, Rows: rows, Parts: min(rows, f.parts)}
			if strings.HasPrefix(op, "attention") {
				for _, h := range heads {
					tc.Heads, tc.KVHeads, tc.HeadDim = h[0], h[1], h[2]
					list = append(list, tc)
				}
				continue
			}
			sizes := layers
			switch {
			case strings.HasPrefix(op, "lora"):
				tc.Rank = f.rank
			case strings.HasPrefix(op, "loss"):
				sizes = outputs
			}
			for _, l := range sizes {
				tc.In, tc.Out = l[0], l[1]
				list = append(list, tc)
			}
		}
	}
	return list, nil
}

func appendNew[T comparable](list []T, v T) []T {
	if slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}

// tuneRecord is a timing as the file has it.
type tuneRecord struct {
	Op        string  `json:"op"`
	DType     string  `json:"dtype"`
	Rows      int     `json:"rows"`
	Parts     int     `json:"parts"`
	In        int     `json:"in,omitempty"`
	Out       int     `json:"out,omitempty"`
	Rank      int     `json:"rank,omitempty"`
	Heads     int     `json:"heads,omitempty"`
	KVHeads   int     `json:"kv_heads,omitempty"`
	HeadDim   int     `json:"head_dim,omitempty"`
	Variant   string  `json:"variant"`
	Chosen    bool    `json:"chosen"`
	Seconds   float64 `json:"seconds,omitempty"`
	Spread    float64 `json:"spread,omitempty"`
	Estimated bool    `json:"estimated,omitempty"`
	Refused   string  `json:"refused,omitempty"`
}

func (a *app) tune(c *cobra.Command, f tuneFlags) error {
	cases, err := f.cases()
	if err != nil {
		return err
	}
	dev, err := a.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	gpu, ok := dev.Backend().(*cuda.Backend)
	if !ok {
		return fmt.Errorf("--device %s is no GPU: name one, or emulated:h100:profile for an estimate", a.device)
	}
	exact, err := tensor.Open("ref", tensor.Options{})
	if err != nil {
		return err
	}
	defer exact.Close()
	a.say("%s", gpu.Describe())
	var records []tuneRecord
	for i, tc := range cases {
		list, err := gpu.Tune(c.Context(), tc, cuda.TuneOptions{Samples: f.samples, Reference: exact.Backend()})
		if err != nil {
			return err
		}
		if list[0].Err != nil {
			return fmt.Errorf("%v: no variant runs: %w", tc, list[0].Err)
		}
		if i == 0 && list[0].Estimated {
			a.say("estimates by the emulator's counts and the data sheet, not measurements")
		}
		a.printTuning(tc, list)
		for _, t := range list {
			r := tuneRecord{Op: tc.Op, DType: tc.DType.String(), Rows: tc.Rows, Parts: tc.Parts, In: tc.In, Out: tc.Out, Rank: tc.Rank,
				Heads: tc.Heads, KVHeads: tc.KVHeads, HeadDim: tc.HeadDim, Variant: t.Variant, Chosen: t.Chosen, Seconds: t.Seconds, Spread: t.Spread, Estimated: t.Estimated}
			if t.Err != nil {
				r.Refused = t.Err.Error()
			}
			records = append(records, r)
		}
	}
	if f.file == "" {
		return nil
	}
	data, err := json.MarshalIndent(map[string]any{"gpu": gpu.Describe(), "date": time.Now().Format(time.DateOnly), "timings": records}, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(f.file, append(data, '\n'))
}

// worthARow is how much faster a variant must be than the table's choice.
const worthARow = 1.03

// printTuning shows the fastest variants of a case and the table's choice.
func (a *app) printTuning(tc cuda.TuneCase, list []cuda.Timing) {
	fmt.Fprintf(a.out, "%v\n", tc)
	var chosen cuda.Timing
	for i, t := range list {
		if t.Chosen {
			chosen = t
		}
		if t.Err != nil || i >= 4 && !t.Chosen {
			continue
		}
		mark := " "
		if t.Chosen {
			mark = "*"
		}
		spread := fmt.Sprintf("±%4.1f %%", 50*t.Spread)
		if t.Estimated {
			spread = "at least"
		}
		fmt.Fprintf(a.out, "  %s %9.3f µs %s  %s\n", mark, 1e6*t.Seconds, spread, t.Variant)
	}
	if best := list[0]; chosen.Err == nil && chosen.Seconds > worthARow*best.Seconds {
		fmt.Fprintf(a.out, "    %.2f × as fast as the table's choice: %s\n", chosen.Seconds/best.Seconds, best.Row)
	}
}
