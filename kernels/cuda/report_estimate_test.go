package cuda

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/ptx/emu"
)

const estimateHead = `
## Estimates, not measurements

What the goals would take at least: instructions, passes through shared memory, sectors and tensor-core work, counted by the emulator on small problems of the same kernels
and carried on to the size (sums: linear in their length; attention: quadratic in that of the sequence), against a data sheet's peaks. Latency, waiting at barriers and the tail of
a grid are not in it, and mma.sync does not reach Hopper's tensor peak, which is that of wgmma: a GPU takes longer. The limits are those of the kernel that takes longest.

`

// work is what the emulator counts of a kernel, as numbers that can be carried on.
type work [6]float64

func workOf(p *emu.KernelProfile) (w work) {
	w = work{float64(p.WarpInsts), float64(p.F32Flops), float64(p.TensorFlops["bf16"]), float64(p.DRAMBytes)}
	for _, in := range p.Insts {
		w[4] += float64(in.Sectors)
		w[5] += float64(in.Wavefronts)
	}
	return w
}

// sum is Σ by·of.
func sum(by []float64, of []work) (w work) {
	for i, o := range of {
		for j := range w {
			w[j] += by[i] * o[j]
		}
	}
	return w
}

// roofline is the least time that a GPU needs.
func (w work) roofline(g *emu.GPU) *emu.Estimate {
	k := emu.KernelProfile{WarpInsts: int64(w[0]), F32Flops: int64(w[1]), TensorFlops: map[string]int64{"bf16": int64(w[2])}, DRAMBytes: int64(w[3]),
		Insts: []emu.InstProfile{{Sectors: int64(w[4]), Wavefronts: int64(w[5])}}}
	return k.Roofline(g)
}

