package cuda

import (
	"os"
	"testing"

	"github.com/selkie-ml/selkie/internal/ptxas"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/kernels/cuda/report"
)

// lowRankAndLoss are the kernels of LoRA and of CrossEntropy, each with a launch: those
// that train a bf16 model, and the others too where time does not matter.
func lowRankAndLoss() (list []launched) {
	add := func(k kernel.Any, l kernel.Launch) { list = append(list, launched{k, l}) }
	const rows, nseg, rank, dim, vocab = 1600, 16, 64, 896, 8192
	add2 := func(x kernels.DType, vec bool) {
		for _, few := range []bool{false, true} {
			down := kernel.LoRADownFor(x, false, vec, few)
			add(down, down.Launch(rows, nseg, rank))
			back := kernel.LoRADownFor(kernels.F32, true, vec, few)
			add(back, back.Launch(rows, nseg, rank))
			up := kernel.LoRAUpFor(x, false, vec, few)
			add(up, up.Launch(rows, nseg, dim))
			input := kernel.LoRAUpFor(kernels.F32, true, vec, few)
			add(input, input.Launch(rows, nseg, dim))
		}
		a, b := kernel.LoRAGradientFor(x, false, vec), kernel.LoRAGradientFor(kernels.F32, true, vec)
		add(a, a.Launch(nseg, rank, dim))
		add(b, b.Launch(nseg, rank, dim))
		for _, n := range []int{rows, 64} {
			stats, g := kernel.LossLogitsFor(x, x, vec, n, false, false), kernel.LossLogitsFor(x, x, vec, n, true, x != kernels.F32)
			add(stats, stats.Launch(n, vocab))
			add(g, g.Launch(n, vocab))
			in := kernel.LossInputFor(x, x, vec, vec, n, false)
			add(in, in.Launch(n, dim))
		}
		w := kernel.LossWeightFor(x, vec)
		add(w, w.Launch(vocab, dim))
	}
	add2(kernels.BF16, true)
	merge := kernel.LoRAUpFor(kernels.F32, true, true, false)
	merge.Merge = true
	add(merge, merge.Launch(dim, 0, dim))
	find, gather, last := kernel.LossRows{Starts: true}, kernel.LossGather{X: kernels.BF16, To: kernels.BF16, DX: true}, kernel.LossMerge{Last: true}
	add(find, find.Launch())
	add(gather, gather.Launch(rows))
	add(last, last.Launch(rows))
	if os.Getenv("SELKIE_HEAVY") != "" {
		add2(kernels.BF16, false)
		add2(kernels.F32, true)
		add2(kernels.F32, false)
	}
	return list
}

type launched struct {
	kernel.Any
	launch kernel.Launch
}

// TestLowRankAndLossAssemble assembles them without spills.
func TestLowRankAndLossAssemble(t *testing.T) {
	bins := ptxas.Find(t)
	some := []string{"sm_80", "sm_120"}
	if os.Getenv("SELKIE_HEAVY") != "" {
		some = targets
	}
	for _, k := range lowRankAndLoss() {
		for _, target := range some {
			t.Run(k.Name()+"/"+target, func(t *testing.T) {
				row, err := report.Assemble(bins[0], k.Any, k.launch, target)
				if err != nil {
					t.Fatal(err)
				}
				if row.Spilled > 0 {
					t.Errorf("%d bytes are spilled", row.Spilled)
				}
				t.Log(row)
			})
		}
	}
}
