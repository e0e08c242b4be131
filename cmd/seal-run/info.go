package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/klauspost/cpuid/v2"
	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/internal/sysmem"
	"github.com/selkie-ml/selkie/kernels/cuda"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/safetensors"
	"github.com/selkie-ml/selkie/nn/tokenizer"
)

func newInfo(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "info [MODEL-DIR]",
		Short: "Say what this machine offers, and what a model folder holds",
		Example: `  seal-run info
  seal-run info runs/demo-model`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return modelInfo(a.out, args[0])
			}
			return a.info()
		},
	}
}

func (a *app) info() error {
	dev, err := a.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	cpu := cpuid.CPU
	row := func(name, format string, args ...any) {
		fmt.Fprintf(a.out, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("system", "%s/%s, %s", runtime.GOOS, runtime.GOARCH, runtime.Version())
	if cpu.BrandName != "" {
		row("processor", "%s", cpu.BrandName)
	}
	row("cores", "%d physical, %d logical, %d usable by Go", cpu.PhysicalCores, cpu.LogicalCores, runtime.GOMAXPROCS(0))
	var have []string
	for _, f := range []cpuid.FeatureID{cpuid.AVX2, cpuid.FMA3, cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512VL, cpuid.AVX512BF16, cpuid.AMXTILE, cpuid.AMXBF16, cpuid.ASIMD} {
		if cpu.Supports(f) {
			have = append(have, f.String())
		}
	}
	row("vectors", "%s", strings.Join(have, " "))
	row("caches", "L1 %s, L2 %s, L3 %s", cacheSize(cpu.Cache.L1D), cacheSize(cpu.Cache.L2), cacheSize(cpu.Cache.L3))
	if free, ok := sysmem.Available(); ok {
		row("memory", "%s available", sysmem.Format(free))
	}
	for _, line := range cuda.Look() {
		row("gpu", "%s", line)
	}
	row("device", "%s", dev.Backend().Name())
	if text := dev.Describe(); text != "" {
		row("", "%s", text)
	}
	row("numerics", "%s", dev.NumericsID())
	return nil
}

func cacheSize(n int) string {
	if n <= 0 {
		return "unknown"
	}
	return sysmem.Format(int64(n))
}

// modelInfo describes a model folder.
func modelInfo(w io.Writer, dir string) error {
	c, err := nn.ReadConfig(dir)
	if err != nil {
		return err
	}
	weights, err := safetensors.OpenModel(dir)
	if err != nil {
		return err
	}
	defer weights.Close()
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("model", "%s, %.2f million parameters, %d tensors, %s", c.ModelType, float64(c.NumParameters())/1e6, len(weights.Names()), sysmem.Format(weightBytes(dir)))
	row("layers", "%d of hidden %d, intermediate %d", c.Layers, c.HiddenSize, c.Intermediate)
	row("attention", "%d heads of %d, %d key-value heads", c.Heads, c.HeadDim, c.KVHeads)
	row("context", "%d tokens, RoPE theta %g", c.MaxPositions, c.RopeTheta)
	row("vocabulary", "%d, tied %v, end of text %v", c.VocabSize, c.Tied, c.EOS)
	row("dtype", "%v", c.DType)
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return err
	}
	row("tokenizer", "%d entries, chat template %v", tok.VocabSize(), tok.HasChat())
	return nil
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  seal-run version",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			version, revision := "(devel)", ""
			if b, ok := debug.ReadBuildInfo(); ok {
				version = b.Main.Version
				for _, s := range b.Settings {
					if s.Key == "vcs.revision" {
						revision = " " + s.Value
					}
				}
			}
			fmt.Fprintf(a.out, "seal-run %s%s %s %s/%s\n", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