// worked runs a case with a row's sizes and returns what its kernels did, and those of its
// op that no row is for.
func worked(t *testing.T, v variant, c TuneCase) map[string]work {
	b, dev := emulatedFor(t, 0, emu.RoundRobin)
	p, err := newProblem(b, c, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Sync(); err != nil {
		t.Fatal(err)
	}
	b.tuner = tuner{on: true, trying: &v}
	dev.TakeProfile()
	p.op()
	if err := b.Sync(); err != nil {
		t.Fatal(err)
	}
	out := map[string]work{}
	prof := dev.TakeProfile()
	for _, k := range append(b.tuner.kernels(v.op), b.tuner.kernels("")...) {
		out[k.Name()] = workOf(profileOf(prof, k.Name()))
	}
	p.close()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// chosenOn is the table's choice on a model of a GPU, whose blocks fit.
func chosenOn(g *emu.GPU, op string, s shape) variant {
	return choose(Info{SM: g.SM, SMs: g.SMs, SharedPerBlock: g.SharedBytes}, op, byMMA, s, func(variant) int { return 0 })
}

// estimates are the goals that can be computed from counts.
func estimates(t *testing.T) string {
	var b strings.Builder
	b.WriteString(estimateHead)
	b.WriteString("| Goal | GPU and its peaks | Least time | Rate | Limit | Next |\n|---|---|--:|--:|---|---|\n")
	line := func(goal string, g *emu.GPU, flops float64, of []work) {
		total := 0.0
		var slowest *emu.Estimate
		for _, w := range of {
			e := w.roofline(g)
			total += e.Seconds
			if slowest == nil || e.Seconds > slowest.Seconds {
				slowest = e
			}
		}
		next := ""
		for name, s := range slowest.Limits {
			if name != slowest.Bound && (next == "" || s > slowest.Limits[next] || s == slowest.Limits[next] && name < next) {
				next = name
			}
		}
		rate := fmt.Sprintf("%.0f TFLOP/s", flops/total/1e12)
		if flops == 0 {
			bytes := 0.0
			for _, w := range of {
				bytes += w[3]
			}
			rate = fmt.Sprintf("%.0f GB/s", bytes/total/1e9)
		}
		fmt.Fprintf(&b, "| %s | %s, %.0f TFLOP/s bf16, %.0f GB/s | %.3g ms | %s | %s | %s, %.0f %% of it |\n", goal, g.Name, g.TensorF16TFLOPS, g.MemGBs, 1e3*total, rate,
			slowest.Bound, next, 100*slowest.Limits[next]/slowest.Seconds)
	}

	// Products: a tile's work is linear in the depth of its sums.
	tile := func(rows, cols, depth int, g *emu.GPU) work {
		v := chosenOn(g, "linear", shape{rows: rows, cols: cols, depth: depth})
		var at []work
		for _, d := range []int{1024, 2048} {
			c := TuneCase{Op: v.op, DType: kernels.BF16, Rows: min(rows, v.tile.BM), In: d, Out: v.tile.BN, Parts: 1}
			bk, dev := emulatedFor(t, 0, emu.RoundRobin)
			p, _, made, err := v.run(bk, c, 0)
			if err != nil {
				t.Fatal(err)
			}
			at = append(at, workOf(profileOf(dev.Profile(), made[0].Name())))
			p.close()
			if err := bk.Close(); err != nil {
				t.Fatal(err)
			}
		}
		perDepth := sum([]float64{-1. / 1024, 1. / 1024}, at)
		w := sum([]float64{1, float64(depth - 1024)}, []work{at[0], perDepth})
		tiles := float64((rows + v.tile.BM - 1) / v.tile.BM * ((cols + v.tile.BN - 1) / v.tile.BN))
		w = sum([]float64{tiles}, []work{w})
		w[3] = 2 * float64(rows*depth+cols*depth+rows*cols) // every byte once
		return w
	}
	const n = 4096
	for _, g := range []*emu.GPU{emu.H100, emu.A100, emu.RTX4090} {
		line("bf16 product 4096³", g, 2*n*n*n, []work{tile(n, n, n, g)})
	}
	for _, g := range []*emu.GPU{emu.H100, emu.A100, emu.RTX4090} {
		line("decoding: 1 row, 3584→18944 bf16", g, 0, []work{tile(1, 18944, 3584, g)})
	}

	// AdamW reads four arrays and writes three.
	const numbers = 100e6
	bk, dev := emulatedFor(t, 0, emu.RoundRobin)
	p := &problem{b: bk}
	for _, o := range opProblems() {
		if strings.HasPrefix(o.name, "AdamW") {
			o.run(p)
		}
	}
	if err := bk.Sync(); err != nil {
		t.Fatal(err)
	}
	w := sum([]float64{numbers / adamNumbers}, []work{workOf(profileOf(dev.Profile(), kernel.AdamW{Vec: true}.Name()))})
	w[3] = 7 * 4 * numbers
	line("AdamW of 100 million numbers", emu.H100, 0, []work{w})
	p.close()
	if err := bk.Close(); err != nil {
		t.Fatal(err)
	}

	// Attention: of a head quadratic in the length, in units of 128 rows.
	const heads, dim, unit = 16, 128, 128
	for _, pass := range []struct {
		name  string
		ops   []string
		flops float64 // a row's and a key's, for an element of a head
	}{{"forward", []string{"attention"}, 2}, {"backward", []string{"attention_backward_dq", "attention_backward_dkdv"}, 5}} {
		for _, rows := range []int{4096, 16384} {
			x := float64(rows / unit)
			by := []float64{(x - 2) * (x - 3) / 2, -(x - 1) * (x - 3), (x - 1) * (x - 2) / 2} // through 1, 2, 3
			kernelWork := map[string]work{}
			for _, op := range pass.ops {
				v := chosenOn(emu.H100, op, headsShape(rows, 1, heads, dim))
				var at []map[string]work
				for n := range 3 {
					at = append(at, worked(t, v, TuneCase{Op: op, DType: kernels.BF16, Rows: (n + 1) * unit, Parts: 1, Heads: 1, KVHeads: 1, HeadDim: dim}))
				}
				for name := range at[0] {
					kernelWork[name] = sum([]float64{heads}, []work{sum(by, []work{at[0][name], at[1][name], at[2][name]})})
				}
			}
			var of []work
			for _, name := range slices.Sorted(maps.Keys(kernelWork)) {
				of = append(of, kernelWork[name])
			}
			line(fmt.Sprintf("attention %s, 16 heads of 128, %d tokens, causal half", pass.name, rows), emu.H100, pass.flops*heads*dim*float64(rows)*float64(rows), of)
		}
	}
	return b.String()
}
