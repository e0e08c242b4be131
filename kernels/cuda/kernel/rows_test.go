package kernel_test

import (
	"os"
	"testing"

	"github.com/selkie-ml/selkie/internal/ptxas"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/kernels/cuda/report"
)

// launched is a kernel with a launch of it.
type launched struct {
	kernel.Any
	launch kernel.Launch
}

// rowKernels are the kernels that work on elements or rows, with the sizes of models.
func rowKernels() (list []launched) {
	add := func(k kernel.Any, l kernel.Launch) { list = append(list, launched{k, l}) }
	for _, vec := range []int{1, 4} {
		for _, dim := range []int{64, 896, 1024, 3584, 8192, 16384, 40000} {
			sum := kernel.RowSumOf(dim, vec)
			norm := kernel.RMSNorm{Y: kernels.BF16, W: kernels.BF16, RowSum: sum}
			add(norm, norm.Launch(8))
			norm.Add = kernels.BF16
			add(norm, norm.Launch(8))
			for _, accumulate := range []bool{false, true} {
				back := kernel.RMSNormBackward{W: kernels.F32, Accumulate: accumulate, Scale: !accumulate, RowSum: sum}
				add(back, back.Launch(8))
			}
		}
		for _, dim := range []int{896, 3584} {
			back := kernel.EmbeddingBackwardOf(dim, vec)
			add(back, back.Launch(8, dim))
		}
		step := kernel.AdamW{Vec: vec == 4}
		add(step, step.Launch(8, 1))
		for _, vocab := range []int{1000, 151936} {
			for _, logProb := range []bool{false, true} {
				draw := kernel.SampleOf(vocab, logProb, vec == 4)
				add(draw, draw.Launch(8))
			}
		}
	}
	for _, dt := range []kernels.DType{kernels.F32, kernels.BF16, kernels.F16} {
		for _, vec := range []int{1, 16 / dt.Size()} {
			glu, back := kernel.SwiGLU{Y: dt, Gate: dt, Up: dt, Vec: vec}, kernel.SwiGLUBackward{Gate: dt, Up: dt, Vec: min(vec, 4)}
			sum, fill := kernel.Add{Dst: dt, A: dt, B: dt, Vec: vec}, kernel.Fill{Bytes: dt.Size(), Vec: vec}
			add(glu, glu.Launch(8))
			add(back, back.Launch(8))
			add(sum, sum.Launch(8))
			add(fill, fill.Launch(8))
			same, widen := kernel.Copy{Dst: dt, Src: dt, Vec: vec}, kernel.Gather{Dst: kernels.F32, Src: dt, Vec: min(vec, 4)}
			add(same, same.Launch(8, 64))
			add(widen, widen.Launch(8, 64))
			for _, back := range []bool{false, true} {
				rope := kernel.Rope{Y: dt, X: dt, HeadDim: 128, Back: back, Vec: vec}
				add(rope, rope.Launch(8, 14))
				rope.Pair = true
				add(rope, rope.Launch(8, 14+2))
			}
		}
	}
	var items kernel.ParamItems
	var squares kernel.GradNormItems
	var norm kernel.GradNorm
	for _, rows := range []int{1, 1000} {
		weight := kernel.RMSNormWeight{ColumnSums: kernel.ColumnSumsOf(rows)}
		add(weight, weight.Launch(64))
	}
	add(items, items.Launch())
	add(squares, squares.Launch(8, 1))
	add(norm, norm.Launch(8))
	return list
}

// TestRowKernelsAssemble assembles them for every target, without spills.
func TestRowKernelsAssemble(t *testing.T) {
	bin := ptxas.Find(t)[0]
	targets := []string{"sm_80", "sm_120"}
	if os.Getenv("SELKIE_HEAVY") != "" {
		targets = []string{"sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"}
	}
	for _, k := range rowKernels() {
		for _, target := range targets {
			row, err := report.Assemble(bin, k.Any, k.launch, target)
			if err != nil {
				t.Fatal(err)
			}
			if row.Spilled > 0 {
				t.Errorf("%d bytes are spilled: %v", row.Spilled, row)
			}
			t.Log(row)
		}
	}
}
