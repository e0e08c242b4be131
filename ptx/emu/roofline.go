package emu

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// An Estimate is the least time that a GPU can take for what a kernel did, by the
// limits of a roofline (Williams, Waterman, Patterson: Roofline). It knows nothing of
// latency, of the time to launch, nor of how blocks fill the GPU.
type Estimate struct {
	GPU     *GPU
	Seconds float64 // the largest of the limits
	Bound   string  // which that is
	Limits  map[string]float64
}

// Roofline estimates the time of all launches of the kernel together. A GPU that lacks an
// instruction's unit has no estimate: nil.
func (k *KernelProfile) Roofline(g *GPU) *Estimate {
	e := &Estimate{GPU: g, Limits: map[string]float64{}}
	cycles := float64(g.SMs) * g.ClockGHz * 1e9
	var sectors, passes int64
	for _, i := range k.Insts {
		sectors += i.Sectors
		passes += i.Wavefronts
	}
	e.Limits["issue"] = float64(k.WarpInsts) / (cycles * 4)
	e.Limits["memory"] = float64(k.DRAMBytes) / (g.MemGBs * 1e9)
	e.Limits["L2"] = float64(sectors*32) / (g.L2GBs * 1e9)
	e.Limits["shared memory"] = float64(passes) / cycles
	e.Limits["f32"] = float64(k.F32Flops) / (g.F32TFLOPS * 1e12)
	e.Limits["f64"] = float64(k.F64Flops) / (g.F64TFLOPS * 1e12)
	for t, n := range k.TensorFlops {
		rate := g.TensorF16TFLOPS
		switch t {
		case "tf32":
			rate /= 2
		case "e4m3", "e5m2":
			rate = g.TensorF8TFLOPS
		case "s8", "u8":
			rate = g.TensorI8TOPS
		case "s4", "u4", "b1":
			rate = 2 * g.TensorI8TOPS
		case "f64":
			rate = 2 * g.F64TFLOPS
		}
		if rate == 0 {
			return nil
		}
		e.Limits["tensor"] += float64(n) / (rate * 1e12)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Limits)) {
		if e.Limits[name] > e.Seconds {
			e.Seconds, e.Bound = e.Limits[name], name
		}
	}
	return e
}

// String is the profile as tables.
func (p *Profile) String() string {
	var b strings.Builder
	for _, k := range p.Kernels {
		k.write(&b)
	}
	return b.String()
}

func (k *KernelProfile) write(b *strings.Builder) {
	fmt.Fprintf(b, "kernel %s: %d launches, %d blocks\n", k.Kernel, k.Launches, k.Blocks)
	fmt.Fprintf(b, "  warp-instructions    %12d\n  thread-instructions  %12d  (%.1f %% of lanes active, %d divergent branches)\n",
		k.WarpInsts, k.ThreadInsts, 100*k.Efficiency(), k.Divergences)
	extra, total := k.BankConflicts()
	if total > 0 {
		fmt.Fprintf(b, "  shared memory        %12d passes, %d by bank conflicts (%.1f %%)\n", total, extra, 100*float64(extra)/float64(total))
	}
	if s := k.SectorsPerRequest(); s > 0 {
		fmt.Fprintf(b, "  sectors per request  %12.2f\n", s)
	}
	for _, name := range slices.Sorted(maps.Keys(k.Bytes)) {
		fmt.Fprintf(b, "  %-20s %12d bytes\n", name, k.Bytes[name])
	}
	if f := k.F32Flops + k.F64Flops + k.F16Flops; f > 0 || len(k.TensorFlops) > 0 {
		fmt.Fprintf(b, "  operations           %12d f32, %d f64, %d f16\n", k.F32Flops, k.F64Flops, k.F16Flops)
	}
	for _, t := range k.Tensor() {
		fmt.Fprintf(b, "  tensor %-13s %12d operations\n", t, k.TensorFlops[t])
	}
	if len(k.TensorFlops) > 0 {
		fmt.Fprintf(b, "  tensor share         %11.1f %%\n", 100*k.TensorShare())
	}
	fmt.Fprintf(b, "  mix:")
	ops := slices.SortedFunc(maps.Keys(k.Mix), func(x, y string) int { return cmp.Or(cmp.Compare(k.Mix[y], k.Mix[x]), cmp.Compare(x, y)) })
	for i, op := range ops {
		if i == 12 {
			fmt.Fprintf(b, " and %d others", len(ops)-i)
			break
		}
		fmt.Fprintf(b, " %s %.1f %%", op, 100*float64(k.Mix[op])/float64(k.WarpInsts))
	}
	fmt.Fprintf(b, "\n  at least:")
	for _, g := range GPUs {
		if e := k.Roofline(g); e != nil {
			fmt.Fprintf(b, " %s %.3g µs (%s);", g.Name, e.Seconds*1e6, e.Bound)
		}
	}
	fmt.Fprintf(b, "\n\n  %10s %6s %9s %9s %9s  instruction\n", "warps", "lanes", "sectors/r", "conflicts", "line")
	for _, i := range k.Insts {
		sec, con, line := "", "", i.GoLine
		if i.Sectors > 0 {
			sec = fmt.Sprintf("%.1f", float64(i.Sectors)/float64(i.Requests))
		}
		if i.Wavefronts > 0 {
			con = fmt.Sprint(i.Wavefronts - i.Ideal)
		}
		if i.Line > 0 {
			line = fmt.Sprint(i.Line)
		}
		fmt.Fprintf(b, "  %10d %6.1f %9s %9s %9s  %s\n", i.Warps, float64(i.Threads)/float64(i.Warps), sec, con, line, i.Text)
	}
}
